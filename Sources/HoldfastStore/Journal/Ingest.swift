package import HoldfastCore

/// Takes the journal's records into the index, in order, and says when they make a point. Used
/// while receiving and when an index is rebuilt. Not shared between threads.
package final class Ingest {
  /// Why an attempt cannot become a point. The way on is the same: the primary starts anew from
  /// what this side holds.
  package enum Refusal: Error, Hashable, Sendable {
    /// Content that was taken for held is not.
    case missing([ChunkName])
    /// The attempt builds on a point that is not the newest here.
    case parent(expected: Seal, got: Seal)
    /// The tree that results is not the one that was sealed.
    case digest
    case invalid(String)
  }

  private let journal: Journal
  private let index: any Index
  private let digests: PairDigests
  package private(set) var newest: Point?
  private var missing: [ChunkName] = []

  package init(journal: Journal, index: any Index, digests: PairDigests) throws {
    self.journal = journal
    self.index = index
    self.digests = digests
    newest = try index.points().first { !$0.isBranch }?.point
  }

  /// Brings the index up to the journal's end, from the beginning where it is new, another
  /// journal's, or beyond the end.
  /// - Parameter journalID: see ``Index/reset(journal:)``.
  package func catchUp(journalID: RandomID, progress: (Int64) -> Void) throws {
    var start = RecordPosition.start
    if let covered = try index.covered(), covered.journal == journalID,
      isInside(covered.upTo)
    {
      start = covered.upTo
    } else {
      try index.reset(journal: journalID)
    }
    newest = try index.points().first { !$0.isBranch }?.point
    var end = start
    var done: Int64 = 0
    for number in journal.segments.keys.sorted() where number >= start.segment {
      let from = number == start.segment ? start.offset : 0
      try journal.scan(number, from: from) { position, bytes, record in
        // What could not become a point then cannot now either.
        _ = try? take(position, bytes, record)
        end = RecordPosition(
          segment: number, offset: position.offset + Int64(record.range.count))
        done += Int64(record.range.count)
      }
      progress(done)
    }
    try index.commit(upTo: end)
  }

  private func isInside(_ position: RecordPosition) -> Bool {
    if position == .start { return true }
    guard let info = journal.segments[position.segment] else { return false }
    return position.offset <= info.size
  }

  /// - Returns: the point that the record completes, if it does.
  package func take(
    _ position: RecordPosition, _ bytes: [UInt8], _ record: RawRecord
  ) throws -> Point? {
    switch record.header.kind {
    case .chunk:
      try index.insertChunk(record.header.name, at: position)
      return nil
    case .changes:
      try changes(try journal.plain(position.segment, bytes, record, at: position), position)
      return nil
    case .seal:
      return try seal(try journal.plain(position.segment, bytes, record, at: position))
    case .note:
      try note(try journal.plain(position.segment, bytes, record, at: position))
      return nil
    case .carried:
      try carried(try journal.plain(position.segment, bytes, record, at: position))
      return nil
    }
  }

  private func changes(_ plain: [UInt8], _ position: RecordPosition) throws {
    var reader = Reader(plain)
    let head = try ChangesHead(from: &reader)
    try open(head)
    while !reader.isAtEnd {
      let change = try Change(from: &reader)
      if let content = change.entry?.content { try check(content.references, content.depth) }
      try index.put(change)
    }
  }

  private func open(_ head: ChangesHead) throws {
    if let open = try index.attempt(), open.id == head.attempt { return }
    missing = []
    try index.beginAttempt(head.number, id: head.attempt, whole: head.isWhole)
  }

  /// Notes what is named and not held.
  private func check(_ references: [ChunkReference], _ depth: UInt8) throws {
    for reference in references where reference.name != .hole {
      guard let position = try index.chunk(reference.name) else {
        if missing.count < Limits.missingNamesMax { missing.append(reference.name) }
        continue
      }
      guard depth > 0 else { continue }
      let list = try journal.record(at: position).plain
      try check(ChunkReference.list(list, covering: reference.length), depth - 1)
    }
  }

  private func seal(_ plain: [UInt8]) throws -> Point? {
    let record = try SealRecord(decoding: plain, digests)
    let point = record.point
    // An attempt without changes never opened.
    try open(ChangesHead(attempt: record.attempt, number: point.number, isWhole: false))
    do throws(Refusal) {
      if !missing.isEmpty { throw .missing(missing) }
      let expected = newest?.seal ?? .none
      guard point.parent == expected else {
        throw .parent(expected: expected, got: point.parent)
      }
      guard point.number > newest?.number ?? .none else { throw .invalid("number goes back") }
    } catch {
      try index.abandonAttempt()
      throw error
    }
    guard try index.attemptDigest() == point.tree else {
      try index.abandonAttempt()
      throw Refusal.digest
    }
    try index.seal(point)
    newest = point
    return point
  }

  private func note(_ plain: [UInt8]) throws {
    switch try Note(decoding: plain) {
    case .dropped(let points): try index.drop(points)
    case .pinned(let point, let isPinned): try index.pin(point, isPinned)
    case .promoted(let from, let number, _):
      try index.abandonAttempt()
      try index.revert(to: from, as: number)
      newest = try index.points().first { !$0.isBranch }?.point
    }
  }

  private func carried(_ plain: [UInt8]) throws {
    try index.restoreRows(plain)
    newest = try index.points().first { !$0.isBranch }?.point
  }
}
