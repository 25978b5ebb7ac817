import HoldfastCore
import Logging

/// Before a pair is looked after: what may run of it ends, and nobody else starts it.
extension PairController {
  func fenceNow() async {
    let left = await withCheckedContinuation { continuation in
      fencer.run { [service] in continuation.resume(returning: service.fence()) }
    }
    for line in left { world.log.critical("\(name): fencing: \(line)") }
    if left.isEmpty { files.note(overBy: nil) }
  }

  /// - Parameter isAlone: nothing else is done for the pair meanwhile.
  func bind(isAlone: Bool) async {
    while !Task.isCancelled {
      let failure = await withCheckedContinuation { continuation in
        planner.run { [service] in continuation.resume(returning: Self.failure(binding: service)) }
      }
      guard let failure else {
        isBound = true
        trouble = nil
        if let run = plan.takeHeld() { start(run) }
        return
      }
      notBound(failure)
      let next = world.clock.now() + Limits.bindAgainAfter
      while world.clock.now() < next, !Task.isCancelled {
        // Nothing is asked for meanwhile; why, `status` shows.
        if isAlone { _ = await world.agent.serving(name, word()) }
        try? await world.clock.sleep(until: world.clock.now() + Limits.agentAskedEvery)
      }
    }
  }

  private static func failure(binding service: any ServiceHost) -> StepError? {
    do throws(StepError) {
      try service.bind()
      return nil
    } catch {
      return error
    }
  }

  private func notBound(_ why: StepError) {
    trouble = "nothing is started here: systemd cannot be told who starts its units: \(why)"
    world.log.error("\(name): \(trouble ?? "")")
  }
}
