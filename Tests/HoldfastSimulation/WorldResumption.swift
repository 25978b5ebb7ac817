import HoldfastCore

/// A resumption that an agent is at.
struct SimulatedResumption {
  var decision: Resumption
  let before: RoleRecord
  /// That it was to begin.
  var reign: Reign?
}

/// People who have a site go on, over the same decisions as the real ones: agents die and disks
/// fail between any two steps.
extension World {
  /// A person has looked at the other host's disk, or knows what became of it, and has this site go
  /// on as what it was.
  func resumeRightly(_ site: SimulatedSite) {
    guard other(site).record.reign.epoch <= site.record.reign.epoch, other(site).promotion == nil
    else { return }
    say(site.name, "a person has it go on as what it was")
    probes.insert(.resumed)
    resume(site, isOtherDown: false)
  }

  /// A person switches the other host off, sees to it that it stays so, and has this site go on,
  /// once what keeps it from that is over.
  func resumeLost(_ site: SimulatedSite) {
    guard site.standing?.record.part == .primary, !isAtMove(site), !site.isPersonWaiting,
      site.pausedUntil == nil
    else { return }
    reboot(other(site))
    other(site).isHeldOff = true
    site.isPersonWaiting = true
    say(site.name, "a person says that the other site is lost")
    // And with it what it was promoted to.
    stated[site.name] = nil
    typeResume(site, tries: 4)
    watchWord(site)
  }

  private func typeResume(_ site: SimulatedSite, tries: Int) {
    after(chance.duration(.milliseconds(500)...terms.ttl)) { world in
      guard tries > 0, site.isUp, site.standing?.record.part == .primary else {
        site.isPersonWaiting = false
        return
      }
      world.resume(site, isOtherDown: true)
      if case .refused = site.lastResumption {
        world.probes.insert(.resumeRefused)
        return world.typeResume(site, tries: tries - 1)
      }
      site.isPersonWaiting = false
    }
  }

  private func isAtMove(_ site: SimulatedSite) -> Bool {
    site.taking != nil || site.yielding?.isUnderWay == true || site.promotion != nil
  }

  func resume(_ site: SimulatedSite, isOtherDown: Bool) {
    guard let standing = site.standing, !isAtMove(site), !site.isAgentStanding(now),
      site.pausedUntil == nil
    else { return }
    let decision = Resumption(
      Resumption.Facts(
        standing: standing, isOtherDown: isOtherDown, isConnected: isWhole(site, other(site)),
        hasArbiter: settings.hasArbiter, arbiter: site.arbiterView,
        offered: settings.hasArbiter ? site.yield?.next : nil,
        isPromoting: false,
        usedUpTo: .none),
      fresh: chance.id())
    site.lastResumption = decision.stage
    site.resumption = SimulatedResumption(decision: decision, before: site.record)
    follow(site, decision.first)
  }

  private func follow(_ site: SimulatedSite, _ orders: [Resumption.Order]) {
    for order in orders {
      if isCut { return killAgent(site) }
      switch order {
      case .goOn(let isByWord):
        site.isByWord = isByWord
        _ = obey(site.standing?.on(.resume) ?? [], site)
      case .begin(let reign, let isByWord): begin(site, reign, isByWord: isByWord)
      case .wait: tellLater(site, Limits.pairRetry) { _ in .retry }
      case .commit(let reign, _):
        tellLater(site, .milliseconds(20)) {
          $0.commit(RoleRecord(reign: reign, part: .primary), site)
        }
      case .recall:
        tellLater(site, .milliseconds(20)) { world in
          guard let before = site.resumption?.before else { return .done }
          if world.isLossy, world.chance.isTrue(oneIn: 5) { return .failed("no flush") }
          world.say(site.name, "takes back what may be on its disk")
          site.record = before
          return .done
        }
      }
    }
    guard site.resumption?.decision.isOver == true else { return }
    if case .failed = site.resumption?.decision.stage, let reign = site.resumption?.reign {
      failed.insert(reign)
    }
    site.resumption = nil
  }

  private func tellLater(
    _ site: SimulatedSite, _ time: Duration, _ event: @escaping (World) -> Resumption.Event
  ) {
    let run = site.agentRun
    after(by: .agent(site), time) { world in
      guard site.agentRun == run, site.resumption != nil else { return }
      let event = event(world)
      world.follow(site, site.resumption?.decision.on(event) ?? [])
    }
  }

  private func commit(_ record: RoleRecord, _ site: SimulatedSite) -> Resumption.Event {
    site.resumption?.reign = record.reign
    let isFailing = now < site.fullUntil || (isLossy && chance.isTrue(oneIn: 10))
    if !isFailing || (now >= site.fullUntil && chance.isTrue(oneIn: 2)) {
      site.record = record
      site.isPlanned = false
    }
    guard isFailing else { return .done }
    probes.insert(.resumeFailed)
    say(site.name, "cannot make epoch \(record.reign.epoch) durable")
    return .failed("no flush")
  }

  private func begin(_ site: SimulatedSite, _ reign: Reign, isByWord: Bool) {
    probes.insert(.resumedAnew)
    say(site.name, "goes on in epoch \(reign.epoch), from its own tree")
    // What cannot be cleared stays, and does not count.
    if !isLossy || chance.isTrue(oneIn: 2) { site.yield = nil }
    if !isLossy || chance.isTrue(oneIn: 2) { site.superseded = nil }
    site.yielding = nil
    site.isByWord = isByWord
    _ = site.standing?.on(.promoted(reign))
  }

  // MARK: False words

  /// A person says that the other site is off, which is not so.
  func sayFalsely(_ site: SimulatedSite) {
    guard let record = site.standing?.record, !isAtMove(site), site.pausedUntil == nil,
      !site.isAgentStanding(now)
    else { return }
    say(site.name, "a person says, wrongly, that the other site is down")
    isWordFalse = true
    switch record.part {
    case .primary: resume(site, isOtherDown: true)
    case .standby:
      promote(
        site, Reign(epoch: record.reign.epoch.next, id: chance.id()), site.controllerRun, .word)
    }
  }

  /// One person each says that the other site is off, with nothing between the sites.
  func sayBothFalsely() {
    cuts.formUnion([[.left, .right], [.right, .left]])
    say("line", "between the sites cut")
    for site in sites { sayFalsely(site) }
  }

  /// Both state directories come from backups, each of a promotion that the other knows nothing of.
  func bringBackSplit() {
    isWordFalse = true
    isBroughtBack = true
    let epoch = max(sites[0].record.reign.epoch, sites[1].record.reign.epoch).next
    for site in sites {
      reboot(site)
      say(site.name, "has its state directory from a backup, of an epoch \(epoch) of its own")
      site.record = RoleRecord(reign: Reign(epoch: epoch, id: chance.id()), part: .primary)
      site.promotingTo = nil
      site.superseded = nil
      site.yield = nil
    }
  }
}
