import Foundation
import GRDB
package import HoldfastCore

/// Points and their trees.
extension SQLiteIndex {
  package func points() throws(IndexError) -> [PointRow] {
    try store.read { db in
      let rows = try Row.fetchAll(
        db, sql: "SELECT body, branch, pinned FROM point ORDER BY number DESC")
      return try rows.map(Self.decode)
    }
  }

  private static func decode(_ row: Row) throws -> PointRow {
    let body: Data = row[0]
    var reader = Reader(Array(body))
    return PointRow(
      point: try Point(stored: &reader), isBranch: row[1] == 1, isPinned: row[2] == 1)
  }

  package func newest(atLeast grade: Grade) throws(IndexError) -> Point? {
    try store.read { db in
      let rows = try Row.fetchCursor(
        db.cachedStatement(
          sql: "SELECT body, branch, pinned FROM point WHERE branch = 0 ORDER BY number DESC"))
      while let row = try rows.next() {
        let point = try Self.decode(row).point
        if point.grade >= grade { return point }
      }
      return nil
    }
  }

  package func point(_ number: PointNumber) throws(IndexError) -> PointRow? {
    try store.read { db in
      try db.row("SELECT body, branch, pinned FROM point WHERE number = ?", [number.stored])
        .map(Self.decode)
    }
  }

  package func entry(_ place: Place, at point: PointNumber) throws(IndexError) -> Entry? {
    guard let body = try body(place.root.rawValue, place.path.bytes, point) else { return nil }
    do throws(CodingError) {
      return try Entry(decoding: body)
    } catch {
      throw .unusable("entry of \(place): \(error)")
    }
  }

  private func body(
    _ root: Int, _ key: [UInt8], _ point: PointNumber
  ) throws(IndexError) -> [UInt8]? {
    let at = Prepared.Value.number(point.stored)
    return try selectBody.first(.count(root), .bytes(key), at, at) { $0.bytes(0) }
  }

  /// Calls `body` with the rows of a point, in portions, so that nothing grows with the tree. The
  /// plus signs keep SQLite from the index on `first`, which would sort the whole tree each time.
  private func forEachBody(
    at point: PointNumber, _ body: (Place, [UInt8]) throws -> Void
  ) throws {
    var root = -1
    var key = Data()
    while true {
      let rows = try store.read { db in
        try Row.fetchAll(
          db.cachedStatement(
            sql: """
              SELECT root, path, body FROM entry WHERE (root, path) > (?, ?)
              AND +first <= ? AND +last > ? ORDER BY root, path LIMIT 1024
              """),
          arguments: [root, key, point.stored, point.stored])
      }
      for row in rows {
        let bytes: Data = row[2]
        try body(Place(root: RootNumber(rawValue: row[0]), path: try path(row[1])), Array(bytes))
      }
      guard let last = rows.last else { return }
      root = last[0]
      key = last[1]
    }
  }

  package func forEachEntry(
    at point: PointNumber, _ body: (Place, Entry) throws -> Void
  ) throws {
    try forEachBody(at: point) { try body($0, try Entry(decoding: $1)) }
  }

  package func forEachDifference(
    among points: [PointNumber], descending: Bool,
    _ body: (_ place: Place, _ entries: [Entry?]) throws -> Void
  ) throws {
    guard let low = points.map(\.stored).min(), let high = points.map(\.stored).max() else {
      return
    }
    let order = descending ? "DESC" : "ASC"
    // Taken down first: what `body` does may be slow, and may read the index.
    let places = try store.read { db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT root, path FROM (
            SELECT root, path FROM entry WHERE first > ?1 AND first <= ?2
            UNION
            SELECT root, path FROM entry WHERE last > ?1 AND last <= ?2 AND last < \(Self.open))
          ORDER BY root \(order), path \(order)
          """, arguments: [low, high]
      ).map { row -> (Int, Data) in (row[0], row[1]) }
    }
    for (root, key) in places {
      let bodies = try points.map { try self.body(root, Array(key), $0) }
      if bodies.dropFirst().allSatisfy({ $0 == bodies[0] }) { continue }
      try body(
        Place(root: RootNumber(rawValue: root), path: try path(key)),
        try bodies.map { try $0.map { try Entry(decoding: $0) } })
    }
  }

  package func members(
    root: RootNumber, linkGroup: UInt64, at point: PointNumber
  ) throws(IndexError) -> [Place] {
    guard linkGroup != 0 else { return [] }
    return try store.read { db in
      let rows = try Row.fetchAll(
        db.cachedStatement(
          sql: """
            SELECT path FROM entry INDEXED BY entry_link
            WHERE root = ? AND link = ? AND link <> 0 AND +first <= ? AND +last > ? ORDER BY path
            """),
        arguments: [
          root.rawValue, Int64(bitPattern: linkGroup), point.stored, point.stored,
        ])
      return try rows.map { Place(root: root, path: try path($0[0])) }
    }
  }

  package func treeDigest(at point: PointNumber) throws(IndexError) -> TreeDigest {
    var sum = TreeDigest()
    do {
      try forEachBody(at: point) { sum.add(digestOf($0, $1)) }
    } catch {
      throw .unusable("\(error)")
    }
    return sum
  }

  package func revert(to point: PointNumber, as number: PointNumber) throws(IndexError) {
    try store.write { db in
      let kept = point.stored
      let now = number.stored
      // What was closed since then opens again as new intervals, so that the points in between
      // stay readable.
      try db.execute(
        sql: """
          INSERT OR REPLACE INTO entry(root, path, first, last, link, body)
          SELECT root, path, ?2, \(Self.open), link, body FROM entry
          WHERE first <= ?1 AND last > ?1 AND last < \(Self.open)
          """, arguments: [kept, now])
      try db.execute(
        sql: """
          UPDATE entry SET last = ?2
          WHERE first > ?1 AND first < ?2 AND last = \(Self.open)
          """, arguments: [kept, now])
      try db.execute(sql: "UPDATE point SET branch = 1 WHERE number > ?", arguments: [kept])
    }
  }

  package func drop(_ points: [PointNumber]) throws(IndexError) {
    try store.write { db in
      for point in points {
        try db.run("DELETE FROM point WHERE number = ?", [point.stored])
      }
      var gaps: [Int64: Int64] = [:]
      for point in points {
        let below = try Int64.fetchOne(
          db.cachedStatement(sql: "SELECT MAX(number) FROM point WHERE number < ?"),
          arguments: [point.stored])
        let above = try Int64.fetchOne(
          db.cachedStatement(sql: "SELECT MIN(number) FROM point WHERE number > ?"),
          arguments: [point.stored])
        if let above { gaps[below ?? 0] = above }
      }
      // An interval between two kept neighbours holds no kept point: it is nobody's any more.
      for (below, above) in gaps {
        try db.run(
          """
          DELETE FROM entry INDEXED BY entry_last
          WHERE last > ?1 AND last <= ?2 AND last < \(Self.open) AND +first > ?1
          """, [below, above])
      }
    }
  }

  package func pin(_ point: PointNumber, _ pinned: Bool) throws(IndexError) {
    try store.write { db in
      try db.run(
        "UPDATE point SET pinned = ? WHERE number = ?", [pinned ? 1 : 0, point.stored])
    }
  }

  // MARK: Retention

  private static let pointPortion: UInt8 = 1
  private static let entryPortion: UInt8 = 2

  package func forEachPortion(_ body: ([UInt8]) throws -> Void) throws {
    for row in try points().reversed() {
      var out = Writer()
      out.fixed(Self.pointPortion)
      out.fixed(UInt8(row.isBranch ? 1 : 0))
      out.fixed(UInt8(row.isPinned ? 1 : 0))
      out.raw(row.point.stored)
      try body(out.bytes)
    }
    var root = -1
    var key = Data()
    var first: Int64 = -1
    while true {
      let rows = try store.read { db in
        try Row.fetchAll(
          db.cachedStatement(
            sql: """
              SELECT root, path, first, last, link, body FROM entry
              WHERE (root, path, first) > (?, ?, ?) ORDER BY root, path, first LIMIT 256
              """), arguments: [root, key, first])
      }
      guard let last = rows.last else { return }
      var out = Writer()
      out.fixed(Self.entryPortion)
      for row in rows {
        let path: Data = row[1]
        let entry: Data = row[5]
        out.variable(UInt64(row[0] as Int))
        out.counted(Array(path))
        out.fixed(row[2] as Int64)
        out.fixed(row[3] as Int64)
        out.counted(Array(entry))
        // One portion is one record.
        if out.bytes.count >= Limits.changesBytes {
          try body(out.bytes)
          out = Writer()
          out.fixed(Self.entryPortion)
        }
      }
      if out.bytes.count > 1 { try body(out.bytes) }
      root = last[0]
      key = last[1]
      first = last[2]
    }
  }

  package func restoreRows(_ portion: [UInt8]) throws(IndexError) {
    guard !portion.isEmpty else { return }
    try store.write { db in
      var reader = Reader(portion)
      if try reader.fixed(UInt8.self) == Self.pointPortion {
        let isBranch = try reader.fixed(UInt8.self)
        let isPinned = try reader.fixed(UInt8.self)
        let point = try Point(stored: &reader)
        try db.run(
          "INSERT OR REPLACE INTO point(number, body, branch, pinned) VALUES (?, ?, ?, ?)",
          [point.number.stored, Data(point.stored), isBranch, isPinned])
        return
      }
      while !reader.isAtEnd {
        let root = Int(try reader.variable())
        let key = try reader.counted(max: Limits.pathBytesMax)
        let first = try reader.fixed(Int64.self)
        let last = try reader.fixed(Int64.self)
        let body = try reader.counted(max: Limits.entryBytesMax)
        let entry = try Entry(decoding: body)
        try db.run(
          """
          INSERT OR REPLACE INTO entry(root, path, first, last, link, body)
          VALUES (?, ?, ?, ?, ?, ?)
          """,
          [root, Data(key), first, last, Int64(bitPattern: entry.linkGroup), Data(body)])
      }
    }
  }

  package func sweepChunks(
    before position: RecordPosition, list: (ChunkName) throws -> [UInt8]
  ) throws -> Int {
    try store.write { db in
      try db.execute(
        sql: "CREATE TEMP TABLE IF NOT EXISTS live(name BLOB PRIMARY KEY) WITHOUT ROWID")
      try db.execute(sql: "DELETE FROM live")
    }
    var root = -1
    var key = Data()
    var first: Int64 = -1
    while true {
      let rows = try store.read { db in
        try Row.fetchAll(
          db.cachedStatement(
            sql: """
              SELECT root, path, first, body FROM entry
              WHERE (root, path, first) > (?, ?, ?) ORDER BY root, path, first LIMIT 512
              """), arguments: [root, key, first])
      }
      guard let last = rows.last else { break }
      for row in rows {
        let body: Data = row[3]
        let content = try Entry(decoding: Array(body)).content
        try mark(content.references, content.depth, list)
      }
      root = last[0]
      key = last[1]
      first = last[2]
    }
    return try store.write { db in
      try db.execute(
        sql: """
          DELETE FROM chunk WHERE (segment, offset) < (?, ?) AND name NOT IN (SELECT name FROM live)
          """, arguments: [Int64(bitPattern: position.segment), position.offset])
      let count = db.changesCount
      try db.execute(sql: "DELETE FROM live")
      return count
    }
  }

  private func mark(
    _ references: [ChunkReference], _ depth: UInt8, _ list: (ChunkName) throws -> [UInt8]
  ) throws {
    for reference in references where reference.name != .hole {
      let name = Data(reference.name.digest.bytes)
      let isNew = try store.write { db in
        try db.run("INSERT OR IGNORE INTO live(name) VALUES (?)", [name])
        return db.changesCount > 0
      }
      guard depth > 0, isNew else { continue }
      let references = try ChunkReference.list(
        try list(reference.name), covering: reference.length)
      try mark(references, depth - 1, list)
    }
  }
}
