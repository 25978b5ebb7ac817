import TestKit

/// A PostgreSQL server of Debian's binaries, on a data directory anywhere.
struct PostgresCluster {
  static let programs = "/usr/lib/postgresql/15/bin"
  let scratch: Scratch
  private static let usualPort = 54329
  var port = usualPort
  /// For the configuration of a ``TestPair``.
  static func connection(user: String = "postgres") -> String {
    "connect: \"host=SCRATCH/sockets port=\(usualPort) user=\(user) dbname=postgres\""
  }
  static let connection = connection()

  private var sockets: String { scratch("sockets") }

  /// Runs a command line as the database's own user.
  @discardableResult
  func run(_ command: String, in group: ServiceGroup? = nil) -> Shell.Answer {
    Shell.run(
      """
      \(group.map { "echo $BASHPID > '\($0.path)/cgroup.procs'" } ?? "")
      cd /; setpriv --reuid=postgres --regid=postgres --clear-groups \
        env HOME=/tmp PATH=\(Self.programs):$PATH PGHOST='\(sockets)' \
        PGPORT=\(port) PGDATABASE=postgres PGUSER=postgres bash -c '\(command)'
      """)
  }

  /// Makes a data directory below one that anybody may enter.
  func initialize(_ data: String) -> Shell.Answer {
    Shell.run(
      """
      chmod 755 '\(scratch.path)'; mkdir -p '\(data)' '\(sockets)'
      chown postgres: '\(data)' '\(sockets)'
      """)
    return run("initdb -D \(data) --no-sync -U postgres")
  }

  func start(_ data: String, in group: ServiceGroup? = nil) -> Shell.Answer {
    run(
      """
      pg_ctl -w -o "-k \(sockets) -p \(port) -c listen_addresses=" -l \(sockets)/log \
        -D \(data) start
      """, in: group)
  }

  @discardableResult
  func stop(_ data: String, mode: String = "fast") -> Shell.Answer {
    run("pg_ctl -w -D \(data) -m \(mode) stop")
  }

  /// The books must balance: every transaction of pgbench adds one amount to four tables.
  /// - Returns: three sums; then the fourth with the number of transactions.
  func sums() -> String {
    run(
      """
      psql -Atc "select sum(abalance) from pgbench_accounts; select sum(tbalance) from \
      pgbench_tellers; select sum(bbalance) from pgbench_branches; \
      select coalesce(sum(delta), 0), count(*) from pgbench_history"
      """
    ).output
  }

  static func agree(_ sums: String) -> Bool {
    let lines = sums.split(separator: "\n")
    return lines.count == 4 && lines.prefix(3).allSatisfy { lines[3].hasPrefix($0 + "|") }
  }
}
