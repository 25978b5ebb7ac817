/// What is said to a PostgreSQL server, by its version: docs/consistency.md. Names of functions are
/// those of its manual, "Backup Control Functions" and "Replication Management Functions".
package struct PostgresStatements {
  /// As `server_version_num` has it.
  package let version: Int
  package static let oldest = 130_000
  package init(version: Int) { self.version = version }

  package static let examine = """
    SELECT current_setting('server_version_num'), pg_is_in_recovery(), \
    current_setting('data_directory')
    """
  package static let control = "SELECT system_identifier FROM pg_control_system()"
  package static let tablespaces = """
    SELECT pg_tablespace_location(oid) FROM pg_tablespace \
    WHERE pg_tablespace_location(oid) <> ''
    """

  /// A slot that ends with the session.
  package static func createSlot(_ name: String) -> String {
    "SELECT pg_create_physical_replication_slot('\(name)', true, true)"
  }
  package static func advance(_ slot: String, to position: String) -> String {
    "SELECT pg_replication_slot_advance('\(slot)', '\(position)')"
  }
  package static let position = "SELECT pg_current_wal_lsn()"
  /// Whether the slot still keeps what it should, how many bytes of WAL that is, and how many were
  /// written since a position.
  package static func look(_ slot: String, since position: String) -> String {
    """
    SELECT wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, \
    pg_wal_lsn_diff(pg_current_wal_lsn(), '\(position)')::bigint \
    FROM pg_replication_slots WHERE slot_name = '\(slot)'
    """
  }

  /// Begins a backup that other sessions' backups do not disturb, with a checkpoint at once.
  package var start: String {
    version >= 150_000
      ? "SELECT pg_backup_start('holdfast', true)"
      : "SELECT pg_start_backup('holdfast', true, false)"
  }

  /// Ends it without waiting for an archive: where it ends, then the label and the map of
  /// tablespaces in hexadecimal digits, for they have line breaks.
  package var stop: String {
    let call =
      version >= 150_000 ? "pg_backup_stop(false)" : "pg_stop_backup(false, false)"
    return """
      SELECT lsn, encode(convert_to(labelfile, 'UTF8'), 'hex'), \
      encode(convert_to(coalesce(spcmapfile, ''), 'UTF8'), 'hex') FROM \(call)
      """
  }
}
