import HoldfastBytes
package import HoldfastCore
package import HoldfastStore

/// Makes what comes from the primary durable: journal first, then the index, then the word
/// `durable`. Works on a thread of its own.
package actor ReceiveWorker {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  private nonisolated let executor: any SerialExecutor
  private let pair: String
  private let host: any Host
  private let board: PairBoard
  private let identity: PairFiles.Identity
  private let siteKey: Fingerprint
  private let digests: PairDigests

  private var journal: Journal?
  private var index: (any Index)?
  private var ingest: Ingest?
  private var journalID = RandomID.none
  /// The file that received records are appended to.
  private var current: UInt64?
  private var unflushedSince: Instant?
  /// Set by ``hold()``: a promotion began.
  private var isHeld = false
  /// When the newest point was taken in by this process.
  private var sealedAt: Instant?
  /// Of the journal, when retention last looked.
  private var liveBytes: Int64 = 0
  private var lookedAt = Instant(nanos: 0)
  /// Whether points were dropped since then.
  private var hasDropped = false

  /// How far this side has come; what `Progress` says on the wire.
  package struct Status: Sendable {
    package var received = PointNumber.none
    package var durable = PointNumber.none
    package var segment: RandomID?
    package var receivedSize: Int64 = 0
    package var durableSize: Int64 = 0
  }

  package struct Answer: Sendable {
    package var status: Status
    /// Whether a point became durable.
    package var isSealed: Bool
    /// Set where the primary must start anew.
    package var refusal: Refusal?
  }

  package struct Refusal: Sendable {
    package var missing: [ChunkName]
    package var reason: String
  }

  package enum Failure: Error, Sendable {
    case protocolBroken(String)
    case disk(String)
    case held
  }

  package init(
    pair: String, host: any Host, board: PairBoard, identity: PairFiles.Identity,
    siteKey: Fingerprint
  ) {
    executor = host.executor("receive \(pair)")
    self.pair = pair
    self.host = host
    self.board = board
    self.identity = identity
    self.siteKey = siteKey
    digests = PairDigests(identity.secret)
  }

  // MARK: Opening

  /// Opens journal and index; an index that cannot be used is rebuilt from the journal.
  package func open() throws {
    guard ingest == nil else { return }
    let disk = try host.disk(["pairs", pair, "journal"])
    journalID = try loadJournalID(disk)
    var unreadable: [String] = []
    let journal = try Journal(disk: disk, secret: identity.secret) { name, error in
      unreadable.append("\(name) (\(error))")
    }
    self.journal = journal
    if !unreadable.isEmpty {
      board.hold(
        .journal,
        """
        journal files cannot be read: \(unreadable.joined(separator: ", ")); type: holdfast \
        verify \(pair)
        """)
    }
    do {
      try openIndex(journal, fresh: false)
    } catch {
      board.update { $0.lastError = "index rebuilt from the journal: \(error)" }
      index = nil
      host.removeIndex(pair: pair)
      try openIndex(journal, fresh: true)
    }
    publish()
  }

  package func close() {
    try? flush()
    ingest = nil
    index = nil
    journal = nil
  }

  /// Throws the index away and makes it anew from the journal.
  package func rebuildIndex() throws {
    close()
    host.removeIndex(pair: pair)
    try open()
    current = try journal.flatMap(tail)
  }

  /// These chunks are held no more, so that they are asked for when a point names them.
  package func forget(_ names: [ChunkName]) throws {
    try open()
    try flush()
    guard let index, let covered = try index.covered() else { return }
    for name in names { try index.forgetChunk(name) }
    try index.commit(upTo: covered.upTo)
  }

  private func loadJournalID(_ disk: any Disk) throws -> RandomID {
    if let bytes = try disk.contents(of: "id"), let id = RandomID(bytes) { return id }
    let id = RandomID(host.dice)
    try disk.replace("id", with: id.bytes)
    return id
  }

  private func openIndex(_ journal: Journal, fresh: Bool) throws {
    let digests = PairDigests(identity.secret)
    let index = try host.index(pair: pair, isReader: false) { digests.entry($0, $1) }
    let ingest = try Ingest(journal: journal, index: index, digests: self.digests)
    var damaged: [RecordPosition] = []
    try ingest.catchUp(journalID: journalID) {
      damaged.append($0)
    } progress: { [board] bytes in
      board.update { $0.notes = ["reading the journal: \(bytes >> 20) MiB"] }
    }
    if let first = damaged.first {
      board.hold(
        .journal,
        """
        the journal is damaged in \(damaged.count) places (first in segment \(first.segment) at \
        \(first.offset)): type: holdfast verify \(pair), which names the files
        """)
    }
    board.update { $0.notes = [] }
    if !fresh, let newest = ingest.newest, try index.attempt() == nil {
      // What SQLite cannot see: a flipped bit in a row.
      guard try index.treeDigest(at: newest.number) == newest.tree else {
        throw IndexError.unusable("its digest is another than the newest point's")
      }
    }
    self.index = index
    self.ingest = ingest
  }

  private func publish() {
    let newest = ingest?.newest
    let size = journal?.sizeBytes ?? 0
    board.update { view in
      view.marks.durable = newest?.number ?? .none
      view.marks.received = max(view.marks.received, view.marks.durable)
      view.marks.captured = max(view.marks.captured, view.marks.received)
      view.grade = newest?.grade ?? view.grade
      view.segmentBytes = size
    }
  }

  package struct Greeting: Sendable {
    package var journal: RandomID
    package var durable: Point?
    package var tail: (id: RandomID, size: Int64)?
    package var isEmpty: Bool
    package var highest: PointNumber
  }

  package func greeting() throws -> Greeting {
    try open()
    guard let journal, let ingest else { throw Failure.disk("journal is not open") }
    try flush()
    current = try tail(of: journal)
    let info = current.flatMap { journal.segments[$0] }
    let attempt = try index?.attempt()?.number ?? .none
    return Greeting(
      journal: journalID, durable: ingest.newest,
      tail: info.map { ($0.header.id, $0.writerSize) },
      isEmpty: journal.segments.isEmpty,
      highest: max(ingest.newest?.number ?? .none, attempt))
  }

  /// The file at whose end receiving goes on. Records keep the order of their files, so behind one
  /// that this site wrote a new file begins.
  private func tail(of journal: Journal) throws -> UInt64? {
    let last = journal.segments.filter { $0.value.header.writer != siteKey }.keys.max()
    guard let last, last != journal.lastNumber, let info = journal.segments[last] else {
      return last
    }
    return try journal.begin(info.header, base: info.writerSize)
  }

  // MARK: Receiving

  /// Begins the file of a new segment, or goes on with the one that was cut.
  package func begin(_ bytes: [UInt8], reign: Reign) throws {
    guard !isHeld else { throw Failure.held }
    guard let journal else { throw Failure.disk("journal is not open") }
    let header: SegmentHeader
    do throws(CodingError) {
      header = try SegmentHeader(decoding: bytes)
    } catch {
      throw Failure.protocolBroken("segment header: \(error)")
    }
    guard header.pair == identity.id else { throw Failure.protocolBroken("another pair's segment") }
    // A stale or split epoch changes nothing here.
    guard header.reign == reign || header.reign.epoch < reign.epoch,
      header.writer != siteKey
    else { throw Failure.protocolBroken("segment of reign \(header.reign), here is \(reign)") }
    if let known = journal.number(of: header.id) {
      current = known
      return
    }
    current = try journal.begin(header)
  }

  /// Appends whole records of a segment.
  package func take(
    segment: RandomID, offset: Int64, records bytes: [UInt8]
  ) throws -> Answer {
    guard !isHeld else { throw Failure.held }
    guard let journal, let index, let ingest, let current, let info = journal.segments[current],
      info.header.id == segment
    else { throw Failure.protocolBroken("records of a segment that did not begin") }
    guard offset == info.writerSize else {
      throw Failure.protocolBroken("records at \(offset), expected \(info.writerSize)")
    }
    guard info.size + Int64(bytes.count) <= Int64(Limits.segmentBytesMax) else {
      throw Failure.protocolBroken("segment of more than \(Limits.segmentBytesMax) bytes")
    }
    let records = try parse(bytes)
    if try journal.freeBytes() < Limits.freeBytesReserve {
      throw Failure.disk("less than \(Limits.freeBytesReserve >> 20) MiB are free")
    }
    try journal.append(current, bytes, 0..<bytes.count)
    let base = info.size
    unflushedSince = unflushedSince ?? host.clock.now()
    var isSealed = false
    var refusal: Ingest.Refusal?
    for record in records {
      let position = RecordPosition(
        segment: current, offset: base + Int64(record.range.lowerBound))
      do {
        if try ingest.take(position, bytes, record) != nil {
          isSealed = true
          sealedAt = host.clock.now()
        }
      } catch let error as Ingest.Refusal {
        refusal = error
      } catch let error as CodingError {
        throw Failure.protocolBroken("\(error)")
      } catch JournalError.damaged(_, let what) {
        throw Failure.protocolBroken(what)
      }
    }
    try flushIfDue(isSealed: isSealed)
    var answer = Answer(status: status(), isSealed: isSealed, refusal: nil)
    if let refusal {
      try index.commit(upTo: end())
      if case .missing(let names) = refusal {
        answer.refusal = Refusal(missing: names, reason: "\(names.count) chunks are missing")
      } else {
        answer.refusal = Refusal(missing: [], reason: "\(refusal)")
      }
    }
    return answer
  }

  private func parse(_ bytes: [UInt8]) throws -> [RawRecord] {
    var records: [RawRecord] = []
    var start = 0
    while start < bytes.count {
      do throws(CodingError) {
        guard
          let record = try RawRecord.parse(bytes, at: start, end: bytes.count, checking: true)
        else { throw .short }
        // What this site decides about its points nobody else writes.
        guard record.header.kind != .note, record.header.kind != .carried else {
          throw .invalid("record of a kind that only the standby writes")
        }
        records.append(record)
        start = record.range.upperBound
      } catch {
        throw Failure.protocolBroken("record: \(error)")
      }
    }
    return records
  }

  private func end() -> RecordPosition {
    guard let current, let info = journal?.segments[current] else { return .start }
    return RecordPosition(segment: current, offset: info.size)
  }

  private func flushIfDue(isSealed: Bool) throws {
    guard let journal, let current, let info = journal.segments[current] else { return }
    let isLong = info.size - info.flushed >= Limits.syncEveryBytes
    let isLate = unflushedSince.map { host.clock.now() - $0 >= Limits.syncEvery } ?? false
    if isSealed || isLong || isLate { try flush() }
  }

  /// Makes all that was received durable, and only then says so.
  private func flush() throws {
    guard let journal, let index else { return }
    if let ingest, ingest.newest != nil { host.probe.hit(.sealing) }
    do {
      try journal.flush()
    } catch {
      // What the disk lost the index may not name: both are opened anew.
      self.journal = nil
      self.index = nil
      ingest = nil
      throw error
    }
    try index.commit(upTo: end())
    unflushedSince = nil
    publish()
  }

  /// Called now and then: a long point is synced though nothing new comes.
  package func tick() throws -> Status? {
    guard let since = unflushedSince, host.clock.now() - since >= Limits.syncEvery else {
      return nil
    }
    try flush()
    return status()
  }

  package func status() -> Status {
    var status = Status()
    let newest = ingest?.newest?.number ?? .none
    status.received = newest
    status.durable = newest
    if let current, let info = journal?.segments[current] {
      status.segment = info.header.id
      status.receivedSize = info.writerSize
      status.durableSize = info.writerFlushed
    }
    return status
  }

  /// Prefixes of all chunk names, in portions.
  package func hints() throws -> [[UInt64]] {
    guard let index else { throw Failure.disk("index is not open") }
    var portions: [[UInt64]] = []
    try index.forEachChunkPrefix { portions.append($0) }
    return portions
  }

  // MARK: Points

  package func newest() throws -> Point? {
    try open()
    return ingest?.newest
  }

  package func points() throws -> [PointRow] {
    try open()
    return try index?.points() ?? []
  }

  /// Points after `point` become a branch, and the tree goes on from it; done before, nothing
  /// changes.
  /// - Parameter above: a point number that the other site is known to have used.
  package func branch(from point: PointNumber, above: PointNumber, reign: Reign) throws {
    let rows = try points()
    let newest = rows.map(\.point.number).max() ?? .none
    let isNoted = rows.contains { $0.isBranch && $0.point.number > point }
    guard !isNoted, newest > point else { return }
    try note(.promoted(from: point, as: max(newest, above).next, reign: reign), reign: reign)
  }

  /// Nothing is received until ``release()``.
  package func hold() throws {
    try open()
    isHeld = true
    try flush()
  }

  package func release() { isHeld = false }

  /// Writes what this side decided into the journal, durably, and into the index.
  package func note(_ note: Note, reign: Reign) throws {
    try open()
    guard let journal, let index, let ingest else { throw Failure.disk("journal is not open") }
    let header = ownHeader(reign)
    let interrupted = current.flatMap { journal.segments[$0] }
    let number = try journal.begin(header)
    let encoder = SegmentEncoder(header: header, secret: identity.secret)
    var bytes: [UInt8] = []
    let plain = note.encoded
    encoder.append(
      .note, name: .hole, plain, 0..<plain.count, compressor: Compressor(codec: .none),
      codec: .none, into: &bytes)
    try journal.append(number, bytes, 0..<bytes.count)
    try journal.flush()
    let position = RecordPosition(
      segment: number, offset: Int64(SegmentHeader.encodedBytes))
    guard
      let record = try RawRecord.parse(bytes, at: 0, end: bytes.count, checking: false)
    else { preconditionFailure("note cut short") }
    _ = try ingest.take(position, bytes, record)
    try index.commit(
      upTo: RecordPosition(segment: number, offset: journal.segments[number]?.size ?? 0))
    if let interrupted {
      // What is still to come of the segment that was being received goes behind this note.
      current = try journal.begin(interrupted.header, base: interrupted.writerSize)
    }
    publish()
  }

  private func ownHeader(_ reign: Reign) -> SegmentHeader {
    SegmentHeader(
      pair: identity.id, id: RandomID(host.dice),
      salt: Digest32(
        words: SIMD4(
          host.dice.word(), host.dice.word(), host.dice.word(), host.dice.word())),
      reign: reign, writer: siteKey)
  }

  // MARK: Retention

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
      for start in stride(from: 0, to: dropped.count, by: Limits.droppedInNote) {
        let end = min(dropped.count, start + Limits.droppedInNote)
        try note(.dropped(Array(dropped[start..<end])), reign: reign)
      }
      host.probe.hit(.retaining)
    }
    if !dropped.isEmpty { hasDropped = true }
    let isDue = Retention.isCompactionDue(
      journal: journal.sizeBytes, live: liveBytes,
      sinceLook: hasDropped ? host.clock.now() - lookedAt : nil)
    guard isDue else { return false }
    lookedAt = host.clock.now()
    hasDropped = false
    return try compact(journal, index, ingest, reign)
  }

  private func compact(
    _ journal: Journal, _ index: any Index, _ ingest: Ingest, _ reign: Reign
  ) throws -> Bool {
    try flush()
    let interrupted = try tail(of: journal)
    current = interrupted
    let compaction = Compaction(
      journal: journal, index: index, secret: identity.secret, digests: digests,
      probe: host.probe
    ) { [self] in ownHeader(reign) }
    let outcome = try compaction.run(
      sealedUpTo: ingest.sealedUpTo, open: Set(interrupted.map { [$0] } ?? []))
    if let interrupted, let info = journal.segments[interrupted],
      interrupted != journal.lastNumber
    {
      current = try journal.begin(info.header, base: info.writerSize)
    }
    // What could not be given back counts as used until the journal has grown again.
    liveBytes = outcome.removed == 0 ? journal.sizeBytes : outcome.live
    if !outcome.damaged.isEmpty {
      board.hold(
        .journal,
        "the journal is damaged: type: holdfast verify \(pair), which names the files")
    }
    publish()
    return outcome.removed > 0
  }
}
