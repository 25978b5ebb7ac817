import HoldfastCore

/// Services that are ill, and commands that make sure that the other host is off.
extension World {
  /// The checks of the plan find the service ill for a while, wherever it runs.
  func sicken(for duration: Duration) {
    guard settings.movesUnhealthy else { return }
    say("service", "is ill for \(duration.nanos / 1_000_000) ms")
    illUntil = max(illUntil, now + duration.nanos)
  }

  func check(_ site: SimulatedSite, run: Int) {
    after(by: .site(site), Limits.healthEvery) { world in
      guard site.controllerRun == run else { return }
      if site.supervisor?.service == .running {
        world.tell(site, .health(isWell: world.now >= world.illUntil))
      }
      world.check(site, run: run)
    }
  }

  /// The agent has the other one take the service, unless it was moved for that of late.
  func moveAway(_ site: SimulatedSite) {
    after(by: .agent(site), .milliseconds(1)) { world in
      guard site.standing?.role == .primary, !site.isAgentStanding(world.now) else { return }
      let other = world.other(site)
      if world.isMovedOfLate(site) { return }
      world.send(world.place(site), world.place(other)) { world in
        guard other.standing?.role == .standby, !world.isMovedOfLate(other) else { return }
        // Both have it on record.
        (site.illMovedAt, other.illMovedAt) = (world.now, world.now)
        world.probes.insert(.illMoved)
        world.say(other.name, "is to take the ill service")
        world.orderSwitchover(other)
      }
    }
  }

  private func isMovedOfLate(_ site: SimulatedSite) -> Bool {
    guard let last = site.illMovedAt, now - last < Limits.illMovesEvery.nanos else { return false }
    probes.insert(.illDamped)
    return true
  }

  /// As long as there are faults a command may fail, or not end within its time.
  func fenceOther(_ site: SimulatedSite, run: Int) {
    guard let reign = site.supervisor?.report?.record.reign else { return }
    let isFailing = isLossy && chance.isTrue(oneIn: 3)
    let limit = isFailing && chance.isTrue(oneIn: 2) ? terms.ttl * 2 : .seconds(2)
    let other = other(site)
    after(by: .site(site), chance.duration(.milliseconds(10)...limit)) { world in
      guard site.controllerRun == run else { return }
      if isFailing {
        world.probes.insert(.fencingFailed)
      } else {
        world.probes.insert(.fencedOther)
        world.say(site.name, "has the other host switched off")
        world.fencedFor.insert(reign)
        world.reboot(other)
      }
      world.tell(site, .otherFenced(!isFailing))
    }
  }

  /// What a compulsory command is for.
  func judgeStart(_ site: SimulatedSite) {
    // The one that its controller starts for: its agent may have begun the next a moment ago.
    guard let reign = site.supervisor?.report?.record.reign else { return }
    guard settings.fencing == .required, reign.epoch > Epoch(rawValue: 1), !site.isPlanned,
      !fencedFor.contains(reign)
    else { return }
    violations.append("\(site.name) starts though the other host may be on")
  }

  /// A step of the way to the end of the service hangs: the host is restarted.
  func hang(_ site: SimulatedSite) {
    let boots = site.boots
    say(site.name, "cannot end the service")
    probes.insert(.fenceHung)
    after(site.terms.stopBudget) { world in
      if site.boots == boots { world.reboot(site) }
    }
  }
}
