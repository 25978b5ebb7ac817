/// What the answers of the arbiter, and the promises of the other site, lead to.
extension Supervisor {
  mutating func answered(
    _ answer: ArbiterAnswer, to asked: ArbiterRequest, _ request: Pending, _ now: Instant,
    _ orders: inout [Order]
  ) {
    refusal = nil
    isArbiterLost = false
    // Who can be asked knows better than the other site.
    pendingPromise = nil
    withheld = nil
    if case .free = answer {} else { freeSince = nil }
    switch answer {
    case .free(let reign): (vacant, isHeldByOther) = (reign, false)
    case .granted: (vacant, isHeldByOther) = (nil, nil)
    case .held: (vacant, isHeldByOther) = (nil, true)
    case .refused(.quiet), .refused(.superseded): isHeldByOther = true
    case .refused(.split), .refused(.unheard): isHeldByOther = false
    case .released, .refused(.foreign): break
    }
    switch answer {
    case .granted(let wait):
      othersLeaseEnd = now + wait
      hasReleased = false
      if isReady {
        // Of a renewal that was under way: given back at once.
        nextAsk = Instant(nanos: .min)
      } else {
        extend(request.reign, from: request.sentAt, now, &orders)
      }
      if let intent, intent.reign == request.reign, !isPromoting {
        isPromoting = true
        promotingSince = promotingSince ?? now
        orders.append(.promote(intent, othersLeft: wait))
      }
    case .released:
      if asked == .release {
        hasReleased = true
        lease = nil
        if isReady { yield = .released }
      } else if let intent, intent.isWithdrawn, asked == .decline(intent.reign) {
        declinedAt = now
        abandon(nil, &orders)
      }
    case .held(let reign, _) where asked == .ask:
      // Of so long after it the other site has been granted its lease: it serves again.
      if let declinedAt, now - declinedAt > settings.terms.ttl * 2 { self.declinedAt = nil }
      if let report, reign.epoch > report.record.reign.epoch { contradict() }
      settle(reign, now, &orders)
    case .held:
      // Of a planned move the other site's release is on its way.
      guard let intent else { break }
      if isOffered(intent) { nextAsk = now + Limits.superviseEvery } else { abandon(nil, &orders) }
    case .free(let reign):
      settle(reign, now, &orders)
      nobodyHolds(reign, now, &orders)
    case .refused(let refusal):
      self.refusal = refusal
      switch refusal {
      case .superseded, .split:
        if intent != nil { return abandon(refusal, &orders) }
        if mayRun { fence(.superseded, &orders) }
        lease = nil
        contradict()
      case .unheard, .foreign, .quiet: withoutArbiter(now, &orders)
      }
    }
  }

  private mutating func contradict() {
    wordReign = nil
    if report?.isByWord == true { contradicted = report?.record.reign }
  }

  mutating func extend(
    _ reign: Reign, from sentAt: Instant, _ now: Instant, _ orders: inout [Order]
  ) {
    let end = sentAt + settings.terms.servingTime
    guard end > now else { return }
    if let lease, lease.reign == reign, lease.fenceAt >= end { return }
    lease = Lease(reign: reign, fenceAt: end)
    if mayRun { orders.append(.note(lease)) }
    if service == .fencing, let by = fencedBy, report?.record.reign == reign {
      // Nobody else is granted anything before this one's new lease is over.
      fencedBy = max(by, end + settings.terms.fencingTime)
    }
    resume(reign, &orders)
    wordCountsFrom = now + Limits.agentAnswersWithin
    if wordReign == reign {
      // From now on the lease counts, and the agent is told so.
      wordReign = nil
      orders.append(.hand(reign))
    }
  }
}
