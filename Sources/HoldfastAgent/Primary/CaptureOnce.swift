package import HoldfastCore
import HoldfastStore

/// One capture, from the dirty set to a sealed point.
extension CaptureWorker {
  func captureOnce(_ now: Instant) throws {
    guard let catalog, let writer, let capture, let watch else { return }
    let oldHead = try catalog.head()
    var work = CaptureWork(forced: mapped.union(unmapped))
    (work.scans, work.places) = dirty.take()
    work.scans += denied
    pace.captured(at: now)
    let isWhole = wholeParent != nil
    let isOwed = isWhole || owesPoint
    if work.isEmpty, !isOwed, oldHead.grade >= pair.require { return }
    unmapped = []
    let wasServiceEnded = gate.isServiceEnded
    let time = host.clock.wall()
    highest = max(highest, gate.highest)
    let number = max(highest, oldHead.number).next
    do {
      try gate.check()
      var moment = try begin(&work, catalog, watch, isWhole: isWhole)
      isHolding = moment.isQuiesced && moment.isLive
      isPictured = !moment.isLive
      roomAtPicture = isPictured ? leastRoom() : 0
      defer {
        isHolding = false
        isPictured = false
        // Nothing may be open in what is to be removed.
        moment.pictures = nil
        noteTroubles(providers.end(moment))
      }
      addTold(to: &work, moment, now)
      addLeft(to: &work, moment.cluster)
      _ = watch.takeCovered()
      writer.trustsLists = refusedUpTo.map { board.view.marks.durable > $0 } ?? true
      writer.begin(number, isWhole: isWhole)
      let (outcome, read) = try capture.read(
        work, isWhole: isWhole, isInformed: isInformed, from: moment.pictures
      ) {
        try late(work, moment, isWhole: isWhole)
      }
      rest(outcome, moment)
      for place in outcome.torn { dirty.touch(place) }
      denied = Set(outcome.denied.map { $0.place })
      nextDenied = denied.isEmpty ? nil : now + Limits.deniedAgainAfter
      // Watched only since pictures were read that do not show what was changed meanwhile.
      if !moment.isLive { for place in watch.takeCovered() { dirty.scan(place) } }
      // In this order: who mapped a file and is gone by now was told of when it went.
      let mapping = lookForMapped(host.clock.now())
      let told = drain()
      try checkRoots()
      try keepLeft(outcome, moment.cluster)
      let isScanned = isWhole || (isAll(work.scans) && isRead(moment.cluster))
      findGaps(outcome, watch, work.scans, isComplete: isScanned, began: now)
      let isComplete = isScanned || isAll(moment.cluster)
      var facts = facts(
        moment, outcome, watch, mapping, isWhole: isComplete, isChanged: told > 0)
      if wasServiceEnded, gate.isServiceEnded { facts.isQuiesced = true }
      let verdict = facts.verdict
      if isComplete { mounts = [] }
      mounts.formUnion(outcome.mounts)
      mounts.formUnion((moment.pictures?.mounts ?? []).filter { !isExcluded($0) })
      note(outcome, verdict)
      var head = read
      let isUpgrade = verdict.grade > oldHead.grade && oldHead.grade < pair.require
      // What could not be read may have changed: the newest point says so.
      let isDoubted = !denied.isEmpty && oldHead.grade > .fuzzy
      if writer.changesInAttempt == 0, !isOwed, !isUpgrade, !isDoubted {
        try writer.abandon()
        try catalog.commit()
        claim(oldHead.number, oldHead.grade, since: now, isComplete: isComplete)
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
      sealed(point, at: writer.end)
      if let cluster = moment.cluster { finished(cluster) }
      claim(point.number, point.grade, since: now, isComplete: isComplete)
    } catch {
      try? writer.abandon()
      try? catalog.rollback()
      dirty.merge(scans: work.scans, places: work.places)
      unmapped.formUnion(work.forced)
      pace.changed(at: now)
      closeIfLost(error)
      throw error
    }
  }

  /// Has a provider give what is to be read.
  private func begin(
    _ work: inout CaptureWork, _ catalog: any Catalog, _ watch: any Watch, isWhole: Bool
  ) throws -> Providers.Moment {
    // What a live cluster left lies beyond what is told of.
    let isBeyond = providers.postgres.isShown || !resting.isEmpty
    var scene =
      isWhole || watch.kind == .scan || gaps != nil || isBeyond
      ? nil : freezeScene(work, catalog)
    defer {
      if let scene {
        work = scene.work
        dirty.merge(scans: scene.late.scans, places: scene.late.places)
      }
    }
    let changes = { [self] in
      let count = drain()
      return watch.kind == .scan || gaps != nil ? nil : count
    }
    let begun = work
    let isCovered = { [self] in watch.kind == .fanotify || areDirectoriesWatched(begun) }
    var frozen = Duration.zero
    defer {
      if frozen > .zero { pace.stoodStill(for: frozen, at: host.clock.now()) }
    }
    let news = Providers.News(
      changes: changes, isCovered: isCovered, cover: { [self] in cover($0, watch) }, tell: tell,
      look: { [self] in lookForMapped(host.clock.now(), isHarmless: $0) })
    return try providers.begin(
      &scene, isWhole: isWhole, isIdle: isStock || gate.isServiceEnded, frozen: &frozen, news)
  }

  /// Whether all directories are watched: what happens in one that is new, or yet to be scanned,
  /// inotify does not tell.
  private func areDirectoriesWatched(_ work: CaptureWork) -> Bool {
    let pending = dirty.work
    guard work.scans.isEmpty, pending.scans.isEmpty else { return false }
    return !(work.places + pending.places).contains { place in
      guard (try? catalog?.row(place)) == nil,
        let tree = try? host.tree(paths[place.root.rawValue])
      else { return false }
      return (try? tree.status(place.path))?.kind == .directory
    }
  }

  /// What was told until the pictures were made, or the service rested, belongs to this point.
  private func addTold(to work: inout CaptureWork, _ moment: Providers.Moment, _ now: Instant) {
    // It was added while the units stood still.
    if moment.provider == .freeze { return }
    drain()
    guard !moment.isLive else {
      let (scans, places) = dirty.take()
      work.scans += scans
      work.places += places
      return
    }
    // It stays dirty for the next one: some of it may have come after the pictures.
    work.scans += dirty.work.scans
    work.places += dirty.work.places
    lookForMapped(now)
    work.forced.formUnion(mapped)
  }

  /// What is to be read when all else was.
  private func late(
    _ work: CaptureWork, _ moment: Providers.Moment, isWhole: Bool
  ) throws -> CaptureWork {
    if let cluster = moment.cluster { return try end(cluster, work) }
    guard !isWhole, !moment.isLive, moment.pictures?.extent == nil else { return CaptureWork() }
    // A call whose change the pictures show may have returned only after they were made.
    drain()
    return CaptureWork(scans: dirty.work.scans, places: dirty.work.places)
  }

  /// Points become rarer where mapped files take long to hash each time, or where a service is
  /// asked to rest for each.
  private func rest(_ outcome: CaptureOutcome, _ moment: Providers.Moment) {
    let now = host.clock.now()
    if outcome.forcedTime > .zero { pace.rest(after: outcome.forcedTime, at: now) }
    if moment.isQuiesced { pace.rest(after: pair.rpo / 2, at: now, share: 1) }
    guard moment.broken != nil else { return }
    // It is tried again, though nothing may change any more.
    pace.rest(after: pair.rpo / 2, at: now, share: 1)
    pace.changed(at: now)
  }

  private func checkRoots() throws {
    switch rootGuard.look(id: identity.id) {
    case .problem(let problem):
      board.hold(.root, problem)
      throw SyncFailure(reason: problem)
    case .sound(let identities):
      guard identities == watched else {
        throw SyncFailure(reason: "a root was replaced while it was read: it is read again")
      }
    }
  }

  /// Where changes are not all told, scans find them: as often as the RPO wants it, and their cost
  /// allows it.
  private func findGaps(
    _ outcome: CaptureOutcome, _ watch: any Watch, _ scans: [Place], isComplete: Bool,
    began: Instant
  ) {
    let found =
      watch.kind == .scan ? watch.shortfall ?? "nothing tells of changes" : outcome.unwatched
    // Only a scan can say that there are none any more.
    if isComplete || found != nil { gaps = found }
    guard isComplete || isAll(scans), gaps != nil else { return }
    let now = host.clock.now()
    let share = min((now - began) * Limits.costlyShare, Limits.gapScanEveryMax)
    nextGapScan = now + max(pair.rpo / 2, share)
  }

  /// All that happened before `moment` is in the point, or in those before it.
  private func claim(
    _ point: PointNumber, _ grade: Grade, since moment: Instant, isComplete: Bool
  ) {
    guard grade >= pair.require, isComplete || gaps == nil, point > .none else { return }
    let claim = LagClock.Claim(point: point, moment: moment)
    board.update { view in
      view.fresh = claim
      view.lag.claimed(claim)
    }
  }

  private func sealed(_ point: Point, at end: RecordPosition) {
    highest = point.number
    wholeParent = nil
    owesPoint = false
    // In this order: a standby that is met in between is in step by the point's parent.
    spoolBoard.sealed(point, end: end)
    spoolBoard.agree(head: point.seal, wholeParent: nil)
    nextSettling = nextSettling ?? host.clock.now() + Limits.youngFor
    board.update { view in
      view.marks.captured = point.number
      view.grade = point.grade
      view.provider = point.verdict.provider
      view.pendingPlaces = Int64(dirty.count)
    }
    shipping.set()
  }

  /// What was seen that bears on the point's grade.
  private func facts(
    _ moment: Providers.Moment, _ outcome: CaptureOutcome, _ watch: any Watch,
    _ mapping: CaptureFacts.Mapping, isWhole: Bool, isChanged: Bool
  ) -> CaptureFacts {
    var facts = CaptureFacts(provider: moment.provider, watch: watch.kind)
    facts.isFixed = moment.isFixed
    facts.isWhole = isWhole
    facts.isQuiesced = moment.isQuiesced
    facts.unwatched = gaps
    facts.torn = outcome.torn.first.map { "\($0.path)" }
    facts.isDenied = !outcome.denied.isEmpty
    facts.isChanged = isChanged
    facts.mapping = mapping
    facts.troubles = moment.troubles
    facts.broken = moment.broken ?? moment.mapped
    facts.frozen = moment.frozen
    if let cluster = moment.cluster { spare(cluster, outcome, &facts) }
    return facts
  }

  private func isAll(_ scans: [Place]) -> Bool {
    paths.indices.allSatisfy { scans.contains(Place(root: RootNumber(rawValue: $0), path: .top)) }
  }

  func noteTroubles(_ troubles: [String]) {
    let troubles = troubles.map { Verdict.bounded($0) }
    board.hold(.provider, troubles.isEmpty ? nil : troubles.joined(separator: "; "))
  }

  func note(_ outcome: CaptureOutcome, _ verdict: Verdict) {
    var notes =
      watch?.shortfall.map { ["watching with \(watch?.kind.rawValue ?? ""): \($0)"] } ?? []
    if let gaps { notes.append("only scans see all changes: \(gaps)") }
    if !verdict.reason.isEmpty {
      notes.append("the newest point is \(verdict.grade.word): \(verdict.reason)")
    }
    for place in mounts.sorted().prefix(5) {
      notes.append("\(place.path) is another filesystem and is not replicated: make it a root")
    }
    for (place, error) in outcome.denied.prefix(5) {
      notes.append("\(place.path) cannot be read and stays as it was: \(error)")
    }
    board.update { view in
      view.notes = notes
      view.gradeReason = verdict.reason.isEmpty ? nil : verdict.reason
    }
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
    var waited: (since: Instant, bytes: Int64)?
    while let spool, spool.sizeBytes > pair.spoolBytes {
      try gate.check()
      board.hold(.spool, Self.fullSpool(spool.sizeBytes))
      // A service that was asked to rest does not wait for the standby.
      if isHolding { throw SyncFailure(reason: Self.fullSpool(spool.sizeBytes)) }
      try providers.postgres.lookMeanwhile()
      if isPictured {
        // What the service rewrites meanwhile a picture keeps as well: it is let go.
        if roomAtPicture >= Limits.freeBytesReserve, leastRoom() < Limits.freeBytesReserve {
          throw SyncFailure(
            reason: "a root's disk is nearly full: what is kept there for a capture is let go")
        }
        let now = host.clock.now()
        let left = spoolBoard.backlog
        if waited?.bytes != left { waited = (now, left) }
        if let waited, now - waited.since >= Limits.pictureWaitMax {
          throw SyncFailure(reason: Self.fullSpool(spool.sizeBytes))
        }
      }
      host.clock.block(for: Limits.roomEvery)
      trim()
    }
    board.hold(.spool, nil)
  }

  /// Of the roots' filesystems, what is free in the fullest.
  private func leastRoom() -> Int64 {
    paths.compactMap { try? host.tree($0).freeBytes() }.min() ?? 0
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
