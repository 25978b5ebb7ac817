import HoldfastCore
import HoldfastSimulation
import Testing

private let pair = RandomID(high: 1, low: 2)
private let left = Fingerprint(Digest32(words: SIMD4(1, 0, 0, 0)))
private let right = Fingerprint(Digest32(words: SIMD4(2, 0, 0, 0)))
private let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 7, low: 1))

/// A store with the ledger's rules over it, at times in seconds.
private struct Store {
  private var store = SimulatedStore()

  private func instant(_ now: Int64) -> Instant { Instant(nanos: now * 1_000_000_000) }

  mutating func seen(_ now: Int64) -> [String: SharedValue] { store.seen(instant(now)) }

  /// - Returns: whether its conditions held.
  mutating func commit(_ change: SharedChange, _ now: Int64) -> Bool {
    store.commit(change, counted: instant(now), now: instant(now))
  }

  func step(
    _ request: ArbiterRequest, _ site: Fingerprint, ttl: Int64, _ values: [String: SharedValue]
  ) throws -> SharedLedger.Step {
    let isLeft = site == left
    let statement = SiteStatement(
      pair: pair, other: isLeft ? right : left,
      record: RoleRecord(reign: reign, part: isLeft ? .primary : .standby), ttl: .seconds(ttl))
    return try SharedLedger(site: site, statement, values: values).decide(request)
  }

  mutating func ask(
    _ request: ArbiterRequest, _ site: Fingerprint, ttl: Int64, now: Int64
  ) throws -> ArbiterAnswer {
    while true {
      switch try step(request, site, ttl: ttl, seen(now)) {
      case .answer(let answer): return answer
      case .change(let change): _ = commit(change, now)
      case .last(let change, let answer): if commit(change, now) { return answer }
      }
    }
  }

  /// Heard by both sites, and past the time in which nothing is granted.
  static func begun(ttl: Int64) throws -> Store {
    var store = Store()
    _ = try store.ask(.renew, left, ttl: ttl, now: -100)
    _ = try store.ask(.ask, right, ttl: ttl, now: -100)
    #expect(try store.ask(.renew, left, ttl: ttl, now: 0) == .granted(wait: .zero))
    return store
  }
}

@Suite struct `A ledger that hosts share` {
  private let next = ArbiterRequest.acquire(
    Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 8, low: 2)), .automatic)

  @Test func `has a lease that was granted for longer run out though the ttl was lowered`() throws {
    var store = try Store.begun(ttl: 60)
    #expect(try store.ask(.renew, left, ttl: 10, now: 1) == .granted(wait: .zero))
    // The service of before may be there for as long as it was granted.
    #expect(try store.ask(next, right, ttl: 10, now: 30) == .held(reign, left: .seconds(10)))
    #expect(try store.ask(next, right, ttl: 10, now: 60) == .held(reign, left: .seconds(10)))
    #expect(try store.ask(next, right, ttl: 10, now: 61) == .granted(wait: .zero))
  }

  @Test func `that was empty has whoever reigns come first`() throws {
    let quiet = ArbiterAnswer.refused(.quiet(left: .seconds(10)))
    func waited() throws -> Store {
      var store = Store()
      _ = try store.ask(.renew, left, ttl: 10, now: 0)
      #expect(try store.ask(.ask, right, ttl: 10, now: 1) == quiet)
      #expect(try store.ask(next, right, ttl: 10, now: 12) == quiet)
      #expect(try store.ask(.ask, right, ttl: 10, now: 12) == quiet)
      return store
    }
    var alive = try waited()
    #expect(try alive.ask(.renew, left, ttl: 10, now: 13) == .granted(wait: .zero))
    #expect(try alive.ask(next, right, ttl: 10, now: 14) == .held(reign, left: .seconds(10)))
    #expect(try alive.ask(.release, left, ttl: 10, now: 15) == .released)
    #expect(try alive.ask(next, right, ttl: 10, now: 16) == .granted(wait: .zero))
    var dead = try waited()
    #expect(try dead.ask(next, right, ttl: 10, now: 22) == .granted(wait: .zero))
  }

  @Test func `grants for as long as was asked for once nothing longer lives`() throws {
    var store = try Store.begun(ttl: 60)
    for now in stride(from: Int64(1), through: 70, by: 3) {
      #expect(try store.ask(.renew, left, ttl: 10, now: now) == .granted(wait: .zero))
    }
    #expect(try store.ask(next, right, ttl: 10, now: 79) == .held(reign, left: .seconds(10)))
    #expect(try store.ask(next, right, ttl: 10, now: 80) == .granted(wait: .zero))
  }

  @Test func `lowers no second time while what was granted first lives`() throws {
    var store = try Store.begun(ttl: 60)
    #expect(try store.ask(.renew, left, ttl: 20, now: 1) == .granted(wait: .zero))
    #expect(try store.ask(.renew, left, ttl: 5, now: 2) == .granted(wait: .zero))
    #expect(try store.ask(next, right, ttl: 5, now: 60) == .held(reign, left: .seconds(20)))
    #expect(try store.ask(next, right, ttl: 5, now: 61) == .granted(wait: .zero))
  }

  @Test func `does not take a renewal that comes late for one that was made since`() throws {
    var store = try Store.begun(ttl: 10)
    guard case .last(let late, _) = try store.step(.renew, left, ttl: 10, store.seen(2)) else {
      Issue.record("a renewal that changes nothing")
      return
    }
    #expect(try store.ask(.renew, left, ttl: 10, now: 4) == .granted(wait: .zero))
    let isDone = store.commit(late, 5)
    #expect(!isDone)
  }

  @Test func `lets both go where the lease is given back`() throws {
    var store = try Store.begun(ttl: 60)
    #expect(try store.ask(.renew, left, ttl: 10, now: 1) == .granted(wait: .zero))
    #expect(try store.ask(.release, left, ttl: 10, now: 2) == .released)
    #expect(try store.ask(next, right, ttl: 10, now: 3) == .granted(wait: .zero))
  }
}
