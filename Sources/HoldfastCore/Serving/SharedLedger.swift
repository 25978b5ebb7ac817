/// The rules of ``Witness`` over a store that several hosts share: what one question of a site
/// changes there, decided from what was read. A change is made only if nothing that it rests on
/// was changed since.
///
/// The lease of a reign is a value that the store forgets one ttl after it took it, and every
/// renewal is such a value written anew, through the store's consensus: what an isolated member of
/// the store prolongs by itself would be worth nothing.
package struct SharedLedger: Sendable {
  package enum Step: Hashable, Sendable {
    case answer(ArbiterAnswer)
    /// Make the change; then read and decide again.
    case change(SharedChange)
    /// Make the change; if it was done, this is the answer. Otherwise read and decide again.
    case last(SharedChange, ArbiterAnswer)
  }

  private let prefix: String
  private let site: Fingerprint
  private let statement: SiteStatement
  private let values: [String: SharedValue]
  private let record: WitnessRecord?

  /// - Parameters:
  ///   - site: who asks.
  ///   - values: all below ``prefix(of:)``.
  /// - Throws: that a value there is not ours.
  package init(
    site: Fingerprint, _ statement: SiteStatement, values: [String: SharedValue]
  ) throws(CodingError) {
    prefix = Self.prefix(of: statement.pair)
    self.site = site
    self.statement = statement
    self.values = values
    if let value = values[Self.recordKey(of: statement.pair)] {
      record = try WitnessRecord(decoding: value.bytes)
    } else {
      record = nil
    }
  }

  package static func prefix(of pair: RandomID) -> String { "holdfast/\(pair)/" }
  /// Where the pair's ``WitnessRecord`` is.
  package static func recordKey(of pair: RandomID) -> String { prefix(of: pair) + "record" }
  private static let quietName = "quiet"
  private static let holderFirstName = "holder-first"
  private var recordKey: String { Self.recordKey(of: statement.pair) }
  private var quietKey: String { prefix + Self.quietName }
  private var holderFirstKey: String { prefix + Self.holderFirstName }
  private var leasePrefix: String { prefix + "lease/" }
  private func leaseKey(_ reign: Reign) -> String { leasePrefix + "\(reign.epoch)-\(reign.id)" }
  private func saidKey(_ site: Fingerprint) -> String { prefix + "said/\(site)" }

  package func decide(_ request: ArbiterRequest) throws(CodingError) -> Step {
    guard let record else { return try hear() }
    guard record.sites.contains(site), record.sites.contains(statement.other),
      site != statement.other
    else { return .answer(.refused(.foreign)) }
    if let step = told(record) { return step }
    switch request {
    case .renew: return renew(record)
    case .acquire(let reign, let cause): return acquire(reign, cause, record)
    case .release: return release(record)
    case .decline(let reign): return decline(reign, record)
    case .ask: return .answer(ask(record))
    }
  }

  private var isQuiet: Bool { values[quietKey] != nil }
  /// Whose reign it is may serve on a person's word, and is to have its lease first.
  private var isHolderFirst: Bool { isQuiet || values[holderFirstKey] != nil }
  private func beQuiet(_ ttl: Duration, _ change: inout SharedChange) {
    change.put(quietKey, [], lives: ttl)
    change.put(holderFirstKey, [], lives: ttl * 2)
  }
  private var quiet: ArbiterAnswer { .refused(.quiet(left: statement.ttl)) }
  /// What was granted for longer than now, before the ttl was lowered.
  private func beforeKey(_ reign: Reign) -> String { leaseKey(reign) + "-before" }
  private func leaseKeys(_ reign: Reign) -> [String] { [leaseKey(reign), beforeKey(reign)] }
  private func lives(_ reign: Reign) -> Bool {
    leaseKeys(reign).contains { values[$0] != nil }
  }

  /// A change that rests on the record as it was read.
  private func onRecord() -> SharedChange {
    var change = SharedChange()
    change.conditions[recordKey] = values[recordKey]?.revision ?? 0
    return change
  }

  /// Two keys are bound to a pair once each has named the other.
  private func hear() throws(CodingError) -> Step {
    guard site != statement.other else { return .answer(.refused(.foreign)) }
    let mine = SharedStatement(other: statement.other, record: statement.record, ttl: statement.ttl)
    var change = onRecord()
    guard let bytes = values[saidKey(statement.other)]?.bytes,
      case let theirs = try SharedStatement(decoding: bytes), theirs.other == site
    else {
      change.put(saidKey(site), mine.encoded)
      return .last(change, .refused(.unheard))
    }
    let (left, right) = (mine.record, theirs.record)
    if left.reign.epoch == right.reign.epoch, left.reign != right.reign {
      return .answer(.refused(.split(right.reign)))
    }
    let isMineNewest =
      (left.reign.epoch, left.part == .primary ? 1 : 0)
      >= (right.reign.epoch, right.part == .primary ? 1 : 0)
    let newest = isMineNewest ? left : right
    let begun = WitnessRecord(
      pair: statement.pair, sites: [site, statement.other].sorted { "\($0)" < "\($1)" },
      reign: newest.reign,
      holder: newest.part != .primary ? nil : isMineNewest ? site : statement.other,
      ttl: max(mine.ttl, theirs.ttl), isReleased: false, isSettled: true)
    change.put(recordKey, begun.encoded)
    beQuiet(begun.ttl, &change)
    change.removals = [saidKey(site), saidKey(statement.other)]
    return .last(change, quiet)
  }

  /// What a site says of itself may be news.
  private func told(_ record: WitnessRecord) -> Step? {
    let told = statement.record
    if told.reign.epoch > record.reign.epoch { return adopt(told, record) }
    if told.reign.epoch == record.reign.epoch, told.reign != record.reign {
      // Its own reign of that number never began: a person promoted it meanwhile, or it has given
      // way to the other site's.
      guard record.holder == site else {
        return .answer(.refused(.split(record.reign)))
      }
      return adopt(told, record)
    }
    guard told.reign == record.reign, told.part == .primary, record.holder == nil else {
      return nil
    }
    var next = record
    next.holder = site
    var change = onRecord()
    change.put(recordKey, next.encoded)
    return .change(change)
  }

  /// A promotion that the store did not decide.
  private func adopt(_ told: RoleRecord, _ record: WitnessRecord) -> Step {
    var next = record
    next.reign = told.reign
    next.holder = told.part == .primary ? site : nil
    next.ttl = max(record.ttl, statement.ttl)
    next.isReleased = false
    var change = onRecord()
    change.put(recordKey, next.encoded)
    beQuiet(next.ttl, &change)
    return .last(change, quiet)
  }

  private func renew(_ record: WitnessRecord) -> Step {
    guard record.holder == site, record.reign == statement.record.reign else {
      return .answer(.refused(.superseded(record.reign)))
    }
    return isQuiet ? .answer(quiet) : grant(record)
  }

  private func grant(_ record: WitnessRecord) -> Step {
    var change = onRecord()
    change.conditions[quietKey] = 0
    // One that was asked for earlier and comes late would end sooner than what was granted since.
    let lease = leaseKey(record.reign)
    change.conditions[lease] = values[lease]?.revision ?? 0
    var next = record
    next.isReleased = false
    next.ttl = statement.ttl
    var lives = next.ttl
    // As long as another's lease is in the store nobody knows for how long yet.
    let isAlone = !values.keys.contains {
      $0.hasPrefix(leasePrefix) && !leaseKeys(record.reign).contains($0)
    }
    if next.ttl < record.ttl, !isAlone || values[lease] != nil {
      if isAlone, values[beforeKey(record.reign)] == nil {
        change.put(beforeKey(record.reign), [], lives: record.ttl)
      } else {
        // Another's was granted for longer, or it was lowered twice: that runs out first.
        next.ttl = record.ttl
        if values[lease] != nil { lives = record.ttl }
      }
    }
    change.put(lease, [], lives: lives)
    if next != record { change.put(recordKey, next.encoded) }
    if values[holderFirstKey] != nil { change.removals.append(holderFirstKey) }
    return .last(change, .granted(wait: isAlone ? .zero : next.ttl))
  }

  private func acquire(
    _ reign: Reign, _ cause: PromotionIntent.Cause, _ record: WitnessRecord
  ) -> Step {
    if isQuiet { return .answer(quiet) }
    if reign == record.reign, record.holder == site { return grant(record) }
    // A reign of its own that never began it may replace.
    let isOwn =
      record.holder == site && reign.epoch == record.reign.epoch
      && statement.record.reign.epoch < record.reign.epoch
    guard isOwn || reign.epoch == record.reign.epoch.next, reign != record.declined else {
      return .answer(.refused(.superseded(record.reign)))
    }
    if isHolderFirst { return .answer(quiet) }
    let mayTake =
      switch cause {
      case .automatic: !lives(record.reign)
      case .ordered: true
      // One that is merely over was written under after the final point, maybe.
      case .planned: record.isReleased && !lives(record.reign)
      }
    guard mayTake || record.holder == site else {
      return .answer(.held(record.reign, left: record.ttl))
    }
    var next = record
    next.reign = reign
    next.holder = site
    next.isReleased = false
    var change = onRecord()
    change.conditions[quietKey] = 0
    change.conditions[holderFirstKey] = 0
    if cause != .ordered, record.holder != site {
      for key in leaseKeys(record.reign) { change.conditions[key] = 0 }
    }
    if record.holder == site { change.removals = leaseKeys(record.reign) }
    change.put(recordKey, next.encoded)
    // Then the lease is granted, by what is read behind it: the other's can be no longer renewed.
    return .change(change)
  }

  private func release(_ record: WitnessRecord) -> Step {
    let told = statement.record.reign
    let isPast = told.epoch < record.reign.epoch && record.holder != site
    guard isPast || (record.holder == site && record.reign == told) else {
      return .answer(.refused(.superseded(record.reign)))
    }
    var change = onRecord()
    // Not one that was renewed since.
    change.conditions[leaseKey(told)] = values[leaseKey(told)]?.revision ?? 0
    change.removals = leaseKeys(told)
    if !isPast, values[holderFirstKey] != nil { change.removals.append(holderFirstKey) }
    if !isPast, !record.isReleased {
      var next = record
      next.isReleased = true
      change.put(recordKey, next.encoded)
    }
    return .last(change, .released)
  }

  private func decline(_ reign: Reign, _ record: WitnessRecord) -> Step {
    var next = record
    var change = onRecord()
    if next.decline(reign, by: site, statement.record) { change.removals = leaseKeys(reign) }
    guard next != record else { return .answer(.released) }
    change.put(recordKey, next.encoded)
    return .last(change, .released)
  }

  private func ask(_ record: WitnessRecord) -> ArbiterAnswer {
    if lives(record.reign) { return .held(record.reign, left: record.ttl) }
    return isHolderFirst ? quiet : .free(record.reign)
  }
}

/// What a site said of itself while nothing of its pair was on record.
private struct SharedStatement {
  var other: Fingerprint
  var record: RoleRecord
  var ttl: Duration

  init(other: Fingerprint, record: RoleRecord, ttl: Duration) {
    self.other = other
    self.record = record
    self.ttl = ttl
  }

  var encoded: [UInt8] {
    var out = Writer()
    out.digest(other.digest)
    out.fixed(record.reign.epoch.rawValue)
    out.raw(record.reign.id.bytes)
    out.fixed(record.part.rawValue)
    out.fixed(UInt64(ttl.nanos))
    return out.bytes
  }

  init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    other = Fingerprint(try reader.digest())
    let reign = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    guard let part = RoleRecord.Part(rawValue: try reader.fixed(UInt8.self)) else {
      throw .invalid("part of a statement")
    }
    record = RoleRecord(reign: reign, part: part)
    ttl = .nanoseconds(Int64(clamping: try reader.fixed(UInt64.self)))
    guard reader.isAtEnd, Limits.ttlMin <= ttl, ttl <= Limits.ttlMax else {
      throw .invalid("ttl of a statement")
    }
  }
}
