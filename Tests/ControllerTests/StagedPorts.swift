import Glibc
import HoldfastCore
import Synchronization

/// A service that does what a test says.
final class StagedService: ServiceHost {
  struct State {
    var isBindable = true
    /// Checks end only once this is false again.
    var isHanging = false
    var steps: [PlanStep.Kind] = []
  }
  let state = Mutex(State())

  var shortcomings: [String] { [] }
  var isOver: Bool { true }
  func bind() throws(StepError) {
    guard state.withLock({ $0.isBindable }) else { throw StepError("it does not answer") }
  }
  func run(_ step: PlanStep) throws(StepError) {
    state.withLock { $0.steps.append(step.kind) }
    // Not for luck: a check that hangs takes no processor from anybody.
    while step == Stage.check, state.withLock({ $0.isHanging }) { usleep(1000) }
  }
  func allow(in epoch: Epoch, _ isWanted: () -> Bool) -> Bool { isWanted() }
  func fence() -> [String] { [] }
  func stop() throws(StepError) {}
  func fenceOther(_ command: FenceCommand, in epoch: Epoch) throws(StepError) {}
  func facts() -> [String: String] { [:] }
  func prepare() {}
  func suspend() {}
  func thaw() {}
  func endHost() {}
  func sweep(atLeast time: Duration) {}
  func announce() {}
}

/// The agent of a primary.
final class StagedAgent: AgentDesk {
  struct State {
    var role = Role.unknown
    var isByWord = false
    var reasonsToMove: [String] = []
  }
  let state = Mutex(State())

  func serving(
    _ pair: String, _ word: ServiceWord
  ) async -> (report: AgentReport, names: PairNames?)? {
    let (role, isByWord) = state.withLock { ($0.role, $0.isByWord) }
    let report = AgentReport(
      record: RoleRecord(reign: Stage.reign, part: .primary), role: role, isRefused: false,
      promiseLeft: .zero, loss: nil, isByWord: isByWord)
    return (
      report, PairNames(pair: RandomID(high: 0, low: 7), other: Fingerprint(Digest32(words: .zero)))
    )
  }
  func grant(_ pair: String, _ reign: Reign) async { state.withLock { $0.role = .primary } }
  func askPromise(_ pair: String, _ reign: Reign, for ttl: Duration) async -> Bool { false }
  func moveAway(_ pair: String, _ why: String) async -> String? {
    state.withLock { $0.reasonsToMove.append(why) }
    return nil
  }
  func promote(
    _ pair: String, _ intent: PromotionIntent, othersLeft: Duration
  ) async -> PromotionOutcome { .failed("nobody promotes here", isForLoss: false) }
  func forgo(_ pair: String, _ reign: Reign) async -> Bool { false }
}

/// An arbiter that grants, or is not there.
final class StagedArbiter: Arbiter {
  struct State {
    var isThere = true
    var questions = 0
  }
  let state = Mutex(State())

  func ask(_ request: ArbiterRequest, _ statement: SiteStatement) async -> ArbiterAnswer? {
    state.withLock { state in
      state.questions += 1
      return state.isThere ? .granted(wait: .zero) : nil
    }
  }
  var trouble: String? { get async { "it is not there" } }
}

/// The supervisor's own ticks fence where no thread is to.
struct NoTimer: DeadlineTimer {
  func set(_ moment: Instant?) {}
}
