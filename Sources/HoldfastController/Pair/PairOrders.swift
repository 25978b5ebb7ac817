package import HoldfastCore
import Logging

/// What people order of a pair's controller.
extension PairController {
  /// Promotes this site and starts its service.
  /// - Parameters:
  ///   - point: `nil` for the newest that the pair requires.
  ///   - isLossAccepted: see ``PromotionIntent/isLossAccepted``.
  /// - Throws: why it is not, with what a person can do.
  package func failover(
    _ point: PointNumber?, isLossAccepted: Bool
  ) async throws(ControllerRefusal) -> PromotionReport {
    guard let report = supervisor.report else {
      throw ControllerRefusal("the agent here gives no answer: see holdfast status \(name)")
    }
    guard report.record.part == .standby else {
      throw ControllerRefusal("\(name) is \(report.role) here: only a standby is promoted")
    }
    if let intent = supervisor.intent, intent.isOrdered, intent.point != point {
      let ordered = intent.point.map { "point \($0)" } ?? "the newest point"
      throw ControllerRefusal(
        """
        \(name): a failover to \(ordered) is ordered already and goes on: see holdfast status \
        \(name); to order another, type first: holdfast failover \(name) --withdraw
        """)
    }
    if supervisor.intent?.isWithdrawn == true {
      throw ControllerRefusal(
        """
        \(name): the failover that was withdrawn is not declined yet, for the arbiter or the agent \
        here gives no answer: see holdfast status \(name)
        """)
    }
    trouble = nil
    promotionFailure = nil
    let before = report.record.reign
    let end = world.clock.now() + Limits.moveWithin
    let silentEnd = world.clock.now() + Limits.arbiterSilence
    promotion = nil
    tell(.failoverOrdered(point, isLossAccepted: isLossAccepted))
    guard let reign = supervisor.intent?.reign, supervisor.intent?.isOrdered == true else {
      throw notOrdered()
    }
    var failedAt: Instant?
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
      if let lossRefusal, lossRefusal.reign == reign {
        throw ControllerRefusal("\(name): the order is taken back: \(lossRefusal.why)")
      }
      if let withdrawn, withdrawn.reign == reign {
        throw ControllerRefusal("\(name): the failover was withdrawn by \(withdrawn.by)")
      }
      if supervisor.intent == nil, supervisor.report?.record.reign == before {
        throw ControllerRefusal(
          trouble ?? "the arbiter refused the new epoch: see holdfast status \(name)")
      }
      let isBefore = supervisor.report?.record.reign == before
      if isBefore, let silence = silence ?? strangeness, world.clock.now() > silentEnd {
        throw ControllerRefusal(
          """
          \(name): the arbiter \(pair.failover.arbiter) grants nothing: \(silence): the order \
          goes on once it does; if the other site is off and stays off, type: holdfast failover \
          \(name) --other-site-is-down; to take the order back: holdfast failover \(name) \
          --withdraw
          """, code: 4)
      }
      // A promotion that failed behind its commit point shows in what the agent says next.
      let why = promotionFailure ?? (isBefore ? trouble : nil)
      failedAt = why == nil ? nil : failedAt ?? world.clock.now()
      if let why, let failedAt, world.clock.now() - failedAt > Limits.agentAskedEvery * 5 {
        guard isBefore else { throw ControllerRefusal("\(name): \(why)", code: 1) }
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

  /// Why an arbiter that answers will grant nothing by itself.
  private var strangeness: String? {
    switch supervisor.refusal {
    case .unheard?: "it knows nothing of the pair, and waits for the other site's word"
    case .foreign?: "\(ArbiterRefusal.foreign)"
    case .quiet?, .superseded?, .split?, nil: nil
    }
  }

  /// What was ordered could not even be begun.
  private func notOrdered() -> ControllerRefusal {
    trouble = nil
    guard supervisor.intent?.cause == .planned else {
      return ControllerRefusal(
        """
        \(name): nothing was ordered: this site cannot be promoted now: see holdfast status \(name)
        """)
    }
    let why = silence.map { "the arbiter \(pair.failover.arbiter) does not answer: \($0)" }
    return ControllerRefusal(
      """
      \(name): nothing was ordered: of a planned move it is not known yet whether this site was \
      granted the service: \(why ?? "the arbiter is being asked"): type it again in a moment; if \
      the other site is off and stays off, type: holdfast failover \(name) --other-site-is-down
      """, code: 4)
  }

  private static let declinedLater =
    "it is declined once the arbiter, and the agent here, answer"

  /// Takes a failover back that was ordered and is not done. What the arbiter may have granted for
  /// it is declined, so that the other site may serve again.
  /// - Parameter by: who wants it, for people.
  /// - Returns: how far that is, for people.
  /// - Throws: that nothing is ordered, or that it is too late.
  package func withdraw(by: String) async throws(ControllerRefusal) -> String {
    guard let intent = supervisor.intent, intent.cause != .planned else {
      throw ControllerRefusal("no failover of \(name) is under way here: nothing to withdraw")
    }
    guard !intent.isWithdrawn else {
      throw ControllerRefusal(
        "\(name): the failover is withdrawn already; \(Self.declinedLater)", code: 4)
    }
    world.log.notice("\(name): the failover to epoch \(intent.reign.epoch) is withdrawn by \(by)")
    withdrawn = (intent.reign, by)
    tell(.failoverWithdrawn)
    let end = world.clock.now() + pair.failover.terms.timeout
    while supervisor.intent?.reign == intent.reign, world.clock.now() < end {
      try? await world.clock.sleep(until: world.clock.now() + Limits.superviseEvery)
    }
    guard supervisor.report?.record.reign != intent.reign else {
      throw ControllerRefusal(
        "\(name) was promoted to epoch \(intent.reign.epoch) already, which cannot be undone")
    }
    return supervisor.intent?.reign == intent.reign
      ? "\(name): the failover is withdrawn; \(Self.declinedLater)"
      : "\(name): the failover is withdrawn, and the other site may serve"
  }

  /// Runs the plan again after it failed.
  package func start() async throws(ControllerRefusal) {
    guard supervisor.service == .failed else {
      throw ControllerRefusal("the plan of \(name) did not fail here: nothing to start again")
    }
    tell(.startOrdered)
  }
}
