import FoundationEssentials
import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux

extension ControllerCommand {
  private static let rememberedName = "controller-control"

  /// The folder that systemd gives the unit, whatever is configured (systemd.exec(5)).
  private static var runtime: LinuxDisk? {
    ProcessInfo.processInfo.environment["RUNTIME_DIRECTORY"].flatMap { try? LinuxDisk($0) }
  }

  /// The control folder that a controller of this boot last went by.
  static var rememberedControl: String? {
    let bytes = try? runtime?.contents(of: rememberedName)
    return bytes.map { String(decoding: $0, as: UTF8.self) }
  }

  static func remember(control: String) {
    try? runtime?.replace(rememberedName, with: Array(control.utf8))
  }

  /// A pair that something is on record for, whatever is configured.
  private struct Recorded {
    let name: String
    let terms: LeaseTerms
    let service: LinuxService
    let files: ControllerFiles
    /// Until when its end is counted on; `nil`: by nobody.
    let overBy: Instant?
    /// It is over, and the service manager is done with it.
    let isSettled = SharedFlag()

    /// Whether a controller that begins now still has the time to go on with it.
    func isFollowed(_ now: Instant) -> Bool {
      let next = now + terms.abortTimeout
      return files.handover(pauseMax: terms.pauseMax).map { terms.mayHandOver($0, now: next) }
        ?? false
    }

    /// On a thread of its own: one that hangs keeps no other.
    /// - Parameter isSwept: what the service manager starts to end it is ended, too; not where
    ///   another pair may have the same units by now.
    func end(isSwept: Bool = true) {
      files.note(nil)
      let isBegun = OwnThread.begin { [self] in
        for line in service.fence() { Terminal.complain("\(name): \(line)") }
        while !service.isOver {
          usleep(fenceAgainMicros)
          _ = service.fence()
        }
        files.note(overBy: nil)
        // The controller that begins looks once more.
        if isSwept { service.sweep(atLeast: .zero) }
        isSettled.set(true)
      }
      if !isBegun, service.fence().isEmpty { isSettled.set(true) }
    }
  }

  private static func recorded(_ control: String, _ lastResort: LastResort?) -> [Recorded] {
    guard let volatile = try? LinuxDisk(control) else { return [] }
    return LinuxService.recorded(control: control, lastResort: lastResort)
      .filter(\.record.hasArbiter).map { name, record, service in
        let files = ControllerFiles(
          disk: volatile, volatile: volatile, pair: name, clock: SystemClock())
        return Recorded(
          name: name, terms: record.terms, service: service, files: files, overBy: files.overBy())
      }
  }

  /// What may run of pairs that are not configured any more, or not with an arbiter.
  static func fenceForgotten(_ control: String, _ lastResort: LastResort?, but kept: Set<String>) {
    for forgotten in recorded(control, lastResort) where !kept.contains(forgotten.name) {
      forgotten.end(isSwept: false)
    }
  }

  /// After a controller died: what may not run any longer is stopped. Its lease, where it lives, is
  /// left to the controller that follows. Goes by what is on record, not by what is configured.
  /// - Parameter controls: folders of control sockets.
  static func fenceInStead(_ controls: [String]) {
    let environment = ProcessInfo.processInfo.environment
    let result = environment["SERVICE_RESULT"]
    let clock = SystemClock()
    let began = clock.now()
    var followed = controls.flatMap { recorded($0, LastResort(environment)) }
    var ended: [Recorded] = []
    // Nobody follows one that ended in order; what was hung once may hang again.
    let isFollowing = result != nil && result != "watchdog" && result != "success"
    while true {
      // Nor does anybody while this waits for another pair.
      let now = clock.now()
      for index in followed.indices.reversed()
      where !isFollowing || !followed[index].isFollowed(now) {
        let last = followed.remove(at: index)
        last.end()
        ended.append(last)
      }
      let waiting = ended.filter { !$0.isSettled.isSet }
      // Where nobody counts on it, or the host is not to be ended, the next controller goes on.
      guard let last = waiting.map({ $0.overBy ?? began }).max(),
        now < last + Limits.fenceInSteadWithin
      else { break }
      for end in waiting {
        if let overBy = end.overBy, now >= overBy { end.service.endHost() }
      }
      usleep(1000)
    }
  }
}

private let fenceAgainMicros: UInt32 = 10_000
