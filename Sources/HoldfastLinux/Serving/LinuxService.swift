import CLinux
import Glibc
package import HoldfastCore
import Synchronization

/// A pair's service on this host: its addresses, its systemd units, its commands and checks.
package final class LinuxService: ServiceHost {
  /// What is to be stopped: of the plan, and of what an earlier plan may have left.
  private let record: ServiceRecord
  private let units: [String]
  private let steps: [PlanStep]
  private let lacks: [String]
  private let lookForFacts: @Sendable () -> [String: String]
  private let addresses: [ServiceAddress]
  private let control: String
  private let name: String
  private let flags: ServiceFlags
  private let fenced: UnitFence
  private let sockets = AddressSockets()
  /// The kernel's numbers of the addresses' devices, for fencing opens nothing to look for them.
  private let devices = Mutex<[String: UInt32]>([:])
  private let budget: Duration
  private let commands: LinuxSnapshots
  private let clock = SystemClock()
  /// What commands of the plan are told.
  private let environment: Mutex<[String: String]>
  private let lastResort: LastResort?
  /// Between ``allow(_:)`` and ``fence()`` or ``stop()``.
  private let isAllowed = Mutex(false)
  /// Not while anything is on record, whoever allowed it.
  private let isEnded: Atomic<Bool>
  /// How often something was allowed.
  private let allowed = Atomic(0)
  /// Of the plan's addresses, from when it begins until they are taken.
  private let watches = Mutex<[ServiceAddress: AddressWatch]>([:])
  /// Since when it is tried to end what was allowed.
  private let endingSince = Mutex<Instant?>(nil)

  /// - Parameters:
  ///   - control: the folder of the control sockets.
  ///   - folder: where output of commands goes while they run.
  ///   - roots: of the pair on this site.
  ///   - lastResort: what ends this host where nothing else helps.
  ///   - lacks: what this process lacks for fencing.
  package convenience init(
    pair: PairConfiguration, roots: [String], control: String, folder: String,
    lastResort: LastResort?, lacks: [String] = []
  ) {
    var record = ServiceRecord()
    record.units = pair.units
    record.terms = pair.failover.terms
    record.endsHost = pair.failover.lastResort == .reboot
    record.hasArbiter = pair.failover.hasArbiter
    for step in pair.plan {
      guard case .address(let text, let device) = step.kind else { continue }
      record.addresses.append((text, device))
    }
    self.init(
      pair.name, record, control: control, folder: folder, lastResort, steps: pair.plan,
      facts: { PlanFacts.look(pair, roots: roots) }, lacks: lacks)
  }

  private init(
    _ name: String, _ plan: ServiceRecord, control: String, folder: String,
    _ lastResort: LastResort?, steps: [PlanStep] = [],
    facts: @escaping @Sendable () -> [String: String] = { [:] }, lacks: [String] = []
  ) {
    self.lacks = lacks
    lookForFacts = facts
    self.steps = steps
    units = plan.units
    let earlier = ServiceRecord(control: control, pair: name)
    record = plan.merged(earlier)
    isEnded = Atomic(earlier == nil)
    self.name = name
    self.control = control
    addresses = record.addresses.compactMap { ServiceAddress($0.text, device: $0.device) }
    flags = ServiceFlags(control: control, pair: name)
    fenced = UnitFence(units: record.units)
    budget = record.terms.stopBudget
    self.lastResort = record.endsHost ? lastResort : nil
    commands = LinuxSnapshots(folder: folder)
    environment = Mutex(["HOLDFAST_PAIR": name])
    prepare()
  }

  /// Services that may run by what is on record, whatever is configured now.
  package static func recorded(
    control: String, lastResort: LastResort?
  ) -> [(pair: String, record: ServiceRecord, service: LinuxService)] {
    ServiceRecord.pairs(control: control).map { name in
      let record = ServiceRecord(control: control, pair: name) ?? ServiceRecord()
      let service = LinuxService(name, record, control: control, folder: control, lastResort)
      return (name, record, service)
    }
  }

  /// What this host lacks for fencing.
  package var shortcomings: [String] {
    var found = lacks
    if !fenced.isPossible { found.append("there is no cgroup hierarchy of version 2") }
    if sockets.isEmpty, !addresses.isEmpty { found.append("there is no netlink socket") }
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

  package func prepare() {
    fenced.prepare()
    for address in addresses {
      let number = unsafe if_nametoindex(address.device)
      devices.withLock { $0[address.device] = number }
    }
  }

  package func allow(in epoch: Epoch, _ isWanted: () -> Bool) -> Bool {
    know(epoch)
    let isDone = isAllowed.withLock { isAllowed in
      guard isWanted(), record.store(control: control, pair: name) else { return false }
      isEnded.store(false, ordering: .sequentiallyConsistent)
      allowed.add(1, ordering: .sequentiallyConsistent)
      endingSince.withLock { $0 = nil }
      flags.allow()
      // What was fenced and is empty does not hold up what is started in its place; what runs on
      // from another controller's time does not stand still.
      fenced.prepare()
      fenced.thaw()
      isAllowed = true
      return true
    }
    if isDone { watchAddresses() }
    return isDone
  }

  /// Whether the plan may go on.
  private var mayStart: Bool { isAllowed.withLock { $0 } }

  private func watchAddresses() {
    endWatches()
    for step in steps {
      guard case .address(let text, let device) = step.kind,
        let address = ServiceAddress(text, device: device)
      else { continue }
      let watch = AddressWatch(address) { [weak self] in self?.mayStart ?? false }
      watches.withLock { $0[address] = watch }
    }
  }

  private func endWatches() {
    watches.withLock { watches in
      for watch in watches.values { watch.end() }
      watches = [:]
    }
  }

  package func fence() -> [String] {
    let now = clock.now()
    endingSince.withLock { $0 = $0 ?? now }
    // Before the addresses, and before waiting for one that is being added: either can hang in a
    // driver.
    flags.mark()
    fenced.strike()
    flags.forbid()
    isAllowed.withLock { isAllowed in
      isAllowed = false
      // Once more: a start may have come between.
      flags.forbid()
    }
    var left: [String] = []
    for address in addresses {
      let known = devices.withLock { $0[address.device] } ?? 0
      let error = sockets.with { address.remove($0, known: known) }
      if error != 0 { left.append("address on \(address.device): \(errnoText(error))") }
    }
    left += fenced.fence(within: Int(budget.nanos / 1000))
    if left.isEmpty { ServiceRecord.remove(control: control, pair: name) }
    isEnded.store(left.isEmpty, ordering: .sequentiallyConsistent)
    if left.isEmpty { endingSince.withLock { $0 = nil } }
    return left
  }

  package func sweep(atLeast time: Duration) {
    // Nothing is allowed between the look and the beginning, and what is allowed later ends it.
    let sweep = isAllowed.withLock { _ in isOver ? fenced.sweeper() : nil }
    sweep?(time)
  }

  package func suspend() {
    fenced.freeze()
    flags.suspend()
    // What another was about to thaw.
    fenced.freeze()
  }

  package func thaw() {
    // One at a time with what allows.
    isAllowed.withLock { _ in
      guard endingSince.withLock({ $0 }) == nil else { return }
      flags.resume()
      fenced.thaw()
    }
  }

  package var isOver: Bool { isEnded.load(ordering: .sequentiallyConsistent) }

  package func endHost() {
    // Where all of this host stood still, fencing begins as late as this.
    let now = clock.now()
    let end = endingSince.withLock { $0 ?? now } + budget
    let before = allowed.load(ordering: .sequentiallyConsistent)
    while !isOver, clock.now() < end { usleep(1000) }
    // Not where it was over meanwhile, and something new is allowed.
    guard !isOver, allowed.load(ordering: .sequentiallyConsistent) == before else { return }
    lastResort?.strike()
  }

  package func stop() throws(StepError) {
    // What is stopped nobody starts again; what is frozen just now may still be thawed.
    isAllowed.withLock { isAllowed in
      isAllowed = false
      flags.endStarting()
    }
    for step in steps.reversed() {
      switch step.kind {
      case .unit(let unit): try command("systemctl stop -- '\(unit)'", step.within)
      case .address(let text, let device):
        guard let address = ServiceAddress(text, device: device) else { continue }
        let error = sockets.with { address.remove($0) }
        if error != 0 { throw StepError("address \(text) on \(device): \(errnoText(error))") }
      case .exec, .check: break
      }
    }
    let left = fence()
    if let first = left.first { throw StepError(first) }
  }

  // MARK: Steps

  package func run(_ step: PlanStep) throws(StepError) {
    do throws(StepError) {
      try perform(step)
    } catch {
      if step.onFailure == .stop { endWatches() }
      throw error
    }
  }

  private func perform(_ step: PlanStep) throws(StepError) {
    switch step.kind {
    case .address(let text, let device):
      guard let address = ServiceAddress(text, device: device) else {
        throw StepError("\(text) is no address")
      }
      guard let watch = watches.withLock({ $0[address] }) else { throw .fenced }
      defer { watch.end() }
      let isFree = try watch.untilFree(step.within) { mayStart }
      // One step at a time with fencing, so that nothing is added behind its back.
      try isAllowed.withLock { isAllowed throws(StepError) in
        guard isAllowed else { throw .fenced }
        try sockets.with { socket throws(StepError) in try address.add(socket, isFree: isFree) }
      }
      address.announce()
    case .unit(let unit):
      if !fenced.runs(unit) {
        // One that was fenced in the midst of its start systemd may wait for without end, where the
        // unit has no limit of its own.
        try command(
          """
          [ "$(systemctl show -P ActiveState -- '\(unit)')" != activating ] || \
          systemctl stop -- '\(unit)'
          """, step.within)
      }
      try command("systemctl start -- '\(unit)'", step.within)
      guard fenced.holds(unit) else {
        throw StepError(
          "no processes run under this name: if it stands for another unit, name that one")
      }
    case .exec(let text): try command(text, step.within)
    case .check(let check): try ServiceCheck.pass(check, within: step.within, command)
    }
  }

  package func announce() {
    for step in steps {
      guard mayStart, case .address(let text, let device) = step.kind else { continue }
      ServiceAddress(text, device: device)?.announce()
    }
  }

  package func facts() -> [String: String] { lookForFacts() }

  private func know(_ epoch: Epoch) {
    environment.withLock { $0["HOLDFAST_EPOCH"] = "\(epoch)" }
  }

  package func fenceOther(_ fence: FenceCommand, in epoch: Epoch) throws(StepError) {
    know(epoch)
    try command(fence.command, fence.within)
  }

  private func command(_ text: String, _ within: Duration) throws(StepError) {
    do throws(ProviderError) {
      try commands.run(text, environment: environment.withLock { $0 }, within: within)
    } catch {
      throw StepError(error.reason)
    }
  }
}

extension StepError {
  static let fenced = StepError("this site was fenced meanwhile")
}
