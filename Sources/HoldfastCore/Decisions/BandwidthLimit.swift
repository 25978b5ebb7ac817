/// A token bucket: how long to wait before sending so many bytes.
package struct BandwidthLimit: Equatable, Sendable {
  private let bytesPerSecond: Int64?
  private var free: Instant?

  /// - Parameter bytesPerSecond: `nil` for no limit.
  package init(bytesPerSecond: Int64?) { self.bytesPerSecond = bytesPerSecond }

  /// - Returns: when these bytes may go; now where there is no limit.
  package mutating func reserve(_ bytes: Int, at now: Instant) -> Instant {
    guard let rate = bytesPerSecond, rate > 0 else { return now }
    let start = max(free ?? now, now)
    let nanos = Double(bytes) / Double(rate) * 1e9
    free = start + .nanoseconds(Int64(min(nanos, 3600e9)))
    return start
  }
}
