package import HoldfastBytes
package import HoldfastCore

/// Writes the records of points into the spool, one attempt after another. Not shared between
/// threads.
package final class PointWriter: ChunkSink {
  private let spool: Journal
  private let secret: PairSecret
  private let digests: PairDigests
  private let catalog: any Catalog
  private let identity: Identity
  private let dice: any Dice
  private let probe: any Probe
  /// Called when the spool has grown, so that it can be sent before the point is sealed. May wait
  /// for room, and ends the attempt by throwing.
  package var grew: () throws -> Void = {}
  /// Called for each place and chunk; ends the attempt by throwing.
  package var checkpoint: () throws -> Void = {}

  /// Who writes: part of every segment's header.
  package struct Identity: Sendable {
    package var pair: RandomID
    package var reign: Reign
    package var writer: Fingerprint
    package init(pair: RandomID, reign: Reign, writer: Fingerprint) {
      self.pair = pair
      self.reign = reign
      self.writer = writer
    }
  }

  /// Asked before each batch, with whether compressing is what it waits for.
  package var effort: (_ isEncoderLate: Bool) -> CompressionEffort = { _ in .usual }

  /// Whether who holds a list of chunks is taken to hold what it names, so that large files that
  /// did not change are not read for a whole point. Where that is wrong the point is refused, and
  /// the next is to be made without.
  package var trustsLists = false

  private let encoder: BatchEncoder
  /// What is gathered, and what is being encoded meanwhile.
  private var batch = RecordBatch()
  private var isEncoding = false
  private var encoded: [UInt8] = []
  private var segment: UInt64?
  private let segmentBytes: Int
  /// Segments that the open attempt lies in.
  private var begun = 0

  private var head: ChangesHead?
  private var changes = Writer()
  private var changeCount: Int64 = 0
  /// Names of chunks that the spool holds and the catalog is yet to be told of.
  private var learned: [UInt64] = []
  private var unlearnedBytes = 0
  /// Of chunks that are gathered or being encoded.
  private var gathered: [UInt64] = []
  private var underway: [UInt64] = []
  /// All of these three.
  private var fresh: Set<UInt64> = []

  package init(
    spool: Journal, secret: PairSecret, catalog: any Catalog, identity: Identity, codec: Codec,
    helper: any Helper, dice: any Dice, probe: any Probe, segmentBytes: Int = Limits.segmentBytes
  ) {
    self.segmentBytes = segmentBytes
    self.spool = spool
    self.secret = secret
    digests = PairDigests(secret)
    self.catalog = catalog
    self.identity = identity
    encoder = BatchEncoder(codec: codec, secret: secret, helper: helper)
    self.dice = dice
    self.probe = probe
  }

  package var changesInAttempt: Int64 { changeCount }

  package func begin(_ number: PointNumber, isWhole: Bool) {
    head = ChangesHead(attempt: RandomID(dice), number: number, isWhole: isWhole)
    changes = Writer()
    changeCount = 0
    forgetFresh()
    begun = segment == nil ? 0 : 1
  }

  private func forgetFresh() {
    fresh = []
    learned = []
    gathered = []
    underway = []
  }

  package func store(_ bytes: [UInt8], _ range: Range<Int>) throws -> ChunkName {
    let name = digests.name(bytes, range)
    let prefix = name.digest.prefix
    if try holds(name) { return name }
    fresh.insert(prefix)
    gathered.append(prefix)
    try append(.chunk, name, bytes, range)
    return name
  }

  /// Whether all of a file's content is known to be held by the standby. Of lists of chunks only
  /// the file itself tells what they name: see ``trustsLists``.
  package func holds(_ content: Content) throws -> Bool {
    try (content.depth == 0 || trustsLists) && mayHold(content)
  }

  /// Whether nothing says that content is not held by the standby: of lists of chunks only their
  /// own names are looked at.
  func mayHold(_ content: Content) throws -> Bool {
    try content.references.allSatisfy { try $0.name == .hole || holds($0.name) }
  }

  package func holds(_ name: ChunkName) throws -> Bool {
    try checkpoint()
    let prefix = name.digest.prefix
    return try fresh.contains(prefix) || catalog.knows(prefix)
  }

  private func flushLearned() throws {
    try catalog.learn(learned)
    unlearnedBytes = 0
    fresh.subtract(learned)
    learned.removeAll(keepingCapacity: true)
  }

  /// - Returns: what the entry adds to the tree's digest.
  package func digest(_ place: Place, _ entry: Entry) -> Digest32 {
    digests.entry(place, entry.encoded)
  }

  package func put(_ change: Change) throws {
    guard let head else { preconditionFailure("change outside of an attempt") }
    if changes.bytes.isEmpty { head.encode(into: &changes) }
    change.encode(into: &changes)
    changeCount += 1
    if changes.bytes.count >= Limits.changesBytes { try flushChanges() }
  }

  /// Tells of part of a file whose entry comes later.
  func tell(
    _ place: Place, isSparse: Bool, from offset: Int64, _ references: [ChunkReference]
  ) throws {
    guard let head else { preconditionFailure("part of a file outside of an attempt") }
    // The directories on the way to it come first.
    try flushChanges()
    let part = FilePart(
      attempt: head.attempt, place: place, isSparse: isSparse, offset: offset,
      references: references)
    let bytes = part.encoded
    try append(.part, .hole, bytes, 0..<bytes.count)
  }

  private func flushChanges() throws {
    guard !changes.bytes.isEmpty else { return }
    let bytes = changes.bytes
    changes = Writer()
    try append(.changes, .hole, bytes, 0..<bytes.count)
  }

  /// Makes the attempt a point and the spool durable.
  package func seal(
    parent: Seal, time: WallTime, verdict: Verdict, tree: TreeDigest, totals: Totals
  ) throws -> Point {
    guard let head else { preconditionFailure("seal outside of an attempt") }
    if head.isWhole, changeCount == 0, changes.bytes.isEmpty {
      // An empty tree must still say that it is whole.
      head.encode(into: &changes)
    }
    try flushChanges()
    if begun > 1 || isEncoding || (begun > 0 && segment == nil) {
      // No seal may outlive what it seals.
      try flushBatch()
      if begun > 1 || segment == nil { try flushSpool() }
    }
    let record = SealRecord(
      attempt: head.attempt,
      unsealed: Point(
        number: head.number, seal: .none, parent: parent, time: time, verdict: verdict,
        reign: identity.reign, tree: tree, totals: totals, changes: changeCount), digests)
    let bytes = record.encoded
    try append(.seal, .hole, bytes, 0..<bytes.count)
    probe.hit(.sealing)
    try flushBatch()
    try flushSpool()
    try flushLearned()
    self.head = nil
    return record.point
  }

  /// Gives the attempt up; its chunks may stay, nothing names them.
  package func abandon() throws {
    head = nil
    changes = Writer()
    let waiting = grew
    grew = {}
    defer { grew = waiting }
    try flushBatch()
    try flushLearned()
  }

  // MARK: Batches

  private func append(
    _ kind: RecordKind, _ name: ChunkName, _ bytes: [UInt8], _ range: Range<Int>
  ) throws {
    batch.add(kind, name, bytes, range)
    guard batch.bytesMax >= Limits.batchBytes else { return }
    let effort = effort(isEncoding && encoder.isLate)
    try collect()
    try hand { encoder.start(&batch, effort) }
    isEncoding = true
  }

  /// Puts all that was gathered into the spool.
  private func flushBatch() throws {
    try collect()
    guard !batch.isEmpty else { return }
    // For little, another thread is not worth being woken.
    try hand { encoder.encode(&batch) }
    try take()
  }

  private func hand(_ body: () -> Void) throws {
    do {
      if segment == nil { try beginSegment() }
    } catch {
      batch.removeAll()
      forgetFresh()
      throw error
    }
    body()
    swap(&underway, &gathered)
  }

  private func collect() throws {
    guard isEncoding else { return }
    isEncoding = false
    encoder.wait()
    try take()
  }

  /// Puts what was encoded into the spool.
  private func take() throws {
    encoder.take(&encoded)
    guard let segment else { preconditionFailure("records of no segment") }
    do {
      try spool.append(segment, encoded, 0..<encoded.count)
    } catch {
      // What may be half written is never continued, and nobody holds it.
      self.segment = nil
      batch.removeAll()
      forgetFresh()
      throw error
    }
    learned += underway
    underway.removeAll(keepingCapacity: true)
    if let info = spool.segments[segment], info.size >= Int64(segmentBytes) { self.segment = nil }
    unlearnedBytes += encoded.count
    if unlearnedBytes >= Limits.learnedBytes { try flushLearned() }
    try grew()
  }

  private func flushSpool() throws {
    do {
      try spool.flush()
    } catch {
      // What the disk lost nobody holds, whatever was taken down of it.
      segment = nil
      forgetFresh()
      try? catalog.forgetKnown()
      throw error
    }
  }

  private func beginSegment() throws {
    let header = SegmentHeader(
      pair: identity.pair, id: RandomID(dice),
      salt: Digest32(words: SIMD4(dice.word(), dice.word(), dice.word(), dice.word())),
      reign: identity.reign, writer: identity.writer)
    // What the standby has before it is sealed need never reach this side's disk.
    segment = try spool.begin(header, ordered: false)
    begun += 1
    encoder.begin(header)
  }

  /// Where the next record will lie, with nothing gathered.
  package var end: RecordPosition {
    // What is read after a seal, which may have ended its segment.
    let last = segment ?? spool.lastNumber ?? 0
    return RecordPosition(segment: last, offset: spool.segments[last]?.size ?? 0)
  }
}
