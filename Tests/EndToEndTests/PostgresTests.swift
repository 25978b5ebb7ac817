import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A PostgreSQL cluster` {
  @Test func `runs on a promoted replica with every sum in agreement`() throws {
    let pair = TestPair()
    let cluster = PostgresCluster(scratch: pair.scratch)
    #expect(pair.begin(), "\(pair.story)")
    let data = "\(pair.source)/main"
    let made = cluster.initialize(data)
    #expect(made.code == 0, "\(made.output)")
    #expect(cluster.start(data).code == 0)
    let filled = cluster.run("pgbench -q -i -s 3 && pgbench -c 4 -t 500 -n")
    #expect(filled.code == 0, "\(filled.output)")
    let before = cluster.sums()
    #expect(cluster.stop(data).code == 0)
    let point = pair.sync()
    #expect(point > 0, "\(pair.story)")
    pair.kill("a")
    let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    let started = cluster.start("\(pair.replica)/main")
    defer { cluster.stop("\(pair.replica)/main", mode: "immediate") }
    #expect(started.code == 0, "\(started.output)")
    let after = cluster.sums()
    #expect(after == before && PostgresCluster.agree(after), "\(before)\n\(after)")
    #expect(cluster.run("pgbench -c 2 -t 50 -n").code == 0)
  }
}
