package import HoldfastCore
import HoldfastStore

/// One capture, from the dirty set to a sealed point.
extension CaptureWorker {
  func captureOnce(_ now: Instant) throws {
    guard let catalog, let writer, let capture, let watch else { return }
    let (scans, places) = dirty.take()
    pace.captured(at: now)
    let isWhole = wholeParent != nil
    let oldHead = try catalog.head()
    let isOwed = isWhole || owesPoint
    if scans.isEmpty, places.isEmpty, !isOwed, oldHead.grade >= pair.require { return }
    let time = host.clock.wall()
    let number = max(highest, oldHead.number).next
    do {
      writer.begin(number, isWhole: isWhole)
      let (outcome, read) = try capture.read(
        scans: scans, places: places, forced: [], isWhole: isWhole)
      for place in outcome.torn { dirty.touch(place) }
      let changed = drain() > 0
      if let problem = rootGuard.problem(id: identity.id) {
        board.hold(.root, problem)
        throw SyncFailure(reason: problem)
      }
      let (grade, reason) = grade(changed: changed, watch: watch, outcome)
      note(outcome, reason)
      var head = read
      let isUpgrade = grade > oldHead.grade && oldHead.grade < pair.require
      if writer.changesInAttempt == 0, !isOwed, !isUpgrade {
        try writer.abandon()
        try catalog.commit()
        return
      }
      host.probe.hit(.sending)
      let point = try writer.seal(
        parent: wholeParent ?? oldHead.seal, time: time, grade: grade, tree: head.tree,
        totals: head.totals)
      head.number = number
      head.seal = point.seal
      head.grade = grade
      try catalog.setHead(head)
      try catalog.commit()
      sealed(point, began: now, at: writer.end)
    } catch {
      try? writer.abandon()
      try? catalog.rollback()
      dirty.merge(scans: scans, places: places)
      pace.changed(at: now)
      if case JournalError.disk(.flushFailed) = error {
        // What the spool holds is known again only when it is read anew, as after a crash.
        closeStore()
      }
      throw error
    }
  }

  func sealed(_ point: Point, began: Instant, at end: RecordPosition) {
    highest = point.number
    wholeParent = nil
    owesPoint = false
    spoolBoard.sealed(point, end: end)
    nextSettling = nextSettling ?? host.clock.now() + Limits.youngFor
    board.update { view in
      view.marks.captured = point.number
      view.grade = point.grade
      view.pendingPlaces = Int64(dirty.count)
      if point.grade >= pair.require {
        let claim = LagClock.Claim(point: point.number, moment: began)
        view.fresh = claim
        view.lag.claimed(claim)
      }
    }
    shipping.set()
  }

  /// What the point promises, and why it is not more.
  func grade(
    changed: Bool, watch: any Watch, _ outcome: CaptureOutcome
  ) -> (grade: Grade, reason: String?) {
    if watch.kind == .scan { return (.fuzzy, "nothing tells of changes on this filesystem") }
    if let reason = outcome.unwatched { return (.fuzzy, reason) }
    if let torn = outcome.torn.first { return (.fuzzy, "\(torn.path) changed while it was read") }
    if !outcome.denied.isEmpty { return (.fuzzy, "not all could be read") }
    if changed { return (.fuzzy, "other files changed while it was captured") }
    let mappings = host.mappings(paths) { device, inode in
      paths.indices.contains { root in
        let places = try? catalog?.places(
          root: RootNumber(rawValue: root), device: device, inode: inode)
        return places?.isEmpty == false
      }
    }
    switch mappings {
    case .none: return (.crash, nil)
    case .mapped(let process):
      return (.fuzzy, "process \(process) has a file of a root mapped for writing")
    case .unknown:
      return (.fuzzy, "without privileges nobody can tell which files are mapped for writing")
    }
  }

  func note(_ outcome: CaptureOutcome, _ reason: String?) {
    var notes =
      watch?.shortfall.map { ["watching with \(watch?.kind.rawValue ?? ""): \($0)"] } ?? []
    if let reason { notes.append("the newest point is fuzzy: \(reason)") }
    for place in outcome.mounts.prefix(5) {
      notes.append("\(place.path) is another filesystem and is not replicated: make it a root")
    }
    for (place, error) in outcome.denied.prefix(5) {
      notes.append("\(place.path) cannot be read and stays as it was: \(error)")
    }
    if !outcome.denied.isEmpty { retryAt = host.clock.now() + .seconds(30) }
    board.update { $0.notes = notes }
  }

  func spoolGrew() {
    for (number, info) in spool?.segments ?? [:] {
      spoolBoard.grew(number, info.header.id, to: info.size)
    }
    shipping.set()
    // During a long capture too: what the standby has need not reach this disk.
    trim()
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
  package func points() throws -> (spooled: [Point], head: CatalogHead) {
    (spoolBoard.view.points.map(\.point), try catalog?.head() ?? .none)
  }
}
