package import HoldfastCore
import HoldfastStore
import Synchronization

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
  private let siteKey: Fingerprint
  private let rootGuard: RootGuard
  package nonisolated let wake = Signal()
  private var replica: Replica?
  /// The directories that `replica` holds open.
  private var opened: [FileIdentity?] = []
  private var index: (any Index)?
  private var journal: Journal?
  /// Of ``PairView/indexes``, when `index` was opened.
  private var openedAt = 0
  private var isAdvancing = false
  /// Whether the replica is on its way to a point.
  private nonisolated let isApplying = Mutex(false)
  /// Told when the replica has reached another point.
  private let applied: @Sendable () -> Void

  package enum Failure: Error, Sendable {
    case held(String)
    case unknownPoint(PointNumber)
  }

  package init(
    pair: PairConfiguration, paths: [String], host: any Host, board: PairBoard,
    identity: PairFiles.Identity, siteKey: Fingerprint, files: PairFiles,
    applied: @escaping @Sendable () -> Void
  ) {
    self.siteKey = siteKey
    rootGuard = RootGuard(host: host, pair: pair, paths: paths, site: siteKey)
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
    if let problem = rootGuard.overlap(id: identity.id) { throw Failure.held(problem) }
    let reports = paths.map { ($0, host.report($0)) }
    let found = reports.map(\.1.identity)
    if found != opened {
      // Another directory stands in a replica's place.
      replica = nil
      opened = found
    }
    for (path, report) in reports {
      switch report.state {
      case .notDirectory: throw Failure.held("replica \(path) is not a directory: remove it")
      case .unreadable(let why):
        throw Failure.held("replica \(path) cannot be read (\(why)): give the agent access")
      case .absent, .directory: break
      }
      if let marker = report.marker {
        if let problem = rootGuard.problem(path, marker, report, identity.id) {
          throw Failure.held("replica: \(problem)")
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
      try host.mark(path, Marker(pair: identity.id, filesystem: "", site: siteKey))
    }
  }

  private func open() throws -> Replica {
    let indexes = board.view.indexes
    if let replica, openedAt == indexes { return replica }
    replica = nil
    let digests = PairDigests(identity.secret)
    let (index, journal) = try view()
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
        reader: reader, isPrivileged: host.isPrivileged, refusing: pair.refused),
      fetcher: try fetcher(), digests: digests, disk: files.disk, probe: host.probe)
    self.index = index
    self.journal = journal
    self.replica = replica
    openedAt = indexes
    board.update { $0.marks.applied = replica.record.applied }
    return replica
  }

  private nonisolated func view() throws -> sending (index: any Index, journal: Journal) {
    let digests = PairDigests(identity.secret)
    return (
      try host.index(pair: pair.name, isReader: true) { digests.entry($0, $1) },
      Journal(reading: try host.disk(["pairs", pair.name, "journal"]), secret: identity.secret)
    )
  }

  private func fetcher() throws -> ContentFetcher {
    let (index, journal) = try view()
    let reader = ContentReader(
      journal: journal, index: index, digests: PairDigests(identity.secret), verifying: false)
    return ContentFetcher(reader: reader, helper: host.helper("fetch \(pair.name)"))
  }

  package func close() {
    replica = nil
    index = nil
  }

  /// What stands in the replica is compared as a whole with the next point that is applied.
  package func forgetReplica() throws {
    close()
    try ReplicaRecord().store(files.disk)
    board.update { $0.marks.applied = .none }
    hold(nil)
    wake.set()
  }

  /// Not behind a point that is being applied, which may take long.
  /// - Throws: why the replica could not be moved to any point.
  package nonisolated func probe() async throws {
    // What that meets it says itself, and it makes and marks what is missing.
    if !isApplying.withLock({ $0 }) { try await prepare() }
    let tried = await withCheckedContinuation { (done: CheckedContinuation<Failed?, Never>) in
      host.helper("probe \(pair.name)").run { [host, paths] in
        do {
          try Replica.tryToWrite(try paths.map { try host.tree($0) })
          done.resume(returning: nil)
        } catch {
          done.resume(returning: Failed(error: error))
        }
      }
    }
    if let tried { throw tried.error }
  }

  private struct Failed: Sendable { let error: any Error }

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
        hold(nil)
      } catch {
        replica = nil
        hold(Self.describe(error, pair: pair.name))
        retry = host.clock.now() + .seconds(2)
      }
    }
  }

  /// The primary is told too.
  private func hold(_ reason: String?) {
    let isNew = board.update { view in
      defer { view.held[.replica] = reason }
      return view.held[.replica] != reason
    }
    if isNew { applied() }
  }

  // EROFS, EISDIR, ENOTEMPTY.
  private static let readOnly: Int32 = 30
  private static let isDirectory: Int32 = 21
  private static let isNotEmpty: Int32 = 39

  /// What went wrong with a replica, and what to do.
  package static func describe(_ error: any Error, pair: String) -> String {
    switch error {
    case Failure.held(let reason): reason
    case ApplyError.full(let needed, let free):
      """
      the replica's filesystem has \(free >> 20) MiB free and \(needed >> 20) MiB more are \
      needed: free some; nothing is lost and applying goes on by itself
      """
    case ApplyError.store(TreeError.full(let path)):
      """
      the replica's filesystem is full at \(path): free some; nothing is lost and applying goes on \
      by itself
      """
    case ApplyError.tree(_, .flushFailed(let number)):
      """
      the replica's disk cannot be relied on (flushing failed, errno \(number)): look at the \
      system log; nothing that is durable in the journal is lost
      """
    case ApplyError.tree(_, .failed(let path, _, errno: Self.readOnly)),
      ApplyError.store(TreeError.failed(let path, _, errno: Self.readOnly)),
      TreeError.failed(let path, _, errno: Self.readOnly):
      """
      replica: \(path) cannot be written (read-only): is its filesystem mounted so, or was the \
      configuration changed since `holdfast check` last told systemd where the agent may write?
      """
    case ApplyError.tree(_, let error): "replica: \(error)"
    case ApplyError.store(TreeError.failed(let path, _, errno: Self.isDirectory)),
      ApplyError.store(TreeError.failed(let path, _, errno: Self.isNotEmpty)):
      """
      replica: \(path) is to become something else, and the directory there holds what exclusion \
      keeps or somebody else put there: look into it and move that away; applying goes on by itself
      """
    case ApplyError.store(TreeError.refused(let path, let call, _)):
      """
      replica: the agent may not \(call) \(path): give its user the right to write there (chmod \
      u+w for a directory of its own), or run it with the capabilities of its unit; applying goes \
      on by itself
      """
    case ApplyError.store(let error as TreeError):
      """
      the replica is not what was applied to it (\(error)): somebody else changed it; to make it \
      so again, type: holdfast verify \(pair) --repair
      """
    case ApplyError.store(let error): "replica: \(error)"
    default: "replica: \(error)"
    }
  }

  private func advance() throws {
    isApplying.withLock { $0 = true }
    defer { isApplying.withLock { $0 = false } }
    try prepare()
    let replica = try open()
    guard let index else { return }
    let locks = try lock()
    defer { withExtendedLifetime(locks) {} }
    try replica.refuseAnew()
    let wanted = try index.newest(atLeast: pair.require)
    // An intent that a crash left open is finished first, whatever came since.
    let isOpen = !replica.record.intents.isEmpty
    if wanted == nil || replica.isAhead, let journal, let covered = try index.covered() {
      try replica.fillAhead(journal, upTo: covered.upTo)
    }
    guard let wanted, isOpen || wanted.number > replica.record.applied else { return }
    try replica.move(to: wanted)
    published(replica)
  }

  private func lock() throws -> [any Sendable] {
    [
      try host.readingJournal(pair: pair.name),
      try host.lockReplica(pair: pair.name, exclusive: true),
    ]
  }

  /// See ``Replica/mend(_:)``.
  package func mend(_ places: [Place]) throws {
    isApplying.withLock { $0 = true }
    defer { isApplying.withLock { $0 = false } }
    try prepare()
    let replica = try open()
    let locks = try lock()
    defer { withExtendedLifetime(locks) {} }
    if replica.record.intents.isEmpty { return try replica.mend(places) }
    // A move that could not be finished leaves nothing to compare with.
    guard let wanted = try index?.newest(atLeast: pair.require) else { return }
    try replica.rebuild(wanted)
    published(replica)
    wake.set()
  }

  private func published(_ replica: Replica) {
    defer { applied() }
    let notes = Self.notes(replica.shortfalls)
    board.update { view in
      view.marks.applied = replica.record.applied
      if !notes.isEmpty { view.notes = notes }
    }
  }

  private static func notes(_ shortfalls: Shortfalls) -> [String] {
    var notes: [String] = []
    if shortfalls.needsPrivileges {
      notes.append(
        """
        without privileges: \(shortfalls.owners) owners or modes, \(shortfalls.attributes) \
        attributes, \(shortfalls.nodes) nodes could not be set
        """)
    }
    if shortfalls.powers > 0 {
      notes.append(
        "refused, as configured: \(shortfalls.powers) times setuid, capabilities or a device")
    }
    return notes
  }

  /// Makes the replica exactly this point, forward or back; the catalog then describes it.
  package func move(to number: PointNumber) throws {
    try place(number)
    try replica?.refuseAnew()
  }

  private func place(_ number: PointNumber) throws {
    isAdvancing = false
    try prepare()
    // What was read before may be older than what is durable.
    replica = nil
    let replica = try open()
    let locks = try lock()
    defer { withExtendedLifetime(locks) {} }
    guard let row = try index?.point(number) else { throw Failure.unknownPoint(number) }
    try replica.move(to: row.point)
    published(replica)
    self.replica = nil
    index = nil
  }
}
