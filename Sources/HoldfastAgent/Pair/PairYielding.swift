import FoundationEssentials
import HoldfastCore
import HoldfastStore
import HoldfastWire

/// The old primary's part of a planned move: obeys ``Yielding``.
extension Pair {
  /// What the standby wants of a planned move.
  func asked(_ wanted: Holdfast_YieldWanted) async throws {
    guard let next = wanted.next else { throw CodingError.invalid("reign to yield to") }
    if let yielding, yielding.next == next {
      await tellYielding(wanted.isWithdrawn ? .withdrawn : .asked)
      if wanted.isAlone { await tellYielding(.arbiterLost) }
      return
    }
    guard !wanted.isWithdrawn else { return }
    if try files.yield()?.next == next {
      // Begun before this agent was started anew: what was said of it then means nothing now.
      return await say(.ended("\(site) was started anew meanwhile"), to: next)
    }
    if let refusal = refusal(toYield: next) { return await say(.ended(refusal), to: next) }
    do {
      try files.store(PairFiles.Yield(next: next))
      try begin("switchover", by: Verdict.bounded(wanted.by))
    } catch {
      return await say(.ended("\(error)"), to: next)
    }
    let fresh = Yielding(
      to: next, hasService: needsController, hasArbiter: configuration.failover.hasArbiter,
      now: host.clock.now())
    yielding = fresh
    mayHaveOffered = true
    isStoppedInOrder = false
    await obey(fresh.first)
    yieldTask = Task { [host] in
      while self.isYielding, !Task.isCancelled {
        try? await host.clock.sleep(until: host.clock.now() + Limits.moveEvery)
        await self.tickYielding()
      }
    }
  }

  /// Says again and again that this site has yielded: who is to reign may not have been able to.
  func saysYielded() {
    yieldTask = Task { [host] in
      while case .yielded(let next) = self.standing?.refusal, !Task.isCancelled {
        if let point = try? self.files.yield()?.point { await self.say(.yielded(point), to: next) }
        try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      }
    }
  }

  /// Why this site does not even begin.
  private func refusal(toYield next: Reign) -> String? {
    guard let standing, standing.role == .primary, next.epoch == standing.record.reign.epoch.next
    else { return "\(name) is \(board.view.role.rawValue) on \(site), not primary" }
    if let yielding, yielding.isUnderWay { return "\(site): \(otherMove.message)" }
    if isPromoting { return "\(site) is not done with its promotion to \(standing.record.reign)" }
    let view = board.view
    for hold in [PairView.Hold.root, .spool, .journal, .change, .configuration, .promotion] {
      if let reason = view.held[hold] { return "on \(site): \(reason)" }
    }
    if needsController, heardService(view, host.clock.now()) == nil {
      return """
        the controller on \(site) says nothing, so the service cannot be ended in order: type \
        there: systemctl start holdfast-controller
        """
    }
    return nil
  }

  private var isYielding: Bool { yielding?.isUnderWay ?? false }

  private func tickYielding() async {
    if case .stopping = yielding?.stage, heardService(board.view, host.clock.now()) == nil {
      return await tellYielding(.failed("the controller on \(site) says nothing"))
    }
    await tellYielding(.tick)
  }

  func tellYielding(_ event: Yielding.Event) async {
    guard let orders = yielding?.on(event, now: host.clock.now()) else { return }
    await obey(orders)
  }

  /// The service runs here again under a lease: what was offered was not granted, and is not.
  private func forgetOffer(_ word: ServingRequest) {
    guard mayHaveOffered, configuration.failover.hasArbiter, standing?.role == .primary,
      !isYielding, word.service == "\(Supervisor.Service.running)", word.leaseSeconds ?? 0 > 0,
      // A lease that is the other site's promise says nothing of what it was granted.
      word.arbiterSilent != true
    else { return }
    mayHaveOffered = false
    if let yield = try? files.yield(), yield.point == nil {
      try? files.store(nil as PairFiles.Yield?)
    }
  }

  /// What the controller said of the yield that it is asked for.
  func heard(_ word: ServingRequest) async {
    // The arbiter says that the other site was promoted past what a person had this one resume.
    if word.wordContradicted == true { isByWord = false }
    if let facts = word.facts { await tell(facts: facts) }
    await hear(service: word.service)
    forgetOffer(word)
    guard let yielding, let told = word.yield, told.reign.value == yielding.next else { return }
    switch Supervisor.Yield(rawValue: told.word) {
    case .stopped, .nothingRuns:
      isStoppedInOrder = told.word == Supervisor.Yield.stopped.rawValue
      await tellYielding(.stopped)
    case .stopFailed:
      await tellYielding(.failed(word.trouble ?? "the service on \(site) could not be stopped"))
    case .arbiterLost: await tellYielding(.arbiterLost)
    case .released, nil: break
    }
  }

  private func obey(_ orders: [Yielding.Order]) async {
    guard let yielding else { return }
    for order in orders {
      switch order {
      case .catchUp:
        moves.enter("catch up")
        attempt(.caughtUp) {
          let (point, lack) = try await self.reach()
          // A service that was ended in order makes a point whole, where it is known to have.
          let isCured = await self.endsWhole && self.board.view.grade == .crash
          if let lack, self.configuration.require > .crash, !isCured {
            throw FailureAnswer(code: 3, lack)
          }
          return point
        }
      case .stopService: moves.enter("stop")
      case .finish:
        moves.enter("final point")
        // It may be over since this was ordered.
        if endsWhole, isStoppedInOrder, case .finishing = self.yielding?.stage {
          capture?.gate.isServiceEnded = true
        }
        attempt(nil) { try await self.finish(yielding.next) }
      case .persist(let point):
        attempt(.persisted) {
          try await self.yield(to: yielding.next, at: point)
          return point
        }
      case .say: await say(yielding.stage, to: yielding.next)
      case .goBack: await goBack()
      }
    }
    if case .ready = yielding.stage { moves.enter("hand over") }
  }

  /// Whether ending the service in order, unit by unit, makes its files whole: asked for only where
  /// a point of less does not count.
  private var endsWhole: Bool {
    configuration.require > .crash && !configuration.units.isEmpty
      && !configuration.plan.contains { if case .exec = $0.kind { true } else { false } }
  }

  /// - Parameter event: what is told once it is done; `nil`: which point it came to.
  private func attempt(
    _ event: Yielding.Event?, _ body: @escaping @Sendable () async throws -> PointNumber
  ) {
    Task {
      do {
        let point = try await body()
        await self.tellYielding(event ?? .finished(point))
      } catch {
        await self.tellYielding(.failed("\(error)"))
      }
    }
  }

  func say(_ stage: Yielding.Stage, to next: Reign) async {
    let message = Holdfast_YieldStage(pair: name, next, stage)
    try? await link?.send(Frames.encode(.yieldStage(message)))
  }

  private func goBack() async {
    guard case .ended(let why) = yielding?.stage else { return }
    // Before the controller hears of it.
    capture?.gate.isServiceEnded = false
    finish(why)
    if let record = standing?.record, standing?.role == .primary {
      await capture?.serve(record.reign, highest: board.view.marks.captured)
    }
  }

  // MARK: The final point

  /// Captures now and waits until the standby has applied it, or holds it where it does not count:
  /// then the replica gets there with the first point that does.
  /// - Returns: why it does not count; `nil` where it does.
  private func reach() async throws -> (point: PointNumber, lack: String?) {
    let point = PointNumber(rawValue: try await sync().point)
    while board.view.marks.applied < point {
      guard isYielding else { throw FailureAnswer(code: 1, "the move is over") }
      let view = board.view
      if let held = view.held[.peer] { throw FailureAnswer(code: 3, held) }
      if view.marks.durable >= point, let grade = view.grade, grade < configuration.require {
        let lack = """
          the newest point is \(grade.word), and \(configuration.require.word) is required: \
          \(view.gradeReason ?? "see holdfast points \(name)")
          """
        return (point, lack)
      }
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
    return (point, nil)
  }

  /// Nothing writes any more: the same point twice proves that nothing changed since.
  private func finish(_ next: Reign) async throws -> PointNumber {
    var lack: String?
    for _ in 0..<Limits.finalPointsMax {
      let (point, why) = try await reach()
      lack = why
      guard why == nil, let head = try await capture?.head(), head.number == point,
        try await capture?.sync() == point
      else { continue }
      try files.store(PairFiles.Yield(next: next, tree: head.tree))
      return point
    }
    if let lack {
      let isKilled = endsWhole && !isStoppedInOrder
      let why = isKilled ? "; the service had not been stopped in order, but killed before" : ""
      throw FailureAnswer(code: 3, lack + why)
    }
    throw FailureAnswer(
      code: 3,
      """
      something on \(site) goes on writing to the roots though the service was ended: find it \
      (fuser -vm, holdfast check) and stop it
      """)
  }

  /// The commit point where no arbiter decides.
  private func yield(to next: Reign, at point: PointNumber) async throws {
    guard let capture, try await capture.rest(at: point) else {
      throw FailureAnswer(code: 3, "something on \(site) wrote to the roots after the final point")
    }
    guard case .ready(point) = yielding?.stage, yielding?.next == next else {
      throw FailureAnswer(code: 1, "the move is over")
    }
    var yield = try files.yield() ?? PairFiles.Yield(next: next)
    yield.point = point
    do {
      try files.store(yield)
    } catch {
      // Where its name is there though a flush failed, the next start finds it: then this site has
      // yielded, and says so from now on.
      guard (try? files.yield())?.point == point else { throw error }
      try? files.store(yield)
    }
    try await obey(standing?.on(.yielded(next)) ?? [])
    finish()
    saysYielded()
  }

  // MARK: What others are told

  /// What this site's controller is to know of a planned move.
  var plannedMove: PlannedMove? {
    if let taking { return taking.offer.map { .taking(taking.next, $0) } ?? .asking(taking.next) }
    switch yielding?.stage {
    case .stopping, .finishing: return yielding.map { .yielding($0.next) }
    case .ready: return yielding.map { .ready($0.next) }
    case .catchingUp, .yielded, .ended, nil: return nil
    }
  }

  /// Whether the controller has something to do in a planned move.
  var needsController: Bool { configuration.failover.hasArbiter || !configuration.plan.isEmpty }
}
