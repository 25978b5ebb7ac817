import Dispatch
import HoldfastController
import HoldfastCore
import HoldfastLinux
import Logging
import Synchronization
import TestKit

/// One pair's controller with everything around it in the hands of a test.
final class Stage: Sendable {
  static let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 0, low: 1))
  static let check = PlanStep(kind: .check(.exec("true")), within: .zero, onFailure: .stop)
  static let unit = PlanStep(kind: .unit("x.service"), within: .seconds(5), onFailure: .stop)

  let clock = StepClock()
  let service = StagedService()
  let agent = StagedAgent()
  let arbiter = StagedArbiter()
  let controller: PairController
  private let executor = CountingExecutor()
  private let scratch = Scratch()
  private let running: Task<Void, Never>

  static func pair(_ failover: FailoverConfiguration) -> PairConfiguration {
    PairConfiguration(
      name: "p", primary: "a", standby: "b", roots: [], rpo: .seconds(5), require: .crash,
      capture: [.none],
      retention: RetentionRule(all: .seconds(1), hourly: .zero, daily: .zero), bandwidth: nil,
      spoolBytes: 0, failover: failover, plan: [unit, check], dormantKeys: [])
  }

  init(_ failover: FailoverConfiguration) throws {
    let world = ControllerWorld(
      clock: clock, dice: SystemDice(), agent: agent, helper: { ThreadHelper(label: $0) },
      log: Logger(label: "stage") { _ in SwiftLogNoOpLogHandler() }, probe: NoProbe(),
      abandon: { preconditionFailure("the disk of a stage fails") })
    let disk = try LinuxDisk(scratch.path)
    let controller = PairController(
      pair: Self.pair(failover), world: world, arbiter: failover.hasArbiter ? arbiter : nil,
      files: ControllerFiles(disk: disk, volatile: disk, pair: "p", clock: clock),
      service: service, executor: executor, makeTimer: { _ in NoTimer() })
    self.controller = controller
    running = Task { await controller.run() }
  }

  /// Lets time pass until something is so.
  /// - Parameter most: seconds of it.
  /// - Returns: whether it came to be.
  func wait(_ most: Int64 = 120, until isSo: () async -> Bool) async -> Bool {
    let end = clock.now() + .seconds(most)
    var idleSince = ContinuousClock.now
    while clock.now() < end {
      if await isSo() { return true }
      await settle()
      // Nobody waits for time while a helper is at it.
      if clock.step() { idleSince = .now }
      guard ContinuousClock.now - idleSince < .seconds(30) else { return false }
    }
    return false
  }

  /// Until the controller has nothing to do before time goes on: what a helper has just ended is on
  /// its way to it for some turns.
  private func settle() async {
    var idleTurns = 0
    while idleTurns < 5 {
      await Task.yield()
      idleTurns = executor.isIdle ? idleTurns + 1 : 0
    }
  }

  func trouble() async -> String { await controller.word().trouble ?? "" }

  deinit {
    running.cancel()
    clock.end()
    service.state.withLock { $0.isHanging = false }
  }
}

/// Knows whether the actor that it runs has something to do.
final class CountingExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "stage")
  private let jobs = Atomic(0)
  var isIdle: Bool { jobs.load(ordering: .sequentiallyConsistent) == 0 }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.add(1, ordering: .sequentiallyConsistent)
    queue.async {
      unsafe job.runSynchronously(on: self.asUnownedSerialExecutor())
      self.jobs.subtract(1, ordering: .sequentiallyConsistent)
    }
  }
}
