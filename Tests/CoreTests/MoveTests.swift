import HoldfastCore
import Testing

private let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 0, low: 2))
private let final = PointNumber(rawValue: 7)
private func at(_ seconds: Int64) -> Instant { Instant(nanos: seconds * 1_000_000_000) }

@Suite struct `A primary that yields` {
  private func begun(hasService: Bool = true, hasArbiter: Bool = true) -> Yielding {
    Yielding(to: next, hasService: hasService, hasArbiter: hasArbiter, now: at(0))
  }

  @Test func `ends the service only once the other site has caught up`() {
    var yielding = begun()
    #expect(yielding.first == [.say, .catchUp])
    #expect(yielding.on(.stopped, now: at(1)).isEmpty)
    #expect(yielding.on(.caughtUp, now: at(1)) == [.say, .stopService])
    #expect(yielding.on(.stopped, now: at(2)) == [.say, .finish])
    #expect(yielding.on(.asked, now: at(3)) == [.say])
    #expect(yielding.on(.finished(final), now: at(3)) == [.say])
    #expect(yielding.stage == .ready(final))
  }

  @Test func `gives nothing back for a standby that may have been started anew meanwhile`() {
    var yielding = begun(hasService: false)
    _ = yielding.on(.caughtUp, now: at(1))
    #expect(yielding.on(.finished(final), now: at(3)).isEmpty)
    #expect(yielding.stage == .finishing)
    // Once it asks again the point is made anew: it need not be the last any more.
    #expect(yielding.on(.asked, now: at(4)) == [.say, .finish])
    #expect(yielding.on(.finished(final), now: at(4)) == [.say])
    #expect(yielding.stage == .ready(final))
  }

  @Test func `decides by itself only where there is no arbiter, or none answers`() {
    var alone = begun(hasService: false, hasArbiter: false)
    #expect(alone.on(.caughtUp, now: at(1)) == [.say, .finish])
    _ = alone.on(.asked, now: at(2))
    #expect(alone.on(.finished(final), now: at(2)) == [.persist(final)])
    #expect(alone.on(.persisted, now: at(3)) == [.say])
    #expect(alone.stage == .yielded(final))
    var lost = begun(hasService: false)
    _ = lost.on(.caughtUp, now: at(1))
    _ = lost.on(.asked, now: at(2))
    _ = lost.on(.finished(final), now: at(2))
    #expect(lost.stage == .ready(final))
    #expect(lost.on(.arbiterLost, now: at(3)) == [.persist(final)])
  }

  @Test func `goes back where the other site falls silent, and never once it has yielded`() {
    var yielding = begun(hasService: false, hasArbiter: false)
    let limit = Limits.moveSilence.nanos / 1_000_000_000
    _ = yielding.on(.asked, now: at(1))
    #expect(yielding.on(.tick, now: at(limit)).isEmpty)
    var silent = yielding
    #expect(silent.on(.tick, now: at(1 + limit)) == [.goBack, .say])
    #expect(!silent.isUnderWay)
    _ = yielding.on(.caughtUp, now: at(2))
    _ = yielding.on(.asked, now: at(2))
    _ = yielding.on(.finished(final), now: at(2))
    _ = yielding.on(.persisted, now: at(2))
    for event in [Yielding.Event.withdrawn, .tick, .failed("late"), .caughtUp] {
      #expect(yielding.on(event, now: at(1000)).isEmpty)
    }
    #expect(yielding.stage == .yielded(final))
    // Who did not hear it is told again.
    #expect(yielding.on(.asked, now: at(1001)) == [.say])
  }
}

@Suite struct `A standby that takes over as planned` {
  private var begun: Taking { Taking(next, now: at(0), within: .seconds(600)) }

  @Test func `asks again and again, and offers itself once it has the final point`() {
    var taking = begun
    #expect(taking.on(.tick, now: at(1)) == [.ask])
    #expect(taking.offer == nil)
    #expect(taking.on(.heard(.ready(final), isApplied: false), now: at(2)).isEmpty)
    #expect(taking.on(.heard(.ready(final), isApplied: true), now: at(3)) == [.offer(final)])
    #expect(taking.offer == final)
    // Granted, it goes on, though the old primary says by then that it is none.
    #expect(taking.on(.granted, now: at(3)).isEmpty)
    #expect(taking.on(.heard(.ended("not primary"), isApplied: false), now: at(3)).isEmpty)
    #expect(taking.offer == final)
    _ = taking.on(.promoted, now: at(4))
    #expect(taking.stage == .done)
  }

  @Test func `is promoted on the primary's durable word`() {
    var taking = begun
    #expect(taking.on(.heard(.yielded(final), isApplied: true), now: at(1)) == [.promote(final)])
    // Past the commit point nothing leads back.
    #expect(taking.on(.heard(.ended("late"), isApplied: false), now: at(2)).isEmpty)
    #expect(taking.offer == final)
  }

  @Test func `withdraws where it takes too long, and not from what has ended`() {
    var taking = begun
    #expect(taking.on(.tick, now: at(6)) == [.withdraw])
    var offered = begun
    _ = offered.on(.heard(.ready(final), isApplied: true), now: at(1))
    for second in 2...60 {
      _ = offered.on(.heard(.ready(final), isApplied: true), now: at(Int64(second)))
    }
    #expect(offered.on(.tick, now: at(60)) == [.ask])
    var moved = offered
    #expect(
      moved.on(.heard(.ready(PointNumber(rawValue: 8)), isApplied: true), now: at(60)) == [
        .withdraw
      ])
    #expect(offered.on(.tick, now: at(61)) == [.withdraw])
    var ended = begun
    #expect(ended.on(.heard(.ended("no"), isApplied: false), now: at(1)).isEmpty)
    #expect(ended.stage == .failed("no"))
  }
}

@Suite struct `A lint of a plan` {
  private let pair = PairConfiguration(
    name: "p", primary: "a", standby: "b", roots: [], rpo: .seconds(5), require: .crash,
    capture: [.none],
    retention: RetentionRule(all: .seconds(1), hourly: .zero, daily: .zero), bandwidth: nil,
    spoolBytes: 0, failover: FailoverConfiguration(),
    plan: [
      PlanStep(kind: .unit("db.service"), within: .seconds(1), onFailure: .stop),
      PlanStep(
        kind: .address("192.0.2.1/24", device: "eth0"), within: .seconds(1), onFailure: .stop),
    ], dormantKeys: [])

  @Test func `names a port that is taken, and a filesystem that would fill up sooner`() {
    var pair = pair
    pair.roots = [RootConfiguration(path: "/srv/tax", replica: "/srv/tax", exclude: [])]
    pair.plan = ["http://127.0.0.1:8080/health", "http://localhost", "http://192.0.2.10/"].map {
      PlanStep(kind: .check(.http($0)), within: .seconds(1), onFailure: .stop)
    }
    let here = [
      "port 8080": "taken", "port 80": "free", "size 1": "\(10 << 30)", "free 1": "\(1 << 30)",
    ]
    let there = ["size 1": "\(20 << 30)", "free 1": "\(8 << 30)"]
    let found = PlanLint.findings(pair, here: here, there: there, other: "b")
    #expect(found.count == 2, "\(found)")
    #expect(found.first?.contains("step 1: something listens on port 8080") == true)
    #expect(found.last?.contains("1024 MiB free here and 8192 MiB on b") == true)
    let small = ["free 1": "1", "size 1": "1"]
    let theirs = PlanLint.findings(pair, here: there, there: small, other: "b")
    #expect(theirs.count == 1 && theirs[0].contains("has 0 MiB free on b"), "\(theirs)")
  }

  @Test func `warns of a loss that no failover can be within`() {
    var pair = pair
    pair.failover = FailoverConfiguration(mode: "automatic", arbiter: "w", maxLoss: .seconds(9))
    #expect(pair.failoverAdvice?.contains("max-loss") == true)
    pair.failover.maxLoss = .seconds(10)
    #expect(pair.failoverAdvice == nil)
    pair.failover = FailoverConfiguration(arbiter: "w")
    #expect(pair.failoverAdvice == nil)
  }

  @Test func `names what is missing, what starts at boot, and what differs`() {
    let here = [
      "unit db.service": "missing", "enabled db.service": "db.target", "interface eth0": "missing",
      "user db": "101", "package db": "1.0",
    ]
    let found = PlanLint.findings(
      pair, here: here, there: ["user db": "102", "package db": "1.1"], other: "b")
    #expect(found.count == 5, "\(found)")
    // Also of the other host.
    let there = PlanLint.findings(pair, here: [:], there: here, other: "b")
    #expect(there.contains { $0.contains("db.service is not installed on b") }, "\(there)")
    #expect(there.contains { $0.contains("no interface eth0 on b") })
    #expect(found.contains { $0.contains("systemctl disable db.target") })
    #expect(found.contains { $0.contains("user db is 101 here and 102 on b") })
    let alone = PlanLint.findings(
      pair, here: ["user db": "101"], there: ["user db": "missing"], other: "b")
    #expect(alone.contains { $0.contains("missing on b") && $0.contains("101") }, "\(alone)")
    let unwatched = PlanLint.findings(
      pair, here: ["watchdog systemd": "off"], there: ["watchdog systemd": "on"], other: "b")
    #expect(unwatched.count == 1 && unwatched[0].contains("RuntimeWatchdogSec="), "\(unwatched)")
    let old = ["hierarchy cgroup2": "missing"]
    #expect(PlanLint.findings(pair, here: old, there: old, other: "b").count == 2)
    let sound = ["unit db.service": "there", "interface eth0": "there", "user db": "101"]
    #expect(PlanLint.findings(pair, here: sound, there: sound, other: "b").isEmpty)
  }
}
