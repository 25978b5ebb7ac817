import GRDB
import GRDBSQLite
import HoldfastCore

/// The SQLite connection under a queue of GRDB's.
@safe final class Connection {
  fileprivate let pointer: OpaquePointer

  init(_ database: Database) {
    guard let pointer = unsafe database.sqliteConnection else {
      preconditionFailure("a database that is in use has a connection")
    }
    unsafe self.pointer = pointer
  }

  /// Begins a transaction where there is none.
  func begin() throws(IndexError) {
    guard unsafe sqlite3_get_autocommit(pointer) != 0 else { return }
    guard unsafe sqlite3_exec(pointer, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK else {
      throw error
    }
  }

  fileprivate var error: IndexError {
    guard let text = unsafe sqlite3_errmsg(pointer) else { return .unusable("out of memory") }
    return unsafe .unusable(String(cString: text))
  }
}

/// A statement that runs for every file or chunk: prepared once and run on the connection itself,
/// where the way through row and value objects would cost more than the work. All calls come from
/// the store's one thread at a time.
@safe final class Prepared {
  enum Value {
    case number(Int64)
    case bytes([UInt8])

    static func bits(_ value: UInt64) -> Value { .number(Int64(bitPattern: value)) }
    static func count(_ value: Int) -> Value { .number(Int64(value)) }
  }

  /// Kept, so that the connection is closed after the last statement is gone: one that is closed
  /// before lives on, and calls back what is no longer there when it ends (sqlite3_close_v2).
  private let store: Store
  private var connection: Connection { store.connection }
  private let statement: OpaquePointer

  init(_ store: Store, _ sql: String) throws(IndexError) {
    self.store = store
    let connection = store.connection
    var made: OpaquePointer?
    let code = unsafe sqlite3_prepare_v3(
      connection.pointer, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
    guard code == SQLITE_OK, let made = unsafe made else {
      throw connection.error
    }
    unsafe statement = made
  }

  deinit { unsafe sqlite3_finalize(statement) }

  /// Runs a statement that gives no rows.
  func run(_ values: Value...) throws(IndexError) {
    defer { unsafe sqlite3_reset(statement) }
    _ = try step(values)
  }

  /// - Returns: what `read` makes of the first row; `nil` where there is none.
  func first<Result>(
    _ values: Value..., read: (Prepared) throws(IndexError) -> Result
  ) throws(IndexError) -> Result? {
    defer { unsafe sqlite3_reset(statement) }
    return try step(values) ? try read(self) : nil
  }

  private func step(_ values: [Value]) throws(IndexError) -> Bool {
    // SQLITE_TRANSIENT of sqlite3.h: the bytes are copied.
    let copied = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
    for (index, value) in values.enumerated() {
      let position = Int32(index + 1)
      let code =
        switch value {
        case .number(let number): unsafe sqlite3_bind_int64(statement, position, number)
        case .bytes(let bytes) where bytes.isEmpty:
          unsafe sqlite3_bind_zeroblob(statement, position, 0)
        case .bytes(let bytes):
          unsafe sqlite3_bind_blob(statement, position, bytes, Int32(bytes.count), copied)
        }
      guard code == SQLITE_OK else { throw connection.error }
    }
    switch unsafe sqlite3_step(statement) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default: throw connection.error
    }
  }

  // MARK: The row that is being read

  func number(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(statement, column) }
  func bits(_ column: Int32) -> UInt64 { UInt64(bitPattern: number(column)) }

  func bytes(_ column: Int32) -> [UInt8] {
    let count = Int(unsafe sqlite3_column_bytes(statement, column))
    guard count > 0, let start = unsafe sqlite3_column_blob(statement, column) else { return [] }
    return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
  }
}
