package import HoldfastCore
import HoldfastStore

/// One capture, from the dirty set to a sealed point.
extension CaptureWorker {
  func captureOnce(_ now: Instant) throws {
    guard let catalog, let writer, let capture, let watch else { return }
    let forced = lookForMapped(now)
    let (scans, places) = dirty.take()
    pace.captured(at: now)
    let isWhole = wholeParent != nil
    let oldHead = try catalog.head()
    let isOwed = isWhole || owesPoint
    if scans.isEmpty, places.isEmpty, forced.isEmpty, !isOwed, oldHead.grade >= pair.require {
      return
    }
    let time = host.clock.wall()
    highest = max(highest, gate.highest)
    let number = max(highest, oldHead.number).next
    do {
      let moment = try providers.begin { drain() }
      defer { noteTroubles(providers.end(moment)) }
      var work = CaptureWork(scans: scans, places: places, forced: forced)
      if moment.pictures != nil {
        // Pictures hold all that was told until now; it stays dirty for the next capture, since
        // some of it may have come after them.
        drain()
        work.scans += dirty.work.scans
        work.places += dirty.work.places
      }
      writer.begin(number, isWhole: isWhole)
      // Hashed each time, so that points become rarer where it takes long.
      defer { if !forced.isEmpty { pace.rest(after: host.clock.now(), now) } }
      let (outcome, read) = try capture.read(work, isWhole: isWhole, from: moment.pictures) {
        drain()
        return CaptureWork(scans: dirty.work.scans, places: dirty.work.places)
      }
      for place in outcome.torn { dirty.touch(place) }
      let changed = drain() > 0
      switch rootGuard.look(id: identity.id) {
      case .problem(let problem):
        board.hold(.root, problem)
        throw SyncFailure(reason: problem)
      case .sound(let identities):
        guard identities == watched else {
          throw SyncFailure(reason: "a root was replaced while it was read: it is read again")
        }
      }
      let isComplete = isWhole || isAll(scans)
      findGaps(outcome, watch, isComplete: isComplete, began: now)
      let facts = facts(moment, outcome, watch, isWhole: isComplete, isChanged: changed)
      let verdict = facts.verdict
      note(outcome, verdict)
      var head = read
      let isUpgrade = verdict.grade > oldHead.grade && oldHead.grade < pair.require
      if writer.changesInAttempt == 0, !isOwed, !isUpgrade {
        try writer.abandon()
        try catalog.commit()
        return
      }
      host.probe.hit(.sending)
      let point = try writer.seal(
        parent: wholeParent ?? oldHead.seal, time: time, verdict: verdict, tree: head.tree,
        totals: head.totals)
      head.number = number
      head.seal = point.seal
      head.grade = verdict.grade
      try catalog.setHead(head)
      try catalog.commit()
      sealed(point, began: now, at: writer.end, isComplete: isComplete)
    } catch {
      try? writer.abandon()
      try? catalog.rollback()
      dirty.merge(scans: scans, places: places)
      mapped.formUnion(forced)
      pace.changed(at: now)
      if case JournalError.disk(.flushFailed) = error {
        // What the spool holds is known again only when it is read anew, as after a crash.
        closeStore()
      }
      throw error
    }
  }

  /// Where changes are not all told, scans find them: as often as the RPO wants it, and their cost
  /// allows it.
  private func findGaps(
    _ outcome: CaptureOutcome, _ watch: any Watch, isComplete: Bool, began: Instant
  ) {
    let found =
      watch.kind == .scan ? watch.shortfall ?? "nothing tells of changes" : outcome.unwatched
    // Only a scan can say that there are none any more.
    if isComplete || found != nil { gaps = found }
    guard isComplete, gaps != nil else { return }
    let now = host.clock.now()
    nextGapScan = now + max(pair.rpo / 2, (now - began) * Limits.costlyShare)
  }

  func sealed(
    _ point: Point, began: Instant, at end: RecordPosition, isComplete: Bool
  ) {
    highest = point.number
    wholeParent = nil
    owesPoint = false
    spoolBoard.agree(head: point.seal, wholeParent: nil)
    spoolBoard.sealed(point, end: end)
    nextSettling = nextSettling ?? host.clock.now() + Limits.youngFor
    board.update { view in
      view.marks.captured = point.number
      view.grade = point.grade
      view.pendingPlaces = Int64(dirty.count)
      if point.grade >= pair.require, isComplete || gaps == nil {
        let claim = LagClock.Claim(point: point.number, moment: began)
        view.fresh = claim
        view.lag.claimed(claim)
      }
    }
    shipping.set()
  }

  /// What was seen that bears on the point's grade.
  private func facts(
    _ moment: Providers.Moment, _ outcome: CaptureOutcome, _ watch: any Watch, isWhole: Bool,
    isChanged: Bool
  ) -> CaptureFacts {
    var facts = CaptureFacts(provider: moment.provider, watch: watch.kind)
    facts.isFixed = moment.isFixed
    facts.isWhole = isWhole
    facts.isQuiesced = moment.isQuiesced
    facts.unwatched = gaps
    facts.torn = outcome.torn.first.map { "\($0.path)" }
    facts.isDenied = !outcome.denied.isEmpty
    facts.isChanged = isChanged
    facts.troubles = moment.troubles
    guard moment.pictures == nil else { return facts }
    // Whoever maps a file after this look changes it after it was read.
    let report = host.mappings(paths)
    if let file = report.files.first(where: { !places(of: $0).isEmpty }) {
      facts.mapping = .mapped(process: file.process)
    } else if !report.isComplete {
      facts.mapping = .unknown
    }
    return facts
  }

  private func isAll(_ scans: [Place]) -> Bool {
    paths.indices.allSatisfy { scans.contains(Place(root: RootNumber(rawValue: $0), path: .top)) }
  }

  func noteTroubles(_ troubles: [String]) {
    board.hold(.provider, troubles.isEmpty ? nil : troubles.joined(separator: "; "))
  }

  func note(_ outcome: CaptureOutcome, _ verdict: Verdict) {
    var notes =
      watch?.shortfall.map { ["watching with \(watch?.kind.rawValue ?? ""): \($0)"] } ?? []
    if let gaps { notes.append("only scans see all changes: \(gaps)") }
    if !verdict.reason.isEmpty {
      notes.append("the newest point is \(verdict.grade.word): \(verdict.reason)")
    }
    for place in outcome.mounts.prefix(5) {
      notes.append("\(place.path) is another filesystem and is not replicated: make it a root")
    }
    for (place, error) in outcome.denied.prefix(5) {
      notes.append("\(place.path) cannot be read and stays as it was: \(error)")
    }
    if !outcome.denied.isEmpty { retryAt = host.clock.now() + .seconds(30) }
    board.update { $0.notes = notes }
  }

  func spoolGrew() throws {
    for (number, info) in spool?.segments ?? [:] {
      spoolBoard.grew(number, info.header.id, to: info.size)
    }
    shipping.set()
    // During a long capture too: what the standby has need not reach this disk.
    trim()
    try waitForRoom()
  }

  /// The spool is bounded during a capture too: it goes on as the standby takes it.
  private func waitForRoom() throws {
    while let spool, spool.sizeBytes > pair.spoolBytes {
      try gate.check()
      board.hold(.spool, Self.fullSpool(spool.sizeBytes))
      host.clock.block(for: Limits.roomEvery)
      trim()
    }
    board.hold(.spool, nil)
  }

  static func fullSpool(_ bytes: Int64) -> String {
    "spool is full (\(bytes >> 20) MiB): changes wait for the standby to take what was captured"
  }

  /// Gives back what the standby has made durable.
  func trim() {
    guard let spool else { return }
    let last = spool.lastNumber
    for piece in spoolBoard.view.pieces
    where piece.number != last && piece.acknowledged >= piece.size {
      do {
        try spool.remove(piece.number)
        spoolBoard.removed(piece.number)
      } catch {
        board.update { $0.lastError = "spool: \(error)" }
        return
      }
    }
  }

  /// What `points` shows on this side.
  package nonisolated var points: [Point] { spoolBoard.view.points.map(\.point) }
}
