import HoldfastBytes
package import HoldfastCore
import HoldfastStore

/// Watches a pair's roots and captures points into the spool. Works on a thread of its own.
package actor CaptureWorker {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  nonisolated let executor: any SerialExecutor
  let pair: PairConfiguration
  let paths: [String]
  let host: any Host
  let board: PairBoard
  let spoolBoard: SpoolBoard
  let identity: PairFiles.Identity
  let writerKey: Fingerprint
  let shipping: Signal
  package nonisolated let wake = Signal()
  let rootGuard: RootGuard
  let digests: PairDigests

  var watch: (any Watch)?
  /// The directories that `watch` and `capture` hold open.
  var watched: [FileIdentity] = []
  var catalog: (any Catalog)?
  var spool: Journal?
  var writer: PointWriter?
  var capture: Capture?
  var dirty = DirtySet()
  /// Of a cluster whose data files stay for now as they were captured last.
  var resting = DirtySet()
  var pace: Pace
  var reign = Reign.none
  var isServing = false
  /// The next point says everything, and builds on this one.
  var wholeParent: Seal?
  package nonisolated let gate = CaptureGate()
  /// A promotion is answered with a point of the new reign, whatever changed.
  var owesPoint = false
  var highest = PointNumber.none
  /// No number up to which a whole point was refused is durable since: see
  /// ``PointWriter/trustsLists``.
  var refusedUpTo: PointNumber?
  var nextScan: Instant
  var nextSettling: Instant?
  /// What could not be read when it was looked at last: until it is, no point is one instant.
  var denied: Set<Place> = []
  var nextDenied: Instant?
  var retryAt: Instant?
  let providers: Providers
  /// Files of the roots that were mapped for writing at the last look.
  var mapped: Set<Place> = []
  /// Those that no longer are, and are yet to be hashed once more.
  var unmapped: Set<Place> = []
  var nextMappingLook: Instant
  /// Whether a service rests while its files are read where they lie.
  var isHolding = false
  /// Whether all that the other side holds is known, which may be nothing.
  var isInformed = false
  /// Whether more was said of it than is kept.
  var areHintsCut = false
  private var nextRoomLook = Instant(nanos: .min)
  /// Whether a snapshot or clones are there meanwhile.
  var isPictured = false
  /// What was free in the fullest of the roots when they were made.
  var roomAtPicture: Int64 = 0
  /// Whether the tree is captured for this site's own journal: see ``takeStock``.
  var isStock = false
  /// Other filesystems below the roots that were met since all was looked at.
  var mounts: Set<Place> = []
  /// Of each root.
  let exclusions: [Exclusion]
  /// Why not all changes are told: only scans see them all.
  var gaps: String?
  var nextGapScan: Instant

  package init(
    pair: PairConfiguration, paths: [String], host: any Host, board: PairBoard,
    spoolBoard: SpoolBoard, files: PairFiles, identity: PairFiles.Identity,
    writerKey: Fingerprint, shipping: Signal
  ) {
    exclusions = pair.roots.map { Exclusion($0.exclude) }
    providers = Providers(pair: pair, paths: paths, host: host, disk: files.disk)
    let isWanted = { [gate] in (try? gate.check()) != nil }
    providers.postgres.isWanted = isWanted
    providers.freeze.isWanted = isWanted
    executor = host.executor("capture \(pair.name)")
    self.pair = pair
    self.paths = paths
    self.host = host
    self.board = board
    self.spoolBoard = spoolBoard
    self.identity = identity
    self.writerKey = writerKey
    self.shipping = shipping
    digests = PairDigests(identity.secret)
    rootGuard = RootGuard(host: host, pair: pair, paths: paths, site: writerKey)
    pace = Pace(rpo: pair.rpo)
    nextScan = host.clock.now() + Limits.scanEvery
    nextMappingLook = host.clock.now()
    nextGapScan = host.clock.now()
  }

  // MARK: Orders of the pair

  /// Points may be sealed from now on, in this reign.
  /// - Parameter isPromoted: the reign begins now; its first point is captured at once.
  package func serve(_ reign: Reign, highest: PointNumber, isPromoted: Bool = false) {
    if isPromoted {
      owesPoint = true
      pace.changed(at: host.clock.now())
    }
    if self.reign != reign {
      self.reign = reign
      capture = nil
      writer = nil
    }
    self.highest = max(self.highest, highest)
    isServing = true
    gate.isServiceEnded = false
    retryAt = nil
    wake.set()
  }

  /// Captures nothing more; one that runs is given up.
  package func pause() {
    isServing = false
    providers.rest()
    gate.proceed()
  }

  package func close() {
    isServing = false
    providers.rest()
    try? writer?.abandon()
    closeStore()
    watch = nil
  }

  /// What the newest point here is.
  package func head() throws -> CatalogHead? { try catalog?.head() }

  /// Captures nothing more, if nothing changed since the point.
  /// - Returns: whether that is so.
  package func rest(at point: PointNumber) throws -> Bool {
    guard try sync() == point else { return false }
    pause()
    return true
  }

  /// Captures now.
  /// - Returns: the newest point, which holds every change whose call had returned before.
  package func sync() throws -> PointNumber {
    guard isServing else {
      throw SyncFailure(reason: "nothing is captured here: see holdfast status \(pair.name)")
    }
    if let trouble = step(isUrgent: true) {
      switch trouble {
      case .waiting:
        throw SyncFailure(reason: "waiting for the standby to say what it holds", isPassing: true)
      case .refused(let reason): throw SyncFailure(reason: reason)
      }
    }
    return board.view.marks.captured
  }

  package struct SyncFailure: Error, Sendable, CustomStringConvertible {
    package let reason: String
    /// Whether it may be gone a moment later.
    package var isPassing = false
    package var description: String { reason }
  }

  /// Why nothing could be captured though it was asked for.
  enum Trouble {
    /// The standby is being asked what it holds.
    case waiting
    case refused(String)
  }

  // MARK: The loop

  package func run() async {
    noteTroubles(providers.recover())
    while !Task.isCancelled {
      let now = host.clock.now()
      if isServing {
        _ = step(isUrgent: false)
      } else {
        collect()
      }
      trim()
      var next = now + .milliseconds(500)
      if isServing, let due = pace.due { next = min(next, max(due, retryAt ?? due)) }
      await wake.wait(until: max(next, now + .milliseconds(1)), host.clock)
    }
  }

  func step(isUrgent: Bool) -> Trouble? {
    let now = host.clock.now()
    switch rootGuard.look(id: identity.id) {
    case .problem(let problem):
      board.hold(.root, problem)
      providers.rest()
      watch = nil
      capture = nil
      watched = []
      retryAt = now + .seconds(1)
      return .refused(problem)
    case .sound(let identities):
      if identities != watched {
        // Another directory stands in a root's place: it is watched and read anew.
        watch = nil
        capture = nil
        providers.freeze.sweep()
        watched = identities
      }
    }
    board.hold(.root, nil)
    do {
      try open()
      try learn()
    } catch {
      providers.rest()
      closeIfLost(error)
      return fail("cannot open: \(error)", at: now)
    }
    drain()
    schedule(now, isUrgent: isUrgent)
    // However long nothing is captured: what a server or a disk keeps for this pair has a bound.
    try? providers.postgres.lookMeanwhile()
    if now >= nextRoomLook {
      nextRoomLook = now + Limits.roomLookEvery
      providers.freeze.makeRoom()
    }
    if gate.isWaiting { return .waiting }
    guard isUrgent || (pace.due.map { $0 <= now } ?? false) || wholeParent != nil else {
      breathe(now)
      return nil
    }
    if let retryAt, retryAt > now, !isUrgent { return nil }
    if let spool, spool.sizeBytes > pair.spoolBytes {
      board.hold(.spool, Self.fullSpool(spool.sizeBytes))
      // For as long as that may last no server keeps its WAL, no disk what is overwritten.
      providers.rest()
      pace.captured(at: now)
      pace.changed(at: now)
      return .refused("the spool is full")
    }
    board.hold(.spool, nil)
    do {
      try captureOnce(now)
      retryAt = nil
      // What happened while it was sealed is pending, not in it.
      let end = host.clock.now()
      drain()
      breathe(end)
      return nil
    } catch let error as CaptureError {
      if case .store(is CaptureGate.Interrupted) = error { return .waiting }
      closeIfLost(error)
      return fail("\(error)", at: now)
    } catch is CaptureGate.Interrupted {
      return .waiting
    } catch {
      closeIfLost(error)
      return fail("\(error)", at: now)
    }
  }

  func fail(_ reason: String, at now: Instant) -> Trouble {
    retryAt = now + .seconds(2)
    board.update { $0.lastError = Verdict.bounded(reason) }
    return .refused(reason)
  }

  /// With nothing pending, all that happened until now is in the newest point.
  func breathe(_ now: Instant) {
    board.update { view in
      view.pendingPlaces = Int64(dirty.count)
      view.backlogBytes = spoolBoard.backlog
      guard dirty.isEmpty, mapped.isEmpty, unmapped.isEmpty, gaps == nil, wholeParent == nil,
        view.marks.captured > .none,
        view.grade.map({ $0 >= pair.require }) ?? false,
        denied.isEmpty || pair.require == .fuzzy
      else { return }
      let claim = LagClock.Claim(point: view.marks.captured, moment: now)
      view.fresh = claim
      view.lag.claimed(claim)
    }
  }
}
