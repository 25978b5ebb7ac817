import HoldfastCore
import HoldfastStore

/// Promoting this site: up to the commit point everything leads back, behind it forward.
extension Pair {
  /// Promotes this site. Before the new epoch is durable an abort restores everything; after it
  /// the way is forward, over crashes too.
  /// - Parameter by: who ordered it, for people.
  package func failover(_ request: FailoverRequest, by: String) async throws -> FailoverAnswer {
    try await untilPreviewed()
    let granted = request.granted?.value
    let onWord = granted == nil && request.otherSiteIsDown
    if let granted, granted == taking?.next {
      // The arbiter's part of a planned move, at the point that the other site named.
      guard let point = taking?.offer else { throw otherMove }
      await tellTaking(.granted)
      moves.enter("promote")
      do {
        var planned = request
        planned.point = point.rawValue
        let answer = try await failover(
          planned, to: granted, onWord: false, isPlanned: true)
        taken = answer
        await tellTaking(.promoted)
        return answer
      } catch {
        await tellTaking(.notPromoted("\(error)"))
        throw error
      }
    }
    if granted != nil, taking != nil { try await giveUpTaking() }
    var request = request
    let isPlanned = granted != nil && request.planned == true
    if isPlanned {
      if promisesGiven.hasPromised { throw isLeftToOther }
      // It was offered at that point, and nobody wrote since.
      request.point = nil
    }
    // A person who says that the other site is down waits for no arbiter any more.
    guard !isMoving, !isReturning, granted != nil || onWord || !self.isOrdered else {
      throw otherMove
    }
    if request.preview {
      isMoving = true
      isPreviewing = true
      defer {
        isMoving = false
        isPreviewing = false
      }
      return try await failover(request, to: nil, onWord: onWord)
    }
    // Refused, and not put on record before what is under way.
    guard standing?.record.part == .standby else {
      return try await failover(request, to: granted, onWord: onWord)
    }
    if onWord, self.isOrdered { giveUpWaiting() }
    // What a person ordered is on record already, and ends when the controller has answered.
    let isOrdered = self.isOrdered
    if !isOrdered { try begin("failover", by: by) }
    var answer: FailoverAnswer
    isMoving = true
    do {
      answer = try await failover(
        request, to: granted, onWord: onWord, isPlanned: isPlanned)
      isMoving = false
    } catch {
      isMoving = false
      // The controller tries again.
      if isOrdered { moves.enter("lease") } else { finish("\(error)") }
      throw error
    }
    if isOrdered {
      moves.enter(Self.planPhase)
    } else if granted != nil {
      // The controller waits for this answer; its plan is followed without it.
      Task { try? await self.finishServed() }
    } else if needsController, heardService(board.view, host.clock.now()) != nil {
      try await finishServed()
      answer.phases = moves.moves.first?.phases ?? []
    } else {
      answer.phases = moves.close()
      finish()
    }
    return answer
  }

  private var isLeftToOther: FailureAnswer {
    FailureAnswer(
      code: 3,
      """
      \(name): the move is off, and \(peer) may have gone on since by this site's promise: the \
      service is left to it
      """)
  }

  /// - Parameters:
  ///   - granted: the reign to come; `nil` for one that is new.
  ///   - onWord: the service may start though no arbiter grants it.
  ///   - isPlanned: the other site has yielded.
  func failover(
    _ request: FailoverRequest, to granted: Reign?, onWord: Bool, isPlanned: Bool = false
  ) async throws -> FailoverAnswer {
    if let granted, granted == standing?.record.reign {
      throw FailureAnswer(code: 3, "\(name) is promoted to epoch \(granted.epoch) already")
    }
    guard let record = standing?.record, record.part == .standby, let receiver, let applier
    else {
      let role = standing?.role ?? .unknown
      throw FailureAnswer(
        code: 3,
        role == .primary
          ? "\(name) is primary here already, in epoch \(standing?.record.reign.epoch ?? .none)"
          : "\(name) is \(role.rawValue) here: only a standby is promoted; see holdfast status")
    }
    if case .split = standing?.refusal {
      throw FailureAnswer(code: 3, standing?.refusal?.description ?? "split")
    }
    guard request.granted == nil || granted?.epoch ?? .none > record.reign.epoch else {
      throw FailureAnswer(code: 2, "no reign that comes after \(record.reign)")
    }
    // Of a planned move all that is one phase.
    let isStep = moves.current?.kind == "failover" && !request.preview
    func enter(_ phase: String) { if isStep { moves.enter(phase) } }
    enter("hold")
    try await receiver.hold()
    do {
      enter("pin")
      let rows = try await receiver.points()
      let chosen = try choose(request, from: rows)
      let (lag, lossFiles) = loss(of: chosen, rows)
      var answer = FailoverAnswer(
        point: chosen.number.rawValue, grade: chosen.grade.word,
        epoch: record.reign.epoch.next.rawValue, reign: "", lossSeconds: lag?.seconds,
        lossFiles: lossFiles, phases: [])
      // Where an arbiter grants, the order ends the other site's lease.
      try await probe(applier)
      if request.preview {
        await receiver.release()
        answer.refusal = refusal(of: request, lag, lossFiles)
        return answer
      }
      if let refusal = refusal(of: request, lag, lossFiles) {
        throw FailureAnswer(code: 3, refusal)
      }
      try await receiver.note(.pinned(chosen.number, true), reign: record.reign)
      if !isPlanned {
        moves.state(
          MoveReport.Loss(
            point: chosen.number.rawValue, seconds: lag?.seconds, before: host.clock.wall().rfc3339)
        )
        keepMoves()
      }
      enter("epoch")
      let reign = granted ?? Reign(epoch: record.reign.epoch.next, id: RandomID(host.dice))
      return try await promote(
        to: chosen, reign, onWord: onWord, isPlanned: isPlanned, answer, enter)
    } catch {
      if standing?.record.part == .standby { await receiver.release() }
      throw error
    }
  }

  /// What is not in a point: since when, and how many places; `nil` where that is unknown.
  private func loss(of chosen: Point, _ rows: [PointRow]) -> (Duration?, Int64?) {
    let view = board.view
    let later = rows.filter { !$0.isBranch && $0.point.number > chosen.number }.map(\.point)
    let files = view.peerPendingPlaces.map { $0 + later.reduce(0) { $0 + $1.changes } }
    guard var lag = view.lag.lag(at: host.clock.now()) else {
      // Nothing is known from the primary since this agent started: by the two clocks, it is all
      // that was written since the point was captured.
      return (.nanoseconds(max(0, host.clock.wall().nanos - chosen.time.nanos)), files)
    }
    // Lag counts from the newest that is good enough.
    if let newest = later.first(where: { $0.grade >= configuration.require }) {
      lag += .nanoseconds(max(0, newest.time.nanos - chosen.time.nanos))
    }
    return (lag, files)
  }

  private nonisolated func choose(
    _ request: FailoverRequest, from rows: [PointRow]
  ) throws -> Point {
    if let wanted = request.point {
      guard let row = rows.first(where: { $0.point.number.rawValue == wanted }) else {
        throw FailureAnswer(
          code: 2, "there is no point \(wanted) of \(name): type: holdfast points \(name)")
      }
      return row.point
    }
    let good = rows.first { !$0.isBranch && $0.point.grade >= configuration.require }
    if let good { return good.point }
    guard let newest = rows.first?.point else {
      throw FailureAnswer(
        code: 3, "no point of \(name) has ever been durable here: there is nothing to promote")
    }
    throw FailureAnswer(
      code: 3,
      """
      no point of grade \(configuration.require.word) is kept; the newest is point \
      \(newest.number) (\(newest.grade.word)): to take it, type: holdfast failover \(name) --point \
      \(newest.number)
      """)
  }

  /// What a person has to say first, if anything.
  private func refusal(
    of request: FailoverRequest, _ lag: Duration?, _ files: Int64?
  ) -> String? {
    guard request.otherSiteIsDown || configuration.failover.hasArbiter else {
      return """
        arbiter is none: make sure that \(peer) is down and stays down, then say so: holdfast \
        failover \(name) --other-site-is-down
        """
    }
    let limit = configuration.failover.maxLoss
    let isWithin = request.point == nil && (lag.map { $0 <= limit } ?? false)
    if isWithin || request.acceptLoss { return nil }
    let seconds = lag.map { String(format($0.seconds)) } ?? "an unknown number of"
    let bound =
      request.point == nil
      ? "limit: \(format(limit.seconds)) s" : "an older point than the newest was asked for"
    return """
      the last \(seconds) seconds of writes may be lost (\(bound)\
      \(files.map { "; \($0) places" } ?? "")): if that is acceptable, add --accept-loss
      """
  }

  func format(_ seconds: Double) -> String {
    String(Double(Int(seconds * 10)) / 10)
  }

  /// From the commit point on.
  private func promote(
    to point: Point, _ reign: Reign, onWord: Bool, isPlanned: Bool,
    _ preview: FailoverAnswer, _ enter: (String) -> Void
  ) async throws -> FailoverAnswer {
    // Another may have come first while this one waited.
    guard standing?.record.part == .standby, standing?.record.reign.epoch ?? .none < reign.epoch
    else { throw otherMove }
    guard reign != forgone else {
      throw FailureAnswer(code: 3, "\(name): epoch \(reign.epoch) is wanted no more")
    }
    let view = board.view
    let saved = PairFiles.Saved(
      record: RoleRecord(reign: reign, part: .primary), promoting: point.number,
      usedUpTo: max(view.peerCaptured, view.marks.captured, view.marks.durable),
      isPlanned: isPlanned)
    try files.store(saved)
    self.isPlanned = isPlanned
    // From here on lower epochs are refused, whatever becomes of the steps that follow.
    _ = standing?.on(.promoted(reign))
    isPromoting = true
    isByWord = onWord
    isStalled = false
    showRole()
    host.probe.hit(.promoting)
    enter("apply")
    // A primary that lives hears of it at once.
    await greet()
    do {
      try await complete(saved, point.number)
      enter("serve")
      try files.store(saved.completed)
      try await serveAfterPromotion(above: saved.usedUpTo)
    } catch {
      holdPromotion(saved, error)
      throw FailureAnswer(
        code: 1,
        """
        \(name) is promoted to epoch \(reign.epoch), which cannot be undone, and its tree is not \
        ready: \(ApplyWorker.describe(error, pair: name)); put that right, it goes on by itself: \
        see holdfast status \(name)
        """)
    }
    var answer = preview
    answer.epoch = reign.epoch.rawValue
    answer.reign = reign.id.description
    return answer
  }

  /// A replica that cannot be written is to be known of before the other site stops for it.
  func probe(_ applier: ApplyWorker) async throws {
    do {
      try await applier.probe()
    } catch {
      throw FailureAnswer(
        code: 3, "nothing was changed: \(ApplyWorker.describe(error, pair: name))")
    }
  }

  /// The steps after the commit point; doing them again changes nothing.
  private func complete(_ saved: PairFiles.Saved, _ point: PointNumber) async throws {
    // Gone only where the pair is being stopped meanwhile.
    guard let receiver, let applier else { throw CancellationError() }
    try await receiver.hold()
    try await receiver.branch(
      from: point, above: max(board.view.peerCaptured, saved.usedUpTo), reign: saved.record.reign)
    host.probe.hit(.promoting)
    try await applier.move(to: point)
    host.probe.hit(.promoting)
  }

  private func serveAfterPromotion(above usedUpTo: PointNumber) async throws {
    isPromoting = false
    let highest = max(
      board.view.marks.durable, board.view.peerCaptured, board.view.marks.captured, usedUpTo)
    board.update { view in
      view.lag.forget()
      view.held = [:]
      view.marks.captured = max(view.marks.captured, view.marks.applied)
    }
    startCapture()
    await capture?.serve(
      standing?.record.reign ?? .none, highest: highest.next, isPromoted: true)
    showRole()
  }

  /// The way is forward: it is tried again until it is done.
  private func holdPromotion(_ saved: PairFiles.Saved, _ error: any Error) {
    board.hold(
      .replica,
      """
      the promotion to epoch \(saved.record.reign.epoch) waits: \
      \(ApplyWorker.describe(error, pair: name)); put that right, it goes on by itself
      """)
    promotionTask = Task { [host] in
      try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      if !Task.isCancelled { await self.finishPromotion(saved) }
    }
  }

  /// A promotion that a crash or a disk interrupted goes forward.
  func finishPromotion(_ saved: PairFiles.Saved) async {
    guard let point = saved.promoting, !isStopped else { return }
    do {
      if standing?.role != .primary {
        let prior = Reign(
          epoch: Epoch(rawValue: saved.record.reign.epoch.rawValue - 1), id: .none)
        standing = Standing(record: RoleRecord(reign: prior, part: .standby))
        _ = standing?.on(.promoted(saved.record.reign))
      }
      isPromoting = true
      showRole()
      try await startStandby()
      try await complete(saved, point)
      guard !isStopped else { return }
      try files.store(saved.completed)
      try await serveAfterPromotion(above: saved.usedUpTo)
      await greet()
    } catch {
      if !isStopped { holdPromotion(saved, error) }
    }
  }
}
