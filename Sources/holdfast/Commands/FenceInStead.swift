import FoundationEssentials
import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux

extension ControllerCommand {
  private static let fenceAgainMicros: UInt32 = 10_000

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

  /// After a controller died: what may not run any longer is stopped. Its lease, where it lives, is
  /// left to the controller that follows. Goes by what is on record, not by what is configured.
  /// - Parameter controls: folders of control sockets.
  static func fenceInStead(_ controls: [String]) {
    let environment = ProcessInfo.processInfo.environment
    let result = environment["SERVICE_RESULT"]
    let clock = SystemClock()
    let began = clock.now()
    var ends: [(service: LinuxService, overBy: Instant?, files: ControllerFiles)] = []
    for (control, name, record, service) in controls.flatMap({ control in
      LinuxService.recorded(control: control, lastResort: LastResort(environment))
        .map { (control, $0.pair, $0.record, $0.service) }
    }) where record.hasArbiter {
      guard let volatile = try? LinuxDisk(control) else { continue }
      let files = ControllerFiles(disk: volatile, volatile: volatile, pair: name, clock: clock)
      let terms = record.terms
      let next = clock.now() + terms.abortTimeout
      let isFollowed =
        files.handover(pauseMax: terms.pauseMax).map { terms.mayHandOver($0, now: next) } ?? false
      // Nobody follows one that ended in order; what was hung once may hang again.
      if isFollowed, result != "watchdog", result != "success" { continue }
      files.note(nil)
      ends.append((service, files.overBy(), files))
      // Each on its own: one that hangs keeps no other.
      let isBegun = OwnThread.begin {
        for line in service.fence() { Terminal.complain("\(name): \(line)") }
        while !service.isOver {
          usleep(Self.fenceAgainMicros)
          _ = service.fence()
        }
      }
      if !isBegun { _ = service.fence() }
    }
    while true {
      let waiting = ends.filter { !$0.service.isOver }
      // Where nobody counts on it, or the host is not to be ended, the next controller goes on.
      guard let last = waiting.map({ $0.overBy ?? began }).max(),
        clock.now() < last + Limits.fenceInSteadWithin
      else { break }
      for end in waiting {
        if let overBy = end.overBy, clock.now() >= overBy { end.service.endHost() }
      }
      usleep(1000)
    }
    for end in ends where end.service.isOver {
      end.files.note(overBy: nil)
      end.service.sweep()
    }
  }
}
