package import HoldfastBytes
package import HoldfastCore

/// Writes the records of points into the spool, one attempt after another. Not shared between
/// threads.
package final class PointWriter: ChunkSink {
  private let spool: Journal
  private let secret: PairSecret
  private let digests: PairDigests
  private let catalog: any Catalog
  private let compressor: Compressor
  private let codec: Codec
  private let identity: Identity
  private let dice: any Dice
  private let probe: any Probe
  /// Called when the spool has grown, so that it can be sent before the point is sealed.
  package var grew: () -> Void = {}

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

  private var encoder: SegmentEncoder?
  private var segment: UInt64 = 0
  private let segmentBytes: Int
  /// Segments that the open attempt lies in.
  private var begun = 0
  private var pending: [UInt8] = []
  private static let pendingBytes = 1 << 20

  private var head: ChangesHead?
  private var changes = Writer()
  private var changeCount: Int64 = 0
  private var learned: [UInt64] = []
  private var unlearnedBytes = 0
  /// Names of this attempt whose learning waits in `learned`.
  private var fresh: Set<UInt64> = []

  package init(
    spool: Journal, secret: PairSecret, catalog: any Catalog, identity: Identity, codec: Codec,
    dice: any Dice, probe: any Probe, segmentBytes: Int = Limits.segmentBytes
  ) {
    self.segmentBytes = segmentBytes
    self.spool = spool
    self.secret = secret
    digests = PairDigests(secret)
    self.catalog = catalog
    self.identity = identity
    self.codec = codec
    compressor = Compressor(codec: codec)
    self.dice = dice
    self.probe = probe
  }

  package var changesInAttempt: Int64 { changeCount }

  package func begin(_ number: PointNumber, isWhole: Bool) {
    head = ChangesHead(attempt: RandomID(dice), number: number, isWhole: isWhole)
    changes = Writer()
    changeCount = 0
    fresh = []
    learned = []
    begun = encoder == nil ? 0 : 1
  }

  package func store(_ bytes: [UInt8], _ range: Range<Int>) throws -> ChunkName {
    let name = digests.name(bytes, range)
    let prefix = name.digest.prefix
    if fresh.contains(prefix) { return name }
    if try catalog.knows(prefix) { return name }
    try append(.chunk, name, bytes, range)
    fresh.insert(prefix)
    learned.append(prefix)
    return name
  }

  /// Whether all of a file's content is known to be held by the standby. Of lists of chunks only
  /// the file itself tells what they name.
  package func holds(_ content: Content) throws -> Bool {
    guard content.depth == 0 else { return false }
    return try content.references.allSatisfy { reference in
      let prefix = reference.name.digest.prefix
      return try reference.name == .hole || fresh.contains(prefix) || catalog.knows(prefix)
    }
  }

  private func flushLearned() throws {
    try catalog.learn(learned)
    unlearnedBytes = 0
    learned.removeAll(keepingCapacity: true)
    fresh.removeAll(keepingCapacity: true)
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

  private func flushChanges() throws {
    guard !changes.bytes.isEmpty else { return }
    let bytes = changes.bytes
    changes = Writer()
    try append(.changes, .hole, bytes, 0..<bytes.count)
  }

  /// Makes the attempt a point and the spool durable.
  package func seal(
    parent: Seal, time: WallTime, grade: Grade, tree: TreeDigest, totals: Totals
  ) throws -> Point {
    guard let head else { preconditionFailure("seal outside of an attempt") }
    if head.isWhole, changeCount == 0, changes.bytes.isEmpty {
      // An empty tree must still say that it is whole.
      head.encode(into: &changes)
    }
    try flushChanges()
    if begun > 1 {
      // No seal may outlive what it seals.
      try flushPending()
      try spool.flush()
    }
    let record = SealRecord(
      attempt: head.attempt,
      unsealed: Point(
        number: head.number, seal: .none, parent: parent, time: time, grade: grade,
        reign: identity.reign, tree: tree, totals: totals, changes: changeCount), digests)
    let bytes = record.encoded
    try append(.seal, .hole, bytes, 0..<bytes.count)
    probe.hit(.sealing)
    try flushPending()
    try flushLearned()
    try spool.flush()
    self.head = nil
    return record.point
  }

  /// Gives the attempt up; its chunks may stay, nothing names them.
  package func abandon() throws {
    head = nil
    changes = Writer()
    try flushPending()
    try flushLearned()
  }

  private func append(
    _ kind: RecordKind, _ name: ChunkName, _ bytes: [UInt8], _ range: Range<Int>
  ) throws {
    if encoder == nil { try beginSegment() }
    guard let encoder else { preconditionFailure("no segment") }
    encoder.append(
      kind, name: name, bytes, range, compressor: compressor, codec: codec, into: &pending)
    if pending.count >= Self.pendingBytes { try flushPending() }
  }

  private func flushPending() throws {
    guard !pending.isEmpty else { return }
    let written = pending.count
    defer { pending.removeAll(keepingCapacity: true) }
    do {
      try spool.append(segment, pending, 0..<pending.count)
    } catch {
      // What may be half written is never continued, and nobody holds it.
      encoder = nil
      learned.removeAll(keepingCapacity: true)
      fresh.removeAll(keepingCapacity: true)
      throw error
    }
    if let info = spool.segments[segment], info.size >= Int64(segmentBytes) { encoder = nil }
    unlearnedBytes += written
    if unlearnedBytes >= Limits.learnedBytes { try flushLearned() }
    grew()
  }

  private func beginSegment() throws {
    let header = SegmentHeader(
      pair: identity.pair, id: RandomID(dice),
      salt: Digest32(words: SIMD4(dice.word(), dice.word(), dice.word(), dice.word())),
      reign: identity.reign, writer: identity.writer)
    // What the standby has before it is sealed need never reach this side's disk.
    segment = try spool.begin(header, ordered: false)
    begun += 1
    encoder = SegmentEncoder(header: header, secret: secret)
  }

  /// Where the next record will lie.
  package var end: RecordPosition {
    RecordPosition(
      segment: segment, offset: (spool.segments[segment]?.size ?? 0) + Int64(pending.count))
  }
}
