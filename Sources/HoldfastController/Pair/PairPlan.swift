import HoldfastCore
import Logging

/// Starting and ending a pair's service by its plan, one step after the other.
extension PairController {
  func start(_ run: PlanProgress.Run) {
    trouble = nil
    planner.run { [service, pair, weak self] in
      guard service.allow({ run.isWanted }) else { return }
      for (index, step) in pair.plan.enumerated() {
        guard run.isWanted else { return }
        let failure = Self.failure(of: step, service)
        service.prepare()
        Task { await self?.done(run, index, failure) }
        if failure != nil, step.onFailure == .stop { return }
      }
      Task { await self?.ended(run) }
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
    guard let failure else { return world.log.notice("\(name): step \(index + 1), \(step): done") }
    trouble = "step \(index + 1), \(step): \(failure)"
    if step.onFailure == .stop {
      trouble? += "; put that right, then type on this site: holdfast start \(name)"
    }
    world.log.error("\(name): \(trouble ?? "")")
    if step.onFailure == .stop { tell(.startFailed) }
  }

  private func ended(_ run: PlanProgress.Run) {
    if run.isWanted { tell(.started) }
  }
}
