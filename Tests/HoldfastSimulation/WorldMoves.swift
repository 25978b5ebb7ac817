import HoldfastCore

/// Planned moves: what the agents of both sites do of them, over the same decisions as the real
/// ones.
extension World {
  func orderSwitchover(_ site: SimulatedSite) {
    guard let standing = site.standing, standing.role == .standby, site.taking == nil,
      site.promotion == nil, site.supervisor != nil, site.pausedUntil == nil,
      !site.isAgentStanding(now)
    else { return }
    say(site.name, "a person orders switchover")
    let next = Reign(epoch: standing.record.reign.epoch.next, id: chance.id())
    site.taking = Taking(next, now: site.clock.local(now), within: .seconds(120))
    tickTaking(site, run: site.agentRun)
  }

  private func tickTaking(_ site: SimulatedSite, run: Int) {
    guard site.agentRun == run, site.taking != nil else { return }
    tellTaking(site, .tick)
    after(by: .agent(site), Limits.moveEvery) { $0.tickTaking(site, run: run) }
  }

  func tellTaking(_ site: SimulatedSite, _ event: Taking.Event) {
    guard var taking = site.taking else { return }
    let orders = taking.on(event, now: site.clock.local(now))
    site.taking = taking
    for order in orders {
      if isCut { return killAgent(site) }
      switch order {
      case .ask: want(site, taking.next, isWithdrawn: false)
      case .withdraw: want(site, taking.next, isWithdrawn: true)
      case .offer: site.endPromise(site.clock.local(now))
      case .promote: takeYielded(site, taking.next)
      }
    }
    switch taking.stage {
    case .done: site.taking = nil
    case .failed(let why):
      say(site.name, "the move is off: \(why)")
      site.taking = nil
    case .asking, .offered, .promoting: break
    }
  }

  /// The other site serves no more, by its durable word.
  private func takeYielded(_ site: SimulatedSite, _ next: Reign) {
    probes.insert(.yielded)
    site.endPromise(site.clock.local(now))
    site.forgone.remove(next)
    promote(site, next, site.controllerRun, .yielded)
  }

  private func want(_ site: SimulatedSite, _ next: Reign, isWithdrawn: Bool) {
    let other = other(site)
    send(place(site), place(other)) { world in
      guard other.isUp, other.standing != nil else { return }
      world.asked(other, next, isWithdrawn: isWithdrawn)
    }
  }

  private func asked(_ site: SimulatedSite, _ next: Reign, isWithdrawn: Bool) {
    if let yielding = site.yielding, yielding.next == next {
      return tellYielding(site, isWithdrawn ? .withdrawn : .asked)
    }
    let isAtAnother = site.yielding?.isUnderWay ?? false
    guard !isWithdrawn, let standing = site.standing, standing.role == .primary, !isAtAnother,
      site.promotion == nil,
      next.epoch == standing.record.reign.epoch.next
    else { return }
    site.yield = SimulatedSite.Yield(next: next)
    let fresh = Yielding(
      to: next, hasService: true, hasArbiter: settings.hasArbiter, now: site.clock.local(now))
    site.yielding = fresh
    obeyYielding(site, fresh.first)
    tickYielding(site, run: site.agentRun)
  }

  private func tickYielding(_ site: SimulatedSite, run: Int) {
    guard site.agentRun == run, site.yielding?.isUnderWay == true else { return }
    tellYielding(site, .tick)
    after(by: .agent(site), Limits.moveEvery) { $0.tickYielding(site, run: run) }
  }

  func tellYielding(_ site: SimulatedSite, _ event: Yielding.Event) {
    guard let orders = site.yielding?.on(event, now: site.clock.local(now)) else { return }
    obeyYielding(site, orders)
  }

  private func obeyYielding(_ site: SimulatedSite, _ orders: [Yielding.Order]) {
    guard let yielding = site.yielding else { return }
    let run = site.agentRun
    for order in orders {
      if isCut { return killAgent(site) }
      switch order {
      case .catchUp:
        after(by: .agent(site), chance.duration(.milliseconds(10)...(.milliseconds(500)))) {
          world in
          if site.agentRun == run { world.tellYielding(site, .caughtUp) }
        }
      case .stopService: say(site.name, "ends the service in order")
      case .finish: finish(site, run)
      case .persist(let point):
        guard site.tree == Int(point.rawValue) else {
          tellYielding(site, .failed("something wrote"))
          continue
        }
        site.yield?.point = point
        say(site.name, "has yielded to epoch \(yielding.next.epoch)")
        _ = site.standing?.on(.yielded(yielding.next))
        tellYielding(site, .persisted)
      case .say: sayStage(site, yielding.next, yielding.stage)
      case .goBack:
        say(site.name, "goes on")
        probes.insert(.wentBack)
      }
    }
  }

  /// The last of what was written goes to the other site, once it is reached.
  private func finish(_ site: SimulatedSite, _ run: Int) {
    after(by: .agent(site), chance.duration(.milliseconds(20)...(.milliseconds(300)))) { world in
      guard site.agentRun == run, case .finishing = site.yielding?.stage else { return }
      let other = world.other(site)
      guard world.isWhole(site, other), !other.isHeld,
        world.agrees(other, with: site.record, mayServe: site.mayServe)
      else {
        return world.finish(site, run)
      }
      world.receive(site.tree, by: site.record.reign, at: other)
      world.tellYielding(site, .finished(PointNumber(rawValue: UInt64(site.tree))))
    }
  }

  func isWhole(_ site: SimulatedSite, _ other: SimulatedSite) -> Bool {
    !cuts.contains([place(site), place(other)]) && !cuts.contains([place(other), place(site)])
      && site.isUp && other.isUp && other.standing != nil && other.pausedUntil == nil
      && !other.isAgentStanding(now)
  }

  func sayStage(_ site: SimulatedSite, _ next: Reign, _ stage: Yielding.Stage) {
    let other = other(site)
    send(place(site), place(other)) { world in
      guard other.isUp, let standing = other.standing else { return }
      let point: PointNumber? =
        switch stage {
        case .ready(let point), .yielded(let point): point
        case .catchingUp, .stopping, .finishing, .ended: nil
        }
      let isApplied = point.map { Int($0.rawValue) == other.tree } ?? false
      if other.taking?.next == next {
        return world.tellTaking(other, .heard(stage, isApplied: isApplied))
      }
      guard standing.role == .standby, other.promotion == nil else { return }
      switch stage {
      case .yielded where isApplied && next.epoch == standing.record.reign.epoch.next:
        world.takeYielded(other, next)
      case .yielded, .ended: break
      // Asked for before this agent was started anew.
      case .catchingUp, .stopping, .finishing, .ready:
        if other.taking == nil { world.want(other, next, isWithdrawn: true) }
      }
    }
  }

  /// What the controller said of the yield.
  func hearWord(_ site: SimulatedSite, _ next: Reign?, _ word: Supervisor.Yield?) {
    guard let next, let word, site.yielding?.next == next else { return }
    switch word {
    case .stopped, .nothingRuns: tellYielding(site, .stopped)
    case .stopFailed: tellYielding(site, .failed("the service does not end"))
    case .arbiterLost: tellYielding(site, .arbiterLost)
    case .released: probes.insert(.released)
    }
  }

  /// The other site reigns as planned.
  /// - Returns: whether this one becomes its standby by itself.
  func turns(_ site: SimulatedSite, _ theirs: RoleRecord) -> Bool {
    guard site.standing?.record.part == .primary, theirs.part == .primary,
      let mine = site.standing?.record.reign, theirs.reign.epoch > mine.epoch,
      site.yield?.next == theirs.reign
    else { return false }
    say(site.name, "becomes standby of epoch \(theirs.reign.epoch)")
    probes.insert(.turned)
    site.record = RoleRecord(reign: theirs.reign, part: .standby)
    site.promotingTo = nil
    site.superseded = nil
    site.yield = nil
    startAgent(site)
    return true
  }
}

extension SimulatedSite {
  /// What the disk keeps of a planned move.
  struct Yield {
    var next: Reign
    var point: PointNumber?
  }

  var plannedMove: PlannedMove? {
    if let taking { return taking.offer.map { .taking(taking.next, $0) } ?? .asking(taking.next) }
    switch yielding?.stage {
    case .stopping, .finishing: return yielding.map { .yielding($0.next) }
    case .ready: return yielding.map { .ready($0.next) }
    case .catchingUp, .yielded, .ended, nil: return nil
    }
  }
}
