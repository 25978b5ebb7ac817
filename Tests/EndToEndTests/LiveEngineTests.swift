import FoundationEssentials
import Glibc
import TestKit
import Testing

/// Databases that are captured while they work.
@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A live database` {
  private static func number(_ name: String) -> Int? {
    unsafe getenv(name).flatMap { Int(unsafe String(cString: $0)) }
  }
  /// Each on the database as the round before left it.
  private let rounds = number("HOLDFAST_ROUNDS") ?? 1
  /// Of pgbench: 15 MB each.
  private let scale = number("HOLDFAST_SCALE") ?? 5

  /// The built-in transaction of pgbench, and a line that says whose it was.
  private static let transaction = """
    \\set aid random(1, 100000 * :scale)
    \\set bid random(1, 1 * :scale)
    \\set tid random(1, 10 * :scale)
    \\set delta random(-5000, 5000)
    BEGIN;
    UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
    UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
    UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
    INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
      VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
    INSERT INTO ledger VALUES (:client_id);
    END;

    """

  /// Commits that were acknowledged up to a moment, by client, from pgbench's own log of them.
  private func acknowledged(_ scratch: Scratch, until time: String) -> [Int: Int] {
    let answer = Shell.run(
      """
      until=$(date -d '\(time)' +%s.%N)
      cat '\(scratch.path)'/sockets/acks* | awk -v until=$until \
        '{ if ($5 + $6 / 1000000 <= until) n[$1]++ } END { for (c in n) print c, n[c] }'
      """)
    var counts: [Int: Int] = [:]
    for line in answer.output.split(separator: "\n") {
      let fields = line.split(separator: " ").compactMap { Int($0) }
      if fields.count == 2 { counts[fields[0]] = fields[1] }
    }
    return counts
  }

  /// Points that the provider made one instant, newest first; others say that they are none.
  private func recoverable(
    _ pair: TestPair, _ setting: LiveSetting, on site: String = "b"
  ) -> [TestPair.KeptPoint] {
    let points = pair.kept(site)
    #expect(points.allSatisfy { $0.grade != "fuzzy" || !$0.reason.isEmpty }, "\(points)")
    return points.filter { $0.grade == setting.grade && $0.provider == setting.provider }
  }

  /// Starts the cluster in `data` and holds it against what was acknowledged.
  private func examine(_ cluster: PostgresCluster, _ data: String, _ point: TestPair.KeptPoint) {
    // As after any crash, the number in it may be another process's by now.
    Shell.run("rm -f '\(data)/postmaster.pid'")
    let started = cluster.start(data)
    defer { cluster.stop(data, mode: "immediate") }
    let log = Shell.run("tail -n 5 '\(cluster.scratch.path)/sockets/log'").output
    #expect(started.code == 0, "point \(point.point): \(started.output) \(log)")
    let sums = cluster.sums()
    #expect(PostgresCluster.agree(sums), "point \(point.point): \(sums)")
    let rows = cluster.run("psql -Atc \"select client, count(*) from ledger group by client\"")
    var kept: [Int: Int] = [:]
    for line in rows.output.split(separator: "\n") {
      let fields = line.split(separator: "|").compactMap { Int($0) }
      if fields.count == 2 { kept[fields[0]] = fields[1] }
    }
    for (client, count) in acknowledged(cluster.scratch, until: point.time) {
      #expect(kept[client, default: 0] >= count, "point \(point.point), client \(client)")
    }
  }

  /// A cluster whose books are filled, running in `group`.
  private func fill(_ cluster: PostgresCluster, _ data: String, _ group: ServiceGroup) {
    let made = cluster.initialize(data)
    #expect(made.code == 0, "\(made.output)")
    #expect(cluster.start(data, in: group).code == 0)
    let filled = cluster.run(
      "pgbench -q -i -s \(scale) && psql -c \"create table ledger (client int)\"")
    #expect(filled.code == 0, "\(filled.output)")
  }

  /// Has clients work until `count` recoverable points were begun meanwhile; then nothing of the
  /// primary lives any more.
  /// - Returns: the last point before them.
  private func workAndDie(
    _ pair: TestPair, _ setting: LiveSetting, _ cluster: PostgresCluster, _ data: String,
    count: Int
  ) -> UInt64 {
    let sockets = pair.scratch("sockets")
    func acknowledgedLines() -> Int {
      Int(Shell.run("cat \(sockets)/acks* 2>/dev/null | wc -l").output.filter(\.isNumber)) ?? 0
    }
    let before = acknowledgedLines()
    let began = ContinuousClock.now
    cluster.run(
      """
      cd \(sockets); pgbench -n -c 4 -T 3600 -s \(scale) -f transaction -l \
        --log-prefix=acks >load 2>&1 &
      """)
    _ = pair.wait { acknowledgedLines() > before }
    // One may be under way.
    let last = (pair.points("a")?.captured ?? 0) + 1
    let isThere = pair.wait(30 + 4 * scale) {
      // What a person asks for does not wait.
      if setting.isRare { pair.run("sync p --timeout 60s", on: "a") }
      return recoverable(pair, setting).count { $0.point > last } >= count
    }
    #expect(isThere, "\(pair.story)")
    pair.kill("a")
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    cluster.stop(data, mode: "immediate")
    _ = pair.wait { Shell.run("pgrep -x pgbench").code != 0 }
    let rate = Int(Double(acknowledgedLines() - before) / seconds)
    print("\(setting.testDescription): \(rate) transactions/s")
    return last
  }

  @Test(arguments: LiveSetting.postgres)
  func `PostgreSQL recovers from every point with all that it acknowledged`(
    setting: LiveSetting
  ) throws {
    let pair = TestPair(extra: setting.lines) { LoopDisk(setting.filesystem, in: $0) }
    pair.isAlone = true
    let group = ServiceGroup(pair.scratch)
    let cluster = PostgresCluster(scratch: pair.scratch)
    let data = "\(pair.source)/main"
    fill(cluster, data, group)
    let transaction = pair.scratch("sockets/transaction")
    pair.write(Self.transaction, to: transaction)
    #expect(Shell.run("chmod 644 '\(transaction)'").code == 0)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    for round in 1...rounds {
      let last = workAndDie(pair, setting, cluster, data, count: rounds == 1 ? 4 : 2)
      // The standby as it stands at that moment is promoted; the pair goes on without it.
      pair.kill("b")
      let copy = pair.copyStandby(round)
      pair.start(copy)
      let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: copy)
      #expect(moved.code == 0, "\(moved.output)")
      let points = recoverable(pair, setting, on: copy).filter { $0.point > last }
      let newest = try #require(points.first)
      #expect(!acknowledged(pair.scratch, until: newest.time).isEmpty)
      examine(cluster, pair.scratch("replica-\(copy)") + "/main", newest)
      for point in points.dropFirst().prefix(rounds == 1 ? 3 : 1) {
        let old = pair.scratch("old-\(point.point)")
        let restored = pair.run("restore p --point \(point.point) --to '\(old)'", on: copy)
        #expect(restored.code == 0, "\(restored.output)")
        examine(cluster, "\(old)/main", point)
        Shell.run("rm -rf '\(old)'")
      }
      pair.discard(copy)
      guard round < rounds else { break }
      #expect(cluster.start(data, in: group).code == 0)
      pair.start("b")
      pair.start("a")
    }
  }

  @Test(arguments: LiveSetting.sqlite)
  func `SQLite recovers from every point with all that it acknowledged`(setting: LiveSetting) throws
  {
    for _ in 0..<rounds {
      let pair = TestPair(extra: setting.lines) { LoopDisk(setting.filesystem, in: $0) }
      pair.isAlone = true
      let group = ServiceGroup(pair.scratch)
      let ledger = pair.scratch("ledger")
      Shell.run(
        """
        cd '\(pair.source)'
        sqlite3 db 'PRAGMA journal_mode = WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, x BLOB)'
        """)
      #expect(pair.begin(), "\(pair.story)")
      #expect(pair.sync() > 0, "\(pair.story)")
      // Each line of the ledger is printed once its commit has returned.
      Shell.run(
        """
        cd '\(pair.source)'
        (echo 'PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 50;'
         for n in $(seq 100000); do
           echo "INSERT INTO t VALUES($n, randomblob(300));"
           echo "SELECT $n, strftime('%Y-%m-%dT%H:%M:%fZ', 'now');"
         done) | (echo $BASHPID > '\(group.path)/cgroup.procs'
           exec setsid sqlite3 db) > '\(ledger)' 2>/dev/null &
        """)
      #expect(pair.wait { recoverable(pair, setting).count > 4 }, "\(pair.story)")
      pair.kill("a")
      Shell.run("pkill -f -x 'sqlite3 db'")
      let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
      #expect(moved.code == 0, "\(moved.output)")
      let points = recoverable(pair, setting)
      let newest = try #require(points.first)
      for point in points.prefix(4) {
        let tree = point.point == newest.point ? pair.replica : pair.scratch("old-\(point.point)")
        if tree != pair.replica {
          #expect(pair.run("restore p --point \(point.point) --to '\(tree)'", on: "b").code == 0)
        }
        let answer = Shell.run(
          """
          sqlite3 '\(tree)/db' 'PRAGMA integrity_check; SELECT max(n) - count(*), count(*) FROM t'
          """
        ).output.split(separator: "\n").map(String.init)
        #expect(answer.first == "ok", "point \(point.point): \(answer)")
        let counts = (answer.last ?? "").split(separator: "|").compactMap { Int($0) }
        #expect(counts.count == 2 && counts[0] == 0, "point \(point.point): \(answer)")
        let acknowledged = Shell.run(
          "awk -F'|' 'NF == 2 && $2 <= \"\(point.time)\" { n = $1 } END { print n + 0 }' '\(ledger)'"
        )
        let promised = Int(acknowledged.output.filter(\.isNumber)) ?? .max
        #expect(counts.last ?? 0 >= promised, "point \(point.point), \(promised) promised")
      }
    }
  }
}
