import Foundation
import GRDB
import GRDBSQLite
import HoldfastCore

/// One SQLite file. All calls come from one thread at a time; a transaction stays open between
/// them until it is committed.
@safe final class Store {
  let queue: DatabaseQueue
  /// Of the queue, for ``Prepared``.
  let connection: OpaquePointer

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
      try db.execute(sql: "PRAGMA temp_store = FILE")
    }
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
      guard let connection = unsafe queue.inDatabase({ unsafe $0.sqliteConnection }) else {
        throw IndexError.unusable("\(path): no connection")
      }
      unsafe self.connection = connection
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
    guard unsafe sqlite3_get_autocommit(connection) != 0 else { return }
    guard unsafe sqlite3_exec(connection, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK else {
      throw .unusable("the file is locked or cannot be written")
    }
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
