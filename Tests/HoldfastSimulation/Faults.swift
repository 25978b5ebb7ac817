import HoldfastCore

/// What befalls the world.
extension World {
  /// One thing that goes wrong, or that a person does.
  package enum Happening {
    case powerLost(SimulatedSite)
    case cutOff(SimulatedSite)
    case sitesCut
    case witnessCut
    case linesWhole
    case controllerStands(SimulatedSite, Duration)
    case controllerKilled(SimulatedSite)
    case hostStands(SimulatedSite, Duration, isCounted: Bool)
    case failoverOrdered(SimulatedSite)
    case failoverWithdrawn(SimulatedSite)
    case switchoverOrdered(SimulatedSite)
    case diskFull(SimulatedSite, Duration)
  }

  /// Has it happen then, in a world in which nothing else goes wrong.
  package func plan(_ moment: Duration, _ happening: Happening) {
    isLossy = false
    at(moment.nanos) { $0.happen(happening) }
  }

  private func happen(_ happening: Happening) {
    switch happening {
    case .powerLost(let site): reboot(site)
    case .cutOff(let site):
      let far = place(site)
      for near in Place.allCases where near != far { cuts.formUnion([[near, far], [far, near]]) }
      say(site.name, "is cut off from everyone")
    case .sitesCut:
      cuts.formUnion([[.left, .right], [.right, .left]])
      say("line", "between the sites cut")
    case .witnessCut:
      for site in [Place.left, .right] { cuts.formUnion([[site, .witness], [.witness, site]]) }
      say("line", "to the witness cut")
    case .linesWhole: heal()
    case .controllerStands(let site, let duration):
      say(site.name, "the controller stands still")
      freezeController(site, for: duration)
    case .controllerKilled(let site):
      say(site.name, "the controller is killed")
      killController(site)
    case .hostStands(let site, let duration, let isCounted):
      pause(site, for: duration, isCounted: isCounted)
    case .failoverOrdered(let site): order(site)
    case .failoverWithdrawn(let site): withdraw(site)
    case .switchoverOrdered(let site): orderSwitchover(site)
    case .diskFull(let site, let duration): fillDisk(site, for: duration)
    }
  }

  /// One thing after the other goes wrong, at moments drawn from the seed.
  /// - Parameter falseWord: when a person is wrong about the other site, or brings both sites back
  ///   from backups; `nil`: never.
  package func trouble(for duration: Duration, falseWord: Duration? = nil) {
    let end = now + duration.nanos
    if let falseWord {
      at(falseWord.nanos) { world in
        switch world.chance.below(4) {
        case 0: world.sayBothFalsely()
        case 1: world.bringBackSplit()
        default: world.sayFalsely(world.chance.pick(world.sites))
        }
      }
    }
    func next() {
      after(chance.duration(.milliseconds(200)...terms.ttl)) { world in
        guard world.now < end else { return }
        world.befall()
        next()
      }
    }
    next()
  }

  private func befall() {
    let site = chance.pick(sites)
    // Also where the times are not what they should be.
    let pauseMax = LeaseTerms(ttl: terms.ttl).pauseMax
    switch chance.below(34) {
    case 0: cut([.left, .right], [.right, .left])
    case 1: cut([.left, .witness], [.witness, .left])
    case 2: cut([.right, .witness], [.witness, .right])
    case 3:
      let (from, to) = (chance.pick(Place.allCases), chance.pick(Place.allCases))
      if from != to { cut([from, to]) }
    case 4:
      cut(
        [place(site), .witness], [.witness, place(site)], [place(site), place(other(site))],
        [place(other(site)), place(site)])
    case 5: heal()
    case 6:
      say(site.name, "the controller is killed")
      killController(site)
    case 7:
      say(site.name, "the agent is killed")
      killAgent(site)
    case 8:
      let duration = chance.duration(.milliseconds(10)...terms.ttl * 2)
      say(site.name, "the controller stands still for \(duration.nanos / 1_000_000) ms")
      freezeController(site, for: duration)
    case 9: reboot(site)
    case 10:
      reboot(site)
      reboot(other(site))
    case 11: restartArbiter(isForgetting: chance.isTrue(oneIn: 6), within: terms.ttl * 2)
    case 12: order(site)
    case 13: sayOtherIsDown(site)
    case 14: orderAtTheWorstMoment(site)
    case 15, 16: orderSwitchover(site)
    case 17: orderSwitchover(other(site))
    case 18:
      pause(
        site, for: chance.duration(.milliseconds(1)...pauseMax / 5),
        isCounted: chance.isTrue(oneIn: 2))
    case 19, 20:
      pause(
        site, for: chance.duration(pauseMax * 2...terms.ttl * 2),
        isCounted: chance.isTrue(oneIn: 2))
    case 21: freezeAgent(site, for: chance.duration(.milliseconds(10)...terms.ttl * 2))
    case 22:
      freezeWitness(
        for: chance.duration(.milliseconds(10)...terms.ttl * 2), isCounted: chance.isTrue(oneIn: 2))
    case 23: fillDisk(site, for: chance.duration(terms.ttl...terms.ttl * 8))
    case 24, 25, 26: changeMind(site)
    case 27: withdraw(site)
    case 28: configure(sites.first { $0.intent?.cause == .automatic } ?? site)
    case 29: sicken(for: chance.duration(.seconds(4)...(.seconds(40))))
    case 30: resumeRightly(site)
    case 31, 32: resumeLost(site)
    default: rejoin(site)
    }
  }

  static let ttls = (min: Duration.seconds(5), max: Duration.seconds(20))

  /// A person gives its controller another ttl, or another mode.
  private func configure(_ site: SimulatedSite) {
    guard site.supervisor != nil, site.pausedUntil == nil else { return }
    let ttl = chance.pick([Self.ttls.min, terms.ttl, Self.ttls.max])
    if site.intent?.cause == .automatic || chance.isTrue(oneIn: 3) { site.isManual.toggle() }
    if ttl != site.terms.ttl { probes.insert(ttl < site.terms.ttl ? .lowered : .raised) }
    let mode = site.isManual ? "manual" : "as before"
    say(
      site.name,
      "the controller is started anew: ttl \(ttl.nanos / 1_000_000_000) s, mode \(mode)")
    // What ends it goes by the times that it had.
    killController(site)
    site.terms = ttl == terms.ttl ? terms : LeaseTerms(ttl: ttl)
  }

  /// A person orders, withdraws and orders again, while the other site may serve under what it was
  /// granted before, and this one cannot be promoted at first.
  private func changeMind(_ site: SimulatedSite) {
    let far = place(other(site))
    if chance.isTrue(oneIn: 2) { cut([far, .witness], [.witness, far]) }
    if chance.isTrue(oneIn: 2) {
      fillDisk(site, for: chance.duration(.milliseconds(1)...terms.ttl / 4))
    }
    order(site)
    after(chance.duration(.milliseconds(1)...terms.ttl / 4)) { world in
      world.withdraw(site)
      world.after(world.chance.duration(.milliseconds(100)...world.terms.ttl / 4)) {
        $0.order(site)
      }
    }
  }

  private func order(_ site: SimulatedSite) {
    say(site.name, "a person orders failover")
    tell(site, .failoverOrdered(nil, isLossAccepted: site.record.reign.epoch.rawValue % 2 == 0))
  }

  private func withdraw(_ site: SimulatedSite) {
    guard site.supervisor?.intent?.isOrdered == true else { return }
    say(site.name, "a person withdraws the failover")
    tell(site, .failoverWithdrawn)
  }

  /// Whatever is to be promoted here needs room.
  private func fillDisk(_ site: SimulatedSite, for duration: Duration) {
    say(site.name, "has a full disk")
    site.fullUntil = max(site.fullUntil, now + duration.nanos)
  }

  /// The other site serves on, cut off from all, while what was granted here has to be remembered.
  private func orderAtTheWorstMoment(_ site: SimulatedSite) {
    let far = place(other(site))
    for near in Place.allCases where near != far { cut([near, far], [far, near]) }
    say(site.name, "a person orders failover, and its controller and the witness are killed")
    tell(site, .failoverOrdered(nil, isLossAccepted: true))
    after(chance.duration(.milliseconds(200)...(.seconds(2)))) { world in
      world.killController(site)
      world.restartArbiter(isForgetting: false, within: .milliseconds(500))
    }
  }

  /// A person switches the other host off, sees to it that it stays so until it is known who may
  /// serve, and promotes this site.
  private func sayOtherIsDown(_ site: SimulatedSite) {
    guard site.standing?.role == .standby, site.promotion == nil, site.taking == nil,
      site.pausedUntil == nil, !site.isAgentStanding(now)
    else { return }
    let other = other(site)
    reboot(other)
    other.isHeldOff = true
    say(site.name, "a person says that the other site is down")
    probes.insert(.byWord)
    let reign = Reign(epoch: site.record.reign.epoch.next, id: chance.id())
    promote(site, reign, site.controllerRun, .word)
    watchWord(site)
  }

  func watchWord(_ site: SimulatedSite) {
    after(terms.ttl) { world in
      let other = world.other(site)
      guard other.isHeldOff else { return }
      // What a person said is forgotten with the processes that heard it.
      if !site.runs, !site.isByWord, site.promotion == nil, site.resumption == nil,
        !site.isPersonWaiting
      {
        other.isHeldOff = false
      }
      world.watchWord(site)
    }
  }

  private func cut(_ directions: [Place]...) {
    for direction in directions { cuts.insert(direction) }
    say("line", "cut " + directions.map { "\($0[0])>\($0[1])" }.joined(separator: " "))
    // Most cuts mend by themselves before long.
    if chance.isTrue(oneIn: 3) { return }
    after(chance.duration(.milliseconds(500)...terms.ttl * 3)) { world in
      for direction in directions { world.cuts.remove(direction) }
    }
  }

  package func heal() {
    if !cuts.isEmpty { say("line", "whole again") }
    cuts = []
  }

  package func reboot(_ site: SimulatedSite) {
    guard site.isUp else { return }
    say(site.name, "loses power")
    site.isUp = false
    site.boots += 1
    site.ended()
    site.pausedUntil = nil
    site.note = nil
    site.standing = nil
    site.supervisor = nil
    site.agentRun += 1
    site.controllerRun += 1
    boot(site)
  }

  private func boot(_ site: SimulatedSite) {
    after(chance.duration(.seconds(1)...terms.ttl * 2)) { world in
      if site.isHeldOff { return world.boot(site) }
      world.say(site.name, "boots")
      site.isUp = true
      site.clock.bootedAt = world.now
      site.clock.offset = 0
      world.startAgent(site)
      world.startController(site)
    }
  }

  /// - Parameters:
  ///   - isForgetting: its disk is lost.
  ///   - limit: how long it is away at most.
  package func restartArbiter(isForgetting: Bool, within limit: Duration) {
    guard isArbiterUp else { return }
    say("witness", isForgetting ? "loses its disk" : "is restarted")
    stopArbiter()
    if isForgetting {
      witnessRecords = [:]
      storeKept = SimulatedStore()
    }
    let run = witnessRun
    after(chance.duration(.milliseconds(100)...limit)) { world in
      guard world.witnessRun == run else { return }
      if world.chance.isTrue(oneIn: 2) {
        world.witnessClock.bootedAt = world.now
        world.witnessClock.offset = 0
      }
      world.startArbiter()
    }
  }

  /// Faults end, and a person who reads the runbook does what it says.
  /// - Parameter isBroken: of one site the disk stays full, unless the other yields to it by its
  ///   own word, or its own reign has begun, or may have, which nobody takes back.
  package func calm(isBroken: Bool = false) {
    isLossy = false
    calmFrom = now
    heal()
    let site = chance.pick(sites)
    if isBroken { fillDisk(site, for: .seconds(3600)) }
    mind()
  }

  private func mind() {
    after(terms.ttl) { world in
      world.cuts = []
      for site in world.sites {
        let other = world.other(site)
        // All who could let it serve have heard of the other's epoch by now.
        if other.promotion == nil, other.resumption == nil, !other.isPersonWaiting {
          site.isHeldOff = false
        }
        world.rejoin(site)
        if other.yield?.point != nil || site.promotingTo != nil || site.isRecalling {
          site.fullUntil = world.now
        }
        if site.supervisor?.service == .failed { world.tell(site, .startOrdered) }
        if world.now < site.fullUntil {
          world.withdraw(site)
        } else if site.supervisor?.withheld != nil {
          world.tell(site, .failoverOrdered(nil, isLossAccepted: true))
        }
      }
      world.mind()
    }
  }
}
