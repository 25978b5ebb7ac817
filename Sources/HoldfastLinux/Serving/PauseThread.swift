import CLinux
import Glibc
package import HoldfastCore

/// Looks at both clocks again and again from a thread of its own, and says where this host stood
/// still meanwhile.
package enum PauseThread {
  /// - Parameters:
  ///   - limit: a pause that is no longer is none.
  ///   - paused: called on the thread.
  /// - Returns: whether there is such a thread.
  package static func begin(
    limit: Duration, clock: any Timekeeper, paused: @escaping @Sendable (Duration) -> Void
  ) -> Bool {
    let period = Limits.pauseLookEvery
    return OwnThread.begin {
      var detector = PauseDetector(period: period, limit: limit)
      while true {
        if let pause = detector.on(boot: clock.now(), wall: clock.wall()) { paused(pause) }
        // By a clock that goes on where this host stands still: what is left of it is over then.
        var time = timespec(tv_sec: 0, tv_nsec: Int(period.nanos))
        unsafe _ = clock_nanosleep(CLOCK_BOOTTIME, 0, &time, nil)
      }
    }
  }
}
