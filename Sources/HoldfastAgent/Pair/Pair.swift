import FoundationEssentials
import HoldfastBytes
package import HoldfastCore
import HoldfastStore
package import Logging
import HoldfastWire

/// One pair on this site: knows its role, starts and stops the workers, and speaks with the other
/// side while there is a link.
package actor Pair {
  /// What is in force: of guarded settings the old values, until the new ones are approved.
  package nonisolated let configuration: PairConfiguration
  /// What the administrator wrote.
  package nonisolated let wanted: PairConfiguration
  package nonisolated let board = PairBoard()
  let site: String
  let host: any Host
  let siteKey: Fingerprint
  let files: PairFiles
  let paths: [String]

  var identity: PairFiles.Identity?
  var standing: Standing?
  var capture: CaptureWorker?
  var receiver: ReceiveWorker?
  var applier: ApplyWorker?
  var shipper: Shipper?
  let spoolBoard = SpoolBoard()
  let shipping = Signal()
  var tasks: [Task<Void, Never>] = []
  var shipTask: Task<Void, Never>?
  /// Waits to greet the peer once more.
  var retryTask: Task<Void, Never>?
  /// Waits to go on with a promotion.
  var promotionTask: Task<Void, Never>?
  var isStopped = false
  var link: (any Link)?
  var linkGeneration = 0
  /// What the primary is yet to be told of what came on which link; see ``saySoon(_:)``.
  var unsaid: (status: ReceiveWorker.Status, generation: Int)?
  var isSaying = false
  /// Both sites are of one epoch, by what the other said on this link.
  var isAgreed = false
  /// Points up to this one are of a spool that was thrown away.
  var thrownUpTo = PointNumber.none
  var nextRetaining = Instant(nanos: 0)
  var isMoving = false
  /// Somebody is told what a failover would lose: no move, though the standby is held meanwhile.
  var isPreviewing = false
  /// See ``failover(by:_:)``.
  var isOrdered = false
  /// This site's disk took no more: what comes is not looked at until the next hello.
  var isStalled = false
  /// How often in a row the controller has said that nothing of the service runs here, since this
  /// agent began or this site's role changed.
  var stoppedHeard = 0
  /// The other site was greeted since.
  var isEndSaid = false
  /// This site is being promoted, or was to be.
  var promoting: PromotionUnderWay?
  /// A person has had this site go on, and that failed half-way.
  var resuming: ResumptionUnderWay?
  var resumeTask: Task<Void, Never>?
  /// Reigns that its controller has given up: see ``forgo(_:)``. What was asked of one of them may
  /// come long after the next was given up, too. The newest last, at most ``Limits/forgoneMax``.
  var forgone: [Reign] = []
  package var isAtMove: Bool {
    isMoving || isOrdered || promoting != nil || resuming != nil || isReturning
      || (yielding?.isUnderWay ?? false)
  }
  /// What was and is done on people's orders.
  package nonisolated let moves: MoveBoard
  /// In a planned move: this site's part as the old primary, or as the new one.
  var yielding: Yielding?
  /// A planned move that came to nothing may be on record.
  var mayHaveOffered = true
  /// Whether the controller has stopped the service for it in order.
  var isStoppedInOrder = false
  var yieldTask: Task<Void, Never>?
  var taking: Taking?
  var takenBy = ""
  let takingWake = Signal()
  /// What the promotion of a planned move came to.
  var taken: FailoverAnswer?
  /// Orders of a person here that the other site carries out, by number.
  var orders: [UInt64: CheckedContinuation<OrderAnswer, Never>] = [:]
  var lastOrder: UInt64 = 0
  /// This site was promoted when the other had yielded.
  var isPlanned = false
  /// This site's journal does not hold its tree yet.
  var isReturning = false
  var returnTask: Task<Void, Never>?
  private var startTask: Task<Void, Never>?
  /// What the other site said meanwhile.
  var greeting: (hello: Holdfast_PairHello, link: any Link)?
  var promisesGiven: Promises
  /// A person has said that the other site is down, and no arbiter has granted since.
  var isByWord = false
  /// Who waits for the other site's promise, by the number of the request.
  var promises: [UInt64: CheckedContinuation<Bool, Never>] = [:]
  var lastPromise: UInt64 = 0

  package init(
    configuration: PairConfiguration, site: String, siteKey: Fingerprint, host: any Host
  ) throws {
    self.site = site
    self.siteKey = siteKey
    self.host = host
    wanted = configuration
    let files = try PairFiles(host, pair: configuration.name)
    self.files = files
    promisesGiven = Promises(files: files, clock: host.clock) { [pair = configuration.name] in
      PromiseRecord(disk: try? host.volatile(), boot: host.boot, pair: pair)
    }
    moves = MoveBoard(host.clock, probe: host.probe, ended: files.moves())
    var settled = configuration
    // Before there is anything to protect, settings may be corrected freely.
    if try files.identity() != nil, let inForce = try files.guarded() {
      settled.guarded = inForce
    } else {
      try files.store(configuration.guarded)
    }
    self.configuration = settled
    paths = settled.paths(on: site)
    let changed = settled.guarded.differences(from: configuration.guarded)
    if !changed.isEmpty {
      board.hold(
        .change,
        """
        \(changed.joined(separator: ", ")) changed in the configuration; the old value stays in \
        force: to take the new one, type: holdfast approve \(configuration.name)
        """)
    }
  }

  /// See ``Promises/until``.
  package var promisedUntil: Instant { promisesGiven.until }
  /// See ``Promises/keep(until:)``.
  package func promised(until moment: Instant) { promisesGiven.keep(until: moment) }

  package nonisolated var name: String { configuration.name }
  package nonisolated var peer: String { configuration.peer(of: site) }
  var isPrimaryByConfiguration: Bool { configuration.primary == site }

  // MARK: Start and stop

  /// Starts, and tries again by itself where a disk hinders it.
  package func keepStarting(_ log: Logger? = nil) async {
    isStopped = false
    do {
      try await start()
    } catch {
      board.hold(.journal, "pair cannot start: \(error); it is tried again by itself")
      log?.error("pair \(name) cannot start: \(error)")
      guard !isStopped else { return }
      startTask = Task {
        try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
        guard !Task.isCancelled, !isStopped else { return }
        board.update { $0.held[.journal] = nil }
        await keepStarting(log)
      }
    }
  }

  /// Reads what is durable and begins as `unknown`.
  package func start() async throws {
    let failover = configuration.failover
    try promisesGiven.begin(ttl: failover.hasArbiter ? failover.ttl : nil)
    identity = try files.identity()
    guard let saved = try files.role() else {
      if !isPrimaryByConfiguration {
        standing = Standing(record: RoleRecord(reign: .none, part: .standby))
        showRole()
      }
      return
    }
    isPlanned = saved.isPlanned
    let yield = try files.yield().flatMap { $0.next.epoch > saved.record.reign.epoch ? $0 : nil }
    standing = Standing(
      record: saved.record,
      superseded: try files.superseded().flatMap {
        $0.epoch > saved.record.reign.epoch ? $0 : nil
      },
      yielded: yield?.point == nil ? nil : yield?.next)
    saysYielded()
    if let refusal = standing?.refusal { board.hold(.peer, "\(refusal)") }
    showRole()
    if let point = saved.promoting { return await finishPromotion(saved, to: point) }
    switch saved.record.part {
    case .primary:
      board.update { $0.marks.captured = max($0.marks.captured, saved.usedUpTo) }
      await openKept()
      guard !isStopped else { return }
      startCapture()
      if configuration.failover.onBoot == .resume { try await obey(standing?.on(.resume) ?? []) }
    case .standby:
      guard let returning = saved.returning else { return try await startStandby() }
      returnTask = Task { await self.returnWhole(saved, returning) }
    }
  }

  package func stop() async {
    isStopped = true
    startTask?.cancel()
    shipTask?.cancel()
    retryTask?.cancel()
    promotionTask?.cancel()
    yieldTask?.cancel()
    returnTask?.cancel()
    resumeTask?.cancel()
    for task in tasks { task.cancel() }
    capture?.wake.set()
    applier?.wake.set()
    await pauseCapture()
    for task in tasks { await task.value }
    tasks = []
    await startTask?.value
    await promotionTask?.value
    await returnTask?.value
    await resumeTask?.value
    await shipTask?.value
    (promotionTask, returnTask, resumeTask, shipTask) = (nil, nil, nil, nil)
    (promoting, resuming) = (nil, nil)
    // Whoever opens the same files next must find them closed.
    await capture?.close()
    await applier?.close()
    await receiver?.close()
    capture = nil
    applier = nil
    receiver = nil
    shipper = nil
  }

  /// Takes the settings that were held; the pair is then to be made anew.
  package func approve() async throws -> String {
    let changed = configuration.guarded.differences(from: wanted.guarded)
    guard !changed.isEmpty else {
      throw FailureAnswer(code: 3, "nothing of \(name) is held for approval")
    }
    guard !isAtMove else { throw FailureAnswer(code: 3, "another move of \(name) is under way") }
    guard !configuration.guarded.isRenumbered(by: wanted.guarded) else {
      throw FailureAnswer(
        code: 3,
        """
        points of \(name) know its roots by their order, which is to stay: put \
        \(configuration.roots.map(\.path).joined(separator: ", ")) first, in this order, and new \
        ones behind; to replicate one no longer, give it `exclude: ["/*"]`, or make a new pair
        """)
    }
    await stop()
    let isMoreExcluded = configuration.guarded.isOnlyExcludedMore(by: wanted.guarded)
    if standing?.record.part == .standby, changed != ["standby"], !isMoreExcluded {
      // What stands in the replica is compared with the next point as a whole.
      try ReplicaRecord().store(files.disk)
    }
    try files.store(wanted.guarded)
    return "\(name): \(changed.joined(separator: ", ")) as in the configuration"
  }

  /// What was approved could not be made: what is in force stays on record.
  package func keepSettings() {
    do {
      try files.store(configuration.guarded)
    } catch {
      board.update { $0.lastError = "the settings in force cannot be put on record: \(error)" }
    }
  }

  func showRole() {
    let role = isPromoting ? .promoting : standing?.role ?? .unknown
    let reign = standing?.record.reign ?? .none
    board.update { view in
      view.role = role
      view.reign = reign
    }
  }

  func startCapture() {
    guard capture == nil, let identity else { return }
    let worker = CaptureWorker(
      pair: configuration, paths: paths, host: host, board: board, spoolBoard: spoolBoard,
      files: files, identity: identity, writerKey: siteKey, shipping: shipping)
    capture = worker
    shipper = Shipper(
      pair: configuration, host: host, board: board, spoolBoard: spoolBoard,
      identity: identity, wake: shipping)
    tasks.append(Task { await worker.run() })
  }

  /// A site that was standby once keeps the points of that time: they are listed and restored,
  /// and no number of theirs is used again.
  func openKept() async {
    guard receiver == nil, let identity else { return }
    let receiver = ReceiveWorker(
      pair: configuration, host: host, board: board, identity: identity, siteKey: siteKey)
    do {
      guard try await !receiver.isUnused() else { return }
      try await receiver.hold()
      let highest = try await receiver.points().map(\.point.number).max() ?? .none
      board.update { $0.marks.captured = max($0.marks.captured, highest.next) }
      self.receiver = receiver
    } catch {
      board.hold(.journal, "journal cannot be opened: \(error)")
    }
  }

  func startStandby() async throws {
    guard receiver == nil, let identity else { return }
    let receiver = ReceiveWorker(
      pair: configuration, host: host, board: board, identity: identity, siteKey: siteKey)
    let applier = ApplyWorker(
      pair: configuration, paths: paths, host: host, board: board, identity: identity,
      siteKey: siteKey, files: files, applied: { [weak self] in Task { await self?.sayApplied() } })
    self.receiver = receiver
    self.applier = applier
    // What is said to the primary before anything is applied anew.
    if let record = try? ReplicaRecord.load(files.disk) {
      board.update { $0.marks.applied = record.applied }
    }
    tasks.append(Task { await applier.run() })
    do {
      try await receiver.open()
    } catch {
      board.hold(.journal, "journal cannot be opened: \(error)")
    }
    tasks.append(
      Task { [host] in
        while !Task.isCancelled {
          try? await host.clock.sleep(until: host.clock.now() + .seconds(1))
          await self.tick()
        }
      })
  }

  func retain(_ receiver: ReceiveWorker) async throws {
    let now = host.clock.now()
    guard now >= nextRetaining, !isMoving, let record = standing?.record else { return }
    // Held longer than the shortest span of the rule, no point is. What fails is not tried sooner.
    nextRetaining = now + min(Limits.retainEvery, max(configuration.retention.all, .seconds(1)))
    let isSwept = try await receiver.retain(
      configuration.retention, require: configuration.require, reign: record.reign)
    if isSwept, let link, record.part == .standby { try await sendHints(link, replacing: true) }
  }

  // MARK: Role

  func obey(_ orders: [Standing.Order]) async throws {
    if !orders.isEmpty { (stoppedHeard, isEndSaid) = (0, false) }
    for order in orders {
      switch order {
      case .persist(let record): try files.store(PairFiles.Saved(record: record))
      case .serve:
        try files.store(superseded: nil)
        startCapture()
        let view = board.view
        let highest = max(view.marks.durable, view.peerCaptured, view.marks.captured)
        await capture?.serve(standing?.record.reign ?? .none, highest: highest)
      case .follow:
        try files.store(superseded: nil)
        try await startStandby()
        await applier?.follow()
      case .refuse(let refusal):
        board.hold(.peer, "\(refusal)")
        switch refusal {
        case .stale: break
        case .superseded(_, let reign):
          try files.store(superseded: reign)
          await pauseBoth()
        case .split, .sameParts, .yielded: await pauseBoth()
        }
        guard let reason = refusal.forOther else { continue }
        var message = Holdfast_Refusal()
        message.pair = name
        message.reason = reason
        try? await link?.send(Frames.encode(.refusal(message)))
      }
    }
    showRole()
  }

  /// One that runs, maybe waiting for room that will never come, is given up first.
  private func pauseCapture() async {
    capture?.gate.interrupt()
    await capture?.pause()
  }

  private func pauseBoth() async {
    await pauseCapture()
    await applier?.stop()
  }
}
