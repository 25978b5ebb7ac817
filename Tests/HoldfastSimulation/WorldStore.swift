import HoldfastCore

/// The shell of an arbiter that is a store which both sites share: it reads, decides and changes
/// until there is an answer. What it wrote may arrive when it waits for nothing any more.
extension World {
  /// One question, of the controller that asked it.
  struct Inquiry {
    let site: SimulatedSite
    let request: ArbiterRequest
    let statement: SiteStatement
    let number: Supervisor.RequestNumber
    let run: Int
    /// By the site's clock: then nobody waits for the answer.
    let end: Instant
    var triesLeft = Limits.sharedTriesMax
  }

  func ask(_ inquiry: Inquiry) {
    let site = inquiry.site
    guard inquiry.triesLeft > 0 else { return fail(inquiry) }
    send(place(site), .witness) { world in
      guard let values = world.store?.seen(world.witnessClock.local(world.now)) else { return }
      world.send(.witness, world.place(site)) { world in
        world.whileItRuns(inquiry) { $0.decide(inquiry, values) }
      }
    }
  }

  private func decide(_ inquiry: Inquiry, _ values: [String: SharedValue]) {
    let site = inquiry.site
    guard site.newestInquiry == inquiry.number else { return }
    let step: SharedLedger.Step
    do {
      step = try SharedLedger(site: site.key, inquiry.statement, values: values)
        .decide(inquiry.request)
    } catch {
      violations.append("the ledger does not read what it wrote: \(error)")
      return
    }
    if case .answer(let answer) = step { return tell(inquiry, answer) }
    let here = site.clock.local(now)
    guard here < inquiry.end else { return fail(inquiry) }
    var next = inquiry
    next.triesLeft -= 1
    switch step {
    case .answer: break
    case .change(let change): commit(change, inquiry) { world, _ in world.ask(next) }
    case .last(let change, let answer):
      commit(change, inquiry) { world, isDone in
        if isDone { return world.tell(inquiry, answer) }
        world.probes.insert(.contended)
        // What was to be given back has changed: it is not given back.
        if inquiry.request == .release { world.fail(inquiry) } else { world.ask(next) }
      }
    }
  }

  private func commit(
    _ change: SharedChange, _ inquiry: Inquiry, _ then: @escaping (World, Bool) -> Void
  ) {
    let site = inquiry.site
    guard change.puts.contains(where: { $0.lives != nil }) else {
      return commit(change, inquiry, since: now, then)
    }
    // Leases are made first, and end a while after they could.
    send(place(site), .witness) { world in
      guard world.store != nil else { return }
      let counted = world.now + world.chance.below(1_000_000_000)
      world.send(.witness, world.place(site)) { world in
        world.whileItRuns(inquiry) { $0.commit(change, inquiry, since: counted, then) }
      }
    }
  }

  /// - Parameter since: when its leases begin, by the true time.
  private func commit(
    _ change: SharedChange, _ inquiry: Inquiry, since counted: Int64,
    _ then: @escaping (World, Bool) -> Void
  ) {
    let site = inquiry.site
    send(place(site), .witness) { world in
      let here = world.witnessClock.local(world.now)
      let since = world.witnessClock.local(counted)
      guard let isDone = world.store?.commit(change, counted: since, now: here) else { return }
      if isDone { world.noteChange(inquiry) }
      // Its members are killed when it is done, and nobody is told.
      if world.isCut { return world.restartArbiter(isForgetting: false, within: world.terms.ttl) }
      world.send(.witness, world.place(site)) { world in
        world.whileItRuns(inquiry) { then($0, isDone) }
      }
    }
  }

  private func noteChange(_ inquiry: Inquiry) {
    let site = inquiry.site
    if site.controllerRun != inquiry.run || site.clock.local(now) > inquiry.end {
      probes.insert(.changedLate)
    }
    guard case .decline(let reign) = inquiry.request,
      let values = store?.seen(witnessClock.local(now)),
      let bytes = values[SharedLedger.recordKey(of: pair)]?.bytes,
      let record = try? WitnessRecord(decoding: bytes), record.holder != site.key
    else { return }
    noteDeclined(reign)
  }

  private func tell(_ inquiry: Inquiry, _ answer: ArbiterAnswer) {
    note(answer)
    tell(inquiry.site, .arbiter(inquiry.number, answer))
  }

  private func fail(_ inquiry: Inquiry) { tell(inquiry.site, .arbiterFailed(inquiry.number)) }

  /// Goes on once the controller that asked runs, if it lives.
  private func whileItRuns(_ inquiry: Inquiry, _ happen: @escaping (World) -> Void) {
    let site = inquiry.site
    guard site.controllerRun == inquiry.run else { return }
    guard site.inbox != nil else { return happen(self) }
    after(by: .site(site), .milliseconds(20)) { $0.whileItRuns(inquiry, happen) }
  }
}
