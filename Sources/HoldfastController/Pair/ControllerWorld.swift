package import HoldfastCore
package import Logging
import Synchronization

/// What the controllers of all pairs share.
package struct ControllerWorld: Sendable {
  package var clock: any Timekeeper
  package var dice: any Dice
  package var agent: any AgentDesk
  package var helper: @Sendable (String) -> any Helper
  package var log: Logger
  package var probe: any Probe
  /// Ends this process at once, so that another begins from what is durable.
  package var abandon: @Sendable () -> Void

  package init(
    clock: any Timekeeper, dice: any Dice, agent: any AgentDesk,
    helper: @escaping @Sendable (String) -> any Helper, log: Logger, probe: any Probe,
    abandon: @escaping @Sendable () -> Void
  ) {
    self.clock = clock
    self.dice = dice
    self.agent = agent
    self.helper = helper
    self.log = log
    self.probe = probe
    self.abandon = abandon
  }
}

/// Why a person's order is not obeyed, with the way on.
package struct ControllerRefusal: Error, CustomStringConvertible {
  package let description: String
  /// Of the command: 3 where a rule forbids it, 1 where it went wrong.
  package let code: Int32
  package init(_ description: String, code: Int32 = 3) {
    self.description = description
    self.code = code
  }
}

/// Which run of the plan is wanted; one that was abandoned ends after its step.
struct PlanProgress {
  final class Run: Sendable {
    private let isLeft = Mutex(false)
    var isWanted: Bool { isLeft.withLock { !$0 } }
    func leave() { isLeft.withLock { $0 = true } }
  }
  private var run: Run?
  private var held: Run?
  var steps = PlanRun([])

  /// It is to begin once it may.
  mutating func hold(_ run: Run) { held = run }
  /// - Returns: what was held and is still wanted.
  mutating func takeHeld() -> Run? {
    defer { held = nil }
    return held.flatMap { $0.isWanted ? $0 : nil }
  }

  mutating func begin() -> Run {
    abandon()
    let fresh = Run()
    run = fresh
    return fresh
  }
  mutating func abandon() {
    run?.leave()
    run = nil
  }
}

/// One word that threads leave for one another.
package final class SharedFlag: Sendable {
  private let value = Atomic(false)
  package init() {}
  package var isSet: Bool { value.load(ordering: .sequentiallyConsistent) }
  package func set(_ value: Bool) { self.value.store(value, ordering: .sequentiallyConsistent) }
}

/// Who is told that the timer has fenced: known only after the timer was made.
final class Announcement: Sendable {
  private let body = Mutex<(@Sendable () -> Void)?>(nil)
  func set(_ body: @escaping @Sendable () -> Void) { self.body.withLock { $0 = body } }
  func call() { body.withLock { $0 }?() }
}
