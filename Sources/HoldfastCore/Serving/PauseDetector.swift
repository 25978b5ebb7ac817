/// Tells from two clocks, read again and again, whether this host stood still meanwhile: suspended,
/// or paused by a hypervisor, or so busy that nothing ran.
package struct PauseDetector: Sendable {
  private let period: Duration
  private let limit: Duration
  private var last: (boot: Instant, wall: WallTime)?

  /// - Parameters:
  ///   - period: between two readings.
  ///   - limit: a pause that is no longer is none.
  package init(period: Duration, limit: Duration) {
    self.period = period
    self.limit = limit
  }

  /// - Parameters:
  ///   - boot: by CLOCK_BOOTTIME, which some pauses are seen in.
  ///   - wall: by CLOCK_REALTIME. After a pause that the former knows nothing of, whoever keeps the
  ///     host's time sets this one forward; a person who does the same is taken for a pause.
  /// - Returns: for how long it stood still; `nil`: it did not.
  package mutating func on(boot: Instant, wall: WallTime) -> Duration? {
    defer { last = (boot, wall) }
    guard let last else { return nil }
    let passed = boot - last.boot
    let gap = max(passed, wall - last.wall) - period
    return gap > limit ? gap : nil
  }
}
