/// A way to make a point one instant, as configured under `capture`: docs/consistency.md.
package enum ProviderSettings: Hashable, Sendable {
  /// Files are read where they lie, while they may change.
  case none
  /// A read-only snapshot of each subvolume.
  case btrfs
  /// A snapshot by the administrator's commands.
  case snapshot(SnapshotCommands)
  /// The plan's units are stopped for moments, at most for so long at a time.
  case freeze(atMost: Duration)
  /// The administrator's commands before and after, whatever else is used.
  case quiesce(QuiesceCommands)
  /// A live cluster, by its own backup calls and its WAL.
  case postgres(PostgresSettings)

  package var word: String {
    switch self {
    case .none: "none"
    case .btrfs: "btrfs"
    case .snapshot: "snapshot"
    case .freeze: "freeze"
    case .quiesce: "quiesce"
    case .postgres: "postgres"
    }
  }

  /// Whether it gives something to read at any time.
  package var isReading: Bool {
    switch self {
    case .none, .btrfs, .snapshot, .postgres: true
    case .freeze, .quiesce: false
    }
  }

  /// Whether it is the filesystem that makes an instant, and no service has a part in it.
  package var isOfFilesystem: Bool {
    switch self {
    case .btrfs, .snapshot: true
    case .none, .freeze, .quiesce, .postgres: false
    }
  }

  /// Whether points are one instant whatever a service writes meanwhile.
  package var isInstant: Bool {
    switch self {
    case .btrfs, .snapshot, .freeze, .postgres: true
    case .none, .quiesce: false
    }
  }
}

/// Commands run by `/bin/sh -c`, as the agent's user, with `HOLDFAST_PAIR` and `HOLDFAST_SNAPSHOT`,
/// a name that is new each time, in their environment.
package struct SnapshotCommands: Hashable, Sendable {
  package var create: String
  /// Where the snapshot can be read once it was made: of one root that root itself, of several the
  /// folder in which each has its own path.
  package var path: String
  package var remove: String
  /// How long each may take.
  package var within: Duration
  /// `create` shows all roots as they were at one moment, though they lie on several filesystems.
  package var isTogether: Bool
  package init(
    create: String, path: String, remove: String, within: Duration, isTogether: Bool = false
  ) {
    self.isTogether = isTogether
    self.create = create
    self.path = path
    self.remove = remove
    self.within = within
  }
}

/// Commands as ``SnapshotCommands``.
package struct QuiesceCommands: Hashable, Sendable {
  package var before: String
  /// Runs in any case once `before` was begun, after a crash of the agent too.
  package var after: String
  package var within: Duration
  package init(before: String, after: String, within: Duration) {
    self.before = before
    self.after = after
    self.within = within
  }
}

/// How a live PostgreSQL cluster is captured: docs/consistency.md.
package struct PostgresSettings: Hashable, Sendable {
  /// A connection string of libpq; what it leaves out is as for `psql`.
  package var connection: String
  /// Between two copies of the data files.
  package var every: Duration
  /// Bytes of WAL that the server keeps for it at most.
  package var walBytes: Int64
  package init(connection: String, every: Duration, walBytes: Int64) {
    self.connection = connection
    self.every = every
    self.walBytes = walBytes
  }
}
