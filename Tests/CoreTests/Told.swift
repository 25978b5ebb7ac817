import HoldfastCore
import Testing

/// A supervisor with ttl 10 s, told one thing after the other; answers are to its last question.
struct Told {
  static let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 0, low: 1))

  static func at(_ millis: Int64) -> Instant { Instant(nanos: millis * 1_000_000) }

  static func report(
    _ part: RoleRecord.Part, _ role: Role, _ told: Reign = reign, isRefused: Bool = false,
    promiseLeft: Duration = .zero, loss: Duration? = .seconds(1)
  ) -> AgentReport {
    AgentReport(
      record: RoleRecord(reign: told, part: part), role: role, isRefused: isRefused,
      promiseLeft: promiseLeft, loss: loss)
  }

  var supervisor = Supervisor(
    SupervisionSettings(
      terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: true, maxLoss: .seconds(30)))
  var asked: Supervisor.RequestNumber = 0

  mutating func tell(_ event: Supervisor.Event, _ millis: Int64) -> [Supervisor.Order] {
    let orders = supervisor.on(event, now: Self.at(millis))
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
  static var serving: Told { Told().served }
  var served: Told {
    var told = self
    #expect(told.tell(.began(handover: nil, intent: nil), 0) == [.fence(.began), .note(nil)])
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(Self.report(.primary, .unknown)), 20)
    _ = told.tick(1000)
    _ = told.tell(.arbiter(told.asked, .granted(wait: .zero)), 1010)
    #expect(told.tell(.agent(Self.report(.primary, .unknown)), 1020) == [.hand(Self.reign)])
    let orders = told.tell(.agent(Self.report(.primary, .primary)), 1030)
    #expect(orders.last == .start)
    _ = told.tell(.started, 1500)
    return told
  }

  /// A standby that has been told nothing of the arbiter.
  static var following: Told {
    var told = Told()
    _ = told.tell(.began(handover: nil, intent: nil), 0)
    _ = told.tell(.fenced, 10)
    _ = told.tell(.agent(report(.standby, .standby)), 20)
    return told
  }
}
