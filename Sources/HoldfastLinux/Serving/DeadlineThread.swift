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
    let start = Start {
      var count: UInt64 = 0
      while true {
        let read = unsafe withUnsafeMutableBytes(of: &count) { bytes in
          retried { unsafe Glibc.read(timer.number, bytes.baseAddress, bytes.count) }
        }
        if read == 8 { expired() }
      }
    }
    guard start.run() else { return nil }
  }

  package func set(_ moment: Instant?) {
    // A moment of zero would disarm it.
    let error = holdfast_set_timer(timer.number, moment.map { max(1, $0.nanos) } ?? 0)
    precondition(error == 0, "timerfd_settime: \(errnoText(errno))")
  }

  /// A thread of its own, not one of a pool that may be busy.
  private final class Start {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func run() -> Bool {
      var thread = pthread_t()
      let kept = unsafe Unmanaged.passRetained(self)
      let error = unsafe pthread_create(
        &thread, nil,
        { pointer in
          guard let pointer = unsafe pointer else { return nil }
          let start = unsafe Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
          start.body()
          return nil
        }, kept.toOpaque())
      if error != 0 { unsafe kept.release() }
      return error == 0
    }
  }
}
