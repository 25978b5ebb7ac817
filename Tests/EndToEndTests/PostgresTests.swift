import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A PostgreSQL cluster` {
  private let programs = "/usr/lib/postgresql/15/bin"

  private func postgres(_ command: String, in pair: TestPair) -> Shell.Answer {
    Shell.run(
      """
      cd /; setpriv --reuid=postgres --regid=postgres --clear-groups \
        env HOME=/tmp PATH=\(programs):$PATH PGHOST='\(pair.scratch.path)/sockets' \
        PGPORT=54329 PGDATABASE=postgres bash -c '\(command)'
      """)
  }

  /// The books must balance: every transaction adds one amount to four tables.
  private func sums(_ pair: TestPair) -> String {
    postgres(
      """
      psql -Atc "select sum(abalance) from pgbench_accounts; select sum(tbalance) from \
      pgbench_tellers; select sum(bbalance) from pgbench_branches; select sum(delta), count(*) \
      from pgbench_history"
      """, in: pair
    ).output
  }

  @Test func `runs on a promoted replica with every sum in agreement`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    let data = "\(pair.source)/main"
    Shell.run(
      """
      chmod 755 '\(pair.scratch.path)'; mkdir '\(data)' '\(pair.scratch("sockets"))'
      chown postgres: '\(data)' '\(pair.scratch("sockets"))'
      """)
    let start =
      "pg_ctl -w -o \"-k \(pair.scratch("sockets")) -p 54329 -c listen_addresses=\" -l /dev/null"
    let made = postgres(
      "initdb -D \(data) --no-sync -U postgres && \(start) -D \(data) start", in: pair)
    #expect(made.code == 0, "\(made.output)")
    let filled = postgres(
      "pgbench -q -i -s 3 -U postgres && pgbench -U postgres -c 4 -t 500 -n", in: pair)
    #expect(filled.code == 0, "\(filled.output)")
    let before = sums(pair)
    #expect(postgres("pg_ctl -w -D \(data) -m fast stop", in: pair).code == 0)
    let point = pair.sync()
    #expect(point > 0, "\(pair.story)")
    pair.kill("a")
    let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    let started = postgres("\(start) -D \(pair.replica)/main start", in: pair)
    defer { _ = postgres("pg_ctl -w -D \(pair.replica)/main -m immediate stop", in: pair) }
    #expect(started.code == 0, "\(started.output)")
    let after = sums(pair)
    let lines = after.split(separator: "\n")
    #expect(after == before && lines.count == 4, "\(before)\n\(after)")
    #expect(lines.prefix(3).allSatisfy { lines[3].hasPrefix($0 + "|") }, "\(after)")
    #expect(postgres("pgbench -U postgres -c 2 -t 50 -n", in: pair).code == 0)
  }
}
