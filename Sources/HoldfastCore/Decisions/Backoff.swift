/// Capped exponential waiting with jitter: the n-th wait is drawn from the upper half of
/// `first · 2^n`, so that two sites never keep step.
package struct Backoff: Equatable, Sendable {
  private var failures = 0
  package init() {}

  package mutating func succeeded() { failures = 0 }

  package mutating func failed(_ dice: any Dice) -> Duration {
    let whole = min(
      Limits.backoffMax.nanos, Limits.backoffFirst.nanos << Int64(min(failures, 20)))
    failures += 1
    let jitter = Int64(dice.word() % UInt64(whole / 2 + 1))
    return .nanoseconds(whole - jitter)
  }
}
