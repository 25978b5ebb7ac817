import HoldfastCore
import Synchronization

/// Time that goes on only from one moment that somebody waits for to the next.
final class StepClock: Timekeeper {
  private struct State {
    var now = Instant(nanos: 1_000_000_000)
    var isOver = false
    var sleepers: [(end: Instant, continuation: CheckedContinuation<Void, Never>)] = []
  }
  private let state = Mutex(State())

  func now() -> Instant { state.withLock { $0.now } }
  func wall() -> WallTime { WallTime(nanos: now().nanos) }
  func block(for duration: Duration) {}

  func sleep(until deadline: Instant) async throws {
    await withCheckedContinuation { continuation in
      let isPast = state.withLock { state in
        if state.isOver || deadline <= state.now { return true }
        state.sleepers.append((deadline, continuation))
        return false
      }
      if isPast { continuation.resume() }
    }
    try Task.checkCancellation()
  }

  /// Goes on to the next end of a sleep.
  /// - Returns: false where nobody sleeps.
  func step() -> Bool {
    let woken = state.withLock { state in
      guard let next = state.sleepers.map(\.end).min() else { return state.sleepers }
      state.now = next
      let woken = state.sleepers.filter { $0.end <= next }
      state.sleepers.removeAll { $0.end <= next }
      return woken
    }
    for sleeper in woken { sleeper.continuation.resume() }
    return !woken.isEmpty
  }

  /// Nobody sleeps any more.
  func end() {
    let left = state.withLock { state in
      state.isOver = true
      defer { state.sleepers = [] }
      return state.sleepers
    }
    for sleeper in left { sleeper.continuation.resume() }
  }
}
