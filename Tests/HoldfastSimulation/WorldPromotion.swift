import HoldfastCore

/// A promotion that an agent is at.
struct SimulatedPromotion {
  var decision: Promotion
  let reign: Reign
  let ground: World.Ground
  /// Who waits for its end; `nil`: nobody any more.
  var controllerRun: Int?
  /// What is lost, as it was counted when it began.
  var loss: Duration?
}

/// What a promotion said of what it leaves behind.
struct StatedLoss {
  var reign: Reign
  /// All that the other site wrote until then is there, by the true time.
  var since: Int64
  var length: Duration
}

/// The steps of a promotion, over the same decisions as the real ones: agents die and disks fail
/// between any two of them.
extension World {
  /// Why a reign may begin.
  enum Ground {
    /// The arbiter has granted it.
    case granted(PromotionIntent.Cause, isLossAccepted: Bool)
    /// The other site has durably yielded to it.
    case yielded
    /// A person has made sure that the other site is off.
    case word
    /// It had begun before the agent was started anew.
    case record

    /// Nothing may be lost.
    var isPlanned: Bool {
      switch self {
      case .granted(let cause, _): cause == .planned
      case .yielded: true
      case .word, .record: false
      }
    }
  }

  private var promotionTerms: Promotion.Terms {
    Promotion.Terms(require: .crash, maxLoss: settings.maxLoss, hasArbiter: settings.hasArbiter)
  }

  func promote(
    _ site: SimulatedSite, _ reign: Reign, _ run: Int, _ ground: Ground,
    othersLeft: Duration = .zero
  ) {
    let agentRun = site.agentRun
    // Who asked an agent that dies over it is told that the connection broke.
    func refuse(_ world: World) {
      if site.agentRun == agentRun, site.taking?.next == reign {
        world.tellTaking(site, .notPromoted("another promotion is under way"))
      }
      if site.controllerRun == run { world.tell(site, .notPromoted) }
    }
    after(by: .agent(site), chance.duration(.milliseconds(1)...(.milliseconds(50)))) { world in
      guard site.agentRun == agentRun, let standing = site.standing,
        standing.record.reign.epoch < reign.epoch, standing.record.part == .standby,
        standing.refusal == nil, site.promotion == nil
      else { return refuse(world) }
      let isOffered = site.taking?.next == reign
      if isOffered { world.tellTaking(site, .granted) }
      guard site.agentRun == agentRun else { return refuse(world) }
      if case .granted(.planned, _) = ground, !isOffered, site.hasPromised {
        return refuse(world)
      }
      // What was granted may have waited for long.
      let isAccepted =
        if case .granted(let cause, let isLossAccepted) = ground {
          isLossAccepted || cause == .planned
        } else {
          true
        }
      let request = Promotion.Request(isLossAccepted: isAccepted, isOtherDown: true)
      let decision = Promotion(request, world.promotionTerms)
      site.promotion = SimulatedPromotion(
        decision: decision, reign: reign, ground: ground, controllerRun: run,
        loss: world.count(site, reign, ground, othersLeft))
      world.follow(site, decision.first)
    }
  }

  /// A promotion that the agent's end interrupted goes forward.
  func resumePromotion(_ site: SimulatedSite, to point: PointNumber) {
    probes.insert(.promotionResumed)
    judgeBegun(site.record.reign)
    let decision = Promotion(resumedTo: point, promotionTerms)
    site.promotion = SimulatedPromotion(
      decision: decision, reign: site.record.reign, ground: .record, controllerRun: nil)
    let prior = Epoch(rawValue: site.record.reign.epoch.rawValue - 1)
    site.standing = Standing(
      record: RoleRecord(reign: Reign(epoch: prior, id: .none), part: .standby))
    _ = site.standing?.on(.promoted(site.record.reign))
    follow(site, decision.first)
  }

  private func follow(_ site: SimulatedSite, _ orders: [Promotion.Order]) {
    if case .refused(.loss) = site.promotion?.decision.stage { probes.insert(.lossRefused) }
    for order in orders {
      if isCut { return killAgent(site) }
      switch order {
      case .release: site.isHeld = false
      case .serve:
        endPromotion(site, .promoted)
        let isEarlier = !settings.hasArbiter && site.promotingBoot != site.boots
        if isEarlier, let now = site.standing, now.refusal == nil {
          probes.insert(.promotedBeforeBoot)
          site.standing = Standing(record: now.record)
        }
      case .wait:
        endPromotion(site, .notPromoted)
        tellLater(site, Limits.pairRetry...Limits.pairRetry) { _ in .retry }
      case .hold, .probe, .pin, .commit, .recall, .place, .complete:
        tellLater(site, .milliseconds(1)...(.milliseconds(600))) { $0.carryOut(order, site) }
      }
    }
    if let decision = site.promotion?.decision, decision.isOver {
      let isForLoss = if case .refused(.loss) = decision.stage { true } else { false }
      endPromotion(site, isForLoss ? .lossRefused : .notPromoted)
      site.promotion = nil
    }
  }

  private func tellLater(
    _ site: SimulatedSite, _ time: ClosedRange<Duration>,
    _ event: @escaping (World) -> Promotion.Event
  ) {
    let run = site.agentRun
    after(by: .agent(site), chance.duration(time)) { world in
      guard site.agentRun == run else { return }
      let event = event(world)
      world.follow(site, site.promotion?.decision.on(event) ?? [])
    }
  }

  /// - Parameter event: what the controller that asked is told, if none told it before.
  private func endPromotion(_ site: SimulatedSite, _ event: Supervisor.Event) {
    guard let promotion = site.promotion else { return }
    site.promotion?.controllerRun = nil
    if site.taking?.next == promotion.reign {
      tellTaking(site, event == .promoted ? .promoted : .notPromoted("it cannot be promoted"))
    }
    if site.controllerRun == promotion.controllerRun { tell(site, event) }
  }

  /// The agent is gone: who asked it is told that the connection broke.
  func breakPromotion(_ site: SimulatedSite) {
    guard let run = site.promotion?.controllerRun else { return }
    site.promotion = nil
    after(by: .site(site), .milliseconds(1)) { world in
      if site.controllerRun == run { world.tell(site, .notPromoted) }
    }
  }

  private func carryOut(_ order: Promotion.Order, _ site: SimulatedSite) -> Promotion.Event {
    guard let promotion = site.promotion else { preconditionFailure("\(order) of no promotion") }
    let isFull = now < site.fullUntil
    switch order {
    case .hold:
      site.isHeld = true
      let point = Point(
        number: PointNumber(rawValue: UInt64(max(1, site.tree))), seal: .none, parent: .none,
        time: WallTime(nanos: site.receivedAt), verdict: Verdict(grade: .crash),
        reign: site.record.reign, tree: TreeDigest(), totals: Totals(), changes: 0)
      return .held(
        Promotion.Holding(
          points: [PointRow(point: point)],
          lag: promotion.loss, pendingPlaces: 0))
    case .commit(let point): return commit(point, promotion, site, isFull: isFull)
    case .probe, .pin, .recall, .place, .complete:
      if isFull { return .failed("the disk is full") }
      if case .recall = order, let record = site.standing?.record {
        if isLossy, chance.isTrue(oneIn: 5) { return .failed("no flush") }
        site.record = record
        site.promotingTo = nil
        stated[other(site).name] = nil
        say(site.name, "takes back what may be on its disk")
      }
      if case .complete = order { site.promotingTo = nil }
      return .done
    case .serve, .release, .wait: preconditionFailure("\(order) is answered by nothing")
    }
  }

  /// As the real agent counts it.
  private func count(
    _ site: SimulatedSite, _ reign: Reign, _ ground: Ground, _ othersLeft: Duration
  ) -> Duration? {
    let here = site.clock.local(now)
    let isGranted = if case .granted = ground { true } else { false }
    if isGranted, let known = site.counted, known.reign == reign { return known.length }
    let left = max(othersLeft, site.promisedUntil - here)
    guard let lag = site.loss(here, lead: lead(site)) else { return nil }
    if isGranted { site.counted = (reign, lag + left) }
    return lag + left
  }

  private func judgeBegun(_ reign: Reign) {
    if declined.contains(reign) { violations.append("a declined reign began") }
  }

  /// By the true time, and not by what the host's clock made of it.
  private func judgeLoss(_ site: SimulatedSite) {
    let lost = other(site).wroteAt - site.receivedAt
    // Clocks run at rates that differ by as much.
    if lost > settings.maxLoss.nanos / 1000 * 1001 {
      violations.append("more than max-loss was lost: \(lost / 1_000_000) ms")
    }
  }

  /// Whoever writes on behind a promotion that it has not heard of does so within what that said;
  /// one that is on no disk said nothing.
  func judgeStated(_ site: SimulatedSite) {
    guard let stated = stated[site.name], site.record.reign.epoch < stated.reign.epoch,
      other(site).record.reign.epoch >= stated.reign.epoch, !site.isByWord, !isWordFalse,
      settings.terms.violations.isEmpty
    else { return }
    let lost = site.wroteAt - stated.since
    guard lost > stated.length.nanos / 1000 * 1001 else { return }
    violations.append(
      "\(lost / 1_000_000) ms are lost, \(stated.length.nanos / 1_000_000) were stated")
  }

  private func commit(
    _ point: PointNumber, _ promotion: SimulatedPromotion, _ site: SimulatedSite, isFull: Bool
  ) -> Promotion.Event {
    let reign = promotion.reign
    guard let record = site.standing?.record, record.part == .standby,
      record.reign.epoch < reign.epoch, !site.forgone.contains(reign), !isFull
    else { return .failed("not any more") }
    if case .granted = promotion.ground { judgeBegun(reign) }
    if case .granted(let cause, false) = promotion.ground, cause != .planned { judgeLoss(site) }
    if case .granted(let cause, _) = promotion.ground, cause != .planned,
      case .committing(let choice) = promotion.decision.stage, let length = choice.loss.seconds
    {
      stated[other(site).name] = StatedLoss(reign: reign, since: site.receivedAt, length: length)
      judgeStated(other(site))
    }
    let isFailing = isLossy && chance.isTrue(oneIn: 10)
    if !isFailing || chance.isTrue(oneIn: 2) {
      site.record = RoleRecord(reign: reign, part: .primary)
      site.promotingTo = point
      site.promotingBoot = site.boots
      site.isPlanned = promotion.ground.isPlanned
    }
    if isFailing {
      probes.insert(.commitFailed)
      say(site.name, "cannot make epoch \(reign.epoch) durable")
      return .failed("no flush")
    }
    _ = site.standing?.on(.promoted(reign))
    site.superseded = nil
    if promotion.ground.isPlanned { plannedTrees[reign] = site.tree }
    site.isByWord = if case .word = promotion.ground { settings.hasArbiter } else { false }
    let loss = promotion.ground.isPlanned ? nil : promotion.loss
    let lost = loss.map { ": at most \($0.nanos / 1_000_000) ms are lost" } ?? ""
    say(site.name, "is promoted to epoch \(reign.epoch)\(lost)")
    return .done
  }
}
