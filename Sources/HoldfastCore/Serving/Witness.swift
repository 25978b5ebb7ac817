/// What the witness keeps durably of one pair.
package struct WitnessRecord: Hashable, Sendable {
  package var pair: RandomID
  /// The two keys that may speak of it, the lower first.
  package var sites: [Fingerprint]
  package var reign: Reign
  /// Whose reign it is; `nil` where only the other site has spoken of it.
  package var holder: Fingerprint?
  /// No grant that still lives runs for longer from its moment on.
  package var ttl: Duration
  /// The holder gave the lease back.
  package var isReleased: Bool
  /// No lease of an earlier reign lives.
  package var isSettled: Bool
  /// The last reign that a site declined: a request for it that comes late is refused.
  package var declined: Reign?

  package init(
    pair: RandomID, sites: [Fingerprint], reign: Reign, holder: Fingerprint?, ttl: Duration,
    isReleased: Bool, isSettled: Bool, declined: Reign? = nil
  ) {
    self.declined = declined
    self.pair = pair
    self.sites = sites
    self.reign = reign
    self.holder = holder
    self.ttl = ttl
    self.isReleased = isReleased
    self.isSettled = isSettled
  }

  /// Where a site declines a reign that was granted to it and never began, the other site has the
  /// one before again. Its lease has to be granted anew.
  /// - Parameter told: what the site that declines is.
  /// - Returns: whether the other site has it again; false where it was not granted, or is
  ///   replaced already.
  package mutating func decline(
    _ reign: Reign, by site: Fingerprint, _ told: RoleRecord
  ) -> Bool {
    declined = reign
    guard self.reign == reign, holder == site, told.part == .standby,
      told.reign.epoch.next == reign.epoch
    else { return false }
    self.reign = told.reign
    holder = sites.first { $0 != site }
    isReleased = false
    return true
  }
}

/// Decides who of a pair's two sites holds the lease. One value for all pairs; of each, what
/// happens is a matter of its own.
package struct Witness: Sendable {
  package enum Order: Hashable, Sendable {
    /// Make this durable before any later order of the list is obeyed.
    case persist(WitnessRecord)
    case answer(ArbiterAnswer)
  }

  fileprivate struct Entry {
    var record: WitnessRecord
    /// When the lease ends; `nil`: none was granted since the start.
    var expiry: Instant?
    /// Until then nothing is granted to anybody.
    var quietForAll: Instant
    /// Until then nobody is granted what was not already theirs.
    var quietForNew: Instant
    /// Until then, or its first grant, nothing is granted to who does not reign: who does may serve
    /// on a person's word.
    var holderFirst: Instant
    /// When the last lease of an earlier reign ends.
    var priorExpiry: Instant
    /// The same as it was before the newest reign was granted, for the case that it is declined.
    var declinedPriorExpiry: Instant?
  }
  private var entries: [RandomID: Entry] = [:]
  /// Of pairs that nothing is on record of: what each site said last.
  private var hearsay: [Fingerprint: [RandomID: SiteStatement]] = [:]

  /// - Parameter records: all that was ever persisted, the newest of each pair.
  package init(records: [WitnessRecord], now: Instant) {
    for record in records {
      // Who held it before goes on at once; a grant of before the restart may still live.
      let isOver = record.isReleased && record.isSettled
      entries[record.pair] = Entry(
        record: record, expiry: nil, quietForAll: now,
        quietForNew: isOver ? now : now + record.ttl, holderFirst: now,
        priorExpiry: record.isSettled ? now : now + record.ttl)
    }
  }

  package var records: [WitnessRecord] { entries.values.map(\.record) }

  /// - Parameter site: the key that the link proved.
  package mutating func on(
    _ request: ArbiterRequest, from site: Fingerprint, _ statement: SiteStatement, now: Instant
  ) -> [Order] {
    guard var entry = entries[statement.pair] else { return heard(site, statement, now) }
    guard entry.record.sites.contains(site), entry.record.sites.contains(statement.other),
      site != statement.other
    else { return [.answer(.refused(.foreign))] }
    let before = entry.record
    let answer = entry.decide(request, site, statement, now)
    entries[statement.pair] = entry
    return (entry.record == before ? [] : [.persist(entry.record)]) + [.answer(answer)]
  }

  /// An empty witness binds a pair to two keys once each has named the other.
  private mutating func heard(
    _ site: Fingerprint, _ statement: SiteStatement, _ now: Instant
  ) -> [Order] {
    let pair = statement.pair
    guard site != statement.other,
      entries.values.count(where: { $0.record.sites.contains(site) }) < Limits.witnessPairsMax
    else { return [.answer(.refused(.foreign))] }
    guard let theirs = hearsay[statement.other]?[pair], theirs.other == site else {
      var words = hearsay[site] ?? [:]
      // What one site says too much of costs that site alone.
      if words.count >= Limits.witnessUnheardMax { words = [:] }
      words[pair] = statement
      hearsay[site] = words
      return [.answer(.refused(.unheard))]
    }
    let (mine, others) = (statement.record, theirs.record)
    if mine.reign.epoch == others.reign.epoch, mine.reign != others.reign {
      return [.answer(.refused(.split(others.reign)))]
    }
    let isMineNewest =
      (mine.reign.epoch, mine.part.rank) >= (others.reign.epoch, others.part.rank)
    let newest = isMineNewest ? mine : others
    let ttl = max(statement.ttl, theirs.ttl)
    let record = WitnessRecord(
      pair: pair, sites: [site, statement.other].sorted { $0.description < $1.description },
      reign: newest.reign,
      holder: newest.part != .primary ? nil : isMineNewest ? site : statement.other, ttl: ttl,
      isReleased: false, isSettled: false)
    entries[pair] = Entry(
      record: record, expiry: nil, quietForAll: now + ttl, quietForNew: now + ttl,
      holderFirst: now + ttl * 2, priorExpiry: now + ttl)
    hearsay[site]?[pair] = nil
    hearsay[statement.other]?[pair] = nil
    return [.persist(record), .answer(.refused(.quiet(left: ttl)))]
  }
}

extension RoleRecord.Part {
  /// Of two that speak of one reign, the primary knows whose it is.
  fileprivate var rank: Int { self == .primary ? 1 : 0 }
}

extension Witness.Entry {
  fileprivate mutating func decide(
    _ request: ArbiterRequest, _ site: Fingerprint, _ statement: SiteStatement, _ now: Instant
  ) -> ArbiterAnswer {
    let told = statement.record
    let ttl = statement.ttl
    if told.reign.epoch > record.reign.epoch {
      adopt(told, site, ttl, now)
    } else if told.reign.epoch == record.reign.epoch, told.reign != record.reign {
      // Its own reign of that number never began: a person promoted it meanwhile, or it has given
      // way to the other site's.
      guard record.holder == site else {
        return .refused(.split(record.reign))
      }
      adopt(told, site, ttl, now)
    } else if told.reign == record.reign, told.part == .primary, record.holder == nil {
      record.holder = site
    }
    switch request {
    case .renew: return renew(site, told, ttl, now)
    case .acquire(let reign, let cause):
      // A reign of its own that never began it may replace.
      let isOwn =
        record.holder == site && reign.epoch == record.reign.epoch
        && told.reign.epoch < record.reign.epoch
      return acquire(reign, site, cause, isOwn, ttl, now)
    case .release: return release(site, told, now)
    case .decline(let reign):
      if record.decline(reign, by: site, told) {
        // Nobody served under what was granted of it; the other site may yet, under its own.
        expiry = priorExpiry > now ? priorExpiry : nil
        priorExpiry = declinedPriorExpiry ?? priorExpiry
        declinedPriorExpiry = nil
        record.isSettled = now >= priorExpiry
      }
      return .released
    case .ask: return ask(now)
    }
  }

  /// A promotion that this witness did not decide: on a person's word, or before its disk was lost.
  private mutating func adopt(
    _ told: RoleRecord, _ site: Fingerprint, _ ttl: Duration, _ now: Instant
  ) {
    record.ttl = max(record.ttl, ttl)
    record.reign = told.reign
    record.holder = told.part == .primary ? site : nil
    record.isReleased = false
    record.isSettled = false
    expiry = nil
    quietForAll = max(quietForAll, now + record.ttl)
    quietForNew = quietForAll
    holderFirst = quietForAll + record.ttl
    priorExpiry = quietForAll
  }

  private mutating func renew(
    _ site: Fingerprint, _ told: RoleRecord, _ ttl: Duration, _ now: Instant
  ) -> ArbiterAnswer {
    guard record.holder == site, record.reign == told.reign else {
      return .refused(.superseded(record.reign))
    }
    if now < quietForAll { return .refused(.quiet(left: quietForAll - now)) }
    return grant(ttl, now)
  }

  private mutating func grant(_ ttl: Duration, _ now: Instant) -> ArbiterAnswer {
    let end = now + ttl
    // One that was lowered counts once nothing lives any more that was granted for longer.
    let longest = max(expiry ?? now, priorExpiry, declinedPriorExpiry ?? now, quietForNew)
    if ttl > record.ttl || longest <= end { record.ttl = ttl }
    expiry = max(expiry ?? now, end)
    holderFirst = min(holderFirst, now)
    record.isReleased = false
    if now >= priorExpiry { record.isSettled = true }
    return .granted(wait: max(.zero, priorExpiry - now))
  }

  private mutating func acquire(
    _ reign: Reign, _ site: Fingerprint, _ cause: PromotionIntent.Cause, _ isOwn: Bool,
    _ ttl: Duration, _ now: Instant
  ) -> ArbiterAnswer {
    if now < quietForAll { return .refused(.quiet(left: quietForAll - now)) }
    if reign == record.reign, record.holder == site { return grant(ttl, now) }
    guard isOwn || reign.epoch == record.reign.epoch.next, reign != record.declined else {
      return .refused(.superseded(record.reign))
    }
    let quiet = max(quietForNew, holderFirst)
    if now < quiet { return .refused(.quiet(left: quiet - now)) }
    let end = record.isReleased ? now : max(expiry ?? now, now)
    let mayTake =
      switch cause {
      case .automatic: end <= now
      case .ordered: true
      // One that is merely over was written under after the final point, maybe.
      case .planned: record.isReleased
      }
    guard mayTake || record.holder == site else { return .held(record.reign, left: end - now) }
    // The site's own lease is no danger to itself.
    if record.holder != site {
      declinedPriorExpiry = priorExpiry
      priorExpiry = max(priorExpiry, end)
      expiry = nil
    }
    record.reign = reign
    record.holder = site
    record.isSettled = false
    return grant(ttl, now)
  }

  private mutating func release(
    _ site: Fingerprint, _ told: RoleRecord, _ now: Instant
  ) -> ArbiterAnswer {
    if told.reign.epoch < record.reign.epoch, record.holder != site {
      // Who was promoted past has stopped: nobody needs to wait for the end of that lease.
      priorExpiry = min(priorExpiry, now)
      record.isSettled = true
      return .released
    }
    guard record.holder == site, record.reign == told.reign else {
      return .refused(.superseded(record.reign))
    }
    record.isReleased = true
    expiry = nil
    holderFirst = min(holderFirst, now)
    return .released
  }

  private func ask(_ now: Instant) -> ArbiterAnswer {
    if !record.isReleased, let expiry, expiry > now {
      return .held(record.reign, left: expiry - now)
    }
    let quiet = max(quietForAll, quietForNew, holderFirst)
    if quiet > now { return .refused(.quiet(left: quiet - now)) }
    return .free(record.reign)
  }
}
