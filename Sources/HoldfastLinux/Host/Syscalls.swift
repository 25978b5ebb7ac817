import CLinux
import Glibc
package import HoldfastCore

/// One descriptor, closed when the last owner goes.
final class Descriptor: @unchecked Sendable {
  // Immutable; the kernel guards the rest.
  let number: Int32
  init(_ number: Int32) { self.number = number }
  deinit { _ = Glibc.close(number) }
}

/// Calls `body` with the bytes as a C string. Bytes after a NUL would be lost, so callers pass
/// names that were checked (``TreePath``).
func withCString<Result>(
  _ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> Result
) -> Result {
  let terminated = bytes + [0]
  return unsafe terminated.withUnsafeBufferPointer { buffer in
    // An array with an element has an address, and CChar has the layout of UInt8.
    guard let base = buffer.baseAddress else { preconditionFailure("no address") }
    return unsafe base.withMemoryRebound(to: CChar.self, capacity: terminated.count) {
      unsafe body($0)
    }
  }
}

/// Repeats a call that a signal interrupted.
/// - Returns: the result, or the errno negated.
func retried(_ call: () -> Int) -> Int {
  while true {
    let result = call()
    if result >= 0 { return result }
    let error = errno
    if error != EINTR { return -Int(error) }
  }
}

func isFull(_ error: Int32) -> Bool { error == ENOSPC || error == EDQUOT }

/// What a failed call means, in words that strerror(3) has.
package func errnoText(_ error: Int32) -> String {
  var buffer = [CChar](repeating: 0, count: 128)
  _ = unsafe strerror_r(error, &buffer, buffer.count)
  let end = buffer.firstIndex(of: 0) ?? buffer.count
  return String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension WallTime {
  init(_ time: timespec) {
    self.init(seconds: Int64(time.tv_sec), nanos: Int64(time.tv_nsec))
  }
  var timespec: timespec {
    var seconds = nanos / 1_000_000_000
    var rest = nanos % 1_000_000_000
    if rest < 0 {
      rest += 1_000_000_000
      seconds -= 1
    }
    return Glibc.timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
  }
}

/// The real clocks.
package struct SystemClock: Timekeeper {
  package init() {}
  package func now() -> Instant {
    var time = timespec()
    unsafe clock_gettime(CLOCK_BOOTTIME, &time)
    return Instant(nanos: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }
  package func wall() -> WallTime {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(time)
  }
  package func block(for duration: Duration) {
    _ = usleep(UInt32(clamping: duration.nanos / 1000))
  }
  package func sleep(until deadline: Instant) async throws {
    let wait = deadline - now()
    if wait > .zero { try await Task.sleep(for: wait) }
  }
}

/// Chance from the kernel.
package struct SystemDice: Dice {
  package init() {}
  package func word() -> UInt64 { UInt64.random(in: .min ... .max) }
}
