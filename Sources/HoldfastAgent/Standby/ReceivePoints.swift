import HoldfastBytes
package import HoldfastCore
package import HoldfastStore

/// What this side decides about its points.
extension ReceiveWorker {
  package func newest() throws -> Point? {
    try open()
    return ingest?.newest
  }

  /// Whether this site was never a standby: it keeps no journal.
  package func isUnused() throws -> Bool {
    let disk = try host.disk(["pairs", pair])
    guard try disk.contents(of: ReplicaRecord.fileName) == nil else { return false }
    return try host.disk(["pairs", pair, "journal"]).list().isEmpty
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
    guard rows.contains(where: { !$0.isBranch && $0.point.number > point }) else { return }
    let newest = rows.map(\.point.number).max() ?? .none
    try note(.promoted(from: point, as: max(newest, above).next, reign: reign), reign: reign)
  }

  /// - Returns: whether it was not pinned before.
  package func pin(_ point: PointNumber, reign: Reign) throws -> Bool {
    let isPinned = try points().contains { $0.point.number == point && $0.isPinned }
    if !isPinned { try note(.pinned(point, true), reign: reign) }
    return !isPinned
  }

  /// Whether the index holds the tree that was sealed with the point. All of it is read, unless it
  /// was a moment ago: who promotes may have to try again.
  package func isSound(_ point: PointNumber) throws -> Bool {
    try open()
    guard let index, let row = try index.point(point) else { return false }
    let now = host.clock.now()
    if let sound, sound.point == point, now - sound.at < Limits.soundFor { return true }
    do throws(IndexError) {
      let isSound = try index.treeDigest(at: point) == row.point.tree
      sound = isSound ? (point, now) : nil
      return isSound
    } catch .unusable {
      return false
    }
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

  func ownHeader(_ reign: Reign) -> SegmentHeader {
    SegmentHeader(
      pair: identity.id, id: RandomID(host.dice),
      salt: Digest32(
        words: SIMD4(
          host.dice.word(), host.dice.word(), host.dice.word(), host.dice.word())),
      reign: reign, writer: siteKey)
  }
}
