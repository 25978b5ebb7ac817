import HoldfastAgent
import HoldfastCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct `A signal` {
  /// Every deadline has passed.
  private struct LateClock: Timekeeper {
    func now() -> Instant { Instant(nanos: 0) }
    func wall() -> WallTime { WallTime(nanos: 0) }
    func sleep(until deadline: Instant) async throws {}
    func block(for duration: Duration) {}
  }

  @Test func `ends each wait whose deadline passes, though that be before the wait began`() async {
    let signal = Signal()
    // Which comes first is the scheduler's to say: both do, in so many.
    for _ in 0..<5_000 { await signal.wait(until: Instant(nanos: 0), LateClock()) }
  }

  @Test func `keeps a wake that comes while nobody waits, once`() async {
    let signal = Signal()
    signal.set()
    signal.set()
    await signal.wait(until: nil, LateClock())
    let again = Task { await signal.wait(until: nil, LateClock()) }
    signal.set()
    await again.value
  }

  @Test func `lets go of who is cancelled`() async {
    let signal = Signal()
    let waiting = Task { await signal.wait(until: nil, LateClock()) }
    waiting.cancel()
    await waiting.value
  }
}
