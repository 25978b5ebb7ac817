import HoldfastCore

/// Hosts that stand still as a whole: suspended, or paused by a hypervisor.
extension World {
  /// Not in the moments in which no controller runs, or stands still by itself: nothing is there to
  /// see it.
  /// - Parameter isCounted: whether the host's clock goes on meanwhile.
  func pause(_ site: SimulatedSite, for duration: Duration, isCounted: Bool) {
    guard site.isUp, site.pausedUntil == nil, site.supervisor != nil, site.inbox == nil else {
      return
    }
    let how = isCounted ? "" : ", and its clock with it"
    say(site.name, "the host stands still for \(duration.nanos / 1_000_000) ms\(how)")
    let end = now + duration.nanos
    let before = site.clock.local(now)
    site.pausedUntil = end
    at(end) { world in
      guard site.pausedUntil == end else { return }
      site.pausedUntil = nil
      if !isCounted { site.clock.offset -= (site.clock.local(end) - before).nanos }
      world.seePause(site, of: duration)
      world.watchLease(site)
    }
  }

  /// Its questions wait.
  /// - Parameter isCounted: whether its clock goes on meanwhile.
  func freezeWitness(for duration: Duration, isCounted: Bool) {
    guard isArbiterUp, witnessStandsUntil ?? 0 <= now else { return }
    let how = isCounted ? "" : ", and its clock with it"
    say("witness", "stands still for \(duration.nanos / 1_000_000) ms\(how)")
    probes.insert(.witnessStood)
    let (before, run) = (witnessClock.local(now), witnessRun)
    let end = now + duration.nanos
    witnessStandsUntil = end
    at(end) { world in
      guard world.witnessRun == run, !isCounted else { return }
      world.witnessClock.offset -= (world.witnessClock.local(end) - before).nanos
    }
  }

  /// What the controller's thread does once it runs again.
  func seePause(_ site: SimulatedSite, of duration: Duration) {
    guard duration > site.terms.pauseMax else { return }
    if site.runs, site.supervisor?.mustBeOverAt != nil {
      probes.insert(.suspended)
      site.isSuspended = true
    }
    tell(site, .paused)
  }
}
