import CLinux
import Glibc

/// A thread of its own, not one of a pool that may be busy, and where this process may have it so
/// before all that is not as urgent (`LimitRTPRIO=`; what is inherited ends with each clone(2)).
package enum OwnThread {
  private final class Start {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// - Returns: whether it runs.
  package static func begin(_ body: @escaping @Sendable () -> Void) -> Bool {
    var thread = pthread_t()
    let kept = unsafe Unmanaged.passRetained(Start(body))
    let error = unsafe pthread_create(
      &thread, nil,
      { pointer in
        _ = holdfast_hurry()
        guard let pointer = unsafe pointer else { return nil }
        let start = unsafe Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
        start.body()
        return nil
      }, kept.toOpaque())
    if error != 0 { unsafe kept.release() }
    return error == 0
  }
}
