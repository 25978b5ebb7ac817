import HoldfastCore
import Testing

/// The reign that a question declines; `nil`: none does.
private func declines(_ orders: [Supervisor.Order]) -> Reign? {
  for case .askArbiter(_, .decline(let reign), _) in orders { return reign }
  return nil
}

@Suite struct `A supervisor of a standby` {
  @Test func `is promoted once nobody holds the lease, and writes it down first`() {
    var told = Told.following
    _ = told.tick(1000)
    let orders = told.tell(.arbiter(told.asked, .free(Told.reign)), 1010)
    guard case .persist(let intent?) = orders.first else {
      Issue.record("\(orders)")
      return
    }
    #expect(intent.reign.epoch == Epoch(rawValue: 2))
    #expect(
      told.tick(1020).contains { order in
        if case .askArbiter(_, .acquire(intent.reign, .automatic), _) = order {
          true
        } else {
          false
        }
      })
    // The other's lease may live for so long yet.
    let granted = told.tell(.arbiter(told.asked, .granted(wait: .seconds(3))), 1030)
    #expect(granted.contains(.promote(intent, othersLeft: .seconds(3))))
    _ = told.tell(.promoted, 2000)
    let done = Told.report(.primary, .primary, intent.reign)
    #expect(told.tell(.agent(done), 2010) == [.persist(nil)])
    #expect(told.tick(4020).contains(.start) == false)
    #expect(told.tick(4030).contains(.start))
  }

  @Test func `that has heard of nobody since its start says so, and is promoted on an order`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    for millis in stride(from: Int64(1000), through: 13_000, by: 2000) {
      _ = told.tell(.agent(Told.report(.standby, .unknown, loss: nil)), millis - 1)
      _ = told.tick(millis)
      #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), millis + 1) == [])
    }
    #expect(told.supervisor.withheld == .unknownLoss)
    _ = told.tick(14_000)
    let ordered = told.tell(.failoverOrdered(nil, isLossAccepted: true), 14_010)
    #expect(ordered.contains(.persist(told.supervisor.intent)))
    #expect(told.supervisor.intent?.cause == .ordered)
  }

  @Test(arguments: [
    Told.report(.standby, .standby, loss: nil), Told.report(.standby, .standby, loss: .seconds(31)),
    Told.report(.standby, .unknown), Told.report(.standby, .standby, promiseLeft: .seconds(1)),
  ])
  func `that may not is not promoted by itself`(_ report: AgentReport) {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report), 20)
    _ = told.tick(1000)
    #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), 1010).isEmpty)
  }

  @Test(arguments: [false, true])
  func `of a move that is off gives back what it was granted where the other may have gone on`(
    hasPromised: Bool
  ) {
    var told = Told()
    let next = Reign(epoch: Told.reign.epoch.next, id: RandomID(high: 9, low: 9))
    let planned = PromotionIntent(reign: next, cause: .planned, point: PointNumber(rawValue: 5))
    _ = told.tell(.began(handover: nil, intent: planned), 0)
    _ = told.tell(.fenced, 10)
    var report = Told.report(.standby, .standby)
    _ = told.tell(.agent(report), 20)
    _ = told.tick(1000)
    report.hasPromised = hasPromised
    _ = told.tell(.agent(report), 1005)
    _ = told.tell(.arbiter(told.asked, .free(next)), 1010)
    let asked = told.tick(1020)
    guard hasPromised else {
      let granted = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 1030)
      #expect(
        granted.contains { if case .promote(let it, _) = $0 { it.reign == next } else { false } })
      // Promised in the last moment: it is not promoted either.
      report.hasPromised = true
      _ = told.tell(.agent(report), 1040)
      #expect(told.supervisor.intent?.isWithdrawn == true)
      return
    }
    #expect(asked.contains(.forgo(next)))
    let declined = told.tell(.forgone(next), 1030)
    #expect(declines(declined) == next)
    #expect(told.tell(.arbiter(told.asked, .released), 1040) == [.persist(nil)])
  }

  @Test(arguments: [nil, PointNumber(rawValue: 5)])
  func `of a move gives up what it cannot be promoted to, whether the agents are at it or not`(
    point: PointNumber?
  ) {
    var told = Told()
    let next = Reign(epoch: Told.reign.epoch.next, id: RandomID(high: 9, low: 9))
    let planned = PromotionIntent(reign: next, cause: .planned, point: point)
    _ = told.tell(.began(handover: nil, intent: planned), 0)
    _ = told.tell(.fenced, 10)
    var report = Told.report(.standby, .standby)
    report.move = point.map { .taking(next, $0) }
    for millis in stride(from: Int64(1000), through: 40_000, by: 3000) {
      if millis < 30_000 { #expect(told.supervisor.intent?.isWithdrawn == false) }
      _ = told.tell(.agent(report), millis)
      _ = told.tick(millis)
      _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), millis + 10)
      _ = told.tell(.notPromoted, millis + 20)
    }
    #expect(told.supervisor.intent?.isWithdrawn == true)
  }

  @Test func `replaces once a reign that it was granted too late, unless it is the other's`() {
    var told = Told.following
    _ = told.tick(1000)
    let late = Reign(epoch: Told.reign.epoch.next, id: RandomID(high: 8, low: 8))
    let orders = told.tell(.arbiter(told.asked, .free(late)), 1010)
    guard case .persist(let intent?) = orders.first else { return _ = Issue.record("\(orders)") }
    #expect(intent.reign.epoch == late.epoch && intent.reign != late)
    _ = told.tick(1020)
    let refused = told.tell(.arbiter(told.asked, .refused(.superseded(late))), 1030)
    #expect(refused == [.persist(nil)])
    _ = told.tick(4000)
    #expect(told.tell(.arbiter(told.asked, .free(late)), 4010).isEmpty)
  }

  @Test func `says why it is not promoted by itself once nobody has served for a while`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    for millis in stride(from: Int64(1000), through: 11_000, by: 2000) {
      _ = told.tell(.agent(Told.report(.standby, .standby, loss: .seconds(31))), millis - 1)
      _ = told.tick(millis)
      #expect(told.supervisor.withheld == nil)
      #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), millis + 1) == [])
    }
    #expect(told.supervisor.withheld == .loss)
    _ = told.tell(.agent(Told.report(.standby, .standby, loss: nil)), 12_000)
    _ = told.tick(13_000)
    _ = told.tell(.arbiter(told.asked, .free(Told.reign)), 13_001)
    #expect(told.supervisor.withheld == .unknownLoss)
    // A loss that an agent told of before it fell silent is none that anybody knows.
    _ = told.tell(.agent(Told.report(.standby, .standby, loss: .zero)), 13_100)
    _ = told.tell(.agent(nil), 15_100)
    _ = told.tick(15_200)
    #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), 15_201) == [])
    #expect(told.supervisor.withheld == .unknownLoss)
    _ = told.tick(17_300)
    _ = told.tell(.arbiter(told.asked, .held(Told.reign, left: .seconds(5))), 17_301)
    #expect(told.supervisor.withheld == nil)
  }

  @Test func `that an order was taken back from declines what may have been granted`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.failoverOrdered(nil, isLossAccepted: true), 1010)
    let wanted = told.supervisor.intent
    _ = told.tick(1020)
    let asked = told.asked
    let withdrawn = told.tell(.failoverWithdrawn, 1030)
    #expect(told.supervisor.intent?.isWithdrawn == true && wanted?.isWithdrawn == false)
    #expect(withdrawn == [.persist(told.supervisor.intent)])
    // What was granted meanwhile means nothing.
    #expect(told.tell(.arbiter(asked, .granted(wait: .zero)), 1040) == [])
    // Not before the agent has said that it never begins it.
    let orders = told.tick(1050)
    #expect(declines(orders) == nil && orders.first == wanted.map { .forgo($0.reign) })
    _ = told.tell(.notPromoted, 1055)
    _ = told.tell(.agent(Told.report(.standby, .unknown)), 1060)
    let forgone = told.tell(.forgone(wanted?.reign ?? .none), 1070)
    #expect(declines(forgone) == wanted?.reign)
    #expect(told.tell(.arbiterFailed(told.asked), 1080) == [])
    #expect(declines(told.tick(4080)) == wanted?.reign)
    #expect(told.tell(.arbiter(told.asked, .released), 4090) == [.persist(nil)])
    #expect(told.supervisor.intent == nil)
    // Nor does it come first where nobody serves.
    _ = told.tell(.agent(Told.report(.standby, .standby)), 6990)
    _ = told.tick(7000)
    #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), 7010) == [])
    // What was the other's before it was declined means nothing; that it serves again does.
    for (held, free, begins) in [(9000, 11_000, false), (25_000, 27_000, true)]
      as [(Int64, Int64, Bool)]
    {
      _ = told.tick(held)
      _ = told.tell(.arbiter(told.asked, .held(Told.reign, left: .seconds(1))), held + 10)
      _ = told.tell(.agent(Told.report(.standby, .standby)), free - 10)
      _ = told.tick(free)
      #expect(told.tell(.arbiter(told.asked, .free(Told.reign)), free + 10).isEmpty != begins)
    }
  }

  @Test func `is ordered whatever it costs by whoever agrees to that later`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.arbiter(told.asked, .held(Told.reign, left: .seconds(8))), 1005)
    let orders = told.tell(.failoverOrdered(nil, isLossAccepted: false), 1010)
    guard case .persist(let intent?)? = orders.first else {
      Issue.record("nothing was begun: \(orders)")
      return
    }
    #expect(!intent.isLossAccepted)
    // Who agrees later does so to the same order.
    var agreed = intent
    agreed.isLossAccepted = true
    #expect(told.tell(.failoverOrdered(nil, isLossAccepted: true), 1015).first == .persist(agreed))
    _ = told.tick(1020)
    #expect(
      told.tell(.arbiter(told.asked, .granted(wait: .seconds(8))), 1030)
        .contains(.promote(agreed, othersLeft: .seconds(8))))
    // Of what it was asked before somebody agreed.
    _ = told.tell(.lossRefused, 1040)
    #expect(told.supervisor.intent == agreed)
  }

  @Test func `that costs more than was agreed to is taken back, and declined`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.arbiter(told.asked, .held(Told.reign, left: .seconds(8))), 1005)
    _ = told.tell(.failoverOrdered(nil, isLossAccepted: false), 1010)
    guard let intent = told.supervisor.intent else {
      Issue.record("nothing was begun")
      return
    }
    _ = told.tick(1020)
    _ = told.tell(.arbiter(told.asked, .granted(wait: .seconds(8))), 1030)
    _ = told.tell(.lossRefused, 1040)
    #expect(told.supervisor.intent?.isWithdrawn == true)
    _ = told.tick(1045)
    #expect(declines(told.tell(.forgone(intent.reign), 1050)) == intent.reign)
  }

  @Test func `is ordered nothing new before what was withdrawn is declined`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.failoverOrdered(nil, isLossAccepted: true), 1010)
    _ = told.tell(.failoverWithdrawn, 1020)
    let withdrawn = told.supervisor.intent
    _ = told.tick(1030)
    #expect(
      told.tell(.failoverOrdered(PointNumber(rawValue: 3), isLossAccepted: true), 1040) == [
        .refuse(nil)
      ])
    #expect(told.supervisor.intent == withdrawn)
  }

  @Test func `forgets what was begun where no arbiter grants anything any more`() {
    var told = Told()
    told.supervisor = Supervisor(
      SupervisionSettings(
        terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: false, maxLoss: .zero,
        hasArbiter: false))
    let begun = PromotionIntent(
      reign: Reign(epoch: Told.reign.epoch.next, id: RandomID(high: 1, low: 1)), cause: .ordered)
    #expect(told.tell(.began(handover: nil, intent: begun), 0) == [.persist(nil)])
    #expect(told.supervisor.intent == nil)
  }

  @Test func `that was promoted before it could be withdrawn serves`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.failoverOrdered(nil, isLossAccepted: true), 1010)
    let reign = told.supervisor.intent?.reign ?? .none
    _ = told.tell(.failoverWithdrawn, 1020)
    #expect(told.tell(.agent(Told.report(.primary, .primary, reign)), 1030) == [.persist(nil)])
    #expect(told.tell(.forgone(reign), 1040) == [])
    #expect(declines(told.tick(4000)) == nil)
  }

  @Test func `that cannot be promoted lets the other serve, and tries again later`() {
    var told = Told.following
    _ = told.tick(1000)
    _ = told.tell(.arbiter(told.asked, .free(Told.reign)), 1010)
    let reign = told.supervisor.intent?.reign
    var millis: Int64 = 1010
    let tried = millis + Limits.promotionTriedFor.nanos / 1_000_000
    // Whether it answers or not.
    while told.supervisor.intent?.isWithdrawn == false, millis < tried + 10_000 {
      millis += 3000
      _ = told.tell(.agent(Told.report(.standby, .standby)), millis)
      _ = told.tick(millis)
      _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), millis + 10)
      if millis < 12_000 { _ = told.tell(.notPromoted, millis + 20) }
    }
    #expect(millis > tried && millis < tried + 10_000)
    _ = told.tick(millis + 30)
    #expect(declines(told.tell(.forgone(reign ?? .none), millis + 35)) == reign)
    _ = told.tell(.arbiter(told.asked, .released), millis + 40)
    let end = millis + Limits.promotionTriedAgainAfter.nanos / 1_000_000
    while millis <= end {
      millis += 3000
      _ = told.tell(.agent(Told.report(.standby, .standby)), millis)
      _ = told.tick(millis)
      let orders = told.tell(.arbiter(told.asked, .free(Told.reign)), millis + 10)
      #expect(orders.isEmpty == (millis + 10 < end + 40))
    }
    #expect(told.supervisor.intent != nil && told.supervisor.intent?.reign != reign)
  }
}
