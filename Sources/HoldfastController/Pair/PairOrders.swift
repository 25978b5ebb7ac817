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
    let before = supervisor.report?.record.reign ?? .none
    let end = world.clock.now() + Limits.moveWithin
    promotion = nil
    tell(.failoverOrdered(point))
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
      if supervisor.intent == nil, supervisor.report?.record.reign == before {
        throw ControllerRefusal(
          trouble ?? "the arbiter refused the new epoch: see holdfast status \(name)")
      }
      if let trouble, supervisor.report?.record.reign == before {
        throw ControllerRefusal(
          """
          \(name): \(trouble): it goes on, or is tried again, by itself: see holdfast status \
          \(name)
          """, code: 1)
      }
      try? await world.clock.sleep(until: world.clock.now() + .milliseconds(50))
    }
    throw ControllerRefusal(
      "\(name) is not served here yet: \(trouble ?? "see holdfast status"); it goes on by itself")
  }

  /// Runs the plan again after it failed.
  package func start() async throws(ControllerRefusal) {
    guard supervisor.service == .failed else {
      throw ControllerRefusal("the plan of \(name) did not fail here: nothing to start again")
    }
    tell(.startOrdered)
  }
}
