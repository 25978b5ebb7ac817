import HoldfastCore
import Logging

/// Starting and ending a pair's service by its plan: obeys ``PlanRun``.
extension PairController {
  func start(_ run: PlanProgress.Run) {
    guard isBound else { return plan.hold(run) }
    trouble = nil
    if pair.failover.hasArbiter, let lack = service.shortcomings.first {
      trouble = """
        nothing is started here under a lease, for what runs could not be ended with it: \(lack); \
        put that right, then type: systemctl daemon-reload, and systemctl restart \
        holdfast-controller
        """
      world.log.critical("\(name): \(trouble ?? "")")
      Task { self.tell(.startFailed) }
      return
    }
    plan.steps = PlanRun(pair.plan.map(\.onFailure))
    let epoch = supervisor.report?.record.reign.epoch ?? .none
    planner.run { [service, weak self] in
      guard service.allow(in: epoch, { run.isWanted }) else {
        if run.isWanted { Task { await self?.isNotAllowed(run) } }
        return
      }
      Task { await self?.tell(run, .allowed) }
    }
  }

  private func isNotAllowed(_ run: PlanProgress.Run) {
    guard run.isWanted else { return }
    trouble = """
      nothing is started here, for it could not be put on record in the control folder what would \
      have to be ended: is there room in /run? Put that right, then type: holdfast start \(name)
      """
    world.log.critical("\(name): \(trouble ?? "")")
    tell(.startFailed)
  }

  private func tell(_ run: PlanProgress.Run, _ event: PlanRun.Event) {
    guard run.isWanted else { return }
    for order in plan.steps.on(event) {
      switch order {
      case .run(let index):
        planner.run { [service, step = pair.plan[index], weak self] in
          guard run.isWanted else { return }
          let failure = Self.failure(of: step, service)
          service.prepare()
          Task { await self?.done(run, index, failure) }
        }
      case .started: tell(.started)
      case .failed: tell(.startFailed)
      }
    }
  }

  /// In order, after the step that is being done.
  func stop() {
    plan.abandon()
    planner.run { [service, weak self] in
      var failure: StepError?
      do throws(StepError) { try service.stop() } catch { failure = error }
      let outcome = failure
      Task { await self?.stopped(outcome) }
    }
  }

  private func stopped(_ failure: StepError?) {
    guard let failure else {
      trouble = nil
      files.note(overBy: nil)
      return tell(.stopped)
    }
    trouble = "the service could not be ended in order: \(failure)"
    world.log.error("\(name): \(trouble ?? "")")
    tell(.stopFailed)
  }

  static func failure(of step: PlanStep, _ service: any ServiceHost) -> StepError? {
    do throws(StepError) {
      try service.run(step)
      return nil
    } catch {
      return error
    }
  }

  private func done(_ run: PlanProgress.Run, _ index: Int, _ failure: StepError?) {
    guard run.isWanted else { return }
    let step = pair.plan[index]
    if let failure {
      trouble = "step \(index + 1), \(step): \(failure)"
      if step.onFailure == .stop {
        trouble? += "; put that right, then type on this site: holdfast start \(name)"
      }
      world.log.error("\(name): \(trouble ?? "")")
    } else {
      world.log.notice("\(name): step \(index + 1), \(step): done")
    }
    tell(run, .done(index, isFailed: failure != nil))
  }
}
