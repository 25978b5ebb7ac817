package import HoldfastCore
import HoldfastStore

/// The journal and its index, from a start to a greeting.
extension ReceiveWorker {
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
        verify \(pair) --repair
        """)
    }
    do {
      try openIndex(journal, fresh: false)
    } catch let error as IndexError {
      // Where nothing can be written it may be as good as ever, and there is no room for another.
      guard try journal.freeBytes() >= Limits.rebuildRoomMin else {
        throw Failure.full(
          "less than \(Limits.rebuildRoomMin >> 20) MiB are free, and the index may be damaged")
      }
      board.update { $0.lastError = "index rebuilt from the journal: \(error)" }
      removeIndex()
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

  private static let mendedName = "mended"

  /// What was damaged is needed no more, and is not told of again.
  func noteMended(_ mended: [RecordPosition]) throws {
    let disk = try host.disk(["pairs", pair, "journal"])
    var out = Writer()
    for place in (try loadMended() + mended).suffix(Limits.damageMax) {
      out.fixed(place.segment)
      out.fixed(UInt64(clamping: place.offset))
    }
    try disk.replace(Self.mendedName, with: out.bytes)
  }

  private func loadMended() throws -> [RecordPosition] {
    let disk = try host.disk(["pairs", pair, "journal"])
    var reader = Reader(try disk.contents(of: Self.mendedName) ?? [])
    var places: [RecordPosition] = []
    while !reader.isAtEnd {
      let segment = try reader.fixed(UInt64.self)
      places.append(
        RecordPosition(segment: segment, offset: Int64(clamping: try reader.fixed(UInt64.self))))
    }
    return places
  }

  private func holdDamaged(_ found: [RecordPosition]) {
    let mended = Set((try? loadMended()) ?? [])
    let places = found.filter { !mended.contains($0) }
    damagedPlaces += places
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

  private func removeIndex() {
    (index, sound) = (nil, nil)
    host.removeIndex(pair: pair)
    // Who has it open reads what is no more.
    board.update { $0.indexes += 1 }
  }

  /// Throws the index away and makes it anew from the journal.
  package func rebuildIndex() throws {
    close()
    removeIndex()
    try open()
    current = try journal.flatMap(tail)
  }

  /// Whether an index that is made anew would know all points; reads all of the journal.
  package func hasAllRecords() throws -> Bool {
    try open()
    try flush()
    guard let index, let covered = try index.covered() else { return false }
    let reading = Journal(
      reading: try host.disk(["pairs", pair, "journal"]), secret: identity.secret)
    let condition = try reading.examine(upTo: covered.upTo) { _ in }
    return try condition.records { try index.chunk($0) != nil }.isEmpty
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

  private static let refusedName = "refused"

  /// Attempts that were refused, the newest last.
  private func loadRefused() throws -> [RandomID] {
    let disk = try host.disk(["pairs", pair, "journal"])
    let bytes = try disk.contents(of: Self.refusedName) ?? []
    return stride(from: 0, to: bytes.count - 15, by: 16).compactMap { start in
      RandomID(bytes[start..<start + 16])
    }
  }

  /// Before the primary hears of it: whatever is sealed after it does not build on it, and is not
  /// to be taken for what does.
  func noteRefused(_ attempts: [RandomID]) throws {
    if attempts.isEmpty { return }
    let disk = try host.disk(["pairs", pair, "journal"])
    let known = try loadRefused().filter { !attempts.contains($0) }
    let all = (known + attempts).suffix(Limits.refusedAttemptsMax)
    try disk.replace(Self.refusedName, with: all.flatMap(\.bytes))
  }

  func openIndex(_ journal: Journal, fresh: Bool) throws {
    let digests = PairDigests(identity.secret)
    let index = try host.index(pair: pair, isReader: false) { digests.entry($0, $1) }
    let ingest = try Ingest(
      journal: journal, index: index, digests: self.digests, roots: roots,
      refused: Set(try loadRefused()))
    var damaged: [RecordPosition] = []
    try ingest.catchUp(journalID: journalID) {
      damaged.append($0)
    } progress: { [board] bytes in
      board.update { $0.notes = ["reading the journal: \(bytes >> 20) MiB"] }
    }
    if !damaged.isEmpty { holdDamaged(damaged) }
    try noteRefused(ingest.refusedAtTail)
    board.update { $0.notes = [] }
    if !fresh, try index.attempt() == nil, try !Self.isSound(index, ingest.newest) {
      throw IndexError.unusable("its digest is another than the newest point's")
    }
    self.index = index
    self.ingest = ingest
  }

  /// Whether the index has of a point what was sealed: a flipped bit in a row SQLite cannot see.
  func isSound(_ point: Point?) throws -> Bool {
    try index.map { try Self.isSound($0, point) } ?? true
  }

  private static func isSound(_ index: any Index, _ point: Point?) throws -> Bool {
    guard let point else { return true }
    return try index.treeDigest(at: point.number) == point.tree
  }

  func publish() {
    let newest = ingest?.newest
    let size = journal?.sizeBytes ?? 0
    board.update { view in
      // Of points that are lost nothing is known but when they were captured.
      if newest?.number ?? .none < view.marks.durable { view.lag = LagClock() }
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
}
