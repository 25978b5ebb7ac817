package import HoldfastCore
import HoldfastStore

/// Moves the replica to what is durable. Works on a thread of its own, with a view of the journal
/// and the index that only reads.
package actor ApplyWorker {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  private nonisolated let executor: any SerialExecutor
  private let pair: PairConfiguration
  private let paths: [String]
  private let host: any Host
  private let board: PairBoard
  private let identity: PairFiles.Identity
  private let files: PairFiles
  package nonisolated let wake = Signal()
  private var replica: Replica?
  private var index: (any Index)?
  private var isAdvancing = false
  /// Told when the replica has reached another point.
  private let applied: @Sendable () -> Void

  package enum Failure: Error, Sendable {
    case held(String)
    case unknownPoint(PointNumber)
  }

  package init(
    pair: PairConfiguration, paths: [String], host: any Host, board: PairBoard,
    identity: PairFiles.Identity, files: PairFiles, applied: @escaping @Sendable () -> Void
  ) {
    self.applied = applied
    executor = host.executor("apply \(pair.name)")
    self.pair = pair
    self.paths = paths
    self.host = host
    self.board = board
    self.identity = identity
    self.files = files
  }

  /// Whether the replica may be written, making and marking it where it is missing or empty.
  private func prepare() throws {
    for path in paths {
      let report = host.report(path)
      switch report.state {
      case .notDirectory: throw Failure.held("replica \(path) is not a directory: remove it")
      case .unreadable(let why):
        throw Failure.held("replica \(path) cannot be read (\(why)): give the agent access")
      case .absent, .directory: break
      }
      if let marker = report.marker {
        guard marker.pair == identity.id else {
          throw Failure.held(
            "replica \(path) is another pair's: if it belongs here, type: holdfast adopt \(pair.name)"
          )
        }
        if !marker.filesystem.isEmpty, marker.filesystem != report.filesystem {
          throw Failure.held(
            """
            replica \(path) lies on another filesystem than when it was marked: is the right one \
            mounted? If so, type: holdfast adopt \(pair.name)
            """)
        }
        continue
      }
      let applied = try ReplicaRecord.load(files.disk).applied
      guard report.isEmpty, applied == .none else {
        let what = report.isEmpty ? "is empty though a point was applied" : "is not empty"
        throw Failure.held(
          """
          replica \(path) \(what) and carries no marker of this pair: is the right filesystem \
          mounted? If it may be overwritten, type: holdfast adopt \(pair.name)
          """)
      }
      try host.mark(path, Marker(pair: identity.id, filesystem: ""))
    }
  }

  private func open() throws -> Replica {
    if let replica { return replica }
    let digests = PairDigests(identity.secret)
    let index = try host.index(pair: pair.name, isReader: true) { digests.entry($0, $1) }
    let journal = Journal(
      reading: try host.disk(["pairs", pair.name, "journal"]), secret: identity.secret)
    let catalog: any Catalog
    do {
      catalog = try host.catalog(pair: pair.name)
    } catch {
      host.removeCatalog(pair: pair.name)
      catalog = try host.catalog(pair: pair.name)
    }
    let reader = ContentReader(
      journal: journal, index: index, digests: digests, verifying: false)
    let replica = try Replica(
      trees: try paths.map { try host.tree($0) },
      exclusions: pair.roots.map { Exclusion($0.exclude) }, index: index, catalog: catalog,
      materials: Materials(
        reader: reader, isPrivileged: host.isPrivileged, ownUser: host.user,
        ownGroup: host.group), digests: digests, disk: files.disk, probe: host.probe)
    self.index = index
    self.replica = replica
    board.update { $0.marks.applied = replica.record.applied }
    return replica
  }

  package func close() {
    replica = nil
    index = nil
  }

  package func follow() {
    isAdvancing = true
    wake.set()
  }

  package func stop() { isAdvancing = false }

  /// Advances to the newest durable point of the required grade whenever there is one.
  package func run() async {
    var retry: Instant?
    while !Task.isCancelled {
      await wake.wait(until: retry ?? host.clock.now() + .seconds(5), host.clock)
      retry = nil
      guard isAdvancing else { continue }
      do {
        try advance()
        board.update { $0.held[.replica] = nil }
      } catch {
        replica = nil
        board.hold(.replica, "\(Self.describe(error))")
        retry = host.clock.now() + .seconds(2)
      }
    }
  }

  private static func describe(_ error: any Error) -> String {
    switch error {
    case Failure.held(let reason): reason
    case ApplyError.full(let needed, let free):
      """
      the replica's filesystem has \(free >> 20) MiB free and \(needed >> 20) MiB more are \
      needed: free some; nothing is lost and applying goes on by itself
      """
    case ApplyError.tree(_, let error): "replica: \(error)"
    case ApplyError.store(let error): "replica: \(error)"
    default: "replica: \(error)"
    }
  }

  private func advance() throws {
    try prepare()
    let replica = try open()
    guard let index else { return }
    let reading = try host.readingJournal(pair: pair.name)
    defer { withExtendedLifetime(reading) {} }
    let wanted = try index.newest(atLeast: pair.require)
    // An intent that a crash left open is finished first, whatever came since.
    let isOpen = !replica.record.intents.isEmpty
    guard let wanted, isOpen || wanted.number > replica.record.applied else { return }
    try replica.move(to: wanted)
    published(replica)
  }

  private func published(_ replica: Replica) {
    defer { applied() }
    let shortfalls = replica.shortfalls
    board.update { view in
      view.marks.applied = replica.record.applied
      if !shortfalls.isEmpty {
        view.notes = [
          """
          without privileges: \(shortfalls.owners) owners or modes, \(shortfalls.attributes) \
          attributes, \(shortfalls.nodes) nodes could not be set
          """
        ]
      }
    }
  }

  /// Makes the replica exactly this point, forward or back; the catalog then describes it.
  package func move(to number: PointNumber) throws {
    isAdvancing = false
    try prepare()
    // What was read before may be older than what is durable.
    replica = nil
    let replica = try open()
    let reading = try host.readingJournal(pair: pair.name)
    defer { withExtendedLifetime(reading) {} }
    guard let row = try index?.point(number) else { throw Failure.unknownPoint(number) }
    try replica.move(to: row.point)
    published(replica)
    self.replica = nil
    index = nil
  }
}
