/// How a time that units were frozen ended.
package struct FrozenSpan: Hashable, Sendable {
  /// From the order to freeze until all ran again.
  package var duration: Duration
  package var ending: Ending

  package enum Ending: Int, Sendable {
    /// All stood still until the order to thaw.
    case ordered
    /// The limit came before it.
    case overdue
    /// Somebody else let some of them go, or started more.
    case disturbed
  }

  package init(duration: Duration, ending: Ending) {
    self.duration = duration
    self.ending = ending
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
  /// Whether a process of the units is there.
  func isRunning(_ units: [String]) -> Bool
  /// Whether a process belongs to the units.
  func holds(_ process: Int32, of units: [String]) -> Bool
  /// What people call a process: number, name, unit.
  func describe(_ process: Int32) -> String
}
