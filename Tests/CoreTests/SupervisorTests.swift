import HoldfastCore
import Testing

private let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 0, low: 1))
private func at(_ millis: Int64) -> Instant { Instant(nanos: millis * 1_000_000) }

private func report(
  _ part: RoleRecord.Part, _ role: Role, _ told: Reign = reign, isRefused: Bool = false,
  promiseLeft: Duration = .zero, loss: Duration? = .seconds(1)
) -> AgentReport {
  AgentReport(
    record: RoleRecord(reign: told, part: part), role: role, isRefused: isRefused,
    promiseLeft: promiseLeft, loss: loss)
}

/// A supervisor with ttl 10 s, told one thing after the other; answers are to its last question.
private struct Told {
  var supervisor = Supervisor(
    SupervisionSettings(
      terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: true, maxLoss: .seconds(30)))
  var asked: Supervisor.RequestNumber = 0

  mutating func tell(_ event: Supervisor.Event, _ millis: Int64) -> [Supervisor.Order] {
    let orders = supervisor.on(event, now: at(millis))
    for order in orders {
      switch order {
      case .askArbiter(let number, _, _), .askPeer(let number, _): asked = number
      default: break
      }
    }
    return orders
  }
  mutating func tick(_ millis: Int64) -> [Supervisor.Order] {
    tell(.tick(chance: RandomID(high: 5, low: UInt64(millis))), millis)
  }

  /// A primary whose service runs under a lease that was asked for at second 1.
  static var serving: Told {
    var told = Told()
    #expect(told.tell(.began(handover: nil, intent: nil), 0) == [.fence(.began), .note(nil)])
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report(.primary, .unknown)), 20)
    _ = told.tick(1000)
    _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 1010)
    #expect(told.tell(.agent(report(.primary, .unknown)), 1020) == [.hand(reign)])
    let orders = told.tell(.agent(report(.primary, .primary)), 1030)
    #expect(orders.last == .start)
    _ = told.tell(.started, 1500)
    return told
  }
}

@Suite struct `A supervisor` {
  @Test func `serves under a lease, counted from when it was asked for`() {
    let told = Told.serving
    #expect(told.supervisor.service == .running)
    // 10 s less margin, stopping and what killing a hung controller takes.
    #expect(told.supervisor.fenceAt == at(1000 + 10_000 - 500 - 1000 - 1000 - 200))
  }

  @Test func `fences when the lease is over, to the moment`() {
    var told = Told.serving
    #expect(!told.tick(8299).contains(.fence(.leaseOver)))
    #expect(told.tick(8300).contains(.fence(.leaseOver)))
    #expect(told.supervisor.fenceAt == nil)
  }

  @Test func `keeps the service while the other site promises not to serve`() {
    var told = Told.serving
    _ = told.tick(3000)
    let orders = told.tell(.arbiterFailed(told.asked), 3100)
    #expect(orders == [.askPeer(told.asked, reign)])
    _ = told.tell(.peer(told.asked, isPromised: true), 3200)
    #expect(told.supervisor.fenceAt == at(3100 + 7300))
  }

  @Test func `takes an answer that comes too late for none`() {
    var told = Told.serving
    _ = told.tick(3000)
    let late = told.asked
    #expect(told.tick(5000).contains(.askPeer(late + 1, reign)))
    _ = told.tell(.arbiter(late, .granted(wait: .zero)), 5100)
    #expect(told.supervisor.fenceAt == at(8300))
  }

  @Test func `fences at once when the other site was promoted`() {
    var told = Told.serving
    _ = told.tick(3000)
    let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9))
    let orders = told.tell(.arbiter(told.asked, .refused(.superseded(next))), 3100)
    #expect(orders.first == .fence(.superseded))
    // Nor does what is left of its lease start anything again.
    _ = told.tell(.fenced, 3200)
    #expect(!told.tell(.agent(report(.primary, .primary)), 3210).contains(.start))
    #expect(told.supervisor.service == .stopped)
  }

  @Test func `of a standby is promoted once nobody holds the lease, and writes it down first`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report(.standby, .standby)), 20)
    _ = told.tick(1000)
    let orders = told.tell(.arbiter(told.asked, .free(reign)), 1010)
    guard case .persist(let intent?) = orders.first else {
      Issue.record("\(orders)")
      return
    }
    #expect(intent.reign.epoch == Epoch(rawValue: 2))
    #expect(
      told.tick(1020).contains { order in
        if case .askArbiter(_, .acquire(intent.reign, isOrdered: false), _) = order {
          true
        } else {
          false
        }
      })
    // The other's lease may live for so long yet.
    let granted = told.tell(.arbiter(told.asked, .granted(wait: .seconds(3))), 1030)
    #expect(granted.contains(.promote(intent.reign, nil)))
    _ = told.tell(.promoted, 2000)
    let done = report(.primary, .primary, intent.reign)
    #expect(told.tell(.agent(done), 2010) == [.persist(nil)])
    #expect(told.tick(4020).contains(.start) == false)
    #expect(told.tick(4030).contains(.start))
  }

  @Test(arguments: [
    report(.standby, .standby, loss: nil), report(.standby, .standby, loss: .seconds(31)),
    report(.standby, .unknown), report(.standby, .standby, promiseLeft: .seconds(1)),
  ])
  func `of a standby that may not is not promoted by itself`(_ report: AgentReport) {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report), 20)
    _ = told.tick(1000)
    #expect(told.tell(.arbiter(told.asked, .free(reign)), 1010).isEmpty)
  }

  @Test func `starts on a person's word where the arbiter does not answer, and only there`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    var word = report(.primary, .primary)
    word.isByWord = true
    _ = told.tell(.agent(word), 20)
    _ = told.tick(1000)
    #expect(
      !told.tell(.arbiter(told.asked, .refused(.quiet(left: .seconds(9)))), 1010).contains(.start))
    _ = told.tell(.peer(told.asked, isPromised: false), 1020)
    _ = told.tick(3000)
    #expect(told.tell(.arbiterFailed(told.asked), 3010).last == .start)
    #expect(told.supervisor.fenceAt == nil)
    _ = told.tell(.peer(told.asked, isPromised: false), 3020)
    _ = told.tick(100_000)
    #expect(told.supervisor.service == .starting)
    // The arbiter is back: its lease counts from now on.
    let orders = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 100_010)
    #expect(orders.contains(.hand(reign)))
    #expect(told.supervisor.fenceAt == at(107_300))
  }

  @Test func `starts again on a person's word after its lease was over`() {
    var told = Told.serving
    _ = told.tick(3000)
    _ = told.tell(.arbiterFailed(told.asked), 3100)
    _ = told.tell(.peer(told.asked, isPromised: false), 3200)
    #expect(told.tick(8300).contains(.fence(.leaseOver)))
    _ = told.tell(.fenced, 8310)
    _ = told.tell(.arbiterFailed(told.asked), 8400)
    var word = report(.primary, .primary)
    word.isByWord = true
    #expect(told.tell(.agent(word), 8500).last == .start)
    _ = told.tell(.started, 9000)
    _ = told.tick(100_000)
    #expect(told.supervisor.service == .running)
  }

  @Test func `goes on under the lease of one that died, but not under the rest of one`() {
    var told = Told()
    let long = Lease(reign: reign, fenceAt: at(3000))
    #expect(told.tell(.began(handover: long, intent: nil), 0) == [.start])
    #expect(told.supervisor.fenceAt == at(3000))
    told = Told()
    let short = Lease(reign: reign, fenceAt: at(2999))
    #expect(told.tell(.began(handover: short, intent: nil), 0).first == .fence(.began))
  }

  @Test func `feeds its watchdog only while it could hang and still be killed in time`() {
    let told = Told.serving
    #expect(told.supervisor.mayFeedWatchdog(now: at(5500)))
    #expect(!told.supervisor.mayFeedWatchdog(now: at(5501)))
  }
}
