import HoldfastBytes
package import HoldfastCore
import HoldfastStore
package import HoldfastWire

/// Makes what comes from the primary durable: journal first, then the index, then the word
/// `durable`. Works on a thread of its own.
package actor ReceiveWorker {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  nonisolated let executor: any SerialExecutor
  let pair: String
  /// How many the pair has.
  let roots: Int
  let host: any Host
  let board: PairBoard
  let identity: PairFiles.Identity
  let siteKey: Fingerprint
  let digests: PairDigests

  var journal: Journal?
  var index: (any Index)?
  var ingest: Ingest?
  var journalID = RandomID.none
  /// The file that received records are appended to.
  var current: UInt64?
  var unflushedSince: Instant?
  /// Set by ``hold()``: a promotion began.
  var isHeld = false
  /// When the newest point was taken in by this process.
  var sealedAt: Instant?
  /// Of the journal, when retention last looked.
  var liveBytes: Int64 = 0
  var lookedAt = Instant(nanos: 0)
  /// Whether points were dropped since then.
  var hasDropped = false

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
    /// The point that cannot be taken; none where content is asked for without one.
    package var point = PointNumber.none
  }

  package enum Failure: Error, Sendable {
    case protocolBroken(String)
    case disk(String)
    case held
  }

  package init(
    pair: PairConfiguration, host: any Host, board: PairBoard, identity: PairFiles.Identity,
    siteKey: Fingerprint
  ) {
    roots = pair.roots.count
    let pair = pair.name
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
    var damaged: [RecordPosition] = []
    let journal = try Journal(
      disk: disk, secret: identity.secret, durable: durableEnd(), isTruth: true,
      damage: { damaged.append($0) }
    ) { name, error in
      unreadable.append("\(name) (\(error))")
    }
    self.journal = journal
    if !damaged.isEmpty { holdDamaged(damaged) }
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

  /// What the index had taken in was durable before.
  private func durableEnd() -> RecordPosition? {
    let digests = PairDigests(identity.secret)
    let index = try? host.index(pair: pair, isReader: true) { digests.entry($0, $1) }
    guard let covered = try? index?.covered(), covered.journal == journalID else { return nil }
    return covered.upTo
  }

  private func holdDamaged(_ places: [RecordPosition]) {
    guard let first = places.first else { return }
    board.hold(
      .journal,
      """
      the journal is damaged in \(places.count) places (first in segment \(first.segment) at \
      \(first.offset)): type: holdfast verify \(pair) --repair, which names the files and has them \
      sent again
      """)
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

  func loadJournalID(_ disk: any Disk) throws -> RandomID {
    if let bytes = try disk.contents(of: "id"), let id = RandomID(bytes) { return id }
    let id = RandomID(host.dice)
    try disk.replace("id", with: id.bytes)
    return id
  }

  func openIndex(_ journal: Journal, fresh: Bool) throws {
    let digests = PairDigests(identity.secret)
    let index = try host.index(pair: pair, isReader: false) { digests.entry($0, $1) }
    let ingest = try Ingest(
      journal: journal, index: index, digests: self.digests, roots: roots)
    var damaged: [RecordPosition] = []
    try ingest.catchUp(journalID: journalID) {
      damaged.append($0)
    } progress: { [board] bytes in
      board.update { $0.notes = ["reading the journal: \(bytes >> 20) MiB"] }
    }
    if !damaged.isEmpty { holdDamaged(damaged) }
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

  func publish() {
    let newest = ingest?.newest
    let size = journal?.sizeBytes ?? 0
    board.update { view in
      view.marks.durable = newest?.number ?? .none
      view.durableReign = newest?.reign
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
    // Also of branches, and of what the tree went back to behind them.
    let highest = try index?.points().first?.point.number.next ?? .none
    return Greeting(
      journal: journalID, durable: ingest.newest,
      tail: info.map { ($0.header.id, $0.writerSize) },
      isEmpty: journal.segments.isEmpty,
      highest: max(highest, attempt))
  }

  /// The file at whose end receiving goes on. Records keep the order of their files, so behind one
  /// that this site wrote a new file begins.
  func tail(of journal: Journal) throws -> UInt64? {
    let last = journal.segments.filter { $0.value.header.writer != siteKey }.keys.max()
    guard let last, last != journal.lastNumber || journal.damaged.contains(last),
      let info = journal.segments[last]
    else { return last }
    return try journal.begin(info.header, base: info.writerSize)
  }

  // MARK: Receiving

  /// Begins the file of a new segment, or goes on with the one that was cut.
  /// - Parameter isOwn: it is of this site's own tree.
  package func begin(_ bytes: [UInt8], reign: Reign, isOwn: Bool = false) throws {
    guard !isHeld else { throw Failure.held }
    guard let journal else { throw Failure.disk("journal is not open") }
    let header: SegmentHeader
    do throws(CodingError) {
      header = try SegmentHeader(decoding: bytes)
    } catch {
      throw Failure.protocolBroken("segment header: \(error)")
    }
    guard header.pair == identity.id else { throw Failure.protocolBroken("another pair's segment") }
    // A stale or split epoch changes nothing here, but for what this site itself wrote in it.
    let isSplit = header.reign != reign && header.reign.epoch == reign.epoch
    guard header.reign.epoch <= reign.epoch, !isSplit || isOwn,
      (header.writer == siteKey) == isOwn
    else { throw Failure.protocolBroken("segment of reign \(header.reign), here is \(reign)") }
    if let known = journal.number(of: header.id) {
      guard known == current else {
        throw Failure.protocolBroken("segment \(known) was ended by those behind it")
      }
      return
    }
    current = try journal.begin(header)
  }

  /// Appends whole records of a segment.
  package func take(_ data: SegmentBytes) throws -> Answer {
    guard !isHeld else { throw Failure.held }
    guard let journal, let ingest, let current, let info = journal.segments[current],
      info.header.id == data.segment
    else { throw Failure.protocolBroken("records of a segment that did not begin") }
    guard data.offset == info.writerSize else {
      throw Failure.protocolBroken("records at \(data.offset), expected \(info.writerSize)")
    }
    guard info.size + Int64(data.records.count) <= Int64(Limits.segmentBytesMax) else {
      throw Failure.protocolBroken("segment of more than \(Limits.segmentBytesMax) bytes")
    }
    let records = try parse(data.bytes, data.records)
    if try journal.freeBytes() < Limits.freeBytesReserve {
      throw Failure.disk("less than \(Limits.freeBytesReserve >> 20) MiB are free")
    }
    try journal.append(current, data.bytes, data.records)
    let base = info.size - Int64(data.records.lowerBound)
    unflushedSince = unflushedSince ?? host.clock.now()
    var isSealed = false
    var refusal: Ingest.Refusal?
    for record in records {
      let position = RecordPosition(
        segment: current, offset: base + Int64(record.range.lowerBound))
      do {
        if try ingest.take(position, data.bytes, record) != nil {
          isSealed = true
          sealedAt = host.clock.now()
        }
      } catch let error as Ingest.Refusal {
        refusal = error
      } catch let error as CodingError {
        throw Failure.protocolBroken("\(error)")
      } catch JournalError.damaged(_, let what) {
        throw Failure.protocolBroken(what)
      } catch {
        forgetStore()
        throw error
      }
    }
    try flushIfDue(isSealed: isSealed)
    var answer = Answer(status: status(), isSealed: isSealed, refusal: nil)
    if let refusal {
      // What the index names must be durable before it.
      try flush()
      if case .missing(let names) = refusal {
        answer.refusal = Refusal(
          missing: names, reason: "\(names.count) chunks are missing", point: ingest.refused)
      } else {
        answer.refusal = Refusal(missing: [], reason: "\(refusal)", point: ingest.refused)
      }
    }
    return answer
  }

  /// Whether the disk takes some more.
  package func hasRoom() throws -> Bool {
    try open()
    guard let journal else { return false }
    return try journal.freeBytes() >= Limits.freeBytesReserve + Limits.windowBytes
  }

  func parse(_ bytes: [UInt8], _ range: Range<Int>) throws -> [RawRecord] {
    var records: [RawRecord] = []
    var start = range.lowerBound
    while start < range.upperBound {
      do throws(CodingError) {
        guard
          let record = try RawRecord.parse(bytes, at: start, end: range.upperBound, checking: true)
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

  func end() -> RecordPosition {
    guard let current, let info = journal?.segments[current] else { return .start }
    return RecordPosition(segment: current, offset: info.size)
  }

  func flushIfDue(isSealed: Bool) throws {
    guard let journal, let current, let info = journal.segments[current] else { return }
    let isLong = info.size - info.flushed >= Limits.syncEveryBytes
    let isLate = unflushedSince.map { host.clock.now() - $0 >= Limits.syncEvery } ?? false
    if isSealed || isLong || isLate { try flush() }
  }

  /// Makes all that was received durable, and only then says so.
  func flush() throws {
    guard let journal, let index else { return }
    if let ingest, ingest.newest != nil { host.probe.hit(.sealing) }
    do {
      try journal.flush()
      // Before anything is received in this process, all that was known stays known.
      let known = try index.covered()?.upTo ?? .start
      try index.commit(upTo: max(known, end()))
    } catch {
      // What the disk lost the index may not name, and what the index lost it is to take in again.
      forgetStore()
      throw error
    }
    unflushedSince = nil
    publish()
  }

  /// Both are opened anew, as after a crash.
  private func forgetStore() {
    journal = nil
    index = nil
    ingest = nil
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
}
