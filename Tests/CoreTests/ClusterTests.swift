import HoldfastCore
import Testing

@Suite struct `A cluster in the roots` {
  private func place(_ path: String, root: Int = 0) -> Place {
    guard let path = TreePath(path) else { preconditionFailure(path) }
    return Place(root: RootNumber(rawValue: root), path: path)
  }
  private var layout: ClusterLayout {
    ClusterLayout(
      data: place("main"), wal: place("wal", root: 1), tablespaces: [place("fast", root: 1)])
  }

  @Test func `hides what a server makes anew, and nothing else`() {
    let hidden = [
      "main/postmaster.pid", "main/pg_replslot/a/state", "main/base/5/pgsql_tmp",
      "main/base/pgsql_tmp/pgsql_tmp7.0.fileset/0.0",
      "main/base/5/pg_internal.init.17", "main/pg_notify/0000",
    ]
    for path in hidden { #expect(layout.isHidden(place(path)), "\(path)") }
    #expect(layout.isHidden(place("fast/pgsql_tmp7.0", root: 1)))
    #expect(layout.isHidden(place("wal/xlogtemp.12", root: 1)))
    let shown = [
      "main", "main/pg_replslot", "main/base/5/16384", "postmaster.pid", "pg_notify/0000",
      "main/base/postmaster.pid", "other/pgsql_tmp", "main/global/pg_control",
    ]
    for path in shown { #expect(!layout.isHidden(place(path)), "\(path)") }
  }

  @Test func `is seen whatever the directories around it are called`() {
    let odd = ClusterLayout(
      data: place("pgsql_tmp.old/main"), wal: place("pgsql_tmp.old/main/pg_wal"), tablespaces: [])
    #expect(!odd.isHidden(place("pgsql_tmp.old/main/base/5/1")))
    #expect(odd.isHidden(place("pgsql_tmp.old/main/base/pgsql_tmp/1")))
  }

  @Test func `is brought up to date by its WAL, but for settings and logs beside it`() {
    for path in ["main/base/5/1", "main/global/1", "main/pg_xact", "main/pg_multixact/members"] {
      #expect(layout.isRecovered(place(path)), "\(path)")
    }
    #expect(layout.isRecovered(place("wal/000000010000000000000001", root: 1)))
    #expect(layout.isRecovered(place("fast/PG_15_202209061/5/1", root: 1)))
    for path in ["main", "main/pg_hba.conf", "main/postgresql.auto.conf", "main/log/a", "notes"] {
      #expect(!layout.isRecovered(place(path)), "\(path)")
    }
  }

  @Test func `is no cluster without what a server cannot make anew`() {
    let needed = [
      "main", "main/global", "main/global/1262", "main/base/5/16384", "main/pg_xact/0000",
      "main/pg_multixact/offsets/0000", "main/pg_twophase", "main/pg_tblspc/16385",
    ]
    for path in needed { #expect(layout.isNeeded(place(path)), "\(path)") }
    #expect(layout.isNeeded(place("wal", root: 1)))
    #expect(layout.isNeeded(place("wal/00000001000000000000000A", root: 1)))
    #expect(layout.isNeeded(place("fast/PG_15_202209061/5/1", root: 1)))
    let spare = [
      "main/log/postgresql.log", "main/postgresql.conf", "main/pg_stat/x", "main/pg_subtrans/0000",
      "main/postmaster.pid", "main/base/5/pgsql_tmp/t", "main/pg_logical/a.tmp", "notes", "other",
    ]
    for path in spare { #expect(!layout.isNeeded(place(path)), "\(path)") }
    // A segment that is being made, and notes of an archiver.
    for name in ["xlogtemp.12", "archive_status/00000001000000000000000A.done", "a.history"] {
      #expect(!layout.isNeeded(place("wal/" + name, root: 1)), "\(name)")
    }
  }

  @Test func `is all that there is only where each root lies in it`() {
    #expect(!layout.isAll(of: 0..<2))
    let alone = ClusterLayout(data: place(""), wal: place("", root: 1), tablespaces: [])
    #expect(alone.isAll(of: 0..<2))
    #expect(!alone.isAll(of: 0..<3))
  }

  @Test func `has tablespaces whose paths follow their roots`() {
    let map = Array("16384 /srv/a/fast\n16385 /srv/ab\n16386 /srv/a\\\\b\\\nc/d\n".utf8)
    let moved = TablespaceMap(map).moved([
      (from: "/srv/a", to: "/mnt/x"), (from: "/srv/a\\b\nc", to: "/mnt/y\\"),
    ])
    let wanted = "16384 /mnt/x/fast\n16385 /srv/ab\n16386 /mnt/y\\\\/d\n"
    #expect(String(decoding: moved, as: UTF8.self) == wanted)
    #expect(TablespaceMap(map).moved([]) == map)
  }

  @Test(arguments: [
    (130_011, "pg_start_backup('holdfast', true, false)", "pg_stop_backup(false, false)"),
    (140_005, "pg_start_backup('holdfast', true, false)", "pg_stop_backup(false, false)"),
    (150_000, "pg_backup_start('holdfast', true)", "pg_backup_stop(false)"),
    (170_002, "pg_backup_start('holdfast', true)", "pg_backup_stop(false)"),
  ])
  func `is asked by the names that its version has`(version: Int, start: String, stop: String) {
    let statements = PostgresStatements(version: version)
    #expect(statements.start == "SELECT " + start)
    #expect(statements.stop.hasSuffix(" FROM " + stop))
  }
}
