import Dispatch

/// Calls back on a thread of its own choosing while a descriptor has something to read.
final class ReadSource: @unchecked Sendable {
  // Dispatch sources may be used from any thread; this one is immutable once made.
  private let source: any DispatchSourceRead

  init(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
    source.setEventHandler(handler: handler)
  }
  func start() { source.resume() }
  deinit { source.cancel() }
}
