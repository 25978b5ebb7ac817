import Foundation
import GRDB
package import HoldfastCore

/// The index in one SQLite file. An entry is valid from its first point up to, not including, its
/// last.
package final class SQLiteIndex: Index {
  static let open = Int64.max
  let store: Store
  /// What an entry adds to the digest of its tree.
  private let digest: (Place, [UInt8]) -> Digest32
  func digestOf(_ place: Place, _ body: [UInt8]) -> Digest32 { digest(place, body) }
  /// Of the attempt that is open; as it was saved with the last commit when the file is opened.
  private var attemptState: Attempt?
  private var running = TreeDigest()

  private struct Attempt {
    var number: PointNumber
    var id: RandomID
    /// Whether mentions are kept: a whole attempt over a tree that was not empty.
    var keepsMentions: Bool
    /// What it names and nobody here holds.
    var lacking: [ChunkName] = []
  }

  private static let schema = """
    CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS chunk(
      name BLOB PRIMARY KEY, segment INTEGER, offset INTEGER, bytes INTEGER) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS point(
      number INTEGER PRIMARY KEY, body BLOB, branch INTEGER, pinned INTEGER);
    CREATE TABLE IF NOT EXISTS entry(
      root INTEGER, path BLOB, first INTEGER, last INTEGER, link INTEGER, body BLOB,
      PRIMARY KEY(root, path, first)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS entry_first ON entry(first);
    CREATE INDEX IF NOT EXISTS entry_last ON entry(last) WHERE last < \(open);
    CREATE INDEX IF NOT EXISTS entry_link ON entry(root, link) WHERE link <> 0;
    CREATE TABLE IF NOT EXISTS mention(
      root INTEGER, path BLOB, PRIMARY KEY(root, path)) WITHOUT ROWID;
    """

  // What runs for every file or chunk.
  private let insertChunkRow: Prepared
  private let selectChunk: Prepared
  private let selectOpen: Prepared
  private let insertEntry: Prepared
  private let deleteEntry: Prepared
  private let closeEntry: Prepared
  private let mention: Prepared
  let selectBody: Prepared

  package init(
    path: String, cacheBytes: Int = 12 << 20, isReadOnly: Bool = false,
    digest: @escaping (Place, [UInt8]) -> Digest32
  ) throws(IndexError) {
    store = try Store(
      path: path, schema: Self.schema, cacheBytes: cacheBytes, isReadOnly: isReadOnly)
    self.digest = digest
    insertChunkRow = try Prepared(
      store, "INSERT OR IGNORE INTO chunk(name, segment, offset, bytes) VALUES (?, ?, ?, ?)")
    selectChunk = try Prepared(store, "SELECT segment, offset FROM chunk WHERE name = ?")
    selectOpen = try Prepared(
      store,
      "SELECT first, body FROM entry WHERE root = ? AND path = ? AND last = \(Self.open)")
    insertEntry = try Prepared(
      store,
      """
      INSERT OR REPLACE INTO entry(root, path, first, last, link, body)
      VALUES (?, ?, ?, \(Self.open), ?, ?)
      """)
    deleteEntry = try Prepared(
      store, "DELETE FROM entry WHERE root = ? AND path = ? AND first = ?")
    closeEntry = try Prepared(
      store, "UPDATE entry SET last = ? WHERE root = ? AND path = ? AND first = ?")
    mention = try Prepared(store, "INSERT OR IGNORE INTO mention(root, path) VALUES (?, ?)")
    selectBody = try Prepared(
      store,
      "SELECT body FROM entry WHERE root = ? AND path = ? AND first <= ? AND +last > ?")
    // A transaction that a crash cut short took its attempt with it.
    guard !isReadOnly else { return }
    try reloadAttempt()
  }

  private func reloadAttempt() throws(IndexError) {
    attemptState = nil
    let saved = try store.read { try $0.meta("attempt") }
    guard let saved else { return }
    do throws(CodingError) {
      var reader = Reader(saved)
      let number = PointNumber(rawValue: try reader.fixed())
      let id = try reader.random()
      let keepsMentions = try reader.fixed(UInt8.self) == 1
      running = TreeDigest(sum: try reader.digest())
      attemptState = Attempt(number: number, id: id, keepsMentions: keepsMentions)
      while !reader.isAtEnd { attemptState?.lacking.append(ChunkName(try reader.digest())) }
    } catch {
      throw .unusable("attempt: \(error)")
    }
  }

  private func saveAttempt(_ db: Database) throws {
    guard let attempt = attemptState else { return try db.setMeta("attempt", nil) }
    var out = Writer()
    out.fixed(attempt.number.rawValue)
    out.raw(attempt.id.bytes)
    out.fixed(attempt.keepsMentions ? UInt8(1) : 0)
    out.digest(running.sum)
    for name in attempt.lacking { out.digest(name.digest) }
    try db.setMeta("attempt", out.bytes)
  }

  package func covered() throws(IndexError) -> (journal: RandomID, upTo: RecordPosition)? {
    let saved = try store.read { try $0.meta("covered") }
    guard let saved else { return nil }
    var reader = Reader(saved)
    do throws(CodingError) {
      return (
        try reader.random(),
        RecordPosition(segment: try reader.fixed(), offset: try reader.fixed())
      )
    } catch {
      throw .unusable("covered: \(error)")
    }
  }

  package func reset(journal: RandomID) throws(IndexError) {
    try store.write { db in
      for table in ["meta", "chunk", "point", "entry", "mention"] {
        try db.execute(sql: "DELETE FROM \(table)")
      }
      try db.setMeta("journal", journal.bytes)
    }
    attemptState = nil
    running = TreeDigest()
  }

  package func commit(upTo position: RecordPosition) throws(IndexError) {
    try store.write { db in
      guard let journal = try db.meta("journal") else {
        throw IndexError.unusable("commit before reset")
      }
      var out = Writer()
      out.raw(journal)
      out.fixed(position.segment)
      out.fixed(position.offset)
      try db.setMeta("covered", out.bytes)
      try self.saveAttempt(db)
    }
    try store.commit()
  }

  // MARK: Chunks

  package func insertChunk(
    _ name: ChunkName, at position: RecordPosition, bytes: Int
  ) throws(IndexError) {
    try store.begin()
    try insertChunkRow.run(
      .bytes(name.digest.bytes), .bits(position.segment), .number(position.offset), .count(bytes))
  }

  package func moveChunk(
    _ name: ChunkName, to position: RecordPosition, bytes: Int
  ) throws(IndexError) {
    try store.write { db in
      try db.run(
        "UPDATE chunk SET segment = ?, offset = ?, bytes = ? WHERE name = ?",
        [
          Int64(bitPattern: position.segment), position.offset, bytes, Data(name.digest.bytes),
        ])
    }
  }

  package func forgetChunk(_ name: ChunkName) throws(IndexError) {
    try store.write { db in
      try db.run("DELETE FROM chunk WHERE name = ?", [Data(name.digest.bytes)])
    }
  }

  package func chunk(_ name: ChunkName) throws(IndexError) -> RecordPosition? {
    try selectChunk.first(.bytes(name.digest.bytes)) { row in
      RecordPosition(segment: row.bits(0), offset: row.number(1))
    }
  }

  package func forEachChunkPrefix(_ body: ([UInt64]) throws -> Void) throws {
    var after = Data()
    while true {
      let rows = try store.read { db in
        try Row.fetchAll(
          db.cachedStatement(
            sql: "SELECT name FROM chunk WHERE name > ? ORDER BY name LIMIT \(Limits.hintsInFrame)"),
          arguments: [after])
      }
      guard let last = rows.last else { return }
      try body(
        try rows.map { row in
          let data: Data = row[0]
          guard let name = Digest32(data) else { throw IndexError.unusable("chunk name") }
          return name.prefix
        })
      after = last[0]
    }
  }

  package func liveBytes() throws(IndexError) -> [UInt64: Int64] {
    try store.read { db in
      let rows = try Row.fetchAll(
        db, sql: "SELECT segment, SUM(bytes) FROM chunk GROUP BY segment")
      return Dictionary(
        uniqueKeysWithValues: rows.map { (UInt64(bitPattern: $0[0]), $0[1]) })
    }
  }

  // MARK: The open attempt

  package func beginAttempt(
    _ number: PointNumber, id: RandomID, whole: Bool
  ) throws(IndexError) {
    try abandonAttempt()
    let newest = try newest(atLeast: .fuzzy)
    running = newest?.tree ?? TreeDigest()
    let hasRows = newest != nil
    attemptState = Attempt(number: number, id: id, keepsMentions: whole && hasRows)
    try store.write { db in
      try db.run("DELETE FROM mention")
      try self.saveAttempt(db)
    }
  }

  package func attempt() throws(IndexError) -> (number: PointNumber, id: RandomID)? {
    attemptState.map { ($0.number, $0.id) }
  }

  package func lack(_ name: ChunkName) throws(IndexError) {
    guard let count = attemptState?.lacking.count, count < Limits.missingNamesMax else { return }
    attemptState?.lacking.append(name)
  }

  package func lacking() throws(IndexError) -> [ChunkName] { attemptState?.lacking ?? [] }

  package func attemptDigest() throws(IndexError) -> TreeDigest {
    try closeUnmentioned()
    return running
  }

  package func put(_ change: Change) throws(IndexError) {
    guard let attempt = attemptState else { throw .unusable("change without an attempt") }
    let number = attempt.number.stored
    let place = change.place
    let body = change.entry?.encoded
    let root = Prepared.Value.count(place.root.rawValue)
    let key = Prepared.Value.bytes(place.path.bytes)
    try store.begin()
    if attempt.keepsMentions { try mention.run(root, key) }
    let old = try selectOpen.first(root, key) { ($0.number(0), $0.bytes(1)) }
    if let (first, bytes) = old {
      if bytes == body { return }
      running.remove(digest(place, bytes))
      if first == number {
        try deleteEntry.run(root, key, .number(first))
      } else {
        try closeEntry.run(.number(number), root, key, .number(first))
      }
    }
    guard let body, let entry = change.entry else { return }
    running.add(digest(place, body))
    try insertEntry.run(root, key, .number(number), .bits(entry.linkGroup), .bytes(body))
  }

  /// Closes what a whole attempt did not mention; afterwards it is like any other.
  private func closeUnmentioned() throws(IndexError) {
    guard let attempt = attemptState, attempt.keepsMentions else { return }
    try store.write { db in
      let rows = try Row.fetchCursor(
        db,
        sql: """
          SELECT root, path, body FROM entry WHERE last = \(Self.open) AND first < ?
          AND NOT EXISTS (SELECT 1 FROM mention
            WHERE mention.root = entry.root AND mention.path = entry.path)
          """, arguments: [attempt.number.stored])
      while let row = try rows.next() {
        let key: Data = row[1]
        let body: Data = row[2]
        let place = Place(root: RootNumber(rawValue: row[0]), path: try path(key))
        self.running.remove(self.digest(place, Array(body)))
      }
      try db.execute(
        sql: """
          UPDATE entry SET last = ? WHERE last = \(Self.open) AND first < ?
          AND NOT EXISTS (SELECT 1 FROM mention
            WHERE mention.root = entry.root AND mention.path = entry.path)
          """, arguments: [attempt.number.stored, attempt.number.stored])
      try db.run("DELETE FROM mention")
    }
    attemptState?.keepsMentions = false
  }

  package func seal(_ point: Point) throws(IndexError) {
    try closeUnmentioned()
    attemptState = nil
    try store.write { db in
      try self.saveAttempt(db)
      try db.run(
        "INSERT OR REPLACE INTO point(number, body, branch, pinned) VALUES (?, ?, 0, 0)",
        [point.number.stored, Data(point.stored)])
    }
  }

  package func abandonAttempt() throws(IndexError) {
    guard let attempt = attemptState else { return }
    attemptState = nil
    try store.write { db in
      try db.run("DELETE FROM entry WHERE first = ?", [attempt.number.stored])
      try db.run(
        """
        UPDATE entry INDEXED BY entry_last SET last = \(Self.open)
        WHERE last = ? AND last < \(Self.open)
        """, [attempt.number.stored])
      try db.run("DELETE FROM mention")
      try self.saveAttempt(db)
    }
  }
}
