import Foundation
import GRDB
package import HoldfastCore

/// The catalog in one SQLite file.
package final class SQLiteCatalog: Catalog {
  private let store: Store

  private static let schema = """
    CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS file(
      root INTEGER, parent BLOB, name BLOB, device INTEGER, inode INTEGER, size INTEGER,
      modified INTEGER, changed INTEGER, settled INTEGER, body BLOB,
      PRIMARY KEY(root, parent, name)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS file_object ON file(root, device, inode);
    CREATE INDEX IF NOT EXISTS file_open ON file(root) WHERE settled & 1 = 0;
    """
  private static let knownSchema = "CREATE TABLE IF NOT EXISTS known(prefix INTEGER PRIMARY KEY)"
  /// In a file of its own, since it is committed as chunks are written, not as points are sealed:
  /// what a crash interrupts need not be sent again.
  private let known: Store

  /// - Parameter path: of the catalog; what is known stands beside it.
  package init(path: String, cacheBytes: Int = 12 << 20) throws(IndexError) {
    store = try Store(
      path: path, schema: Self.schema, cacheBytes: cacheBytes, isReadOnly: false)
    known = try Store(
      path: path + Self.knownSuffix, schema: Self.knownSchema, cacheBytes: cacheBytes,
      isReadOnly: false)
    selectRow = try Prepared(
      store, "SELECT \(Self.columns) FROM file WHERE root = ? AND parent = ? AND name = ?")
    insertRow = try Prepared(
      store,
      """
      INSERT OR REPLACE INTO file(root, parent, name, device, inode, size, modified, changed,
      settled, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """)
    selectKnown = try Prepared(known, "SELECT 1 FROM known WHERE prefix = ?")
    insertKnown = try Prepared(known, "INSERT OR IGNORE INTO known(prefix) VALUES (?)")
  }

  package static let knownSuffix = "-known"

  package func head() throws(IndexError) -> CatalogHead {
    let saved = try store.read { try $0.meta("head") }
    guard let saved else { return .none }
    var reader = Reader(saved)
    do throws(CodingError) {
      let number = PointNumber(rawValue: try reader.fixed())
      let seal = Seal(try reader.digest())
      let tree = TreeDigest(sum: try reader.digest())
      let totals = Totals(files: try reader.fixed(), bytes: try reader.fixed())
      guard let grade = Grade(rawValue: try reader.fixed(UInt8.self)) else {
        throw .invalid("grade")
      }
      return CatalogHead(
        number: number, seal: seal, tree: tree, totals: totals, grade: grade)
    } catch {
      throw .unusable("head: \(error)")
    }
  }

  package func setHead(_ head: CatalogHead) throws(IndexError) {
    var out = Writer()
    out.fixed(head.number.rawValue)
    out.digest(head.seal.digest)
    out.digest(head.tree.sum)
    out.fixed(head.totals.files)
    out.fixed(head.totals.bytes)
    out.fixed(head.grade.rawValue)
    try store.write { try $0.setMeta("head", out.bytes) }
  }

  private static let columns = "device, inode, size, modified, changed, settled, body"

  private static func key(_ place: Place) -> (Int, Data, Data) {
    (place.root.rawValue, Data(place.path.parent.bytes), Data(place.path.name))
  }

  // What runs for every file.
  private let selectRow: Prepared
  private let insertRow: Prepared
  private let selectKnown: Prepared
  private let insertKnown: Prepared

  // Bits of the column `settled`.
  private static let settled: Int64 = 1
  private static let harmless: Int64 = 2

  private static func decode(_ row: Row) throws -> CatalogRow {
    let body: Data = row[6]
    let stamp = Stamp(
      device: UInt64(bitPattern: row[0]), inode: UInt64(bitPattern: row[1]), size: row[2],
      modified: WallTime(nanos: row[3]), changed: WallTime(nanos: row[4]))
    return CatalogRow(
      stamp: stamp, entry: try Entry(decoding: Array(body)), isSettled: row[5] & settled != 0,
      isHarmless: row[5] & harmless != 0)
  }

  package func row(_ place: Place) throws(IndexError) -> CatalogRow? {
    try selectRow.first(
      .count(place.root.rawValue), .bytes(place.path.parent.bytes), .bytes(place.path.name)
    ) { row throws(IndexError) in
      do throws(CodingError) {
        return CatalogRow(
          stamp: Stamp(
            device: row.bits(0), inode: row.bits(1), size: row.number(2),
            modified: WallTime(nanos: row.number(3)), changed: WallTime(nanos: row.number(4))),
          entry: try Entry(decoding: row.bytes(6)),
          isSettled: row.number(5) & Self.settled != 0,
          isHarmless: row.number(5) & Self.harmless != 0)
      } catch {
        throw .unusable("entry of \(place): \(error)")
      }
    }
  }

  package func put(_ place: Place, _ row: CatalogRow) throws(IndexError) {
    try store.begin()
    try insertRow.run(
      .count(place.root.rawValue), .bytes(place.path.parent.bytes), .bytes(place.path.name),
      .bits(row.stamp.device), .bits(row.stamp.inode), .number(row.stamp.size),
      .number(row.stamp.modified.nanos), .number(row.stamp.changed.nanos),
      .number((row.isSettled ? Self.settled : 0) | (row.isHarmless ? Self.harmless : 0)),
      .bytes(row.entry.encoded))
  }

  package func remove(_ place: Place) throws(IndexError) {
    let (root, parent, name) = Self.key(place)
    try store.write { db in
      try db.run(
        "DELETE FROM file WHERE root = ? AND parent = ? AND name = ?", [root, parent, name])
    }
  }

  package func children(_ place: Place) throws(IndexError) -> [[UInt8]] {
    try store.read { db in
      // The top has an empty name and is nobody's child.
      let rows = try Row.fetchAll(
        db.cachedStatement(
          sql: "SELECT name FROM file WHERE root = ? AND parent = ? AND name <> x''"),
        arguments: [place.root.rawValue, Data(place.path.bytes)])
      return rows.map { row in
        let name: Data = row[0]
        return Array(name)
      }
    }
  }

  package func below(_ place: Place) throws(IndexError) -> [Place] {
    try store.read { db in
      let path = place.path.bytes
      let rows =
        place.path.isTop
        ? try Row.fetchAll(
          db, sql: "SELECT parent, name FROM file WHERE root = ? AND name <> x''",
          arguments: [place.root.rawValue])
        : try Row.fetchAll(
          db.cachedStatement(
            sql: """
              SELECT parent, name FROM file WHERE root = ?1 AND parent = ?2
              UNION ALL
              SELECT parent, name FROM file WHERE root = ?1 AND parent > ?3 AND parent < ?4
              """),
          arguments: [
            place.root.rawValue, Data(path), Data(path + [0x2F]), Data(path + [0x30]),
          ])
      return try rows.map { row in
        guard let child = try HoldfastIndex.path(row[0]).appending(Array(row[1] as Data)) else {
          throw IndexError.unusable("name in the catalog")
        }
        return Place(root: place.root, path: child)
      }.sorted()
    }
  }

  package func places(
    root: RootNumber, device: UInt64, inode: UInt64
  ) throws(IndexError) -> [Place] {
    try find(
      // Named, because without statistics SQLite would rather walk the whole root.
      """
      SELECT root, parent, name FROM file INDEXED BY file_object
      WHERE root = ? AND device = ? AND inode = ?
      """,
      [root.rawValue, Int64(bitPattern: device), Int64(bitPattern: inode)])
  }

  package func unsettled() throws(IndexError) -> [Place] {
    try find("SELECT root, parent, name FROM file WHERE settled & \(Self.settled) = 0", [])
  }

  private func find(
    _ sql: String, _ arguments: StatementArguments
  ) throws(IndexError) -> [Place] {
    try store.read { db in
      try Row.fetchAll(db.cachedStatement(sql: sql), arguments: arguments).map(Self.place)
    }
  }

  private static func place(_ row: Row) throws -> Place {
    try place(row[0], row[1], row[2])
  }

  private static func place(_ number: Int, _ above: Data, _ name: Data) throws -> Place {
    let root = RootNumber(rawValue: number)
    let parent = try path(above)
    if name.isEmpty { return Place(root: root, path: .top) }
    guard let whole = parent.appending(Array(name)) else {
      throw IndexError.unusable("name in the catalog")
    }
    return Place(root: root, path: whole)
  }

  package func forEach(_ body: (Place, CatalogRow) throws -> Void) throws {
    var key: (Int, Data, Data) = (-1, Data(), Data())
    while true {
      let rows = try store.read { db in
        try Row.fetchAll(
          db.cachedStatement(
            sql: """
              SELECT \(Self.columns), root, parent, name FROM file
              WHERE (root, parent, name) > (?, ?, ?) ORDER BY root, parent, name LIMIT 1024
              """), arguments: [key.0, key.1, key.2])
      }
      for row in rows {
        let place = try Self.place(row[7], row[8], row[9])
        try body(place, try Self.decode(row))
      }
      guard let last = rows.last else { return }
      key = (last[7], last[8], last[9])
    }
  }

  package func knows(_ prefix: UInt64) throws(IndexError) -> Bool {
    // Inside a transaction no lock is taken for each question.
    try known.begin()
    return try selectKnown.first(.bits(prefix)) { _ in true } ?? false
  }

  package func learn(_ prefixes: [UInt64]) throws(IndexError) {
    guard !prefixes.isEmpty else { return }
    try known.begin()
    for prefix in prefixes { try insertKnown.run(.bits(prefix)) }
    try known.commit()
  }

  package func forgetKnown() throws(IndexError) {
    try known.write { try $0.run("DELETE FROM known") }
    try known.commit()
  }

  package func erase() throws(IndexError) {
    try store.write { db in
      for table in ["meta", "file"] { try db.execute(sql: "DELETE FROM \(table)") }
    }
    try forgetKnown()
  }

  package func commit() throws(IndexError) {
    try store.commit()
    try known.commit()
  }
  package func rollback() throws(IndexError) { try store.rollback() }
}
