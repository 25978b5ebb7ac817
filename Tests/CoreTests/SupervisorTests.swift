import HoldfastCore
import Testing

private let reign = Told.reign
private func at(_ millis: Int64) -> Instant { Told.at(millis) }

private func report(
  _ part: RoleRecord.Part, _ role: Role, _ told: Reign = reign, isRefused: Bool = false,
  promiseLeft: Duration = .zero, loss: Duration? = .seconds(1)
) -> AgentReport {
  Told.report(
    part, role, told, isRefused: isRefused, promiseLeft: promiseLeft, loss: loss)
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

  @Test(arguments: [true, false])
  func `takes no word again that the arbiter has contradicted, until it is given anew`(
    isSuperseded: Bool
  ) {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    var word = report(.primary, .primary)
    word.isByWord = true
    _ = told.tell(.agent(word), 20)
    _ = told.tick(1000)
    let next = Reign(epoch: reign.epoch.next, id: RandomID(high: 8, low: 8))
    let answer: ArbiterAnswer =
      isSuperseded ? .refused(.superseded(next)) : .held(next, left: .seconds(9))
    if !isSuperseded {
      // Who may not renew asks.
      _ = told.tell(.arbiter(told.asked, .refused(.superseded(next))), 1005)
      _ = told.tick(4000)
    }
    _ = told.tell(.arbiter(told.asked, answer), 4010)
    // The agent has not heard of it, and the arbiter is silent from now on.
    _ = told.tell(.agent(word), 4020)
    for millis in stride(from: Int64(7000), to: 30_000, by: 3000) {
      _ = told.tick(millis)
      let orders = told.tell(.arbiterFailed(told.asked), millis + 10)
      #expect(!orders.contains(.start))
      #expect(!told.tell(.agent(word), millis + 20).contains(.start))
    }
    word.isByWord = false
    #expect(!told.tell(.agent(word), 31_000).contains(.start))
    word.isByWord = true
    #expect(told.tell(.agent(word), 32_000).contains(.start))
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

  @Test func `ends what an earlier controller may have left before this site yields`() {
    var told = Told()
    told.supervisor = Supervisor(
      SupervisionSettings(
        terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: false, maxLoss: .zero,
        hasArbiter: false))
    #expect(told.tell(.began(handover: nil, intent: nil), 0) == [])
    var asked = report(.primary, .unknown)
    asked.move = .yielding(Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9)))
    #expect(told.tell(.agent(asked), 20) == [.stop])
    #expect(told.supervisor.yield == nil)
    #expect(told.tell(.stopped, 1000) == [.note(nil)])
    #expect(told.supervisor.yield == .stopped)
  }

  @Test func `does not say of a service that was killed that it was stopped in order`() {
    var told = Told.serving
    let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9))
    var asked = report(.primary, .primary)
    asked.move = .yielding(next)
    #expect(told.tell(.agent(asked), 2000) == [.stop])
    // Its lease ends before it has.
    #expect(told.tick(12_000).contains(.fence(.leaseOver)))
    _ = told.tell(.fenced, 12_100)
    _ = told.tell(.agent(asked), 12_200)
    #expect(told.supervisor.yield == .nothingRuns)
  }

  @Test func `ends the service in order for a planned move, and gives the lease back`() {
    var told = Told.serving
    let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9))
    var asked = report(.primary, .primary)
    asked.move = .yielding(next)
    #expect(told.tell(.agent(asked), 2000) == [.stop])
    #expect(told.supervisor.service == .stopping)
    #expect(told.tell(.stopped, 2500).contains(.note(nil)))
    #expect(told.supervisor.yield == .stopped)
    // Nobody else is to get it yet, however long the final point takes.
    _ = told.tick(3000)
    _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 3010)
    #expect(!told.tick(3020).contains(.start))
    asked.move = .ready(next)
    // Also where a renewal is under way, which would be granted.
    _ = told.tick(5010)
    let renewal = told.asked
    #expect(told.tell(.agent(asked), 5020).isEmpty)
    _ = told.tell(.arbiter(renewal, .granted(wait: .zero)), 5025)
    #expect(told.supervisor.lease == nil)
    #expect(
      told.tick(5026).contains { order in
        if case .askArbiter(_, .release, _) = order { true } else { false }
      })
    _ = told.tell(.arbiter(told.asked, .released), 5030)
    #expect(told.supervisor.yield == .released)
    #expect(told.supervisor.lease == nil)
  }

  @Test func `that yielded goes on only under what it is granted anew`() {
    var told = Told.serving
    let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9))
    var asked = report(.primary, .primary)
    asked.move = .yielding(next)
    _ = told.tell(.agent(asked), 2000)
    _ = told.tick(2100)
    _ = told.tell(.arbiterFailed(told.asked), 2110)
    _ = told.tell(.stopped, 2500)
    // The move is off: what is left of the lease of before counts no more.
    asked.move = nil
    #expect(!told.tell(.agent(asked), 2600).contains(.start))
    // Nor does what the other site promised before it was offered to take over.
    #expect(!told.tell(.peer(told.asked, isPromised: true), 2610).contains(.start))
    // Nor where nothing was running when it yielded.
    var idle = Told()
    _ = idle.tell(.began(handover: nil, intent: nil), 0)
    _ = idle.tell(.fenced, 10)
    _ = idle.tell(.agent(report(.primary, .unknown)), 20)
    _ = idle.tick(1000)
    _ = idle.tell(.arbiterFailed(idle.asked), 1010)
    _ = idle.tell(.peer(idle.asked, isPromised: true), 1020)
    asked.move = .yielding(next)
    _ = idle.tell(.agent(asked), 1030)
    asked.move = nil
    #expect(!idle.tell(.agent(asked), 1040).contains(.start))
    // Nor does the other site's promise, before the arbiter was asked.
    _ = told.tick(3000)
    #expect(told.tell(.arbiter(told.asked, .granted(wait: .zero)), 3010).contains(.start))
  }

  @Test func `takes over as planned only while the offer stands, or what was granted before`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    let next = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 9, low: 9))
    var offered = report(.standby, .standby)
    offered.move = .taking(next, PointNumber(rawValue: 5))
    let planned = PromotionIntent(reign: next, cause: .planned, point: PointNumber(rawValue: 5))
    // Durable before anybody is asked.
    let begun = told.tell(.agent(offered), 20)
    #expect(begun.first == .persist(planned))
    #expect(
      begun.dropFirst().contains { order in
        if case .askArbiter(_, .acquire(next, .planned), _) = order { true } else { false }
      })
    // The other site's lease is on its way back.
    #expect(told.tell(.arbiter(told.asked, .held(reign, left: .seconds(5))), 30).isEmpty)
    offered.move = nil
    _ = told.tell(.agent(offered), 1100)
    #expect(
      told.tick(1200).contains { order in
        if case .askArbiter(_, .ask, _) = order { true } else { false }
      })
    let over = told.tell(.arbiter(told.asked, .held(reign, left: .seconds(5))), 1210)
    #expect(over == [.persist(nil)])
  }

  @Test func `starts nothing before a compulsory command has the other host off`() {
    var told = Told()
    told.supervisor = Supervisor(
      SupervisionSettings(
        terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: true, maxLoss: .seconds(30),
        fencing: .required))
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report(.primary, .primary)), 20)
    _ = told.tick(1000)
    let granted = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 1010)
    #expect(granted.contains(.fenceOther) && !granted.contains(.start))
    _ = told.tell(.otherFenced(false), 1020)
    for millis in stride(from: Int64(3000), through: 11_000, by: 2000) {
      #expect(!told.tick(millis).contains(.fenceOther))
      _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), millis + 5)
    }
    #expect(told.tick(11_020).contains(.fenceOther))
    let off = told.tell(.otherFenced(true), 11_030)
    #expect(off.first == .settle(reign))
    // Where the other site yielded it is not asked for.
    var yielded = report(.primary, .primary)
    yielded.isPlanned = true
    var other = Told()
    other.supervisor = told.supervisor
    #expect(!other.tell(.agent(yielded), 11_040).contains(.fenceOther))
  }

  @Test func `runs a failed plan again only once the other host is off in a reign that is new`() {
    var told = Told()
    told.supervisor = Supervisor(
      SupervisionSettings(
        terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: false, maxLoss: .seconds(30),
        hasArbiter: false, fencing: .required))
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.agent(report(.primary, .primary)), 20)
    #expect(told.tell(.otherFenced(true), 30).contains(.start))
    _ = told.tell(.startFailed, 40)
    // A person has it go on in a reign of its own.
    let next = Reign(epoch: Epoch(rawValue: 3), id: RandomID(high: 0, low: 3))
    _ = told.tell(.agent(report(.primary, .primary, next)), 50)
    #expect(told.tell(.startOrdered, 60) == [.fenceOther])
    // What was begun for another reign says nothing of this one.
    #expect(!told.tell(.otherFenced(false), 70).contains(.start))
    #expect(told.tick(11_000).contains(.fenceOther))
    let off = told.tell(.otherFenced(true), 11_010)
    #expect(off.first == .settle(next) && off.last == .start)
  }

  @Test func `moves an ill service once three rounds of checks have failed`() {
    var told = Told(
      supervisor: Supervisor(
        SupervisionSettings(
          terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: true, maxLoss: .seconds(30),
          movesUnhealthy: true))
    ).served
    #expect(told.tell(.health(isWell: false), 2000).isEmpty)
    #expect(told.tell(.health(isWell: false), 2100).isEmpty)
    #expect(told.tell(.health(isWell: true), 2200).isEmpty)
    for millis in [2300, 2400] {
      #expect(told.tell(.health(isWell: false), Int64(millis)).isEmpty)
    }
    #expect(told.tell(.health(isWell: false), 2500) == [.moveAway])
    // Where that is not wanted it is an alarm alone.
    var patient = Told.serving
    for _ in 0..<9 { #expect(patient.tell(.health(isWell: false), 2000).isEmpty) }
  }

  @Test func `has what stood still with its host wait until it is granted anew`() {
    var told = Told.serving
    _ = told.tick(3000)
    let before = told.asked
    let orders = told.tell(.paused, 4000)
    #expect(orders.first == .note(nil), "no other controller goes on under this lease")
    #expect(told.asked != before && told.supervisor.isSuspended)
    #expect(told.tell(.arbiter(before, .granted(wait: .zero)), 4010).isEmpty)
    // Checks of what stands still say nothing.
    #expect(told.tell(.health(isWell: false), 4020).isEmpty)
    let granted = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 4030)
    #expect(granted.last == .thaw && !told.supervisor.isSuspended)
    #expect(told.supervisor.fenceAt == at(4000 + 7300))
  }

  @Test func `fences what stood still where another was promoted, or nobody answers`() {
    var told = Told.serving
    _ = told.tell(.paused, 4000)
    let newer = Reign(epoch: Epoch(rawValue: 2), id: RandomID(high: 0, low: 2))
    let refused = told.tell(.arbiter(told.asked, .refused(.superseded(newer))), 4030)
    #expect(refused.contains(.fence(.superseded)) && !refused.contains(.thaw))
    var silent = Told.serving
    _ = silent.tell(.paused, 4000)
    #expect(silent.tick(8300).contains(.fence(.leaseOver)))
    // Nor is a lease good that nothing was started under yet.
    var waiting = Told()
    _ = waiting.tell(.began(handover: nil, intent: nil), 0)
    _ = waiting.tell(.fenced, 10)
    _ = waiting.tell(.agent(report(.primary, .unknown)), 20)
    _ = waiting.tick(1000)
    let asked = waiting.asked
    _ = waiting.tell(.paused, 1500)
    #expect(waiting.tell(.arbiter(asked, .granted(wait: .zero)), 1510).isEmpty)
    #expect(waiting.supervisor.lease == nil)
    // What was begun cannot be known to stand still as a whole.
    var starting = Told()
    _ = starting.tell(.began(handover: nil, intent: nil), 0)
    _ = starting.tell(.fenced, 10)
    _ = starting.tell(.agent(report(.primary, .primary)), 20)
    _ = starting.tick(1000)
    _ = starting.tell(.arbiter(starting.asked, .granted(wait: .zero)), 1010)
    #expect(starting.supervisor.service == .starting)
    #expect(starting.tell(.paused, 2000).contains(.fence(.paused)))
  }

  @Test func `says until when what it fences is counted on to be over`() {
    var told = Told.serving
    let end = at(1000 + 10_000 - 500)
    #expect(told.supervisor.mustBeOverAt == end)
    _ = told.tick(8300)
    #expect(told.supervisor.service == .fencing && told.supervisor.mustBeOverAt == end)
    _ = told.tell(.fenced, 8400)
    #expect(told.supervisor.mustBeOverAt == nil)
  }

  @Test func `serves on a word where the arbiter knows nothing`() {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    var word = report(.primary, .primary)
    word.isByWord = true
    _ = told.tell(.agent(word), 20)
    _ = told.tick(1000)
    #expect(told.tell(.arbiter(told.asked, .refused(.unheard)), 1010).contains(.start))
  }

  @Test func `feeds its watchdog only while it could hang and still be killed in time`() {
    let told = Told.serving
    #expect(told.supervisor.mayFeedWatchdog(now: at(5500), .seconds(3)))
    #expect(!told.supervisor.mayFeedWatchdog(now: at(5501), .seconds(3)))
  }
}
