import HoldfastCore
import Testing

private let pair = RandomID(high: 1, low: 2)
private let left = Fingerprint(Digest32(words: SIMD4(1, 0, 0, 0)))
private let right = Fingerprint(Digest32(words: SIMD4(2, 0, 0, 0)))
private let stranger = Fingerprint(Digest32(words: SIMD4(3, 0, 0, 0)))
private let ttl = Duration.seconds(10)

private func reign(_ epoch: UInt64, _ id: UInt64 = 7) -> Reign {
  Reign(epoch: Epoch(rawValue: epoch), id: RandomID(high: id, low: epoch))
}
private func at(_ seconds: Int64) -> Instant { Instant(nanos: seconds * 1_000_000_000) }
private func word(
  _ reign: Reign, _ part: RoleRecord.Part, to other: Fingerprint, ttl: Duration = ttl
) -> SiteStatement {
  SiteStatement(
    pair: pair, other: other, record: RoleRecord(reign: reign, part: part), ttl: ttl)
}

/// A witness that is asked by name, and what it answers.
private struct Asked {
  var witness: Witness
  var persisted: WitnessRecord?
  init(_ records: [WitnessRecord] = [], now: Int64 = 0) {
    witness = Witness(records: records, now: at(now))
  }

  mutating func primary(
    _ request: ArbiterRequest, _ told: Reign = reign(1), now: Int64
  ) -> ArbiterAnswer {
    ask(request, left, word(told, .primary, to: right), now)
  }
  mutating func standby(
    _ request: ArbiterRequest, _ told: Reign = reign(1), now: Int64
  ) -> ArbiterAnswer {
    ask(request, right, word(told, .standby, to: left), now)
  }
  mutating func ask(
    _ request: ArbiterRequest, _ site: Fingerprint, _ statement: SiteStatement, _ now: Int64
  ) -> ArbiterAnswer {
    var answer: ArbiterAnswer?
    for order in witness.on(request, from: site, statement, now: at(now)) {
      switch order {
      case .persist(let record):
        #expect(answer == nil, "what is answered is durable before")
        persisted = record
      case .answer(let given): answer = given
      }
    }
    return answer ?? .refused(.foreign)
  }

  /// Heard by both sites, and past the time in which nothing is granted.
  static var begun: Asked {
    var asked = Asked()
    _ = asked.primary(.renew, now: 0)
    _ = asked.standby(.ask, now: 0)
    #expect(asked.primary(.renew, now: 10) == .granted(wait: .zero))
    return asked
  }
}

@Suite struct `A witness` {
  @Test func `that knows nothing waits for both sites, and then for one ttl`() {
    var asked = Asked()
    #expect(asked.primary(.renew, now: 0) == .refused(.unheard))
    #expect(asked.primary(.renew, now: 100) == .refused(.unheard))
    #expect(asked.standby(.ask, .none, now: 101) == .refused(.quiet(left: ttl)))
    #expect(asked.primary(.renew, now: 105) == .refused(.quiet(left: .seconds(6))))
    #expect(asked.primary(.renew, now: 111) == .granted(wait: .zero))
  }

  @Test func `that knows nothing has whoever reigns come first`() {
    func waited() -> Asked {
      var asked = Asked()
      _ = asked.primary(.renew, now: 0)
      #expect(asked.standby(.ask, now: 1) == .refused(.quiet(left: ttl)))
      // Whose reign it is may serve on a person's word.
      let next = asked.standby(.acquire(reign(2), .automatic), now: 12)
      #expect(next == .refused(.quiet(left: .seconds(9))))
      #expect(asked.standby(.ask, now: 12) == .refused(.quiet(left: .seconds(9))))
      return asked
    }
    var alive = waited()
    #expect(alive.primary(.renew, now: 13) == .granted(wait: .zero))
    #expect(
      alive.standby(.acquire(reign(2), .automatic), now: 14)
        == .held(reign(1), left: .seconds(9)))
    var dead = waited()
    #expect(dead.standby(.acquire(reign(2), .automatic), now: 21) == .granted(wait: .zero))
  }

  @Test func `forgets nothing of a site for another's many words`() {
    var asked = Asked()
    #expect(asked.primary(.renew, now: 0) == .refused(.unheard))
    for number in 0..<UInt64(1000) {
      var flood = word(reign(1), .primary, to: left)
      flood.pair = RandomID(high: 99, low: number)
      #expect(asked.ask(.renew, stranger, flood, 1) == .refused(.unheard))
    }
    #expect(asked.standby(.ask, now: 2) == .refused(.quiet(left: ttl)))
  }

  @Test func `is bound to the two keys that named each other`() {
    var asked = Asked()
    _ = asked.primary(.renew, now: 0)
    let lie = word(reign(9), .primary, to: left)
    #expect(asked.ask(.renew, stranger, lie, 1) == .refused(.unheard))
    _ = asked.standby(.ask, now: 2)
    #expect(asked.ask(.renew, stranger, lie, 20) == .refused(.foreign))
    #expect(asked.primary(.renew, now: 20) == .granted(wait: .zero))
  }

  @Test func `grants a new reign once the lease is over, and not before`() {
    var asked = Asked.begun
    let next = ArbiterRequest.acquire(reign(2), .automatic)
    #expect(asked.standby(.ask, now: 15) == .held(reign(1), left: .seconds(5)))
    #expect(asked.standby(next, now: 19) == .held(reign(1), left: .seconds(1)))
    #expect(asked.standby(.ask, now: 20) == .free(reign(1)))
    #expect(asked.standby(next, now: 20) == .granted(wait: .zero))
    #expect(asked.primary(.renew, now: 21) == .refused(.superseded(reign(2))))
    #expect(asked.persisted?.holder == right)
  }

  @Test func `grants a planned reign only once the lease was given back, and is not taken again`() {
    var asked = Asked.begun
    let next = ArbiterRequest.acquire(reign(2), .planned)
    #expect(asked.standby(next, now: 15) == .held(reign(1), left: .seconds(5)))
    // The primary may have gone on, and been cut off since.
    #expect(asked.standby(next, now: 25) == .held(reign(1), left: .zero))
    #expect(asked.primary(.release, now: 26) == .released)
    #expect(asked.primary(.renew, now: 27) == .granted(wait: .zero))
    #expect(asked.standby(next, now: 38) == .held(reign(1), left: .zero))
    #expect(asked.primary(.release, now: 39) == .released)
    #expect(asked.standby(next, now: 40) == .granted(wait: .zero))
  }

  @Test func `has who was ordered to take over wait for the other's lease`() {
    var asked = Asked.begun
    let next = ArbiterRequest.acquire(reign(2), .ordered)
    #expect(asked.standby(next, now: 13) == .granted(wait: .seconds(7)))
    #expect(asked.primary(.renew, now: 14) == .refused(.superseded(reign(2))))
    // Asked again, also by a witness that was restarted meanwhile, it still waits.
    #expect(asked.standby(next, now: 15) == .granted(wait: .seconds(5)))
    var again = Asked([asked.persisted].compactMap { $0 }, now: 100)
    #expect(again.standby(next, now: 101) == .granted(wait: .seconds(9)))
  }

  @Test func `that was restarted goes on with the holder at once, and with others after a ttl`() {
    let before = Asked.begun
    var asked = Asked([before.persisted].compactMap { $0 }, now: 1000)
    #expect(asked.standby(.ask, now: 1001) == .refused(.quiet(left: .seconds(9))))
    let next = ArbiterRequest.acquire(reign(2), .ordered)
    #expect(asked.standby(next, now: 1001) == .refused(.quiet(left: .seconds(9))))
    #expect(asked.primary(.renew, now: 1002) == .granted(wait: .zero))
  }

  @Test func `grants for as long as its holder asks, and forgets a longer ttl once none lives`() {
    var asked = Asked.begun
    func renew(_ seconds: Int64, now: Int64) -> ArbiterAnswer {
      let told = word(reign(1), .primary, to: right, ttl: .seconds(seconds))
      return asked.ask(.renew, left, told, now)
    }
    #expect(renew(60, now: 12) == .granted(wait: .zero))
    #expect(asked.persisted?.ttl == .seconds(60))
    #expect(renew(5, now: 14) == .granted(wait: .zero))
    // What was granted for longer may still be used.
    #expect(asked.standby(.ask, now: 15) == .held(reign(1), left: .seconds(57)))
    #expect(renew(5, now: 66) == .granted(wait: .zero))
    #expect(asked.persisted?.ttl == .seconds(60))
    #expect(renew(5, now: 68) == .granted(wait: .zero))
    #expect(asked.persisted?.ttl == .seconds(5))
    let next = ArbiterRequest.acquire(reign(2), .automatic)
    #expect(asked.standby(next, now: 72) == .held(reign(1), left: .seconds(1)))
    #expect(asked.standby(next, now: 73) == .granted(wait: .zero))
  }

  @Test func `that was restarted while a longer ttl lives waits for that`() {
    var asked = Asked.begun
    let long = word(reign(1), .primary, to: right, ttl: .seconds(60))
    let short = word(reign(1), .primary, to: right, ttl: .seconds(5))
    #expect(asked.ask(.renew, left, long, 12) == .granted(wait: .zero))
    #expect(asked.ask(.renew, left, short, 14) == .granted(wait: .zero))
    var again = Asked([asked.persisted].compactMap { $0 }, now: 15)
    #expect(again.standby(.ask, now: 15) == .refused(.quiet(left: .seconds(60))))
    #expect(again.ask(.renew, left, short, 20) == .granted(wait: .zero))
    #expect(again.persisted == nil)
    #expect(again.ask(.renew, left, short, 70) == .granted(wait: .zero))
    #expect(again.persisted?.ttl == .seconds(5))
  }

  @Test func `takes over a promotion that it did not decide, and grants nothing for a ttl`() {
    var asked = Asked.begun
    let told = word(reign(5), .primary, to: left)
    #expect(asked.ask(.renew, right, told, 12) == .refused(.quiet(left: ttl)))
    #expect(asked.primary(.renew, now: 13) == .refused(.superseded(reign(5))))
    #expect(asked.ask(.renew, right, told, 22) == .granted(wait: .zero))
  }

  @Test func `has nobody wait for who says that it has stopped`() {
    var asked = Asked.begun
    let next = ArbiterRequest.acquire(reign(2), .ordered)
    #expect(asked.standby(next, now: 13) == .granted(wait: .seconds(7)))
    #expect(asked.primary(.release, now: 14) == .released)
    #expect(asked.standby(next, now: 15) == .granted(wait: .zero))
    #expect(asked.primary(.renew, now: 15) == .refused(.superseded(reign(2))))
  }

  @Test func `refuses two reigns of one number`() {
    var asked = Asked.begun
    let told = word(reign(1, 8), .primary, to: left)
    #expect(asked.ask(.renew, right, told, 12) == .refused(.split(reign(1))))
  }

  @Test func `lets a lease that was given back go at once`() {
    var asked = Asked.begun
    #expect(asked.primary(.release, now: 12) == .released)
    let next = ArbiterRequest.acquire(reign(2), .automatic)
    #expect(asked.standby(next, now: 12) == .granted(wait: .zero))
  }

  @Test func `lets a site replace a reign of its own that never began, and nobody else`() {
    var asked = Asked.begun
    let first = ArbiterRequest.acquire(reign(2, 8), .ordered)
    #expect(asked.standby(first, now: 30) == .granted(wait: .zero))
    let second = ArbiterRequest.acquire(reign(2, 9), .ordered)
    #expect(asked.primary(second, now: 31) == .refused(.superseded(reign(2, 8))))
    #expect(asked.standby(second, now: 31) == .granted(wait: .zero))
    let begun = word(reign(2, 9), .primary, to: left)
    #expect(asked.ask(second, right, begun, 32) == .granted(wait: .zero))
    let third = ArbiterRequest.acquire(reign(2, 10), .ordered)
    #expect(asked.ask(third, right, begun, 32) == .refused(.superseded(reign(2, 9))))
  }

  @Test func `lets the other site serve again where a reign was declined that never began`() {
    var asked = Asked.begun
    let next = ArbiterRequest.acquire(reign(2), .ordered)
    #expect(asked.standby(next, now: 12) == .granted(wait: .seconds(8)))
    #expect(asked.primary(.renew, now: 13) == .refused(.superseded(reign(2))))
    #expect(asked.primary(.decline(reign(2)), now: 13) == .released)
    #expect(asked.primary(.renew, now: 13) == .refused(.superseded(reign(2))))
    #expect(asked.standby(.decline(reign(2)), now: 13) == .released)
    #expect(asked.persisted?.declined == reign(2) && asked.persisted?.holder == left)
    // Under what the primary was granted before it may serve yet.
    #expect(asked.standby(.ask, now: 13) == .held(reign(1), left: .seconds(7)))
    let again = ArbiterRequest.acquire(reign(2, 5), .ordered)
    #expect(asked.standby(again, now: 14) == .granted(wait: .seconds(6)))
    #expect(asked.standby(.decline(reign(2, 5)), now: 14) == .released)
    #expect(asked.standby(.decline(reign(2)), now: 14) == .released)
    #expect(asked.primary(.renew, now: 15) == .granted(wait: .zero))
    // What comes late, or twice, changes nothing any more.
    #expect(asked.standby(.decline(reign(2)), now: 16) == .released)
    #expect(asked.standby(next, now: 16) == .refused(.superseded(reign(1))))
    #expect(asked.standby(.ask, now: 16) == .held(reign(1), left: .seconds(9)))
    #expect(asked.standby(.acquire(reign(2, 9), .automatic), now: 25) == .granted(wait: .zero))
    // Nor is one declined that has begun, or been replaced.
    #expect(asked.standby(.decline(reign(2)), now: 26) == .released)
    let begun = word(reign(2, 9), .primary, to: left)
    #expect(asked.ask(.decline(reign(2, 9)), right, begun, 26) == .released)
    #expect(asked.ask(.renew, right, begun, 27) == .granted(wait: .zero))
  }

  @Test func `keeps pairs apart`() {
    var asked = Asked.begun
    let second = RandomID(high: 1, low: 3)
    func other(_ reign: Reign, _ part: RoleRecord.Part, to site: Fingerprint) -> SiteStatement {
      var statement = word(reign, part, to: site)
      statement.pair = second
      return statement
    }
    // The sites of one are those of the other, in other parts.
    #expect(
      asked.ask(.renew, right, other(reign(4), .primary, to: left), 20) == .refused(.unheard))
    #expect(
      asked.ask(.ask, left, other(reign(4), .standby, to: right), 20)
        == .refused(.quiet(left: ttl)))
    #expect(asked.primary(.renew, now: 25) == .granted(wait: .zero))
    #expect(
      asked.ask(.renew, right, other(reign(4), .primary, to: left), 30) == .granted(wait: .zero))
    #expect(asked.standby(.acquire(reign(2), .automatic), now: 36) == .granted(wait: .zero))
    #expect(
      asked.ask(.ask, left, other(reign(4), .standby, to: right), 36)
        == .held(reign(4), left: .seconds(4)))
    #expect(asked.primary(.renew, now: 36) == .refused(.superseded(reign(2))))
  }

  @Test func `of before reads what it kept when nothing was declined yet`() throws {
    let record = try #require(Asked.begun.persisted)
    #expect(try WitnessRecord(decoding: record.encoded) == record)
    let first = [1] + record.encoded.dropFirst().dropLast(24)
    #expect(try WitnessRecord(decoding: Array(first)) == record)
    var declined = record
    declined.declined = reign(2)
    #expect(try WitnessRecord(decoding: declined.encoded) == declined)
  }

  @Test func `follows a site of two promoted ones that gives way to the other`() {
    var asked = Asked.begun
    let promoted = word(reign(1, 8), .primary, to: left)
    #expect(asked.ask(.renew, right, promoted, 12) == .refused(.split(reign(1))))
    // The holder becomes the standby of the other's reign.
    let gaveWay = word(reign(1, 8), .standby, to: right)
    // Whose reign it is may serve on a person's word: it is granted its lease before anybody else.
    #expect(asked.ask(.ask, left, gaveWay, 13) == .refused(.quiet(left: ttl * 2)))
    #expect(asked.ask(.renew, right, promoted, 24) == .granted(wait: .zero))
  }

  @Test func `grants no number twice and skips none`() {
    var asked = Asked.begun
    let skipping = ArbiterRequest.acquire(reign(3), .ordered)
    #expect(asked.standby(skipping, now: 30) == .refused(.superseded(reign(1))))
    let same = ArbiterRequest.acquire(reign(1, 9), .ordered)
    #expect(asked.standby(same, now: 30) == .refused(.superseded(reign(1))))
  }
}

@Suite struct `The times of a lease` {
  @Test func `hold for every ttl that may be configured`() {
    for seconds in 5...600 {
      let terms = LeaseTerms(ttl: .seconds(seconds))
      #expect(terms.violations.isEmpty, "\(seconds) s: \(terms.violations)")
    }
  }

  @Test func `that do not hold are said with their numbers`() {
    var terms = LeaseTerms(ttl: .seconds(10))
    terms.timeout = .seconds(4)
    #expect(
      terms.violations.first?.contains("12200 ms") == true)
    terms = LeaseTerms(ttl: .seconds(10))
    terms.watchdog = .seconds(9)
    #expect(terms.violations.first?.contains("a hung controller") == true)
    terms = LeaseTerms(ttl: .seconds(10))
    terms.margin = .milliseconds(50)
    #expect(terms.violations.first?.contains("two clocks may come apart") == true)
  }
}
