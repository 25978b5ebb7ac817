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
  private let roots: Int
  package private(set) var newest: Point?
  /// No point may have a number up to this one any more: points of branches have theirs too.
  private var highest = PointNumber.none
  /// What lies before this belongs to points that are sealed, or to nobody. Not known beyond the
  /// start before a point is sealed here.
  package private(set) var sealedUpTo = RecordPosition.start
  /// Set while an index is rebuilt: what came before a whole snapshot of it is in the snapshot.
  private var snapshot: RecordPosition?
  /// What was once sealed stays a point though a disk has lost some of its content.
  private var isCatchingUp = false
  /// Set where only the end of the journal is taken in: what lacks content there was refused, or
  /// would have been.
  private var isAtTail = false
  /// Attempts that were sealed and refused: the journal alone does not tell them from points.
  private let refusedAttempts: Set<RandomID>
  /// The point that was refused last.
  package private(set) var refused = PointNumber.none
  /// Attempts that were refused and are not yet asked for, in their order.
  private var refusals: [RandomID] = []
  /// The same, where a catching up of the journal's end alone refused them for lack of content.
  package private(set) var refusedAtTail: [RandomID] = []

  /// - Parameter roots: how many the pair has; the other side may name no other.
  ///   - refused: attempts that no catching up makes points of.
  package init(
    journal: Journal, index: any Index, digests: PairDigests, roots: Int,
    refused: Set<RandomID> = []
  ) throws {
    refusedAttempts = refused
    self.roots = roots
    self.journal = journal
    self.index = index
    self.digests = digests
    newest = try index.newest(atLeast: .fuzzy)
    highest = try index.points().first?.point.number ?? .none
  }

  /// Brings the index up to the journal's end, from the beginning where it is new, another
  /// journal's, or beyond the end.
  /// - Parameters:
  ///   - journalID: see ``Index/reset(journal:)``.
  ///   - damaged: told where a record is not what was written: content that only it held is gone,
  ///     and every point that does not need it stays.
  package func catchUp(
    journalID: RandomID, damaged: (RecordPosition) -> Void = { _ in }, progress: (Int64) -> Void
  ) throws {
    var start = RecordPosition.start
    if let covered = try index.covered(), covered.journal == journalID,
      covered.upTo > .start, isInside(covered.upTo)
    {
      start = covered.upTo
    } else {
      try index.reset(journal: journalID)
      snapshot = try newestSnapshot()
    }
    isCatchingUp = true
    isAtTail = start > .start
    defer {
      snapshot = nil
      isCatchingUp = false
      refusals = []
    }
    newest = try index.newest(atLeast: .fuzzy)
    highest = try index.points().first?.point.number ?? .none
    var end = start
    var done: Int64 = 0
    for number in journal.segments.keys.sorted() where number >= start.segment {
      let from = number == start.segment ? start.offset : 0
      try journal.scan(number, from: from, damaged: { at, _ in damaged(at) }) {
        position, bytes, record in
        do {
          _ = try take(position, bytes, record)
        } catch let error as IndexError {
          throw error
        } catch JournalError.disk(let error) {
          // It may be one then that the disk can be asked again.
          throw JournalError.disk(error)
        } catch {
          // What could not become a point then cannot now either.
        }
        end = RecordPosition(
          segment: number, offset: position.offset + Int64(record.range.count))
        done += Int64(record.range.count)
      }
      progress(done)
    }
    try index.commit(upTo: end)
  }

  /// Where the newest snapshot begins that is there to its end.
  private func newestSnapshot() throws -> RecordPosition? {
    var found = JournalCondition()
    for number in journal.segments.keys.sorted() {
      try journal.scan(number, from: 0, damaged: { _, _ in }) { position, bytes, record in
        guard record.header.kind == .carried else { return }
        let plain = try journal.plain(number, bytes, record, at: position)
        found.carried(position, try Carried(decoding: plain).part)
      }
    }
    return found.snapshot
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
    let kind = record.header.kind
    if let snapshot, kind != .chunk, position < snapshot { return nil }
    switch kind {
    case .chunk:
      try index.insertChunk(record.header.name, at: position, bytes: record.range.count)
      return nil
    case .changes:
      try changes(try journal.plain(position.segment, bytes, record, at: position), position)
      return nil
    case .part:
      let plain = try journal.plain(position.segment, bytes, record, at: position)
      try known(try FilePart(decoding: plain).place)
      return nil
    case .seal:
      let point = try seal(try journal.plain(position.segment, bytes, record, at: position))
      sealedUpTo = position
      return point
    case .note:
      try note(try journal.plain(position.segment, bytes, record, at: position))
      return nil
    case .carried:
      let plain = try journal.plain(position.segment, bytes, record, at: position)
      if snapshot != nil {
        try carried(plain)
      } else if isAtTail, try Carried(decoding: plain).part == .last,
        try isOlder(than: position)
      {
        throw IndexError.unusable("it is older than the journal's last compaction")
      }
      return nil
    }
  }

  private func changes(_ plain: [UInt8], _ position: RecordPosition) throws {
    var reader = Reader(plain)
    let head = try ChangesHead(from: &reader)
    try open(head)
    while !reader.isAtEnd {
      let change = try Change(from: &reader)
      try known(change.place)
      if let content = change.entry?.content {
        var seen: Set<ChunkName> = []
        try check(content.references, content.depth, &seen)
      }
      try index.put(change)
    }
  }

  private func note(_ number: PointNumber, _ attempt: RandomID) {
    refused = number
    // Each of its records is.
    if refusals.last != attempt { refusals.append(attempt) }
  }

  /// Attempts that were refused since this was last asked: each is to be kept on record before
  /// anybody hears of it.
  package func takeRefusals() -> [RandomID] {
    defer { refusals = [] }
    return refusals
  }

  private func known(_ place: Place) throws(CodingError) {
    guard place.root.rawValue < roots else { throw .invalid("root number of a place") }
  }

  private func open(_ head: ChangesHead) throws {
    if let open = try index.attempt(), open.id == head.attempt {
      guard open.number == head.number else { throw CodingError.invalid("number of an attempt") }
      return
    }
    // The rows of one that is not above all others would be taken for those of a sealed point.
    guard head.number > highest, head.number.rawValue <= Limits.pointMax else {
      note(head.number, head.attempt)
      throw Refusal.invalid("number goes back")
    }
    try index.beginAttempt(head.number, id: head.attempt, whole: head.isWhole)
  }

  /// Notes what is named and not held.
  /// - Parameter seen: lists that were looked into: one that names another a thousand times, which
  ///   does the same, would never come to an end.
  private func check(
    _ references: [ChunkReference], _ depth: UInt8, _ seen: inout Set<ChunkName>
  ) throws {
    for reference in references where reference.name != .hole {
      guard let position = try index.chunk(reference.name) else {
        try index.lack(reference.name)
        continue
      }
      guard depth > 0, seen.insert(reference.name).inserted else { continue }
      let list: [UInt8]
      do throws(JournalError) {
        list = try journal.record(at: position).plain
      } catch {
        if case .disk = error { throw error }
        // Until it comes again nobody is to take it for held.
        try index.forgetChunk(reference.name)
        try index.lack(reference.name)
        continue
      }
      try check(ChunkReference.list(list, covering: reference.length), depth - 1, &seen)
    }
  }

  private func seal(_ plain: [UInt8]) throws -> Point? {
    let record = try SealRecord(decoding: plain, digests)
    let point = record.point
    // An attempt without changes never opened.
    try open(ChangesHead(attempt: record.attempt, number: point.number, isWhole: false))
    let missing = try index.lacking()
    do throws(Refusal) {
      if !missing.isEmpty, !isCatchingUp || isAtTail { throw .missing(missing) }
      if refusedAttempts.contains(record.attempt) { throw .missing([]) }
      let expected = newest?.seal ?? .none
      guard point.parent == expected else {
        throw .parent(expected: expected, got: point.parent)
      }
      guard point.number > highest else { throw .invalid("number goes back") }
    } catch {
      note(point.number, record.attempt)
      if case .missing = error, isCatchingUp, isAtTail { refusedAtTail.append(record.attempt) }
      try index.abandonAttempt()
      throw error
    }
    guard try index.attemptDigest() == point.tree else {
      // An index that was damaged may be why: another would take it for a point.
      note(point.number, record.attempt)
      try index.abandonAttempt()
      throw Refusal.digest
    }
    try index.seal(point)
    newest = point
    highest = point.number
    return point
  }

  private func note(_ plain: [UInt8]) throws {
    switch try Note(decoding: plain) {
    case .dropped(let points): try index.drop(points)
    case .pinned(let point, let isPinned): try index.pin(point, isPinned)
    case .promoted(let from, let number, _):
      try index.abandonAttempt()
      try index.revert(to: from, as: number)
      newest = try index.newest(atLeast: .fuzzy)
      highest = max(highest, number)
    }
  }

  /// Whether segments have gone, once a snapshot was behind them, that the index rests on, or that
  /// held what it has not taken in.
  private func isOlder(than snapshot: RecordPosition) throws -> Bool {
    let covered = try index.covered()?.upTo ?? .start
    let wanted = Set(try index.liveBytes().keys).union(covered.segment...snapshot.segment)
    return wanted.contains {
      $0 > 0 && journal.segments[$0] == nil && !journal.unreadable.contains($0)
    }
  }

  private func carried(_ plain: [UInt8]) throws {
    let record = try Carried(decoding: plain)
    try index.restoreRows(record.rows)
    guard record.part == .last else { return }
    newest = try index.newest(atLeast: .fuzzy)
    highest = try index.points().first?.point.number ?? .none
  }
}
