import FoundationEssentials
import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `An agent that is killed` {
  /// Where each side passes the phase in ordinary work.
  private static let places: [(site: String, phase: String)] = [
    ("a", "reading"), ("a", "sending"), ("a", "sealing"), ("b", "sealing"), ("b", "applying"),
    ("b", "retaining"), ("b", "compacting"), ("b", "choosing"), ("b", "promoting"),
  ]
  /// How often each phase is met: HOLDFAST_KILLS, or 3.
  private static let kills: Int =
    ProcessInfo.processInfo.environment["HOLDFAST_KILLS"].flatMap { Int($0) } ?? 3

  @Test(arguments: places.indices, 0..<kills)
  func `leaves every durable point to be promoted`(place: Int, round: Int) throws {
    let (site, phase) = Self.places[place]
    // Promotions pass few places, the others many: before the commit point one of a preview and two
    // of their own, and three behind it.
    let isCommitted = phase == "promoting"
    let isPromotion = isCommitted || phase == "choosing"
    let isRetention = ["retaining", "compacting"].contains(phase)
    // A pass over the journal passes four.
    let number =
      isPromotion ? 1 + round % 3 : phase == "compacting" ? 1 + round % 5 : 1 + round * 5 % 17
    let pair = TestPair(extra: [
      "require: crash",
      isRetention ? "retention: { all: 1s, hourly: 0s, daily: 0s }" : "rpo: 1s",
    ])
    pair.isAlone = true
    #expect(pair.begin(), "\(pair.story)")
    let ledger = Ledger(
      tree: pair.source, path: pair.scratch("ledger"), seed: UInt64(place * 100 + round))
    // Something to choose from, unless the rule leaves one.
    let least = isRetention ? 1 : 2
    let hasPoints = pair.wait { pair.kept("b").filter { $0.grade == "crash" }.count >= least }
    #expect(hasPoints, "\(pair.story)")
    var reported: Set<UInt64> = []
    func listen() { pair.points("a")?.durable.map { _ = reported.insert($0) } }
    if isPromotion {
      // Some points to choose from.
      #expect(
        pair.wait {
          listen(); return reported.max() ?? 0 > 8
        }, "\(pair.story)")
      pair.kill("a")
    }
    pair.kill(site)
    pair.start(site, probe: "\(phase):\(number)")
    let wasHit = pair.wait {
      if isPromotion {
        pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
      }
      if phase == "compacting" {
        // More than is left alone of what nobody needs.
        Shell.run("head -c 80M /dev/urandom > '\(pair.source)/\(Ledger.ballast)'")
        pair.run("sync p --wait durable --timeout 10s", on: "a")
        Shell.run("rm '\(pair.source)/\(Ledger.ballast)'")
      }
      if pair.isAlive("a") { listen() }
      return !pair.isAlive(site)
    }
    #expect(wasHit, "\(phase) was not reached \(number) times\n\(pair.story)")
    #expect(pair.end(site) == 128 + SIGKILL)
    pair.kill("b")
    // What the rule drops may be gone, but for the newest.
    let promised = isRetention ? Set(reported.max().map { [$0] } ?? []) : reported
    try judge(pair, ledger, promised, isPromoted: isCommitted, least)
    if isPromotion {
      ledger.stop()
      pair.start("b")
      if !isCommitted {
        let again = "failover p --json --yes --accept-loss --other-site-is-down"
        #expect(pair.run(again, on: "b").code == 0, "\(pair.story)")
      }
      #expect(pair.wait { pair.status("b").contains("\"role\":\"primary\"") }, "\(pair.story)")
      #expect(ledger.knows(pair.replica))
      return
    }
    for site in ["a", "b"] where !pair.isAlive(site) { pair.start(site) }
    #expect(pair.wait { pair.status("a").contains("\"role\":\"primary\"") }, "\(pair.story)")
    ledger.stop()
    #expect(pair.sync() > reported.max() ?? 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
  }

  /// Promotes copies of what the standby has on its disks, at the newest point and at an older one.
  /// - Parameters:
  ///   - isPromoted: a promotion had passed its commit point, and goes on by itself.
  ///   - least: so many points to choose from there are at least.
  private func judge(
    _ pair: TestPair, _ ledger: Ledger, _ promised: Set<UInt64>, isPromoted: Bool, _ least: Int
  ) throws {
    for (number, isOlder) in [false, true].enumerated() {
      let copy = pair.copyStandby(number)
      pair.start(copy)
      #expect(pair.status(copy).contains("\"epoch\":2") == isPromoted, "\(pair.status(copy))")
      let points = pair.kept(copy).filter { $0.grade == "crash" && $0.epoch == 1 && !$0.branch }
      #expect(points.count >= least, "\(pair.status(copy))")
      let missing = promised.subtracting(pair.kept(copy).map(\.point))
      #expect(missing == [], "reported as durable")
      guard let newest = points.first else { continue }
      let older = points.dropFirst(max(1, points.count / 2)).first
      let chosen = isOlder && !isPromoted ? older ?? newest : newest
      if isPromoted {
        let isReady = pair.wait { pair.status(copy).contains("\"role\":\"primary\"") }
        #expect(isReady, "\(pair.status(copy))")
      } else {
        let answer = pair.run(
          """
          failover p --json --yes --accept-loss --other-site-is-down \
          \(isOlder ? "--point \(chosen.point)" : "")
          """, on: copy)
        #expect(answer.code == 0, "\(answer.output)\n\(pair.status(copy))")
      }
      let target = pair.scratch("restored\(number)")
      let restored = pair.run("restore p --point \(chosen.point) --to '\(target)'", on: copy)
      #expect(restored.code == 0, "\(restored.output)")
      let replica = pair.scratch("replica-" + copy)
      #expect(Judge.differences(target, replica) == "", "point \(chosen.point)")
      #expect(ledger.knows(pair.scratch("replica-" + copy)), "point \(chosen.point)")
      pair.kill(copy)
    }
  }
}
