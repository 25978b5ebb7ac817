import HoldfastBytes
import HoldfastCore
import HoldfastStore

/// An old primary that becomes the standby: its tree goes into its own journal as it stands, so
/// that nothing of it is lost and only what differs travels.
extension Pair {
  /// A person gives this site, which was promoted past, back to the pair.
  package func failback(by: String) async throws -> String {
    guard let standing else {
      throw FailureAnswer(code: 3, "nothing to bring back: type: holdfast adopt \(name)")
    }
    let theirs: Reign
    switch standing.refusal {
    case .superseded(_, let reign), .split(_, let reign): theirs = reign
    case .yielded, .stale, .sameParts, nil:
      if isReturning { throw otherMove }
      throw FailureAnswer(
        code: 3,
        standing.record.part == .standby
          ? "\(name) is standby here already: to serve here again, type: holdfast switchover \(name)"
          : """
          \(name) is \(standing.role.rawValue) here and was not promoted past: failback is typed \
          on the old primary
          """)
    }
    guard link != nil else {
      throw FailureAnswer(code: 4, "\(peer) is not connected: nothing can be brought from it")
    }
    // One that waits for its disk is dropped.
    if let promoting, !promoting.decision.isWaiting { throw otherMove }
    try await untilStopped()
    try begin("failback", by: by)
    do {
      try await become(standbyOf: theirs, tree: nil)
    } catch {
      finish("\(error)")
      throw error
    }
    return """
      \(name): this site becomes standby of epoch \(theirs.epoch); what it wrote and never shipped \
      is kept as a branch: holdfast points \(name)
      """
  }

  /// Fencing, once this site was refused, takes a moment. Whether the service has ended only the
  /// controller knows: nothing is written into a tree that may be served.
  private func untilStopped() async throws {
    guard needsController else { return }
    let end = host.clock.now() + Limits.deadAfter
    while stoppedHeard < 2 || heardService(board.view, host.clock.now()) == nil {
      guard host.clock.now() < end else {
        guard let word = heardService(board.view, host.clock.now()) else {
          throw FailureAnswer(
            code: 4,
            """
            the controller says nothing, so it is not known whether the service has ended here: \
            type: systemctl start holdfast-controller
            """)
        }
        throw FailureAnswer(code: 3, "the service is \(word.service) here: it has to end first")
      }
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
  }

  /// Whether the reign that the other site has is the one that this one was to yield to.
  func isPlanned(_ theirs: RoleRecord) throws -> Bool {
    guard let mine = standing?.record, mine.part == .primary, theirs.part == .primary,
      theirs.reign.epoch > mine.reign.epoch
    else { return false }
    return try files.yield()?.next == theirs.reign
  }

  /// The other site reigns as planned: this one becomes its standby by itself.
  func turn(to reign: Reign, _ tree: TreeDigest?) {
    Task {
      while !isReturning, !isStopped {
        do {
          // What is written until then is to be in the tree that is taken stock of.
          try await untilStopped()
          return try await become(standbyOf: reign, tree: tree)
        } catch {
          board.hold(.disk, "\(name) cannot become standby: \(error); it is tried again by itself")
          try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
        }
      }
    }
  }

  /// - Parameter tree: of the point that the other site went on from; `nil` where it was promoted
  ///   past this one.
  func become(standbyOf reign: Reign, tree: TreeDigest?) async throws {
    // A person may have had this site go on meanwhile.
    guard let record = standing?.record, record.reign.epoch <= reign.epoch, !isReturning else {
      return
    }
    // One that waited would take its own way afterwards.
    promotionTask?.cancel()
    promoting = nil
    dropResumption()
    let used = try files.role()?.usedUpTo ?? .none
    try files.store(
      PairFiles.Saved(
        record: RoleRecord(reign: reign, part: .standby),
        usedUpTo: max(used, board.view.marks.captured),
        returning: PairFiles.Returning(from: record.reign, tree: tree)))
    try files.store(superseded: nil)
    try files.store(nil as PairFiles.Yield?)
    isReturning = true
    isAgreed = false
    yieldTask?.cancel()
    await stop()
    yielding = nil
    if moves.current?.kind == "switchover" { finish() }
    board.update { view in
      view.held = [:]
      view.lag = LagClock()
      view.fresh = nil
      view.marks = Watermarks()
      view.notes = []
    }
    await keepStarting()
  }

  /// Tries until this site's journal holds its tree.
  func returnWhole(_ saved: PairFiles.Saved, _ returning: PairFiles.Returning) async {
    isReturning = true
    var isAgain = false
    while !Task.isCancelled {
      do {
        try await takeStock(saved, returning, isAgain: isAgain)
        try files.store(saved.completed)
        return await follow()
      } catch is CancellationError {
        return
      } catch {
        // It may have been refused.
        if error is LinkError { isAgain = true }
        board.hold(
          .replica,
          """
          this site's tree could not be taken stock of: \(error); put that right, it is tried \
          again by itself
          """)
        try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      }
    }
  }

  /// This site's journal holds its tree: it is a standby like any other.
  private func follow() async {
    isReturning = false
    board.update { view in
      view.held[.replica] = nil
      (view.lag, view.fresh) = (LagClock(), nil)
    }
    if moves.current?.kind == "failback" { finish() }
    do {
      try await startStandby()
      if standing?.role == .standby { await applier?.follow() }
      if let greeting { try await met(greeting.hello, greeting.link) }
    } catch {
      // The next link brings another greeting.
      if !(error is LinkError) { board.hold(.journal, "\(error)") }
    }
  }

  private func takeStock(
    _ saved: PairFiles.Saved, _ returning: PairFiles.Returning, isAgain: Bool
  ) async throws {
    guard let identity else { throw FailureAnswer(code: 1, "the pair's secret is missing") }
    moves.enter("take stock")
    board.update { $0.notes = ["takes stock of its tree, before anything is received"] }
    let receiver = ReceiveWorker(
      pair: configuration, host: host, board: board, identity: identity, siteKey: siteKey)
    let worker = CaptureWorker(
      pair: configuration, paths: paths, host: host, board: board, spoolBoard: spoolBoard,
      files: files, identity: identity, writerKey: siteKey, shipping: shipping)
    let shipper = Shipper(
      pair: configuration.unlimited, host: host, board: board, spoolBoard: spoolBoard,
      identity: identity, wake: shipping)
    do {
      let base = try await receiver.newest()
      let highest = max(saved.usedUpTo, try await receiver.points().first?.point.number ?? .none)
      try await worker.clearSpool(for: base?.seal ?? .none)
      let link = LocalLink(
        receiver: receiver, reign: saved.record.reign, spoolBoard: spoolBoard, shipper: shipper)
      let shipping = Task { try await shipper.run(link, tail: nil) }
      defer { shipping.cancel() }
      let stock = try await worker.takeStock(
        of: returning.from, above: highest, holding: try await receiver.hints(),
        isAgain: isAgain)
      while try await receiver.newest()?.seal != stock.seal {
        if let failure = link.failure { throw failure }
        try await host.clock.sleep(until: host.clock.now() + Limits.roomEvery)
      }
      if returning.tree != stock.tree {
        // What was written and never shipped.
        try await receiver.note(.pinned(stock.number, true), reign: saved.record.reign)
        try await receiver.note(
          .promoted(
            from: base?.number ?? .none, as: stock.number.next, reign: saved.record.reign),
          reign: saved.record.reign)
      }
      try await worker.clearSpool(for: .none)
      let tops = try paths.map { try host.tree($0).status(.top)?.inode ?? 0 }
      // What is its own lends what it always did.
      try ReplicaRecord(
        applied: stock.number, tops: tops, refused: configuration.refused
      ).store(files.disk)
    } catch {
      await worker.close()
      await receiver.close()
      throw error
    }
    await worker.close()
    await receiver.close()
    board.update { $0.notes = [] }
  }
}
