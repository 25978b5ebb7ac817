import CLinux
import Glibc
package import HoldfastCore

/// A pair's service on this host: its addresses, its systemd units, its commands and checks.
package final class LinuxService: ServiceHost {
  private let units: [String]
  private let addresses: [ServiceAddress]
  private let flags: ServiceFlags
  private let fenced: UnitFence
  private let netlink: Descriptor?
  private let budget: Duration
  private let commands: LinuxSnapshots
  private let environment: [String: String]

  /// - Parameters:
  ///   - control: the folder of the control sockets.
  ///   - folder: where output of commands goes while they run.
  ///   - budget: how long fencing may take.
  package init(
    pair: PairConfiguration, control: String, folder: String, budget: Duration
  ) {
    units = pair.units
    addresses = pair.plan.compactMap { step in
      guard case .address(let text, let device) = step.kind else { return nil }
      return ServiceAddress(text, device: device)
    }
    flags = ServiceFlags(control: control, pair: pair.name)
    fenced = UnitFence(units: units)
    let number = holdfast_netlink()
    netlink = number >= 0 ? Descriptor(number) : nil
    self.budget = budget
    commands = LinuxSnapshots(folder: folder)
    environment = ["HOLDFAST_PAIR": pair.name]
    fenced.prepare()
  }

  /// What this host lacks for fencing.
  package var shortcomings: [String] {
    var found: [String] = []
    if !fenced.isPossible { found.append("there is no cgroup hierarchy of version 2") }
    if netlink == nil, !addresses.isEmpty { found.append("there is no netlink socket") }
    return found
  }

  package func bind() throws(StepError) {
    guard !units.isEmpty else { return }
    for unit in units {
      let folder = "/run/systemd/system/\(unit).d"
      do throws(DiskError) {
        unsafe _ = mkdir("/run/systemd/system", 0o755)
        unsafe _ = mkdir(folder, 0o755)
        let text = "[Unit]\nAssertPathExists=\(flags.serve)\n"
        try LinuxDisk(folder).replace("50-holdfast.conf", with: Array(text.utf8))
        // As systemd wants it: everybody may read what a unit is.
        unsafe _ = chmod("\(folder)/50-holdfast.conf", 0o644)
      } catch {
        throw StepError("\(error)")
      }
    }
    try command("systemctl daemon-reload", .seconds(30))
  }

  package func prepare() { fenced.prepare() }

  package func allow() {
    fenced.clear()
    flags.allow()
  }

  package func fence() -> [String] {
    flags.forbid()
    var left: [String] = []
    for address in addresses {
      guard let netlink else { break }
      let error = address.remove(netlink.number)
      if error != 0 { left.append("address on \(address.device): \(errnoText(error))") }
    }
    return left + fenced.fence(within: Int(budget.nanos / 1000))
  }

  // MARK: Steps

  package func run(_ step: PlanStep) throws(StepError) {
    switch step.kind {
    case .address(let text, let device):
      guard let address = ServiceAddress(text, device: device) else {
        throw StepError("\(text) is no address")
      }
      guard let netlink else { throw StepError("there is no netlink socket") }
      try address.add(netlink.number)
    case .unit(let unit): try command("systemctl start -- '\(unit)'", step.within)
    case .exec(let text): try command(text, step.within)
    case .check(let check): try ServiceCheck.pass(check, within: step.within, command)
    }
  }

  private func command(_ text: String, _ within: Duration) throws(StepError) {
    do throws(ProviderError) {
      try commands.run(text, environment: environment, within: within)
    } catch {
      throw StepError(error.reason)
    }
  }
}
