import CLinux
import Glibc
package import HoldfastCore

/// A thread that does nothing but wait for a moment (timerfd_create(2), CLOCK_BOOTTIME), so that
/// nothing else this process does can make it late.
package final class DeadlineThread: DeadlineTimer {
  private let timer: Descriptor

  /// - Parameter expired: called on the thread, at or after each moment that was set and not
  ///   replaced before.
  package init?(expired: @escaping @Sendable () -> Void) {
    let number = holdfast_timer()
    guard number >= 0 else { return nil }
    timer = Descriptor(number)
    let timer = timer
    let isRunning = OwnThread.begin {
      var count: UInt64 = 0
      while true {
        let read = unsafe withUnsafeMutableBytes(of: &count) { bytes in
          retried { unsafe Glibc.read(timer.number, bytes.baseAddress, bytes.count) }
        }
        if read == 8 { expired() }
      }
    }
    guard isRunning else { return nil }
  }

  package func set(_ moment: Instant?) {
    // A moment of zero would disarm it.
    let error = holdfast_set_timer(timer.number, moment.map { max(1, $0.nanos) } ?? 0)
    precondition(error == 0, "timerfd_settime: \(errnoText(errno))")
  }
}
