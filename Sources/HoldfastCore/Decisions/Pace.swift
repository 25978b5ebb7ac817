/// Decides when the next point is captured: when changes have rested, at the latest after half of
/// the RPO, never more often than ``Limits/captureSpacing``.
package struct Pace: Equatable, Sendable {
  package let latest: Duration
  private var firstDirty: Instant?
  private var lastDirty: Instant?
  private var lastCapture: Instant?
  private var isUrgent = false
  private var restsUntil: Instant?
  /// Until when the time that units stood still for is more than their share.
  private var runsUntil: Instant?

  package init(rpo: Duration) { latest = rpo / 2 }

  package mutating func changed(at now: Instant) {
    firstDirty = firstDirty ?? now
    lastDirty = now
  }

  /// Somebody asked for a point now.
  package mutating func urged(at now: Instant) {
    changed(at: now)
    isUrgent = true
  }

  /// A capture begins; changes from here on belong to the next one.
  package mutating func captured(at now: Instant) {
    firstDirty = nil
    lastDirty = nil
    isUrgent = false
    lastCapture = now
  }

  /// What ended just now was costly: the next capture waits for so many times as long, so that such
  /// work takes a bounded share of the time.
  package mutating func rest(
    after cost: Duration, at now: Instant, share: Int = Limits.costlyShare
  ) {
    restsUntil = max(restsUntil ?? now, now + cost * share)
  }

  /// Units stood still for so long: whoever asked for it, they run for so many times as long before
  /// the next capture that nobody asks for.
  package mutating func stoodStill(for time: Duration, at now: Instant) {
    let share = time * Limits.frozenShare
    let owed = max(runsUntil ?? now, now) + share
    // Of what people ask for no more is owed than they may wait for, or the last one cost.
    runsUntil = min(owed, now + max(Limits.frozenRestMax, share))
  }

  /// When to capture, or `nil` while nothing has changed. May lie in the past.
  package var due: Instant? {
    guard let firstDirty, let lastDirty else { return nil }
    if isUrgent { return firstDirty }
    let rested = min(lastDirty + Limits.restBeforeCapture, firstDirty + latest)
    guard let lastCapture else { return rested }
    let spaced = max(rested, lastCapture + Limits.captureSpacing)
    return [spaced, restsUntil, runsUntil].compactMap(\.self).max()
  }
}
