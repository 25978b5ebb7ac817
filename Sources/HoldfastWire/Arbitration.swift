import FoundationEssentials
package import HoldfastCore

/// What a site asks of a witness, as it travels.
package struct ArbiterAsk: Hashable, Sendable {
  package var number: UInt64
  package var request: ArbiterRequest
  package var statement: SiteStatement
  package init(number: UInt64, request: ArbiterRequest, statement: SiteStatement) {
    self.number = number
    self.request = request
    self.statement = statement
  }
}

extension Holdfast_ArbiterAsk {
  package init(_ ask: ArbiterAsk) {
    self.init()
    number = ask.number
    pairID = Data(ask.statement.pair.bytes)
    other = Data(ask.statement.other.digest.bytes)
    epoch = ask.statement.record.reign.epoch.rawValue
    reign = Data(ask.statement.record.reign.id.bytes)
    part = UInt32(ask.statement.record.part.rawValue)
    ttlNanos = UInt64(ask.statement.ttl.nanos)
    switch ask.request {
    case .renew: kind = 1
    case .acquire(let next, let cause):
      kind = 2
      nextEpoch = next.epoch.rawValue
      nextReign = Data(next.id.bytes)
      isOrdered = cause == .ordered
      isPlanned = cause == .planned
    case .release: kind = 3
    case .ask: kind = 4
    case .decline(let next):
      kind = 5
      nextEpoch = next.epoch.rawValue
      nextReign = Data(next.id.bytes)
    }
  }

  /// - Returns: `nil` where it is no question that a site may ask.
  package var ask: ArbiterAsk? {
    guard let pair = RandomID(pairID), let digest = Digest32(Array(other)),
      let id = RandomID(reign), let part = RoleRecord.Part(rawValue: UInt8(clamping: part)),
      let nanos = Int64(exactly: ttlNanos), epoch <= Limits.epochMax,
      nextEpoch <= Limits.epochMax
    else { return nil }
    let ttl = Duration.nanoseconds(nanos)
    guard Limits.ttlMin <= ttl, ttl <= Limits.ttlMax else { return nil }
    let next = RandomID(nextReign).map { Reign(epoch: Epoch(rawValue: nextEpoch), id: $0) }
    let request: ArbiterRequest
    switch kind {
    case 1: request = .renew
    case 2:
      guard let next else { return nil }
      request = .acquire(next, isOrdered ? .ordered : isPlanned ? .planned : .automatic)
    case 3: request = .release
    case 4: request = .ask
    case 5:
      guard let next else { return nil }
      request = .decline(next)
    default: return nil
    }
    let record = RoleRecord(reign: Reign(epoch: Epoch(rawValue: epoch), id: id), part: part)
    return ArbiterAsk(
      number: number, request: request,
      statement: SiteStatement(pair: pair, other: Fingerprint(digest), record: record, ttl: ttl))
  }
}

extension Holdfast_ArbiterSays {
  package init(number: UInt64, _ answer: ArbiterAnswer) {
    self.init()
    self.number = number
    var time = Duration.zero
    var told = Reign.none
    switch answer {
    case .granted(let wait): (kind, time) = (1, wait)
    case .released: kind = 2
    case .held(let reign, let left): (kind, told, time) = (3, reign, left)
    case .free(let reign): (kind, told) = (4, reign)
    case .refused(.unheard): kind = 5
    case .refused(.foreign): kind = 6
    case .refused(.quiet(let left)): (kind, time) = (7, left)
    case .refused(.superseded(let reign)): (kind, told) = (8, reign)
    case .refused(.split(let reign)): (kind, told) = (9, reign)
    }
    nanos = UInt64(time.nanos)
    epoch = told.epoch.rawValue
    reign = Data(told.id.bytes)
  }

  /// - Returns: `nil` where it is no answer.
  package var answer: ArbiterAnswer? {
    // No lease is longer, and nothing is waited for but leases.
    guard let nanos = Int64(exactly: nanos), nanos <= Limits.ttlMax.nanos,
      epoch <= Limits.epochMax, let id = RandomID(reign)
    else { return nil }
    let time = Duration.nanoseconds(nanos)
    let told = Reign(epoch: Epoch(rawValue: epoch), id: id)
    switch kind {
    case 1: return .granted(wait: time)
    case 2: return .released
    case 3: return .held(told, left: time)
    case 4: return .free(told)
    case 5: return .refused(.unheard)
    case 6: return .refused(.foreign)
    case 7: return .refused(.quiet(left: time))
    case 8: return .refused(.superseded(told))
    case 9: return .refused(.split(told))
    default: return nil
    }
  }
}
