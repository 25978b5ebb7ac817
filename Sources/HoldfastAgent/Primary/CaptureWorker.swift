import HoldfastBytes
package import HoldfastCore
import HoldfastStore

/// Watches a pair's roots and captures points into the spool. Works on a thread of its own.
package actor CaptureWorker {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  private nonisolated let executor: any SerialExecutor
  private let pair: PairConfiguration
  private let paths: [String]
  private let host: any Host
  private let board: PairBoard
  private let spoolBoard: SpoolBoard
  private let identity: PairFiles.Identity
  private let writerKey: Fingerprint
  private let shipping: Signal
  package nonisolated let wake = Signal()
  private let rootGuard: RootGuard
  private let digests: PairDigests

  private var watch: (any Watch)?
  private var catalog: (any Catalog)?
  private var spool: Journal?
  private var writer: PointWriter?
  private var capture: Capture?
  private var dirty = DirtySet()
  private var pace: Pace
  private var reign = Reign.none
  private var isServing = false
  /// The next point says everything, built on `parent`.
  private var wholeParent: Seal?
  /// A whole point waits for the peer's hints.
  private var awaitsHints = false
  private var awaitsPeer = false
  private var highest = PointNumber.none
  private var nextScan: Instant
  private var nextSettling: Instant?
  private var retryAt: Instant?

  package init(
    pair: PairConfiguration, paths: [String], host: any Host, board: PairBoard,
    spoolBoard: SpoolBoard, identity: PairFiles.Identity, writerKey: Fingerprint,
    shipping: Signal
  ) {
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
  }

  // MARK: Opening

  private func open() throws {
    if watch == nil {
      let wake = wake
      watch = host.watch(paths) { wake.set() }
      scanAll()
    }
    if catalog == nil { try openCatalog() }
    if spool == nil { try openSpool() }
    guard let watch, let catalog, let spool else { return }
    if capture == nil {
      let writer = PointWriter(
        spool: spool, secret: identity.secret, catalog: catalog,
        identity: .init(pair: identity.id, reign: reign, writer: writerKey), codec: .zstd,
        dice: host.dice, probe: host.probe)
      writer.grew = { [unowned self] in assumeIsolated { $0.spoolGrew() } }
      self.writer = writer
      capture = try Capture(
        trees: try paths.map { try host.tree($0) },
        exclusions: pair.roots.map { Exclusion($0.exclude) }, catalog: catalog, writer: writer,
        cutter: ContentCutter(secret: identity.secret), watch: watch, clock: host.clock,
        probe: host.probe)
    }
    board.update { $0.watch = watch.kind }
  }

  private func scanAll() {
    for root in paths.indices {
      dirty.scan(Place(root: RootNumber(rawValue: root), path: .top))
    }
    pace.changed(at: host.clock.now())
  }

  /// Opens the catalog; one that is damaged is thrown away and made anew by a scan.
  private func openCatalog() throws {
    do {
      let opened = try host.catalog(pair: pair.name)
      let head = try opened.head()
      var sum = TreeDigest()
      try opened.forEach { sum.add(digests.entry($0, $1.entry.encoded)) }
      guard sum == head.tree else { throw IndexError.unusable("its digest is another") }
      catalog = opened
    } catch let error as IndexError {
      board.update { $0.lastError = "catalog rebuilt by a scan: \(error)" }
      host.removeCatalog(pair: pair.name)
      catalog = try host.catalog(pair: pair.name)
      scanAll()
    }
  }

  private func openSpool() throws {
    let disk = try host.disk(["pairs", pair.name, "spool"])
    var unreadable = 0
    let opened = try Journal(disk: disk, secret: identity.secret) { _, _ in unreadable += 1 }
    spool = opened
    spoolBoard.cleared()
    guard let catalog else { return }
    let head = try catalog.head()
    highest = max(highest, head.number)
    var newest: Point?
    var isWhole = unreadable == 0
    for number in opened.segments.keys.sorted() {
      guard let info = opened.segments[number] else { continue }
      spoolBoard.grew(number, info.header.id, to: info.size)
      try opened.scan(number, from: 0, damaged: { _, _ in isWhole = false }) {
        position, bytes, record in
        guard record.header.kind == .seal else { return }
        let plain = try opened.plain(number, bytes, record, at: position)
        let point = try SealRecord(decoding: plain, digests).point
        newest = point
        spoolBoard.sealed(
          point,
          end: RecordPosition(
            segment: number, offset: position.offset + Int64(record.range.count)))
      }
    }
    highest = max(highest, newest?.number ?? .none)
    if !isWhole {
      // A power cut took what was neither sealed nor durable on the standby, or the disk did.
      board.update { $0.lastError = "the spool is damaged: the next point says everything" }
      try startAnew(parent: head.seal)
    } else if let newest, newest.seal != head.seal {
      // The crash came between the spool's flush and the catalog's: say everything once.
      wholeParent = newest.seal
    } else if head.seal == .none {
      wholeParent = Seal.none
    }
    board.update { $0.marks.captured = max($0.marks.captured, highest) }
  }

  // MARK: Orders of the pair

  /// Points may be sealed from now on, in this reign.
  package func serve(_ reign: Reign, highest: PointNumber) {
    if self.reign != reign {
      self.reign = reign
      capture = nil
      writer = nil
    }
    self.highest = max(self.highest, highest)
    isServing = true
    retryAt = nil
    wake.set()
  }

  package func pause() { isServing = false }

  package func close() {
    isServing = false
    try? writer?.abandon()
    capture = nil
    writer = nil
    catalog = nil
    spool = nil
    watch = nil
  }

  /// While the other side is being asked how far it is, nothing is captured.
  package func expectPeer(_ isExpected: Bool) {
    awaitsPeer = isExpected
    wake.set()
  }

  /// What was asked of the other side will not be answered: a whole point then carries more than
  /// it had to, and nothing waits.
  package func peerLeft() {
    awaitsHints = false
    awaitsPeer = false
    wake.set()
  }

  package enum Agreement: Sendable {
    /// The spool holds all that the standby lacks.
    case inStep
    /// A whole point will be captured; `hints`: first the standby says what it holds.
    case anew(hints: Bool)
  }

  /// Finds out how to go on with a standby.
  /// - Parameters:
  ///   - seal: of its newest durable point.
  ///   - highest: the highest point number that it ever saw.
  package func meet(
    seal: Seal, highest peerHighest: PointNumber, isEmpty: Bool
  ) throws -> Agreement {
    try open()
    highest = max(highest, peerHighest)
    guard let catalog else { return .inStep }
    let head = try catalog.head()
    let spooled = spoolBoard.view.points
    let base = spooled.first?.point.parent ?? head.seal
    let isInStep: Bool
    if head.seal == .none, seal != .none {
      // The catalog is gone: what the standby holds is asked for, so that it is not sent again.
      isInStep = false
    } else if let wholeParent, spooled.isEmpty {
      isInStep = seal == wholeParent
    } else {
      isInStep = seal == base || seal == head.seal || spooled.contains { $0.point.seal == seal }
    }
    if isInStep { return .inStep }
    try startAnew(parent: seal)
    awaitsHints = !isEmpty
    return .anew(hints: !isEmpty)
  }

  /// The spool is of no use to the standby: it is thrown away for a whole point.
  private func startAnew(parent: Seal) throws {
    guard let spool, let catalog else { return }
    try writer?.abandon()
    capture = nil
    writer = nil
    for number in spool.segments.keys { try spool.remove(number) }
    spoolBoard.cleared()
    try catalog.forgetKnown()
    wholeParent = parent
    board.update { view in
      view.fresh = nil
      view.lag.forget()
    }
    pace.changed(at: host.clock.now())
    wake.set()
  }

  /// The standby lacks content that was taken for held.
  package func startAnewAfterRefusal(parent: Seal) throws {
    try startAnew(parent: parent)
    awaitsHints = true
  }

  /// - Parameter replacing: all that was known before is forgotten.
  package func learn(_ prefixes: [UInt64], replacing: Bool, isLast: Bool) throws {
    if replacing { try catalog?.forgetKnown() }
    try catalog?.learn(prefixes)
    if isLast {
      awaitsHints = false
      wake.set()
    }
  }

  /// Captures now.
  /// - Returns: the newest point, which holds every change whose call had returned before.
  package func sync() throws -> PointNumber {
    guard isServing else { return board.view.marks.captured }
    if let failure = step(isUrgent: true) { throw SyncFailure(reason: failure) }
    return board.view.marks.captured
  }

  package struct SyncFailure: Error, Sendable { package let reason: String }

  // MARK: The loop

  package func run() async {
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

  /// Takes what the kernel told.
  private func collect() {
    if watch == nil {
      // While the role is unknown changes are collected all the same.
      let wake = wake
      guard rootGuard.problem(id: identity.id) == nil else { return }
      watch = host.watch(paths) { wake.set() }
      scanAll()
    }
    drain()
  }

  @discardableResult
  private func drain() -> Int {
    let events = watch?.drain() ?? []
    for event in events {
      switch event {
      case .touched(let place): dirty.touch(place)
      case .lost(let place):
        dirty.scan(place)
        if place.path.isTop {
          board.update { view in
            view.fresh = nil
            view.lag.forget()
          }
        }
      }
    }
    if !events.isEmpty { pace.changed(at: host.clock.now()) }
    return events.count
  }

  /// - Returns: why nothing could be captured though it was asked for.
  private func step(isUrgent: Bool) -> String? {
    let now = host.clock.now()
    if let problem = rootGuard.problem(id: identity.id) {
      board.hold(.root, problem)
      watch = nil
      capture = nil
      retryAt = now + .seconds(1)
      return problem
    }
    board.hold(.root, nil)
    do {
      try open()
    } catch {
      return fail("cannot open: \(error)", at: now)
    }
    drain()
    schedule(now)
    if awaitsHints || awaitsPeer { return "waiting for the standby to say what it holds" }
    guard isUrgent || (pace.due.map { $0 <= now } ?? false) || wholeParent != nil else {
      breathe(now)
      return nil
    }
    if let retryAt, retryAt > now, !isUrgent { return nil }
    if let spool, spool.sizeBytes > pair.spoolBytes {
      board.hold(
        .spool, "spool is full (\(spool.sizeBytes) bytes): changes wait; reach the standby")
      pace.captured(at: now)
      pace.changed(at: now)
      return "the spool is full"
    }
    board.hold(.spool, nil)
    do {
      try captureOnce(now)
      retryAt = nil
      breathe(host.clock.now())
      return nil
    } catch {
      return fail("\(error)", at: now)
    }
  }

  private func fail(_ reason: String, at now: Instant) -> String {
    retryAt = now + .seconds(2)
    board.update { $0.lastError = reason }
    return reason
  }

  /// With nothing pending, all that happened until now is in the newest point.
  private func breathe(_ now: Instant) {
    board.update { view in
      view.pendingPlaces = Int64(dirty.count)
      view.backlogBytes = spoolBoard.backlog
      guard dirty.isEmpty, wholeParent == nil, view.marks.captured > .none,
        view.grade.map({ $0 >= pair.require }) ?? false
      else { return }
      let claim = LagClock.Claim(point: view.marks.captured, moment: now)
      view.fresh = claim
      view.lag.claimed(claim)
    }
  }

  private func schedule(_ now: Instant) {
    if now >= nextScan {
      nextScan = now + Limits.scanEvery
      scanAll()
    }
    if let due = nextSettling, now >= due {
      nextSettling = nil
      pace.changed(at: now)
      for place in (try? catalog?.unsettled()) ?? [] { dirty.touch(place) }
    }
  }

  // MARK: One capture

  private func captureOnce(_ now: Instant) throws {
    guard let catalog, let writer, let capture, let watch else { return }
    let (scans, places) = dirty.take()
    pace.captured(at: now)
    let isWhole = wholeParent != nil
    let oldHead = try catalog.head()
    if scans.isEmpty, places.isEmpty, !isWhole, oldHead.grade >= pair.require { return }
    let time = host.clock.wall()
    let number = max(highest, oldHead.number).next
    do {
      writer.begin(number, isWhole: isWhole)
      let (outcome, read) = try capture.read(
        scans: scans, places: places, forced: [], isWhole: isWhole)
      for place in outcome.torn { dirty.touch(place) }
      let changed = drain() > 0
      if let problem = rootGuard.problem(id: identity.id) {
        board.hold(.root, problem)
        throw SyncFailure(reason: problem)
      }
      let (grade, reason) = grade(changed: changed, watch: watch, outcome)
      note(outcome, reason)
      var head = read
      let isUpgrade = grade > oldHead.grade && oldHead.grade < pair.require
      if writer.changesInAttempt == 0, !isWhole, !isUpgrade {
        try writer.abandon()
        try catalog.commit()
        return
      }
      host.probe.hit(.sending)
      let point = try writer.seal(
        parent: wholeParent ?? oldHead.seal, time: time, grade: grade, tree: head.tree,
        totals: head.totals)
      head.number = number
      head.seal = point.seal
      head.grade = grade
      try catalog.setHead(head)
      try catalog.commit()
      sealed(point, began: now, at: writer.end)
    } catch {
      try? writer.abandon()
      try? catalog.rollback()
      dirty.merge(scans: scans, places: places)
      pace.changed(at: now)
      throw error
    }
  }

  private func sealed(_ point: Point, began: Instant, at end: RecordPosition) {
    highest = point.number
    wholeParent = nil
    spoolBoard.sealed(point, end: end)
    nextSettling = nextSettling ?? host.clock.now() + Limits.youngFor
    board.update { view in
      view.marks.captured = point.number
      view.grade = point.grade
      view.pendingPlaces = Int64(dirty.count)
      if point.grade >= pair.require {
        let claim = LagClock.Claim(point: point.number, moment: began)
        view.fresh = claim
        view.lag.claimed(claim)
      }
    }
    shipping.set()
  }

  /// What the point promises, and why it is not more.
  private func grade(
    changed: Bool, watch: any Watch, _ outcome: CaptureOutcome
  ) -> (grade: Grade, reason: String?) {
    if watch.kind == .scan { return (.fuzzy, "nothing tells of changes on this filesystem") }
    if let reason = outcome.unwatched { return (.fuzzy, reason) }
    if let torn = outcome.torn.first { return (.fuzzy, "\(torn.path) changed while it was read") }
    if !outcome.denied.isEmpty { return (.fuzzy, "not all could be read") }
    if changed { return (.fuzzy, "other files changed while it was captured") }
    switch host.mappings(paths) {
    case .none: return (.crash, nil)
    case .mapped(let process):
      return (.fuzzy, "process \(process) has a file of a root mapped for writing")
    case .unknown:
      return (.fuzzy, "without privileges nobody can tell which files are mapped for writing")
    }
  }

  private func note(_ outcome: CaptureOutcome, _ reason: String?) {
    var notes =
      watch?.shortfall.map { ["watching with \(watch?.kind.rawValue ?? ""): \($0)"] } ?? []
    if let reason { notes.append("the newest point is fuzzy: \(reason)") }
    for place in outcome.mounts.prefix(5) {
      notes.append("\(place.path) is another filesystem and is not replicated: make it a root")
    }
    for (place, error) in outcome.denied.prefix(5) {
      notes.append("\(place.path) cannot be read and stays as it was: \(error)")
    }
    if !outcome.denied.isEmpty { retryAt = host.clock.now() + .seconds(30) }
    board.update { $0.notes = notes }
  }

  private func spoolGrew() {
    for (number, info) in spool?.segments ?? [:] {
      spoolBoard.grew(number, info.header.id, to: info.size)
    }
    shipping.set()
    // During a long capture too: what the standby has need not reach this disk.
    trim()
  }

  /// Gives back what the standby has made durable.
  private func trim() {
    guard let spool else { return }
    let last = spool.lastNumber
    for piece in spoolBoard.view.pieces
    where piece.number != last && piece.acknowledged >= piece.size {
      do {
        try spool.remove(piece.number)
        spoolBoard.removed(piece.number)
      } catch {
        board.update { $0.lastError = "spool: \(error)" }
        return
      }
    }
  }

  /// What `points` shows on this side.
  package func points() throws -> (spooled: [Point], head: CatalogHead) {
    (spoolBoard.view.points.map(\.point), try catalog?.head() ?? .none)
  }
}
