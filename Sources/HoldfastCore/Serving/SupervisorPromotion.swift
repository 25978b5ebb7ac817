/// Promoting this site: by itself, or on a person's order.
extension Supervisor {
  /// The arbiter says that nobody holds the lease.
  /// - Parameter newest: the reign that was the last. One that follows this site's own may have
  ///   been granted to it too late, when it wanted it no more: nobody else can replace that. Where
  ///   it is the other site's the arbiter says so, and this one does not ask again.
  mutating func nobodyHolds(_ newest: Reign, _ now: Instant, _ orders: inout [Order]) {
    guard intent == nil, let report, mayBePromoted(report), report.promiseLeft <= .zero,
      now >= promiseEnd
    else { return }
    let own = report.record.reign
    guard newest == own || (newest.epoch == own.epoch.next && newest != askedAt) else { return }
    guard let reason = reasonToWait(report, now) else {
      askedAt = newest
      return failover(isOrdered: false, nil, &orders)
    }
    // Both may just have begun.
    let since = freeSince ?? now
    freeSince = since
    if now - since >= settings.terms.ttl { withheld = reason }
  }

  /// What the controller before this one wanted.
  mutating func goOn(
    with intent: PromotionIntent?, _ now: Instant, _ orders: inout [Order]
  ) {
    guard let intent else { return }
    guard settings.hasArbiter else {
      // Nobody grants it any more.
      return orders.append(.persist(nil))
    }
    self.intent = intent
    // A person has taken that decision upon himself since.
    if intent.cause == .automatic, !settings.isAutomatic, !intent.isWithdrawn {
      withdraw(now, &orders)
    }
  }

  private func reasonToWait(_ report: AgentReport, _ now: Instant) -> Withheld? {
    guard settings.isAutomatic else { return .byHand }
    if isHoldingBack(now) { return .heldBack }
    // An agent that is silent would not promote either.
    guard report.role == .standby, let loss = recentLoss(now) else { return .unknownLoss }
    return loss > settings.maxLoss ? .loss : nil
  }

  /// One that has heard of nobody since its start does not know what would be lost: a person may
  /// have it promoted all the same.
  private func mayBePromoted(_ report: AgentReport) -> Bool {
    report.record.part == .standby && !report.isRefused
      && (report.role == .standby || report.role == .unknown)
  }

  mutating func failover(
    isOrdered: Bool, isLossAccepted: Bool = false, _ point: PointNumber?,
    _ orders: inout [Order]
  ) {
    guard let report, mayBePromoted(report) else { return orders.append(.refuse(nil)) }
    if var begun = intent, begun.isOrdered || !isOrdered {
      guard isOrdered, isLossAccepted, !begun.isLossAccepted else { return }
      begun.isLossAccepted = true
      intent = begun
      return orders.append(.persist(begun))
    }
    // The agent hears of who ordered it first.
    if intent?.cause == .planned || intent?.isWithdrawn == true {
      return orders.append(.refuse(nil))
    }
    guard let chance else { return orders.append(.refuse(nil)) }
    self.chance = nil
    let reign = intent?.reign ?? Reign(epoch: report.record.reign.epoch.next, id: chance)
    let begun = PromotionIntent(
      reign: reign, cause: isOrdered ? .ordered : .automatic, point: point,
      isLossAccepted: isLossAccepted)
    intent = begun
    promotingSince = nil
    nextAsk = Instant(nanos: .min)
    orders.append(.persist(begun))
  }

  /// What is not here of what was written until now; `nil`: not known.
  private func recentLoss(_ now: Instant) -> Duration? {
    // What an agent that is silent said then is not so any more.
    guard let loss = report?.loss, let reportedAt, now - reportedAt <= Limits.reportCountsFor
    else { return nil }
    return loss + (now - reportedAt)
  }

  /// Whether this site, which declined a reign, leaves it to the other for a while.
  package func isHoldingBack(_ now: Instant) -> Bool {
    declinedAt.map { now - $0 < Limits.promotionTriedAgainAfter } ?? false
  }

  /// The agent cannot do it, or gives no answer.
  mutating func giveUpPromotion(_ now: Instant, _ orders: inout [Order]) {
    guard let intent, !intent.isWithdrawn, let promotingSince,
      now - promotingSince >= Limits.promotionTriedFor
    else { return }
    // What a person ordered a person withdraws.
    if intent.cause != .ordered { withdraw(now, &orders) }
  }

  /// Whatever the arbiter has granted of it, or grants yet, is declined.
  mutating func withdraw(_ now: Instant, _ orders: inout [Order]) {
    declinedAt = now
    isPromoting = false
    intent?.isWithdrawn = true
    promotingSince = nil
    pending = nil
    pendingPromise = nil
    lease = nil
    nextAsk = Instant(nanos: .min)
    orders.append(.persist(intent))
  }

  mutating func abandon(_ why: ArbiterRefusal?, _ orders: inout [Order]) {
    let wasOrdered = intent?.isOrdered == true
    intent = nil
    promotingSince = nil
    orders.append(.persist(nil))
    if wasOrdered { orders.append(.refuse(why)) }
  }
}
