import Foundation
import GRDB
import HoldfastCore

/// One SQLite file. All calls come from one thread at a time; a transaction stays open between
/// them until it is committed.
final class Store {
  let queue: DatabaseQueue
  /// Pages of 4 KiB in the log before they move into the file: a seed touches most pages often.
  private static let checkpointPages = 8192
  /// Of the queue, for ``Prepared``.
  let connection: Connection

  /// - Parameter cacheBytes: of pages kept in memory.
  init(path: String, schema: String, cacheBytes: Int, isReadOnly: Bool) throws(IndexError) {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    configuration.readonly = isReadOnly
    configuration.busyMode = .timeout(5)
    configuration.prepareDatabase { db in
      try db.execute(sql: "PRAGMA cache_size = -\(cacheBytes / 1024)")
      guard !isReadOnly else { return }
      // What a power cut may take is rebuilt; what stays must be whole.
      try db.execute(sql: "PRAGMA journal_mode = WAL")
      try db.execute(sql: "PRAGMA synchronous = NORMAL")
      try db.execute(sql: "PRAGMA wal_autocheckpoint = \(Self.checkpointPages)")
      try db.execute(sql: "PRAGMA temp_store = FILE")
    }
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      connection = queue.inDatabase { Connection($0) }
      guard !isReadOnly else { return }
      try queue.inDatabase { db in
        let answer = try String.fetchOne(db, sql: "PRAGMA quick_check(1)")
        guard answer == "ok" else { throw IndexError.unusable(answer ?? "no answer") }
        try db.execute(sql: schema)
      }
    } catch let error as IndexError {
      throw error
    } catch {
      throw .unusable("\(path): \(error)")
    }
  }

  /// Runs `body` inside the open transaction, which is begun where there is none.
  func write<T>(_ body: (Database) throws -> T) throws(IndexError) -> T {
    do {
      return try queue.unsafeReentrantWrite { db in
        if !db.isInsideTransaction { try db.execute(sql: "BEGIN IMMEDIATE") }
        return try body(db)
      }
    } catch {
      throw .unusable("\(error)")
    }
  }

  /// Begins a transaction where there is none, for what ``Prepared`` is to write.
  func begin() throws(IndexError) {
    try connection.begin()
  }

  func read<T>(_ body: (Database) throws -> T) throws(IndexError) -> T {
    do {
      return try queue.unsafeReentrantRead(body)
    } catch {
      throw .unusable("\(error)")
    }
  }

  func commit() throws(IndexError) { try end("COMMIT") }
  func rollback() throws(IndexError) { try end("ROLLBACK") }

  private func end(_ sql: String) throws(IndexError) {
    do {
      try queue.unsafeReentrantWrite { db in
        if db.isInsideTransaction { try db.execute(sql: sql) }
      }
    } catch {
      throw .unusable("\(error)")
    }
  }
}

extension Database {
  func run(_ sql: String, _ arguments: StatementArguments = StatementArguments()) throws {
    try cachedStatement(sql: sql).execute(arguments: arguments)
  }

  func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
    try Row.fetchOne(cachedStatement(sql: sql), arguments: arguments)
  }

  func setMeta(_ key: String, _ value: [UInt8]?) throws {
    if let value {
      try run("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", [key, Data(value)])
    } else {
      try run("DELETE FROM meta WHERE key = ?", [key])
    }
  }

  func meta(_ key: String) throws -> [UInt8]? {
    guard let row = try row("SELECT value FROM meta WHERE key = ?", [key]) else { return nil }
    let value: Data = row[0]
    return Array(value)
  }
}

extension PointNumber {
  /// SQLite's integers are signed.
  var stored: Int64 { Int64(bitPattern: rawValue) }
  init(stored: Int64) { self.init(rawValue: UInt64(bitPattern: stored)) }
}

func path(_ data: Data) throws -> TreePath {
  guard let path = TreePath(Array(data)) else {
    throw IndexError.unusable("path that leaves its tree")
  }
  return path
}
