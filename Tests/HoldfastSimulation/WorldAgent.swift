import HoldfastCore

/// The agents, as far as it matters who serves: their records, their words to one another, their
/// promises.
extension World {
  func startAgent(_ site: SimulatedSite) {
    site.agentRun += 1
    site.agentStandsUntil = nil
    site.standing = Standing(
      record: site.record, superseded: site.newer(site.superseded),
      yielded: site.yield?.point == nil ? nil : site.newer(site.yield?.next))
    site.promotion = nil
    site.resumption = nil
    site.stoppedHeard = 0
    site.arbiterView = nil
    site.isHeld = false
    site.forgone = []
    site.isByWord = false
    site.yielding = nil
    site.taking = nil
    site.lastHeard = nil
    site.echo = EchoClock(begun: site.clock.local(now))
    site.longerUntil = site.clock.local(now) + max(site.promiseTerm ?? .zero, site.terms.ttl)
    // What was promised before the boot is forgotten: as much as it can have been.
    if site.promisesKnownSince != site.boots { site.promisedUntil = site.longerUntil }
    site.promisesKnownSince = site.boots
    if let point = site.promotingTo { resumePromotion(site, to: point) }
  }

  func killAgent(_ site: SimulatedSite) {
    guard site.standing != nil, site.pausedUntil == nil else { return }
    site.standing = nil
    site.agentStandsUntil = nil
    site.agentRun += 1
    breakPromotion(site)
    let run = site.agentRun
    after(by: .agent(site), chance.duration(.milliseconds(100)...(.seconds(3)))) { world in
      if site.isUp, site.agentRun == run { world.startAgent(site) }
    }
  }

  /// Each agent tells the other its record again and again.
  func beat(_ site: SimulatedSite) {
    if site.isUp, let record = site.standing?.record {
      let other = other(site)
      let isLive = site.isServing
      if isLive {
        site.wrote(at: now)
        judgeStated(site)
      }
      let tree = site.tree
      let isPrimary = site.standing?.role == .primary
      let mayServe = site.mayServe
      let stamp = site.echo.stamp(site.clock.local(now))
      let sentAt = now
      send(place(site), place(other)) { world in
        guard other.isUp, other.standing != nil else { return }
        let sentAfter = other.echo.heard(stamp, other.clock.local(world.now))
        if world.turns(other, record) { return }
        let isAgreed = world.agrees(other, with: record, mayServe: mayServe)
        guard other.standing != nil else { return }
        guard isPrimary, isAgreed, !other.isHeld else { return }
        world.receive(tree, by: record.reign, at: other)
        other.receivedAt = max(other.receivedAt, sentAt)
        other.leadAtHeard = world.lead(other)
        other.lastHeard = sentAfter.map { max(other.lastHeard ?? $0, $0) } ?? other.lastHeard
      }
      if case .yielded(let next) = site.standing?.refusal, let point = site.yield?.point {
        sayStage(site, next, .yielded(point))
      }
    }
    after(by: .agent(site), chance.duration(.milliseconds(400)...(.milliseconds(600)))) {
      $0.beat(site)
    }
  }

  /// What the other site says of itself.
  /// - Returns: whether this one takes its points from then on.
  func agrees(_ site: SimulatedSite, with theirs: RoleRecord, mayServe: Bool) -> Bool {
    let before = site.standing
    let orders = site.standing?.on(.peer(theirs, mayServe: mayServe)) ?? []
    if mayServe, before?.role == .unknown, site.standing?.role == .unknown,
      case .refuse(.stale) = orders.first
    {
      probes.insert(.waitedForEnd)
    }
    let isRefused = orders.contains { if case .refuse = $0 { true } else { false } }
    guard obey(orders, site), let standing = site.standing else { return false }
    return standing.role == .standby && standing.refusal == nil && !isRefused
  }

  /// - Returns: false where the agent died of it.
  func obey(_ orders: [Standing.Order], _ site: SimulatedSite) -> Bool {
    if !orders.isEmpty { site.stoppedHeard = 0 }
    for order in orders {
      if isCut {
        killAgent(site)
        return false
      }
      switch order {
      case .persist(let record): site.record = record
      case .serve, .follow: site.superseded = nil
      case .refuse(.superseded(_, let reign)):
        if site.superseded == nil { say(site.name, "learns of epoch \(reign.epoch)") }
        site.superseded = reign
      case .refuse(.split): probes.insert(.split)
      case .refuse: break
      }
    }
    return true
  }

  func askPeer(
    _ site: SimulatedSite, _ number: Supervisor.RequestNumber, _ reign: Reign, _ run: Int
  ) {
    after(by: .agent(site), .zero) { world in
      if site.standing != nil { world.askOther(site, number, reign, run) }
    }
  }

  private func askOther(
    _ site: SimulatedSite, _ number: Supervisor.RequestNumber, _ reign: Reign, _ run: Int
  ) {
    let other = other(site)
    let ttl = site.terms.ttl
    send(place(site), place(other)) { world in
      guard other.isUp, let standing = other.standing else { return }
      let isPromised =
        standing.role == .standby && standing.record.reign == reign
        && standing.refusal == nil && other.promotion == nil
        && other.taking.map { $0.stage == .asking } ?? true
        && ttl <= other.terms.ttl
      if isPromised {
        other.promise(other.clock.local(world.now))
      }
      world.send(world.place(other), world.place(site)) { world in
        guard site.controllerRun == run, site.standing != nil else { return }
        if isPromised { world.probes.insert(.servedByPromise) }
        world.tell(site, .peer(number, isPromised: isPromised))
      }
    }
  }

  /// Its controller has given this reign up.
  func forgo(_ site: SimulatedSite, _ reign: Reign, _ run: Int) {
    let agentRun = site.agentRun
    after(by: .agent(site), chance.duration(.milliseconds(1)...(.milliseconds(50)))) { world in
      guard site.agentRun == agentRun, let record = site.standing?.record, record.part == .standby,
        record.reign.epoch < reign.epoch, site.record == record
      else { return }
      site.forgone.insert(reign)
      if site.controllerRun == run { world.tell(site, .forgone(reign)) }
    }
  }

  /// It does nothing for a while, and what comes waits.
  func freezeAgent(_ site: SimulatedSite, for duration: Duration) {
    guard site.standing != nil, !site.isAgentStanding(now), site.pausedUntil == nil else { return }
    say(site.name, "the agent stands still for \(duration.nanos / 1_000_000) ms")
    probes.insert(.agentStood)
    site.agentStandsUntil = now + duration.nanos
  }

  /// A person gives the site that was promoted past to the pair as its standby.
  func rejoin(_ site: SimulatedSite) {
    guard !site.runs, site.isUp, site.pausedUntil == nil, !site.isAgentStanding(now),
      let reign = site.standing?.refusal?.rejoined, other(site).standing?.record.reign == reign,
      other(site).record == RoleRecord(reign: reign, part: .primary)
    else { return }
    site.record = RoleRecord(reign: reign, part: .standby)
    site.promotingTo = nil
    site.superseded = nil
    site.yield = nil
    if case .split = site.standing?.refusal { probes.insert(.splitRepaired) }
    probes.insert(.rejoined)
    // What it wrote itself, and the other never had, is on a branch.
    site.tree = min(site.tree, other(site).tree)
    say(site.name, "is adopted as standby of epoch \(reign.epoch)")
    startAgent(site)
  }
}

extension Standing.Refusal {
  /// The other site's reign, which a person may have this one follow.
  fileprivate var rejoined: Reign? {
    switch self {
    case .superseded(_, let reign), .split(_, let reign): reign
    case .yielded, .stale, .sameParts: nil
    }
  }
}

extension SimulatedSite {
  /// What is on the disk of an epoch that is not above its own does not count.
  fileprivate func newer(_ reign: Reign?) -> Reign? {
    reign.flatMap { $0.epoch > record.reign.epoch ? $0 : nil }
  }
}
