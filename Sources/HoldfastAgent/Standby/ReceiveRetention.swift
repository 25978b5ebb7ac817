package import HoldfastCore
import HoldfastStore

/// Dropping points by age, and giving their space back.
extension ReceiveWorker {
  /// Drops the points that the rule lets go and gives their space back, unless somebody reads the
  /// journal or a point is being received: then the next call does.
  /// - Returns: whether chunks were forgotten that the primary may take for held.
  package func retain(
    _ rule: RetentionRule, require: Grade, reign: Reign
  ) throws -> Bool {
    guard !isHeld, let journal, let index, let ingest, let newest = ingest.newest,
      try index.attempt() == nil, let moving = try host.movingJournal(pair: pair)
    else { return false }
    defer { withExtendedLifetime(moving) {} }
    let now = Retention.presentTime(
      wall: host.clock.wall(), newest: newest.time,
      sinceNewest: sealedAt.map { host.clock.now() - $0 })
    // What the replica is, or was on its way to, it needs to get anywhere else.
    let replica = try ReplicaRecord.load(try host.disk(["pairs", pair]))
    let dropped = Retention.drop(
      try index.points(), rule: rule, require: require,
      held: Set([replica.applied] + replica.intents), now: now)
    if !dropped.isEmpty {
      host.probe.hit(.retaining)
      try drop(dropped, reign)
      host.probe.hit(.retaining)
    }
    let isDue = Retention.isCompactionDue(
      journal: journal.sizeBytes, live: liveBytes,
      sinceLook: hasDropped ? host.clock.now() - lookedAt : nil)
    guard isDue else { return false }
    lookedAt = host.clock.now()
    hasDropped = false
    return try compact(journal, index, ingest, reign)
  }

  /// Lets a branch go, or a pin: a branch's points are dropped at once.
  /// - Parameter isPreview: only says what would be.
  /// - Returns: `nil` where somebody reads the journal, or a point is being received.
  /// - Throws: ``ReleaseRefusal``, or what the disk said; then nothing was let go.
  package func release(
    _ point: PointNumber, reign: Reign, isPreview: Bool
  ) throws -> Branches.Release? {
    try open()
    guard let index else { throw Failure.disk("journal is not open") }
    guard let release = Branches.release(point, of: try index.points()) else {
      throw ReleaseRefusal.notKept
    }
    if isPreview { return release }
    switch release {
    case .pin: try note(.pinned(point, false), reign: reign)
    case .branch(let points):
      let replica = try ReplicaRecord.load(try host.disk(["pairs", pair]))
      let needed = [replica.applied] + replica.intents
      guard !points.contains(where: needed.contains) else { throw ReleaseRefusal.inUse }
      // Also where receiving is held: what was promoted is on no branch.
      guard try index.attempt() == nil, let moving = try host.movingJournal(pair: pair) else {
        return nil
      }
      defer { withExtendedLifetime(moving) {} }
      try drop(points, reign)
    }
    return release
  }

  private func drop(_ points: [PointNumber], _ reign: Reign) throws {
    for start in stride(from: 0, to: points.count, by: Limits.droppedInNote) {
      let end = min(points.count, start + Limits.droppedInNote)
      try note(.dropped(Array(points[start..<end])), reign: reign)
    }
    hasDropped = true
  }

  func compact(
    _ journal: Journal, _ index: any Index, _ ingest: Ingest, _ reign: Reign
  ) throws -> Bool {
    // What could not be given back counts as used until the journal has grown again.
    liveBytes = journal.sizeBytes
    let outcome = try rewriting(journal, index, reign) { compaction, interrupted in
      try compaction.run(
        sealedUpTo: ingest.sealedUpTo, open: Set(interrupted.map { [$0] } ?? []))
    }
    liveBytes = outcome.removed == 0 ? journal.sizeBytes : outcome.live
    if !outcome.damaged.isEmpty || !outcome.isSwept {
      board.hold(
        .journal,
        """
        the journal is damaged, and gives no space back there: type: holdfast verify \(pair) \
        --repair, which names the files and has them sent again
        """)
    }
    publish()
    return outcome.removed > 0
  }
}

extension ReceiveWorker {
  /// - Parameter body: given the segment, if any, that is still to be received.
  private func rewriting<Outcome>(
    _ journal: Journal, _ index: any Index, _ reign: Reign,
    _ body: (Compaction, _ interrupted: UInt64?) throws -> Outcome
  ) throws -> Outcome {
    try flush()
    let interrupted = try tail(of: journal)
    current = interrupted
    let compaction = Compaction(
      journal: journal, index: index, secret: identity.secret, digests: digests,
      probe: host.probe
    ) { [self] in ownHeader(reign) }
    // Records keep the order of their files: whatever became of it, receiving goes on behind.
    current = nil
    let outcome = Result { try body(compaction, interrupted) }
    current = interrupted
    if let interrupted, let info = journal.segments[interrupted],
      interrupted != journal.lastNumber
    {
      current = nil
      current = try journal.begin(info.header, base: info.writerSize)
    }
    return try outcome.get()
  }

  /// The index, which is sound, no longer rests on what is damaged in the journal; what cannot even
  /// be opened there and holds nothing that is needed goes.
  /// - Parameters:
  ///   - damaged: what was found damaged there.
  ///   - isAll: nothing else is, by a look at all of it.
  /// - Returns: whether it was done; not while a point is being received.
  package func carry(
    _ damaged: [RecordPosition], isAll: Bool, reign: Reign
  ) throws -> Bool {
    try open()
    guard let journal, let index, try index.attempt() == nil else { return false }
    try rewriting(journal, index, reign) { compaction, _ in try compaction.carry() }
    let live = try index.liveBytes()
    // One that was opened before its head was damaged this process still reads.
    let headless = journal.unreadable.union(damaged.filter { $0.offset == 0 }.map(\.segment))
    for number in headless where live[number] == nil { try journal.remove(number) }
    try noteMended(damaged + (isAll ? damagedPlaces : []))
    if isAll { board.hold(.journal, nil) }
    publish()
    return true
  }
}

/// Why a branch or a pin is not let go.
package enum ReleaseRefusal: Error, Hashable, Sendable {
  /// The point is not there, or kept by the rule alone.
  case notKept
  /// The replica is one of the branch's points yet.
  case inUse
}
