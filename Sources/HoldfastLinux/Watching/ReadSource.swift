import Dispatch
import HoldfastCore

/// Calls back on a thread of its own while a descriptor has something to read, at once for the
/// first of it and then at intervals: busy databases make thousands of events a second.
final class ReadSource: @unchecked Sendable {
  // Dispatch sources may be used from any thread; this one is immutable once made.
  private let source: any DispatchSourceRead

  init(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    let queue = DispatchQueue(label: "watch")
    source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
    source.setEventHandler {
      handler()
      SystemClock().block(for: Limits.restBetweenEvents)
    }
  }
  func start() { source.resume() }
  deinit { source.cancel() }
}
