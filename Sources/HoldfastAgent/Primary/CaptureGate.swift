package import HoldfastCore
import Synchronization

/// What the pair tells a capture worker at once, also while it is in the midst of a capture.
package final class CaptureGate: Sendable {
  private struct State {
    var awaitsPeer = false
    var awaitsHints = false
    var highest = PointNumber.none
    var isInterrupted = false
    var hints: [Hints] = []
    var isServiceEnded = false
  }

  /// Prefixes of the names of chunks that the standby holds.
  struct Hints {
    var prefixes: [UInt64]
    /// All that was known before is forgotten.
    var isReplacing: Bool
    var isLast: Bool
    /// Whether what it held was more than is kept.
    var isCut: Bool
  }

  private let state = Mutex(State())

  package struct Interrupted: Error, CustomStringConvertible {
    package let description = "the capture was interrupted and begins again"
  }

  /// While the other side is being asked how far it is, no capture begins.
  package func expectPeer(_ isExpected: Bool) { state.withLock { $0.awaitsPeer = isExpected } }

  /// Before a whole point the standby says what it holds.
  package func expectHints(_ isExpected: Bool) { state.withLock { $0.awaitsHints = isExpected } }

  /// What was asked of the other side will not be answered: a whole point then carries more than
  /// it had to, and nothing waits.
  package func peerLeft() {
    state.withLock { state in
      state.awaitsPeer = false
      state.awaitsHints = false
    }
  }

  package var awaitsHints: Bool { state.withLock { $0.awaitsHints } }
  package var isWaiting: Bool { state.withLock { $0.awaitsPeer || $0.awaitsHints } }

  /// A point number that the other side has seen: no other point may have it.
  package func saw(_ number: PointNumber) {
    state.withLock { $0.highest = max($0.highest, number) }
  }
  package var highest: PointNumber { state.withLock { $0.highest } }

  /// Keeps what the standby says that it holds until the worker takes it. Beyond a bound the rest
  /// is dropped: what is not known to be held is sent once more.
  package func hear(_ prefixes: [UInt64], replacing: Bool, isLast: Bool) {
    state.withLock { state in
      let isFull = state.hints.count >= Limits.hintFramesMax
      state.hints.append(
        Hints(
          prefixes: isFull ? [] : prefixes, isReplacing: replacing, isLast: isLast,
          isCut: isFull && !prefixes.isEmpty))
    }
  }
  func takeHints() -> [Hints] {
    state.withLock { state in
      defer { state.hints = [] }
      return state.hints
    }
  }

  /// Whether the controller has ended the service in order, so that what it wrote is whole. Set
  /// only while it is, and taken back before anybody may start it.
  package var isServiceEnded: Bool {
    get { state.withLock { $0.isServiceEnded } }
    set { state.withLock { $0.isServiceEnded = newValue } }
  }

  /// The capture that runs gives up soon; none begins before ``proceed()``.
  package func interrupt() { state.withLock { $0.isInterrupted = true } }
  package func proceed() { state.withLock { $0.isInterrupted = false } }
  package func check() throws {
    if state.withLock({ $0.isInterrupted }) { throw Interrupted() }
  }
}
