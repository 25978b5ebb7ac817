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
  /// Where the journal was found to be damaged since it was opened.
  var damagedPlaces: [RecordPosition] = []
  /// When the newest point was taken in by this process.
  var sealedAt: Instant?
  /// Of the journal, when retention last looked.
  var liveBytes: Int64 = 0
  var lookedAt = Instant(nanos: 0)
  /// Whether points were dropped since then.
  var hasDropped = false

  /// The point whose tree the index was found to hold, and when.
  var sound: (point: PointNumber, at: Instant)?

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
    /// Whether more became durable.
    package var isFlushed: Bool
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
    case full(String)
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
      throw Failure.full("less than \(Limits.freeBytesReserve >> 20) MiB are free")
    }
    try journal.append(current, data.bytes, data.records)
    journal.beginFlush(current)
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
        // Those behind it follow from it.
        refusal = refusal ?? error
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
    var answer = Answer(
      status: status(), isSealed: isSealed, isFlushed: unflushedSince == nil, refusal: nil)
    if let refusal {
      // What the index names must be durable before it.
      try flush()
      try noteRefused(ingest.takeRefusals())
      if case .digest = refusal, try !isSound(ingest.newest) { try rebuildIndex() }
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
