import FoundationEssentials
import Glibc
import TestKit
import Testing

/// PostgreSQL captured by its own backup calls.
@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A live cluster` {
  private struct Scene {
    let pair: TestPair
    let cluster: PostgresCluster
    var data: String { "\(pair.source)/main" }

    /// A cluster in a folder of the root, captured with these settings, `none` behind them.
    init(_ settings: String, next: [String] = ["none"], user: String = "postgres") {
      let own = "{ postgres: { \(PostgresCluster.connection(user: user)), \(settings) } }"
      let providers = ([own] + next).joined(separator: ", ")
      pair = TestPair(extra: ["rpo: 1s", "capture: [\(providers)]"])
      pair.isAlone = true
      cluster = PostgresCluster(scratch: pair.scratch)
      let made = cluster.initialize(data)
      #expect(made.code == 0, "\(made.output)")
      #expect(cluster.start(data).code == 0)
    }

    func sql(_ statements: String) -> String {
      let file = pair.scratch("sockets/statements")
      pair.write(statements, to: file)
      let said = cluster.run("psql -At -f \(file)").output
      return said.split(separator: "\n").joined(separator: "\n")
    }
    func sync() -> TestPair.KeptPoint? {
      #expect(pair.sync() > 0, "\(pair.story)")
      return pair.kept("b").first
    }
    func names(_ point: UInt64, _ command: String) -> String {
      let tree = pair.scratch("point-\(point)")
      _ = pair.run("restore p --point \(point) --to '\(tree)'", on: "b")
      return Shell.run("cd '\(tree)/main' && (\(command))").output
    }
    /// Ends the primary, promotes the standby, and starts the server there.
    func promote() {
      pair.kill("a")
      cluster.stop(data, mode: "immediate")
      let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
      #expect(moved.code == 0, "\(moved.output)")
      let started = cluster.start("\(pair.replica)/main")
      #expect(started.code == 0, "\(Shell.run("tail '\(pair.scratch.path)/sockets/log'").output)")
    }
    func end() {
      for path in [data, "\(pair.replica)/main"] { cluster.stop(path, mode: "immediate") }
    }
  }

  @Test func `is a copy of its data files, then WAL alone, and its server is left as it was`() {
    let scene = Scene("every: 1h")
    defer { scene.end() }
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    let copy = scene.sync()
    #expect(copy.map { $0.provider + " " + $0.grade } == "postgres application")
    #expect(
      scene.sql("create table t (n int); insert into t select generate_series(1, 1000)") != "")
    Shell.run("echo '# a remark' >> '\(scene.data)/pg_hba.conf'")
    let later = scene.sync()
    #expect(later.map { $0.provider + " " + $0.grade } == "postgres application")
    let list = "find . -type f ! -path './pg_wal/*' ! -name pg_hba.conf | sort | xargs md5sum"
    let old = scene.names(copy?.point ?? 0, list)
    #expect(old.contains("backup_label") && !old.contains("postmaster.pid"), "\(old)")
    let newest = later?.point ?? 0
    #expect(scene.names(newest, list) == old)
    let settings = scene.names(newest, "cat pg_hba.conf")
    #expect(settings.hasSuffix("# a remark\n"))
    #expect(Shell.run("ls '\(scene.data)/backup_label'").code != 0)
    let slots = "select count(*) from pg_replication_slots"
    #expect(scene.sql(slots) == "1")
    scene.pair.kill("a")
    #expect(scene.pair.wait { scene.sql(slots) == "0" })
    scene.pair.start("a")
    #expect(scene.sync()?.grade == "application")
    scene.promote()
    #expect(scene.sql("select count(*) from t") == "1000")
  }

  @Test func `brings its tablespaces along, to another path too, and one outside is refused`() {
    let scene = Scene("every: 1h", next: [])
    defer { scene.end() }
    let inside = "\(scene.pair.source)/inside"
    let outside = scene.pair.scratch("outside")
    Shell.run("mkdir '\(inside)' '\(outside)'; chown postgres: '\(inside)' '\(outside)'")
    _ = scene.sql("create tablespace inside location '\(inside)'")
    _ = scene.sql("create table t tablespace inside as select generate_series(1, 1000) n")
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    #expect(scene.sync()?.grade == "application")
    // What is told of it in the WAL asks for its directory, wherever a server starts.
    _ = scene.sql("create tablespace outside location '\(outside)'")
    let refused = scene.pair.run("sync p", on: "a")
    #expect(refused.code == 3, "\(refused.output)")
    #expect(refused.output.contains("\(outside) lies in no root"), "\(refused.output)")
    _ = scene.sql("drop tablespace outside")
    Shell.run("rm -rf '\(outside)'")
    #expect(scene.sync()?.grade == "application")
    // Also where it went before anybody looked.
    let passing = scene.pair.scratch("passing")
    Shell.run("mkdir '\(passing)'; chown postgres: '\(passing)'")
    _ = scene.sql("create tablespace passing location '\(passing)'; drop tablespace passing")
    Shell.run("rm -rf '\(passing)'")
    #expect(scene.sync()?.grade == "application")
    scene.promote()
    #expect(scene.sql("select count(*) from t") == "1000")
    #expect(
      scene.sql("select pg_tablespace_location(oid) from pg_tablespace where spcname = 'inside'")
        == "\(scene.pair.replica)/inside")
  }

  @Test(arguments: [
    ("mount -t tmpfs none main/pg_wal", "pg_wal lies on another filesystem"),
    ("rmdir main/pg_wal; ln -s ../wal main/pg_wal", "pg_wal is a symbolic link"),
  ])
  func `whose WAL would not come along is refused, and the point says why`(
    command: String, reason: String
  ) {
    let scene = Scene("every: 1h")
    defer {
      scene.end()
      Shell.run("umount -l '\(scene.data)/pg_wal'")
    }
    scene.cluster.stop(scene.data)
    let moved = Shell.run(
      """
      set -e; cd '\(scene.pair.source)'; cp -a main/pg_wal wal; rm -rf main/pg_wal/*; \(command)
      chown postgres: main/pg_wal; chmod 700 main/pg_wal; cp -an wal/. main/pg_wal/
      """)
    #expect(moved.code == 0, "\(moved.output)")
    #expect(scene.cluster.start(scene.data).code == 0)
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    let point = scene.sync()
    #expect(point?.provider == "none")
    #expect(point?.reason.contains(reason) == true, "\(point?.reason ?? "")")
  }

  @Test func `that is stopped is captured as files, and goes on by itself when it starts`() {
    let scene = Scene("every: 1h")
    defer { scene.end() }
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    #expect(scene.sync()?.provider == "postgres")
    scene.cluster.stop(scene.data)
    let point = scene.sync()
    #expect(point.map { $0.provider + " " + $0.grade } == "none crash", "\(scene.pair.story)")
    #expect(point?.reason.contains("postgres: ") == true)
    #expect(Judge.differences(scene.pair.source, scene.pair.replica) == "")
    #expect(scene.cluster.start(scene.data).code == 0)
    _ = scene.sql("create table t (n int)")
    #expect(scene.sync().map { $0.provider + " " + $0.grade } == "postgres application")
    // The next statement finds that the server had been started anew.
    #expect(scene.cluster.stop(scene.data).code == 0 && scene.cluster.start(scene.data).code == 0)
    _ = scene.sql("insert into t values (7)")
    #expect(scene.sync().map { $0.provider + " " + $0.grade } == "postgres application")
    scene.promote()
    #expect(scene.sql("select n from t") == "7")
  }

  @Test func `is fuzzy, and says why, while other files of the pair change`() {
    let scene = Scene("every: 1h")
    defer { scene.end() }
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    #expect(scene.sync()?.grade == "application")
    Shell.run(
      """
      (cd '\(scene.pair.source)'; while test -d .; do for n in 1 2 3 4; do echo $n > notes$n; done
      done) > /dev/null 2>&1 &
      echo $! > '\(scene.pair.scratch("writer"))'
      """)
    defer { Shell.run("kill -9 $(cat '\(scene.pair.scratch("writer"))')") }
    let reason = { scene.pair.kept("b").first { $0.grade == "fuzzy" }?.reason ?? "" }
    #expect(scene.pair.wait { !reason().isEmpty }, "\(scene.pair.story)")
    #expect(reason().contains("changed"), "\(reason())")
    Shell.run("kill -9 $(cat '\(scene.pair.scratch("writer"))')")
    #expect(scene.pair.wait { scene.sync()?.grade == "application" }, "\(scene.pair.story)")
  }

  @Test func `of which something is excluded that no server starts without is fuzzy`() {
    let scene = Scene("every: 1h")
    defer { scene.end() }
    for site in ["a", "b"] {
      Shell.run(
        "sed -i \"s|replica: .*|&\\n        exclude: ['pg_multixact']|\" "
          + "'\(scene.pair.configuration(site))'")
    }
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    // Once as a copy, then as WAL that stands on it.
    for _ in 0..<2 {
      _ = scene.sql("create table if not exists t (n int); insert into t values (1)")
      let point = scene.sync()
      #expect(point?.grade == "fuzzy")
      let reason = "main/pg_multixact is excluded, and no server could start without it"
      #expect(point?.reason.contains(reason) == true, "\(point?.reason ?? "")")
    }
  }

  @Test func `whose backup cannot be ended gives no point of its own`() {
    let scene = Scene("every: 1s", user: "half")
    defer { scene.end() }
    _ = scene.sql(
      """
      create role half login replication; grant pg_read_all_settings to half;
      grant execute on function pg_backup_start(text, boolean) to half
      """)
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    let refused = scene.pair.run("sync p", on: "a")
    #expect(refused.code == 3, "\(refused.output)")
    #expect(
      refused.output.contains("permission denied for function pg_backup_stop"), "\(refused.output)")
    #expect(scene.pair.kept("a").allSatisfy { $0.provider != "postgres" })
    _ = scene.sql("grant execute on function pg_backup_stop(boolean) to half")
    #expect(scene.sync().map { $0.provider + " " + $0.grade } == "postgres application")
  }

  @Test func `keeps no more WAL for a pair than it may, and is copied anew`() {
    let scene = Scene("every: 1h, keep-wal: 64MiB", next: [])
    defer { scene.end() }
    #expect(scene.pair.begin(), "\(scene.pair.story)")
    #expect(scene.sync()?.grade == "application")
    let slot = scene.sql("select slot_name from pg_replication_slots")
    _ = scene.sql(
      "create table t as select n, repeat('x', 500) from generate_series(1, 160000) n")
    #expect(scene.sync()?.grade == "application", "\(scene.pair.story)")
    #expect(scene.pair.kept("b").contains { $0.reason.contains("more than keep-wal") })
    let other = scene.sql("select slot_name from pg_replication_slots")
    #expect(!other.isEmpty && other != slot)
    scene.promote()
    #expect(scene.sql("select count(*) from t") == "160000")
  }
}
