/// How much work it is worth to make records smaller. It follows what the capture waits for.
package enum CompressionEffort: Hashable, Sendable, CaseIterable {
  /// The link waits for the capture, and the capture for compression.
  case quick
  case usual
  /// What was captured waits long for the link.
  case thorough

  /// - Parameters:
  ///   - isEncoderLate: whether records are gathered faster than they are compressed.
  ///   - backlog: captured bytes that are not durable on the standby.
  ///   - bytesPerSecond: over the link of late; `nil` where it is not known.
  package init(isEncoderLate: Bool, backlog: Int64, bytesPerSecond: Double?) {
    if let bytesPerSecond, Double(backlog) > bytesPerSecond * Limits.slowLink.seconds {
      self = .thorough
    } else if isEncoderLate, backlog < Limits.idleLinkBytes {
      self = .quick
    } else {
      self = .usual
    }
  }
}
