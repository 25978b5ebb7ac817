package import HoldfastCore

/// What people order of a pair's controller.
extension PairController {
  /// Promotes this site and starts its service.
  /// - Parameter point: `nil` for the newest that the pair requires.
  /// - Throws: why it is not, with what a person can do.
  package func failover(_ point: PointNumber?) async throws(ControllerRefusal) -> PromotionReport {
    guard supervisor.report?.role == .standby else {
      let role = supervisor.report?.role.rawValue ?? "unknown"
      throw ControllerRefusal("\(name) is \(role) here: only a standby is promoted")
    }
    if let intent = supervisor.intent, intent.isOrdered, intent.point != point {
      let ordered = intent.point.map { "point \($0)" } ?? "the newest point"
      throw ControllerRefusal(
        "\(name): a failover to \(ordered) is ordered already and goes on: see holdfast status")
    }
    trouble = nil
    promotionFailure = nil
    let before = supervisor.report?.record.reign ?? .none
    let end = world.clock.now() + Limits.moveWithin
    promotion = nil
    tell(.failoverOrdered(point))
    let reign = supervisor.intent?.reign
    while world.clock.now() < end {
      if supervisor.service == .running, supervisor.report?.record.reign != before {
        if let promotion { return promotion }
        if !isAgentPromoting {
          throw ControllerRefusal(
            """
            \(name) is promoted here and served, though not by this order alone: see holdfast \
            status \(name)
            """, code: 1)
        }
      }
      if supervisor.service == .failed {
        throw ControllerRefusal(
          "\(name) is promoted here, and its plan failed: \(trouble ?? "see its log")", code: 1)
      }
      if let reign, withdrawn == reign {
        throw ControllerRefusal("\(name): the failover was withdrawn")
      }
      if supervisor.intent == nil, supervisor.report?.record.reign == before {
        throw ControllerRefusal(
          trouble ?? "the arbiter refused the new epoch: see holdfast status \(name)")
      }
      if let why = promotionFailure ?? trouble, supervisor.report?.record.reign == before {
        throw ControllerRefusal(
          """
          \(name): \(why): it goes on, or is tried again, by itself: see holdfast status \(name); \
          to take the order back, so that the other site may serve, type: \
          holdfast failover \(name) --withdraw
          """, code: 1)
      }
      try? await world.clock.sleep(until: world.clock.now() + .milliseconds(50))
    }
    throw ControllerRefusal(
      "\(name) is not served here yet: \(trouble ?? "see holdfast status"); it goes on by itself")
  }

  /// Takes a failover back that was ordered and is not done. What the arbiter may have granted for
  /// it is declined, so that the other site may serve again.
  /// - Returns: how far that is, for people.
  /// - Throws: that nothing is ordered, or that it is too late.
  package func withdraw() async throws(ControllerRefusal) -> String {
    guard let intent = supervisor.intent, intent.isOrdered else {
      throw ControllerRefusal("no failover of \(name) is ordered here: nothing to withdraw")
    }
    guard !isAgentPromoting else {
      throw ControllerRefusal(
        "\(name) is being promoted here at this moment: see holdfast status \(name)")
    }
    withdrawn = intent.reign
    tell(.failoverWithdrawn)
    let end = world.clock.now() + pair.failover.terms.timeout
    while supervisor.intent?.reign == intent.reign, world.clock.now() < end {
      try? await world.clock.sleep(until: world.clock.now() + Limits.superviseEvery)
    }
    return supervisor.intent?.reign == intent.reign
      ? "\(name): the failover is withdrawn, and the arbiter is told so once it answers"
      : "\(name): the failover is withdrawn, and the arbiter knows it"
  }

  /// Runs the plan again after it failed.
  package func start() async throws(ControllerRefusal) {
    guard supervisor.service == .failed else {
      throw ControllerRefusal("the plan of \(name) did not fail here: nothing to start again")
    }
    tell(.startOrdered)
  }
}
