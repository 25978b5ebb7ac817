import HoldfastCore

/// The shell of a controller, as far as a world of values needs it.
extension World {
  private static let tick = Duration.milliseconds(100)
  private static let poll = Duration.milliseconds(250)

  func startController(_ site: SimulatedSite) {
    site.controllerRun += 1
    site.inbox = nil
    var settings = settings
    settings.terms = site.terms
    settings.isAutomatic = settings.isAutomatic && !site.isManual
    site.supervisor = Supervisor(settings)
    let here = site.clock.local(now)
    feed(site, here)
    let noted = settings.hasArbiter ? trusted(site) : nil
    let note = noted.map { site.terms.following($0, overBy: site.overBy) }
    if let note, site.terms.mayHandOver(note, now: here) { probes.insert(.handover) }
    if site.isManual, site.intent?.cause == .automatic { probes.insert(.leftToPerson) }
    tell(
      site,
      .began(handover: note, intent: site.intent, settled: site.settled, overBy: site.overBy))
    tickController(site, run: site.controllerRun)
    pollAgent(site, run: site.controllerRun)
    if settings.movesUnhealthy { check(site, run: site.controllerRun) }
  }

  /// Killed or crashed; systemd fences, unless another controller has time enough to take over.
  func killController(_ site: SimulatedSite) {
    guard site.supervisor != nil, site.pausedUntil == nil else { return }
    let here = site.clock.local(now)
    // Without an arbiter nobody fences in its stead.
    if settings.hasArbiter {
      guard let note = trusted(site),
        site.terms.mayHandOver(note, now: here + site.terms.abortTimeout)
      else {
        return end(site)
      }
    }
    site.supervisor = nil
    site.controllerRun += 1
    let run = site.controllerRun
    after(by: .site(site), chance.duration(.milliseconds(50)...site.terms.abortTimeout)) { world in
      if site.isUp, site.controllerRun == run { world.startController(site) }
    }
  }

  /// A lease that was noted before the host stood still, with its clock, is none: the wall's clock
  /// tells, as the real controller's files have it.
  private func trusted(_ site: SimulatedSite) -> Lease? {
    lead(site) - site.leadAtNote <= site.terms.pauseMax.nanos ? site.note : nil
  }

  func lead(_ site: SimulatedSite) -> Int64 { now - site.clock.local(now).nanos }

  private func tickController(_ site: SimulatedSite, run: Int) {
    after(by: .site(site), Self.tick) { world in
      guard site.controllerRun == run else { return }
      world.tell(site, .tick(chance: world.chance.id()))
      world.tickController(site, run: run)
    }
    let here = site.clock.local(now)
    guard site.inbox == nil,
      site.supervisor?.mayFeedWatchdog(now: here, site.terms.watchdog) == true
    else { return }
    feed(site, here)
  }

  private func feed(_ site: SimulatedSite, _ here: Instant) {
    site.fedAt = here
    let run = site.controllerRun
    at(by: .site(site), site.clock.trueTime(here + site.terms.watchdog)) { world in
      guard site.controllerRun == run, site.fedAt == here else { return }
      world.say(site.name, "the watchdog kills the controller")
      world.probes.insert(.watchdogKilled)
      world.end(site)
    }
  }

  /// systemd kills what does not feed it, and fences in its stead, as for what died with too
  /// little left of its lease.
  private func end(_ site: SimulatedSite) {
    site.supervisor = nil
    site.controllerRun += 1
    let run = site.controllerRun
    let abort = chance.duration(.milliseconds(1)...site.terms.abortTimeout)
    let stop = chance.duration(.milliseconds(1)...site.terms.stopBudget)
    after(by: .site(site), abort + stop) { world in
      guard site.controllerRun == run else { return }
      site.ended()
      site.note = nil
      world.startController(site)
    }
  }

  private func pollAgent(_ site: SimulatedSite, run: Int) {
    after(by: .site(site), Self.poll) { world in
      guard site.controllerRun == run else { return }
      let isAnswering = !site.isAgentStanding(world.now)
      let report =
        isAnswering ? site.report(site.clock.local(world.now), lead: world.lead(site)) : nil
      world.tell(site, .agent(report))
      guard site.controllerRun == run else { return }
      if site.supervisor?.withheld == .loss { world.probes.insert(.lossWithheld) }
      if site.inbox == nil, site.standing != nil, isAnswering {
        world.hearWord(site, site.supervisor?.yieldingTo, site.supervisor?.yield)
        if world.settings.hasArbiter, site.supervisor?.service == .running,
          site.supervisor?.lease != nil, site.standing?.role == .primary,
          site.yielding?.isUnderWay != true, site.yield?.point == nil
        {
          site.yield = nil
        }
        let isStopped =
          site.supervisor?.service == .stopped && site.supervisor?.mayFind == false
        site.stoppedHeard = isStopped ? site.stoppedHeard + 1 : 0
        site.arbiterView = site.supervisor.map {
          Resumption.ArbiterView(
            isSilent: $0.isArbiterLost, vacant: $0.vacant, isHeldByOther: $0.isHeldByOther)
        }
      }
      world.pollAgent(site, run: run)
    }
  }

  /// SIGSTOP, or a host so busy that the process does not run.
  func freezeController(_ site: SimulatedSite, for duration: Duration) {
    guard site.supervisor != nil, site.inbox == nil, site.pausedUntil == nil else { return }
    site.inbox = []
    let run = site.controllerRun
    after(by: .site(site), duration) { world in
      guard site.controllerRun == run, let waiting = site.inbox else { return }
      site.inbox = nil
      world.say(site.name, "the controller goes on")
      world.seePause(site, of: duration)
      for event in waiting { world.tell(site, event) }
    }
  }

  func tell(_ site: SimulatedSite, _ event: Supervisor.Event) {
    guard site.supervisor != nil, site.pausedUntil == nil else { return }
    if site.inbox != nil {
      // Time and the agent are asked for anew; answers wait in sockets.
      switch event {
      case .tick, .agent: break
      default: site.inbox?.append(event)
      }
      return
    }
    let before = site.supervisor?.fenceAt
    let orders = site.supervisor?.on(event, now: site.clock.local(now)) ?? []
    if site.supervisor?.fenceAt != before { watchLease(site) }
    for order in orders {
      if isCut { return killController(site) }
      obey(order, site)
    }
  }

  /// The timer that fences.
  func watchLease(_ site: SimulatedSite) {
    guard let end = site.supervisor?.fenceAt else { return }
    let run = site.controllerRun
    let late = chance.duration(.zero...LeaseTerms.schedulingAllowance / 2)
    at(by: .site(site), site.clock.trueTime(end + late)) { world in
      guard site.controllerRun == run else { return }
      world.tell(site, .tick(chance: world.chance.id()))
    }
  }

  private func obey(_ order: Supervisor.Order, _ site: SimulatedSite) {
    let run = site.controllerRun
    switch order {
    case .persist(let intent):
      sayWanted(intent, site)
      site.intent = intent
    case .note(let lease):
      site.note = lease
      site.leadAtNote = lead(site)
      if lease != nil { site.overBy = site.supervisor?.mustBeOverAt }
    case .askArbiter(let number, let request, let record):
      let statement = SiteStatement(
        pair: pair, other: other(site).key, record: record, ttl: site.terms.ttl)
      if !isArbiterUp, chance.isTrue(oneIn: 2) {
        after(by: .site(site), .milliseconds(1)) { world in
          if site.controllerRun == run { world.tell(site, .arbiterFailed(number)) }
        }
      }
      if arbiter == .store {
        let end = site.clock.local(now) + site.terms.timeout
        site.newestInquiry = number
        ask(
          Inquiry(
            site: site, request: request, statement: statement, number: number, run: run, end: end))
      } else {
        send(place(site), .witness) { world in
          // A link keeps the order, and the witness takes nothing by one that another followed.
          guard (site.heardRun, site.heardNumber) <= (run, number) else { return }
          (site.heardRun, site.heardNumber) = (run, number)
          world.hear(request, statement, from: site, number, run: run)
        }
      }
    case .askPeer(let number, let reign): askPeer(site, number, reign, run)
    case .hand(let reign):
      guard !site.isAgentStanding(now) else { break }
      site.isByWord = false
      other(site).isHeldOff = false
      _ = site.standing?.on(.granted(reign))
    case .promote(let intent, let othersLeft):
      if intent.cause == .automatic, site.isManual {
        violations.append("\(site.name) is promoted by itself, and its mode is manual")
      }
      promote(
        site, intent.reign, run, .granted(intent.cause, isLossAccepted: intent.isLossAccepted),
        othersLeft: othersLeft)
    case .forgo(let reign): forgo(site, reign, run)
    case .start:
      say(site.name, "starts the service")
      judgeStart(site)
      site.runs = true
      site.isSuspended = false
      let isFailing = isLossy && chance.isTrue(oneIn: 20)
      after(by: .site(site), chance.duration(.milliseconds(10)...site.terms.ttl / 3)) { world in
        guard site.controllerRun == run else { return }
        if isFailing { world.probes.insert(.startFailed) }
        world.tell(site, isFailing ? .startFailed : .started)
      }
    case .stop:
      let isFailing = isLossy && chance.isTrue(oneIn: 20)
      after(by: .site(site), chance.duration(.milliseconds(10)...site.terms.ttl / 3)) { world in
        guard site.controllerRun == run, site.supervisor?.service == .stopping else { return }
        if !isFailing { site.ended() }
        world.tell(site, isFailing ? .stopFailed : .stopped)
      }
    case .suspend: site.isSuspended = site.runs
    case .thaw:
      if site.isSuspended { probes.insert(.thawed) }
      site.isSuspended = false
    case .fence(let reason):
      if site.runs {
        say(site.name, "fences: \(reason)")
        if site.isSuspended { probes.insert(.fencedAfterPause) }
        if reason == .superseded { probes.insert(.superseded) }
        if reason == .leaseOver { probes.insert(.leaseOver) }
      }
      if site.runs, isLossy, chance.isTrue(oneIn: 20) { return hang(site) }
      after(by: .site(site), chance.duration(.milliseconds(1)...site.terms.stopBudget)) { world in
        guard site.controllerRun == run else { return }
        site.ended()
        world.tell(site, .fenced)
      }
    case .fenceOther: fenceOther(site, run: run)
    case .settle(let reign): site.settled = reign
    case .moveAway: moveAway(site)
    case .refuse: probes.insert(.refusedOrder)
    }
  }

  private func sayWanted(_ intent: PromotionIntent?, _ site: SimulatedSite) {
    guard let intent else {
      if site.intent?.reign != site.record.reign { probes.insert(.abandoned) }
      return
    }
    let epoch = intent.reign.epoch
    say(site.name, intent.isWithdrawn ? "wants epoch \(epoch) no more" : "wants epoch \(epoch)")
    switch intent.cause {
    case .ordered: probes.insert(intent.isWithdrawn ? .withdrawn : .ordered)
    case .automatic: probes.insert(intent.isWithdrawn ? .heldBack : .automatic)
    case .planned:
      if intent.isWithdrawn { probes.insert(site.hasPromised ? .leftToPromised : .gaveUpPlanned) }
    }
  }
}
