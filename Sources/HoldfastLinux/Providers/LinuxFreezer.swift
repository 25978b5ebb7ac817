import CLinux
import Glibc
package import HoldfastCore
import Synchronization

/// Has units frozen by a process of its own (`holdfast freezer`), which thaws them when this one is
/// gone.
package final class LinuxFreezer: Freezer {
  private let control: String
  private let pair: String
  private struct Helper {
    let process: ChildProcess
    let channel: LineChannel
  }
  private let helper = Mutex<Helper?>(nil)
  /// What the helper has for answering beside the time that units may stand still.
  private static let patience = Duration.seconds(2)

  package init(control: String, pair: String) {
    self.control = control
    self.pair = pair
  }

  package func freeze(_ units: [String], atMost limit: Duration) throws(ProviderError) {
    let order = (["freeze", "\(limit.nanos / 1_000_000)"] + units).joined(separator: " ")
    if let trouble = recover().first { throw ProviderError(trouble) }
    let answer = try ask(order, within: limit + Self.patience, mayStart: true)
    guard answer.first == "frozen" else { throw Self.error(answer) }
  }

  package func thaw() throws(ProviderError) -> FrozenSpan {
    let answer = try ask("thaw", within: Self.patience, mayStart: false)
    guard answer.count == 3, answer[0] == "thawed", let micros = Int64(answer[1]),
      let ending = Int(answer[2]).flatMap(FrozenSpan.Ending.init)
    else {
      throw recover().first.map { ProviderError($0) } ?? Self.error(answer)
    }
    return FrozenSpan(duration: .microseconds(micros), ending: ending)
  }

  package func recover() -> [String] {
    var units = FrozenUnits(control: control, pair: pair)
    return units.thaw().map { [$0] } ?? []
  }

  private static func error(_ answer: [String]) -> ProviderError {
    ProviderError(answer.dropFirst().joined(separator: " "))
  }

  /// - Returns: the words of the answer.
  private func ask(
    _ order: String, within limit: Duration, mayStart: Bool
  ) throws(ProviderError) -> [String] {
    let answer = helper.withLock { helper -> String? in
      if helper?.process.isRunning != true { helper = mayStart ? start() : nil }
      guard let channel = helper?.channel else { return nil }
      if channel.send(order + "\n"), let answer = channel.next(within: limit) { return answer }
      // It is gone or hangs: what it froze is thawed from here.
      helper?.process.send(SIGKILL)
      helper = nil
      return nil
    }
    if let answer { return answer.split(separator: " ").map(String.init) }
    let trouble = recover().first
    throw ProviderError(trouble ?? "the process that freezes units did not answer")
  }

  private func start() -> Helper? {
    guard let (ours, theirs) = LineChannel.pair() else { return nil }
    let ownProgram = Roots.realPath("/proc/self/exe") ?? "/proc/self/exe"
    let process = try? ChildProcess(
      ownProgram, ["freezer", "--control", control, "--pair", pair], environment: [:],
      output: .descriptor(theirs.number))
    return process.map { Helper(process: $0, channel: LineChannel(ours)) }
  }

  package func isRunning(_ units: [String]) -> Bool {
    guard let cgroups = Cgroups() else { return false }
    return units.contains { unit in
      cgroups.folders(of: unit).contains {
        readText("\($0)/cgroup.events")?.contains("populated 1") ?? false
      }
    }
  }

  package func holds(_ process: Int32, of units: [String]) -> Bool {
    guard let cgroups = Cgroups(), let group = Cgroups.group(of: process) else { return false }
    let path = cgroups.top + group
    return units.contains { unit in
      cgroups.folders(of: unit).contains { path == $0 || path.hasPrefix($0 + "/") }
    }
  }

  package func describe(_ process: Int32) -> String {
    let name = readText("/proc/\(process)/comm")?.split(separator: "\n").first.map(String.init)
    let unit = Cgroups.group(of: process)?.split(separator: "/").last.map(String.init)
    let known = [name, unit].compactMap { $0 }.joined(separator: " of ")
    return "process \(process)" + (known.isEmpty ? "" : " (\(known))")
  }
}
