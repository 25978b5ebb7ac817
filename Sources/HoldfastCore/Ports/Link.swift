/// Why a session ended.
package enum LinkError: Error, Sendable, Hashable {
  case closed
  case silent
  case broken(String)
}

/// One authenticated session with a peer: whole frames, in order, in both directions.
package protocol Link: Sendable {
  /// The key that the peer proved.
  var peer: Fingerprint { get }
  /// Returns when the frame has been handed to the kernel or to a bounded buffer.
  /// - Parameter frame: at most ``Limits/frameBytesMax`` bytes.
  func send(_ frame: [UInt8]) async throws(LinkError)
  /// The same for a frame of `head`, then `bytes[range]`, then zeros.
  func send(
    _ head: [UInt8], _ bytes: [UInt8], _ range: Range<Int>, padding: Int
  ) async throws(LinkError)
  /// - Returns: `nil` once the peer has closed in order.
  func receive() async throws(LinkError) -> [UInt8]?
  func close() async
}
