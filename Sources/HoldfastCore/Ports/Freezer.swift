/// How a time that units were frozen ended.
package struct FrozenSpan: Hashable, Sendable {
  /// From the order to freeze until all ran again.
  package var duration: Duration
  /// Whether the limit came before the order to thaw.
  package var isOverdue: Bool
  package init(duration: Duration, isOverdue: Bool) {
    self.duration = duration
    self.isOverdue = isOverdue
  }
}

/// Stops all processes of units for moments, and lets them go on whatever becomes of the agent.
/// All calls block.
package protocol Freezer: Sendable {
  /// Returns once every process of the units is frozen. They are thawed after `limit` in any case.
  /// - Throws: why they are not frozen; then none is, and what it took is in the span.
  func freeze(_ units: [String], atMost limit: Duration) throws(ProviderError)
  /// Returns once they run again.
  /// - Throws: where this site is fenced: then they never run again.
  func thaw() throws(ProviderError) -> FrozenSpan
  /// Thaws what a crash left frozen.
  /// - Returns: what could not be thawed.
  func recover() -> [String]
  /// Whether a process belongs to the units.
  func holds(_ process: Int32, of units: [String]) -> Bool
  /// What people call a process: number, name, unit.
  func describe(_ process: Int32) -> String
}
