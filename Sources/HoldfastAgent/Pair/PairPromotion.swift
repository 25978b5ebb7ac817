import HoldfastCore
import HoldfastStore

/// A promotion of this site, and what is to go on record with it.
struct PromotionUnderWay {
  var decision: Promotion
  let reign: Reign
  /// The other site has yielded.
  let isPlanned: Bool
  /// The service may start though no arbiter grants it.
  let isByWord: Bool
  /// Without an arbiter: it began in an earlier boot of this host, of which whoever ordered it,
  /// or what the other site yielded, says nothing any more. It serves once the other site was
  /// heard of.
  var isOfEarlierBoot = false
  /// It is a move of its own, whose phases are told.
  var isFollowed = false
  /// What is lost of what the other site wrote; `nil` where that is not known.
  var counted: PairFiles.CountedLoss?
  /// What was taken, once it is known.
  var choice: Promotion.Choice?
  /// Nobody had pinned that before.
  var isPinning = false
  /// What was on record before the commit; `nil`: nothing.
  var before: PairFiles.Saved?
  /// From the commit point on: what is on record.
  var saved: PairFiles.Saved?
  /// Of a failure that leads back: the command's.
  var exitCode: Int32 = 1
}

/// Promoting this site: obeys ``Promotion``.
extension Pair {
  /// Past the commit point, with the tree not yet ready.
  var isPromoting: Bool { promoting?.decision.isPromoting ?? false }

  /// Has it go on until it is over, waits for better times, or is dropped: the pair is stopped, or
  /// made anew as something else.
  func follow(_ first: [Promotion.Order], to reign: Reign) async {
    var orders = first
    while !orders.isEmpty, !isStopped, let work = promoting, work.reign == reign {
      guard let event = await obey(orders.removeFirst(), work) else { continue }
      guard !isStopped, promoting?.reign == reign else { return }
      orders += promoting?.decision.on(event) ?? []
    }
  }

  /// - Returns: what is to be told of it, if anything.
  private func obey(
    _ order: Promotion.Order, _ work: PromotionUnderWay
  ) async -> Promotion.Event? {
    do {
      switch order {
      case .hold:
        let holding = try await hold(work)
        host.probe.hit(.choosing)
        return .held(holding)
      case .probe:
        if case .probing(let choice) = work.decision.stage {
          try await makeSound(choice.point.number)
        }
        try await applier?.probe()
      case .pin(let choice):
        try await pin(choice, work)
        host.probe.hit(.choosing)
      case .commit(let point): try await commit(point, work)
      case .recall: try recall(work)
      case .place(let point): try await place(point, work)
      case .complete: try complete(work)
      case .serve:
        await serveAfterPromotion(work)
        return nil
      case .release:
        guard let record = standing?.record, record.part == .standby else { return nil }
        if work.isPinning, let choice = work.choice {
          // One that stays holds space, and nothing else.
          try? await receiver?.note(.pinned(choice.point.number, false), reign: record.reign)
        }
        await receiver?.release()
        // What came meanwhile was dropped.
        if isStalled { await greet() }
        return nil
      case .wait:
        retryPromotion(work)
        return nil
      }
      return .done
    } catch {
      let reason = Self.reason(error, name)
      if let failure = error as? FailureAnswer, case .commit = order {
        promoting?.exitCode = failure.code
        return .forbidden(reason)
      }
      // What the replica's disk does not take is to be known of before the other site stops.
      if order == .probe { promoting?.exitCode = 3 }
      return .failed(reason)
    }
  }

  private static func reason(_ error: any Error, _ pair: String) -> String {
    switch error {
    case is FailureAnswer, is DiskError, is JournalError, is IndexError: "\(error)"
    default: ApplyWorker.describe(error, pair: pair)
    }
  }

  private func enter(_ phase: String, _ work: PromotionUnderWay) {
    if work.isFollowed { moves.enter(phase) }
  }

  private func hold(_ work: PromotionUnderWay) async throws -> Promotion.Holding {
    enter("hold", work)
    guard let receiver else { throw CancellationError() }
    try await receiver.hold()
    enter("pin", work)
    let points = try await receiver.points()
    return Promotion.Holding(
      points: points, lag: work.counted?.length, pendingPlaces: board.view.peerPendingPlaces)
  }

  /// What the tree is made of is what was sealed: a bit that flipped in a row of the index SQLite
  /// does not see.
  private func makeSound(_ point: PointNumber) async throws {
    guard let receiver, let applier else { throw CancellationError() }
    guard try await !receiver.isSound(point) else { return }
    // One that is made from a journal that lacks records lacks points.
    guard try await receiver.hasAllRecords() else { throw isDamaged(point) }
    board.update {
      $0.lastError = "index rebuilt from the journal: it was damaged at point \(point)"
    }
    // Whoever reads the old one would read it for ever.
    await applier.close()
    try await receiver.rebuildIndex()
    guard try await receiver.isSound(point) else { throw isDamaged(point) }
  }

  private func isDamaged(_ point: PointNumber) -> FailureAnswer {
    FailureAnswer(
      code: 1,
      """
      what is known of point \(point) is damaged, and the journal does not give it back: promote \
      another: holdfast points \(name)
      """)
  }

  private func pin(_ choice: Promotion.Choice, _ work: PromotionUnderWay) async throws {
    promoting?.choice = choice
    guard let receiver, let record = standing?.record else { throw CancellationError() }
    promoting?.isPinning = try await receiver.pin(choice.point.number, reign: record.reign)
    guard !work.isPlanned else { return }
    moves.state(
      MoveReport.Loss(
        point: choice.point.number.rawValue, seconds: choice.loss.seconds?.seconds,
        before: (work.counted?.end ?? host.clock.wall()).rfc3339))
    keepMoves()
  }

  /// Nothing else runs between the last look at who this site is and the new record.
  private func commit(_ point: PointNumber, _ work: PromotionUnderWay) async throws {
    enter("epoch", work)
    let reign = work.reign
    // Another may have come first while this one waited.
    guard let record = standing?.record, record.part == .standby,
      record.reign.epoch < reign.epoch
    else { throw otherMove }
    guard !forgone.contains(reign) else {
      throw FailureAnswer(code: 3, "epoch \(reign.epoch) is wanted no more")
    }
    let view = board.view
    let saved = PairFiles.Saved(
      record: RoleRecord(reign: reign, part: .primary), promoting: point, boot: host.boot,
      usedUpTo: max(view.peerCaptured, view.marks.captured, view.marks.durable),
      isPlanned: work.isPlanned)
    promoting?.before = try files.role()
    try files.store(saved)
    promoting?.saved = saved
    forgone = []
    isPlanned = work.isPlanned
    // From here on lower epochs are refused, whatever becomes of the steps that follow.
    _ = standing?.on(.promoted(reign))
    isByWord = work.isByWord
    isStalled = false
    host.probe.hit(.promoting)
  }

  private func recall(_ work: PromotionUnderWay) throws {
    guard let record = standing?.record else { throw CancellationError() }
    try files.store(work.before ?? PairFiles.Saved(record: record))
    board.hold(.promotion, nil)
  }

  /// Doing it again changes nothing.
  private func place(_ point: PointNumber, _ work: PromotionUnderWay) async throws {
    showRole()
    enter("apply", work)
    // Gone only where the pair is being stopped meanwhile.
    guard let receiver, let applier, let saved = work.saved else { throw CancellationError() }
    // A primary that lives hears of it at once.
    await greet()
    guard promoting?.reign == work.reign, !isStopped else { throw CancellationError() }
    try await receiver.hold()
    try await receiver.branch(
      from: point, above: max(board.view.peerCaptured, saved.usedUpTo), reign: work.reign)
    host.probe.hit(.promoting)
    // One that was begun by this process was looked at before.
    if work.choice == nil { try await makeSound(point) }
    try await applier.move(to: point)
    host.probe.hit(.promoting)
  }

  private func complete(_ work: PromotionUnderWay) throws {
    enter("serve", work)
    guard let saved = work.saved else { throw CancellationError() }
    try files.store(saved.completed)
  }

  private func serveAfterPromotion(_ work: PromotionUnderWay) async {
    let highest = max(
      board.view.marks.durable, board.view.peerCaptured, board.view.marks.captured,
      work.saved?.usedUpTo ?? .none)
    board.update { view in
      view.lag.forget()
      view.held = [:]
      view.marks.captured = max(view.marks.captured, view.marks.applied)
    }
    startCapture()
    if let refusal = standing?.refusal { board.hold(.peer, "\(refusal)") }
    if promoting?.isOfEarlierBoot == true, let now = standing, now.refusal == nil {
      standing = Standing(record: now.record)
      board.update { $0.marks.captured = max($0.marks.captured, highest.next) }
      if configuration.failover.onBoot == .resume { try? await obey(standing?.on(.resume) ?? []) }
    } else {
      await capture?.serve(
        standing?.record.reign ?? .none, highest: highest.next, isPromoted: true)
    }
    showRole()
  }

  /// It is tried again until it is done.
  private func retryPromotion(_ work: PromotionUnderWay) {
    switch work.decision.stage {
    case .recalling(let why):
      board.hold(
        .promotion,
        """
        a promotion to epoch \(work.reign.epoch) failed (\(why)), and what was on record before \
        cannot be written either: put that right, receiving goes on by itself
        """)
    case .waiting(_, let why):
      board.hold(
        .promotion,
        """
        the promotion to epoch \(work.reign.epoch) waits: \(why); put that right, it goes on by \
        itself
        """)
    default: preconditionFailure("nothing of a promotion waits at \(work.decision.stage)")
    }
    // Who ordered it is told, and the next move has phases of its own.
    promoting?.isFollowed = false
    promotionTask = Task { [host] in
      try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      if !Task.isCancelled { await self.retry(work.reign) }
    }
  }

  private func retry(_ reign: Reign) async {
    guard !isStopped, promoting?.reign == reign, let orders = promoting?.decision.on(.retry) else {
      return
    }
    await follow(orders, to: reign)
    await endPromotion(to: reign)
    await hearGreeting()
  }

  /// A promotion that nobody waits for any more.
  private func endPromotion(to reign: Reign) async {
    guard !isStopped, promoting?.reign == reign, promoting?.decision.isOver == true else { return }
    promoting = nil
    await greet()
  }

  /// A promotion that a crash or a disk interrupted goes forward.
  func finishPromotion(_ saved: PairFiles.Saved, to point: PointNumber) async {
    let decision = Promotion(resumedTo: point, promotionTerms)
    let isOfThisBoot = !host.boot.isEmpty && saved.boot == host.boot
    promoting = PromotionUnderWay(
      decision: decision, reign: saved.record.reign, isPlanned: saved.isPlanned, isByWord: false,
      isOfEarlierBoot: !configuration.failover.hasArbiter && !isOfThisBoot,
      saved: saved)
    let prior = Reign(epoch: Epoch(rawValue: saved.record.reign.epoch.rawValue - 1), id: .none)
    standing = Standing(record: RoleRecord(reign: prior, part: .standby))
    _ = standing?.on(.promoted(saved.record.reign))
    showRole()
    do {
      try await startStandby()
    } catch {
      board.hold(.journal, "journal cannot be opened: \(error)")
    }
    await follow(decision.first, to: saved.record.reign)
    await endPromotion(to: saved.record.reign)
    await hearGreeting()
  }

  /// What the other site said while the tree was not ready, and says no second time.
  private func hearGreeting() async {
    guard promoting == nil, !isStopped, standing?.role == .unknown, standing?.refusal == nil,
      link != nil, let greeting
    else { return }
    try? await met(greeting.hello, greeting.link)
  }
}
