/// Knows the newest moment up to which the standby durably has everything. Used on both sites,
/// each with its own clock: the primary claims "all that happened until then is in point n", and
/// a claim counts once n is durable.
package struct LagClock: Equatable, Sendable {
  package struct Claim: Equatable, Sendable {
    package var point: PointNumber
    package var moment: Instant
    package init(point: PointNumber, moment: Instant) {
      self.point = point
      self.moment = moment
    }
  }

  private static let claimsMax = 256
  private var waiting: [Claim] = []
  /// Everything up to here is durable on the standby.
  package private(set) var reached: Instant?
  private var durable = PointNumber.none

  package init() {}

  package mutating func claimed(_ claim: Claim) {
    if claim.point <= durable {
      reached = max(reached ?? claim.moment, claim.moment)
      return
    }
    if let last = waiting.last, last.point == claim.point {
      waiting[waiting.count - 1].moment = max(last.moment, claim.moment)
    } else {
      waiting.append(claim)
    }
    // The shown lag only grows where claims are dropped, so it is never better than the truth.
    if waiting.count > Self.claimsMax { waiting.remove(at: Self.claimsMax / 2) }
  }

  package mutating func durable(_ point: PointNumber) {
    durable = max(durable, point)
    for claim in waiting where claim.point <= durable {
      reached = max(reached ?? claim.moment, claim.moment)
    }
    waiting.removeAll { $0.point <= durable }
  }

  /// Events were lost, or the role was: nothing is known until a new claim is met.
  package mutating func forget() {
    waiting = []
    reached = nil
  }

  package func lag(at now: Instant) -> Duration? {
    guard let reached else { return nil }
    return max(.zero, now - reached)
  }
}
