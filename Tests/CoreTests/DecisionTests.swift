import HoldfastCore
import Testing

private func at(_ millis: Int64) -> Instant { Instant(nanos: millis * 1_000_000) }
private func reign(_ epoch: UInt64, _ id: UInt64) -> Reign {
  Reign(epoch: Epoch(rawValue: epoch), id: RandomID(high: id, low: id))
}

@Suite struct `The pace of captures` {
  @Test func `waits until changes have rested`() {
    var pace = Pace(rpo: .seconds(5))
    pace.changed(at: at(0))
    #expect(pace.due == at(50))
    pace.changed(at: at(40))
    #expect(pace.due == at(90))
  }
  @Test func `never waits longer than half the RPO`() {
    var pace = Pace(rpo: .seconds(1))
    for moment in stride(from: Int64(0), through: 490, by: 10) { pace.changed(at: at(moment)) }
    #expect(pace.due == at(500))
  }
  @Test func `keeps five captures a second`() {
    var pace = Pace(rpo: .seconds(5))
    pace.captured(at: at(0))
    pace.changed(at: at(10))
    #expect(pace.due == at(200))
  }
  @Test func `does not wait when somebody asks`() {
    var pace = Pace(rpo: .seconds(5))
    pace.captured(at: at(0))
    pace.urged(at: at(10))
    #expect(pace.due == at(10))
  }
  @Test func `rests nine times as long as a costly capture took, unless somebody asks`() {
    var pace = Pace(rpo: .seconds(5))
    pace.captured(at: at(0))
    pace.rest(after: .milliseconds(400), at: at(400))
    pace.changed(at: at(410))
    #expect(pace.due == at(4000))
    pace.urged(at: at(420))
    #expect(pace.due == at(410))
  }
  @Test func `has units run ninety-nine times as long as they stood still, whoever asked for it`() {
    var pace = Pace(rpo: .seconds(5))
    pace.captured(at: at(0))
    pace.stoodStill(for: .milliseconds(10), at: at(0))
    pace.urged(at: at(100))
    #expect(pace.due == at(100))
    pace.captured(at: at(100))
    pace.stoodStill(for: .milliseconds(10), at: at(100))
    pace.changed(at: at(150))
    #expect(pace.due == at(2 * 990))
    // Asked for without end, it is put off for a while all the same, and no longer.
    for _ in 0..<100 { pace.stoodStill(for: .seconds(1), at: at(200)) }
    #expect(pace.due == at(200) + Limits.frozenRestMax)
    // But never by less than the last one cost.
    pace.stoodStill(for: .seconds(10), at: at(200))
    #expect(pace.due == at(200) + .seconds(990))
  }
  @Test func `is due for nothing after a capture`() {
    var pace = Pace(rpo: .seconds(5))
    pace.changed(at: at(0))
    pace.captured(at: at(60))
    #expect(pace.due == nil)
  }
}

@Suite struct `The lag that is shown` {
  @Test func `is unknown before a claim is durable`() {
    var lag = LagClock()
    lag.claimed(.init(point: PointNumber(rawValue: 3), moment: at(100)))
    #expect(lag.lag(at: at(200)) == nil)
    lag.durable(PointNumber(rawValue: 3))
    #expect(lag.lag(at: at(200)) == .milliseconds(100))
  }
  @Test func `is the age of the newest claim that is durable`() {
    var lag = LagClock()
    for number in 1...3 {
      lag.claimed(
        .init(point: PointNumber(rawValue: UInt64(number)), moment: at(Int64(number) * 100)))
    }
    lag.durable(PointNumber(rawValue: 2))
    #expect(lag.lag(at: at(1000)) == .milliseconds(800))
  }
  @Test func `is never better than the truth when claims are dropped`() {
    var lag = LagClock()
    for number in 1...2000 {
      lag.claimed(
        .init(point: PointNumber(rawValue: UInt64(number)), moment: at(Int64(number))))
    }
    for number in stride(from: 1, through: 2000, by: 7) {
      lag.durable(PointNumber(rawValue: UInt64(number)))
      #expect(lag.lag(at: at(3000)).map { $0 >= .milliseconds(3000 - number) } ?? true)
    }
  }
  @Test func `is unknown after lost events, and known again after a new claim`() {
    var lag = LagClock()
    lag.claimed(.init(point: PointNumber(rawValue: 1), moment: at(0)))
    lag.durable(PointNumber(rawValue: 1))
    lag.forget()
    #expect(lag.lag(at: at(10)) == nil)
    lag.claimed(.init(point: PointNumber(rawValue: 1), moment: at(20)))
    #expect(lag.lag(at: at(30)) == .milliseconds(10))
  }
}

@Suite struct `An echo` {
  @Test func `tells when a message was sent at the earliest, by the receiver's clock alone`() {
    // One clock is a million milliseconds ahead of the other.
    var (near, far) = (EchoClock(begun: at(0)), EchoClock(begun: at(1_000_000)))
    #expect(far.heard(near.stamp(at(10)), at(1_000_015)) == nil)
    // Sent back after 100 ms, and under way for 5 s: it counts from then, less one way.
    #expect(near.heard(far.stamp(at(1_000_115)), at(5115)) == at(110))
    #expect(far.heard(near.stamp(at(5120)), at(1_005_125)) == at(1_000_115 + 5))
  }

  @Test func `of before the link, of what is yet to come, or out of bounds tells nothing`() {
    var clock = EchoClock(begun: at(100))
    func told(_ echo: UInt64, age: UInt64 = 0) -> Instant? {
      clock.heard(.init(own: .max, echo: echo, echoAge: age), at(200))
    }
    #expect(told(99_000_000) == nil && told(201_000_000) == nil)
    #expect(told(150_000_000, age: 51_000_000) == nil && told(150_000_000, age: .max) == nil)
    #expect(told(.max) == nil && told(150_000_000, age: 50_000_000) == at(200))
  }
}

@Suite struct `The standing of a site` {
  let primary = RoleRecord(reign: reign(1, 7), part: .primary)
  let standby = RoleRecord(reign: reign(1, 7), part: .standby)

  @Test func `begins as unknown`() {
    #expect(Standing(record: primary).role == .unknown)
  }
  @Test func `is confirmed by the standby of the same reign`() {
    var standing = Standing(record: primary)
    #expect(standing.on(.peer(standby, mayServe: false)) == [.serve])
    #expect(standing.role == .primary)
  }
  @Test func `takes the first reign from the primary, durably before it follows`() {
    var standing = Standing(record: RoleRecord(reign: .none, part: .standby))
    #expect(standing.on(.peer(primary, mayServe: false)) == [.persist(standby), .follow])
  }
  @Test func `is refused once the other was promoted, and resume does not help`() {
    var standing = Standing(record: primary)
    let promoted = RoleRecord(reign: reign(2, 8), part: .primary)
    let refusal = Standing.Refusal.superseded(mine: reign(1, 7), theirs: reign(2, 8))
    #expect(standing.on(.peer(promoted, mayServe: false)) == [.refuse(refusal)])
    #expect(standing.role == .unknown)
    #expect(standing.on(.resume) == [])
    #expect(standing.role == .unknown)
  }
  @Test func `refuses a stale primary and serves on`() {
    var standing = Standing(record: standby)
    _ = standing.on(.promoted(reign(2, 8)))
    let orders = standing.on(.peer(primary, mayServe: false))
    #expect(orders == [.refuse(.stale(mine: reign(2, 8), theirs: reign(1, 7)))])
    #expect(standing.role == .primary)
  }
  @Test func `waits for the end of a service that a person had go on in an old reign`() {
    var standing = Standing(record: RoleRecord(reign: reign(2, 8), part: .primary))
    let stale = Standing.Order.refuse(.stale(mine: reign(2, 8), theirs: reign(1, 7)))
    #expect(standing.on(.peer(primary, mayServe: true)) == [stale])
    #expect(standing.role == .unknown)
    #expect(standing.on(.peer(primary, mayServe: false)) == [.serve, stale])
    #expect(standing.role == .primary)
  }
  @Test func `is split where two were promoted to one number`() {
    var standing = Standing(record: RoleRecord(reign: reign(2, 8), part: .primary))
    _ = standing.on(.peer(RoleRecord(reign: reign(2, 9), part: .primary), mayServe: false))
    #expect(standing.role == .split)
  }
  @Test func `persists a promotion before it serves`() {
    var standing = Standing(record: standby)
    let promoted = RoleRecord(reign: reign(2, 8), part: .primary)
    #expect(standing.on(.promoted(reign(2, 8))) == [.persist(promoted), .serve])
  }
}

@Suite struct `An invitation` {
  private let secret: [UInt8] = Array(0..<16)

  @Test func `admits once`() {
    var invitation = Invitation(secret: secret, now: at(0))
    #expect(invitation.offered(secret, at: at(1)) == .admitted)
    #expect(invitation.offered(secret, at: at(2)) == .spent)
  }
  @Test func `survives no fifth wrong try`() {
    var invitation = Invitation(secret: secret, now: at(0))
    for left in (0..<5).reversed() {
      #expect(invitation.offered([1], at: at(1)) == .wrong(triesLeft: left))
    }
    #expect(invitation.offered(secret, at: at(1)) == .spent)
  }
  @Test func `expires at its moment, not before`() {
    let end = at(0) + Limits.tokenLife
    var invitation = Invitation(secret: secret, now: at(0))
    #expect(invitation.isOpen(at: Instant(nanos: end.nanos - 1)))
    #expect(!invitation.isOpen(at: end))
    #expect(invitation.offered(secret, at: end) == .expired)
  }
}

@Suite struct `Waiting before dialling again` {
  private struct Fixed: Dice {
    let value: UInt64
    func word() -> UInt64 { value }
  }
  @Test func `doubles up to its cap`() {
    var backoff = Backoff()
    var last = Duration.zero
    for _ in 0..<12 { last = backoff.failed(Fixed(value: 0)) }
    #expect(last == Limits.backoffMax)
    backoff.succeeded()
    #expect(backoff.failed(Fixed(value: 0)) == Limits.backoffFirst)
  }
  @Test func `never falls below half by chance`() {
    var backoff = Backoff()
    for value in [1, 77, UInt64.max] {
      let wait = backoff.failed(Fixed(value: value))
      #expect(wait >= Limits.backoffFirst / 2)
    }
  }
}

@Suite struct `Keeping points` {
  private let hour: Int64 = 3_600_000_000_000
  private func rows(_ ages: [Int64], now: Int64, grade: Grade = .crash) -> [PointRow] {
    ages.enumerated().map { index, age in
      PointRow(
        point: Point(
          number: PointNumber(rawValue: UInt64(1000 - index)), seal: .none, parent: .none,
          time: WallTime(nanos: now - age), verdict: Verdict(grade: grade), reign: .none,
          tree: TreeDigest(), totals: Totals(), changes: 0))
    }
  }
  private let rule = RetentionRule(
    all: .seconds(3600), hourly: .seconds(86400), daily: .seconds(30 * 86400))

  @Test func `keeps all of the first hour, then the last of each hour and day`() {
    let now = 1_000_000 * hour
    let ages = (0..<200).map { Int64($0) * hour / 4 }
    let dropped = Set(
      Retention.drop(
        rows(ages, now: now), rule: rule, require: .crash, held: [], now: WallTime(nanos: now)))
    let kept = ages.indices.filter { !dropped.contains(PointNumber(rawValue: UInt64(1000 - $0))) }
    #expect(kept.filter { ages[$0] <= hour }.count == 5)
    #expect(kept.filter { ages[$0] > hour && ages[$0] <= 24 * hour }.count == 23)
    #expect(kept.filter { ages[$0] > 24 * hour }.count <= 3)
  }
  @Test func `never drops the newest of the required grade`() {
    let now = 1_000_000 * hour
    var points = rows([0, hour * 10_000], now: now, grade: .fuzzy)
    points[1].point.verdict = Verdict(grade: .crash)
    #expect(
      Retention.drop(points, rule: rule, require: .crash, held: [], now: WallTime(nanos: now)) == []
    )
  }
  @Test func `lets a whole branch go, and no other, or the pin of a point`() {
    var points = rows([0, 1, 2, 3, 4, 5], now: 10)
    for index in [1, 2, 4] { points[index].isBranch = true }
    points[5].isPinned = true
    func number(_ index: Int) -> PointNumber { points[index].point.number }
    for index in [1, 2] {
      #expect(Branches.release(number(index), of: points) == .branch([number(2), number(1)]))
    }
    #expect(Branches.release(number(4), of: points) == .branch([number(4)]))
    #expect(Branches.release(number(5), of: points) == .pin(number(5)))
    #expect(Branches.release(number(0), of: points) == nil)
    // Of two reigns beside one another, that of the point.
    points[1].point.reign = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 0, low: 2))
    #expect(Branches.release(number(2), of: points) == .branch([number(2)]))
  }
  @Test func `keeps pinned points and branches`() {
    let now = 1_000_000 * hour
    var points = rows([0, hour * 10_000, hour * 10_001], now: now)
    points[1].isPinned = true
    points[2].isBranch = true
    #expect(
      Retention.drop(points, rule: rule, require: .crash, held: [], now: WallTime(nanos: now)) == []
    )
  }
}

@Suite struct `A bandwidth limit` {
  @Test func `spaces what is sent`() {
    var limit = BandwidthLimit(bytesPerSecond: 1000)
    #expect(limit.reserve(500, at: at(0)) == at(0))
    #expect(limit.reserve(500, at: at(0)) == at(500))
    #expect(limit.reserve(1, at: at(5000)) == at(5000))
  }
}

@Suite struct `The dirty set` {
  private func place(_ text: String) -> Place {
    Place(root: RootNumber(rawValue: 0), path: TreePath(text) ?? .top)
  }
  @Test func `collapses into a scan of the root beyond its bound`() {
    var dirty = DirtySet(placesMax: 3)
    for name in ["a", "b", "c"] { dirty.touch(place(name)) }
    #expect(dirty.count == 3)
    dirty.touch(place("d"))
    #expect(dirty.count == 1)
    #expect(dirty.take().scans == [place("")])
    #expect(dirty.isEmpty)
  }
}

@Suite struct `A pause of this host` {
  private static func detector() -> PauseDetector {
    var detector = PauseDetector(period: .milliseconds(50), limit: .milliseconds(250))
    _ = detector.on(boot: Instant(nanos: 1000), wall: WallTime(nanos: 5000))
    return detector
  }
  private static func millis(_ count: Int64) -> Int64 { count * 1_000_000 }

  @Test func `is seen where the clock went on meanwhile`() {
    var detector = Self.detector()
    let late = Self.millis(300)
    #expect(
      detector.on(boot: Instant(nanos: 1000 + late), wall: WallTime(nanos: 5000 + late)) == nil)
    let gap = detector.on(
      boot: Instant(nanos: 1000 + 2 * late + 1), wall: WallTime(nanos: 5000 + 2 * late))
    #expect(gap == .nanoseconds(Self.millis(250) + 1))
  }

  @Test func `is seen by the wall's clock alone, where that is set right again`() {
    var detector = Self.detector()
    let boot = Instant(nanos: 1000 + Self.millis(50))
    let gap = detector.on(boot: boot, wall: WallTime(nanos: 5000 + Self.millis(30_000)))
    #expect(gap == .nanoseconds(Self.millis(29_950)))
    // Set back it says nothing of a pause.
    #expect(
      detector.on(boot: Instant(nanos: 1000 + Self.millis(100)), wall: WallTime(nanos: 0)) == nil)
  }
}
