import HoldfastCore
import Logging

/// How a pair's service fares, what its plan would find here, and whether the other host is off.
extension PairController {
  /// Looks again and again whether the service is well.
  func check() async {
    let checks = pair.plan.compactMap { step -> PlanStep? in
      guard case .check = step.kind, step.onFailure == .stop else { return nil }
      // One try each time; a command gets its time.
      let within = if case .check(.exec) = step.kind { step.within } else { Duration.zero }
      return PlanStep(kind: step.kind, within: within, onFailure: .stop)
    }
    let limit = checks.reduce(Limits.healthRoundMost) { $0 + $1.within }
    while !Task.isCancelled, !checks.isEmpty {
      try? await world.clock.sleep(until: world.clock.now() + Limits.healthEvery)
      let now = world.clock.now()
      if supervisor.service != .running {
        illness = nil
        isRoundStale = true
      }
      if let begun = roundBegunAt {
        guard now - begun > limit, !isRoundStale else { continue }
        // Of a disk that hangs, say: whoever waits for the service does as well.
        found("the service is ill: its checks have not ended for \(Int((now - begun).seconds)) s")
        continue
      }
      guard supervisor.service == .running else { continue }
      (roundBegunAt, isRoundStale) = (now, false)
      checker.run { [service, weak self] in
        let found = Self.illness(checks, service)
        Task { await self?.ended(found) }
      }
    }
  }

  private func ended(_ round: String?) {
    roundBegunAt = nil
    if supervisor.service == .running, !isRoundStale { found(round) }
  }

  private func found(_ found: String?) {
    if let found, illness == nil { world.log.error("\(name): \(found)") }
    if found == nil, illness != nil { world.log.notice("\(name): well again") }
    illness = found
    if found == nil { moveRefusal = nil }
    tell(.health(isWell: found == nil))
  }

  private static func illness(_ checks: [PlanStep], _ service: any ServiceHost) -> String? {
    for check in checks {
      if let failure = failure(of: check, service) {
        return "the service is ill: \(check): \(failure)"
      }
    }
    return nil
  }

  /// Tells the agent, and it the other site, what the plan would find here: now and then, and once
  /// the service runs, whose packages are seen then.
  func lookForFacts() async {
    while !Task.isCancelled {
      let found = await withCheckedContinuation { continuation in
        looker.run { [service] in continuation.resume(returning: service.facts()) }
      }
      facts = (found, false)
      let end = world.clock.now() + Limits.factsEvery
      let isRunning = supervisor.service == .running
      while !Task.isCancelled, world.clock.now() < end,
        (supervisor.service == .running) == isRunning
      { try? await world.clock.sleep(until: world.clock.now() + Limits.healthEvery) }
    }
  }

  /// While the service runs: who missed where its addresses are, or heard an old owner that was
  /// late, is told again.
  func keepAnnouncing() async {
    var next = world.clock.now()
    while !Task.isCancelled {
      try? await world.clock.sleep(until: world.clock.now() + Limits.healthEvery)
      let now = world.clock.now()
      guard supervisor.service == .running, !supervisor.isSuspended, now >= next,
        supervisor.fenceAt.map({ now < $0 }) ?? true
      else { continue }
      next = now + Limits.announceEvery
      await withCheckedContinuation { continuation in
        checker.run { [service] in
          service.announce()
          continuation.resume()
        }
      }
    }
  }

  func moveAway() {
    guard !isMovingAway else { return }
    isMovingAway = true
    let why = illness ?? "the service is ill"
    world.log.error("\(name): \(why): the other site is asked to take it")
    Task {
      moveRefusal = await world.agent.moveAway(name, why).map { "it is not moved: \($0)" }
      if let moveRefusal { world.log.error("\(name): \(moveRefusal)") }
      isMovingAway = false
    }
  }

  func fenceOther() {
    guard let command = pair.failover.fence else { return tell(.otherFenced(true)) }
    world.log.notice("\(name): makes sure that the other host is off: \(command.command)")
    let epoch = supervisor.report?.record.reign.epoch ?? .none
    outer.run { [service, weak self] in
      var failure: StepError?
      do throws(StepError) { try service.fenceOther(command, in: epoch) } catch { failure = error }
      let outcome = failure
      Task { await self?.otherFenced(outcome) }
    }
  }

  private func otherFenced(_ failure: StepError?) {
    let isRequired = pair.failover.fence?.isRequired == true
    let way = isRequired ? "; nothing starts here before it has worked: it is tried again" : ""
    fencingFailure = failure.map { "the fencing command failed: \($0)\(way)" }
    if let fencingFailure { world.log.critical("\(name): \(fencingFailure)") }
    tell(.otherFenced(failure == nil))
  }
}
