import FoundationEssentials
import HoldfastBytes
package import HoldfastCore
import HoldfastStore
package import HoldfastWire

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
  var link: (any Link)?
  var linkGeneration = 0
  /// Refusals up to this point are of the spool that was thrown away.
  var refusedUpTo: PointNumber?
  var nextRetaining = Instant(nanos: 0)
  var isMoving = false

  package init(
    configuration: PairConfiguration, site: String, siteKey: Fingerprint, host: any Host
  ) throws {
    self.site = site
    self.siteKey = siteKey
    self.host = host
    wanted = configuration
    let files = try PairFiles(host, pair: configuration.name)
    self.files = files
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

  package nonisolated var name: String { configuration.name }
  package nonisolated var peer: String { configuration.peer(of: site) }
  var isPrimaryByConfiguration: Bool { configuration.primary == site }

  // MARK: Start and stop

  /// Reads what is durable and begins as `unknown`.
  package func start() async throws {
    identity = try files.identity()
    guard let saved = try files.role() else {
      if !isPrimaryByConfiguration {
        standing = Standing(record: RoleRecord(reign: .none, part: .standby))
        showRole()
      }
      return
    }
    standing = Standing(record: saved.record, superseded: try files.superseded())
    if let refusal = standing?.refusal { board.hold(.peer, "\(refusal)") }
    showRole()
    if saved.promoting != nil { return await finishPromotion(saved) }
    switch saved.record.part {
    case .primary:
      await openKept()
      startCapture()
      if configuration.failover.onBoot == .resume { try await obey(standing?.on(.resume) ?? []) }
    case .standby: try await startStandby()
    }
  }

  package func stop() async {
    shipTask?.cancel()
    for task in tasks { task.cancel() }
    capture?.wake.set()
    applier?.wake.set()
    await capture?.pause()
    for task in tasks { await task.value }
    tasks = []
    await shipTask?.value
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
    guard !isMoving else { throw FailureAnswer(code: 3, "another move of \(name) is under way") }
    await stop()
    if standing?.record.part == .standby, changed != ["standby"] {
      // What stands in the replica is compared with the next point as a whole.
      try ReplicaRecord().store(files.disk)
    }
    try files.store(wanted.guarded)
    return "\(name): \(changed.joined(separator: ", ")) as in the configuration"
  }

  func showRole() {
    let role = standing?.role ?? .unknown
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
      identity: identity, writerKey: siteKey, shipping: shipping)
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
      pair: name, host: host, board: board, identity: identity, siteKey: siteKey)
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
      pair: name, host: host, board: board, identity: identity, siteKey: siteKey)
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

  func tick() async {
    guard let receiver else { return }
    do {
      if let status = try await receiver.tick() { await say(status) }
      try await retain(receiver)
    } catch {
      board.hold(.disk, "journal: \(error)")
    }
  }

  func retain(_ receiver: ReceiveWorker) async throws {
    let now = host.clock.now()
    guard now >= nextRetaining, !isMoving, let record = standing?.record else { return }
    let isSwept = try await receiver.retain(
      configuration.retention, require: configuration.require, reign: record.reign)
    // Held longer than the shortest span of the rule, no point is.
    nextRetaining = now + min(Limits.retainEvery, max(configuration.retention.all, .seconds(1)))
    if isSwept, let link, record.part == .standby { try await sendHints(link, replacing: true) }
  }

  // MARK: Role

  func obey(_ orders: [Standing.Order]) async throws {
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
        case .split, .sameParts: await pauseBoth()
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

  private func pauseBoth() async {
    await capture?.pause()
    await applier?.stop()
  }

  // MARK: Link

  package func linkUp(_ link: any Link) async {
    self.link = link
    linkGeneration += 1
    board.update { view in
      view.peerConnected = true
      view.linkError = nil
    }
    // A standby answers when the primary has spoken, each time it does.
    if standing?.record.part != .standby { await greet() }
  }

  package func linkDown(_ link: any Link) async {
    guard let mine = self.link, mine as AnyObject === link as AnyObject else { return }
    self.link = nil
    shipTask?.cancel()
    shipping.set()
    shipTask = nil
    board.update { $0.peerConnected = false }
    await capture?.peerLeft()
  }

  /// Sends the durable record of this side.
  func greet() async {
    guard let link else { return }
    var hello = Holdfast_PairHello()
    hello.pair = name
    if let identity { hello.pairID = Data(identity.id.bytes) }
    hello.set(
      standing?.record
        ?? RoleRecord(reign: .none, part: isPrimaryByConfiguration ? .primary : .standby))
    for (key, value) in configuration.agreement {
      var agreed = Holdfast_AgreedKey()
      agreed.key = key
      agreed.digest = Data(Sha256.hash(Array(value.utf8)))
      hello.agreed.append(agreed)
    }
    do {
      if standing?.record.part == .standby, let receiver {
        let greeting = try await receiver.greeting()
        hello.journal = Data(greeting.journal.bytes)
        hello.durable = greeting.durable?.number.rawValue ?? 0
        hello.durableSeal = Data((greeting.durable?.seal ?? .none).digest.bytes)
        hello.highest = greeting.highest.rawValue
        hello.isEmptyJournal = greeting.isEmpty
        if let tail = greeting.tail {
          hello.tailSegment = Data(tail.id.bytes)
          hello.tailSize = tail.size
        }
        hello.applied = board.view.marks.applied.rawValue
      }
      try await link.send(Frames.encode(.pairHello(hello)))
    } catch {
      board.update { $0.lastError = "greeting: \(error)" }
    }
  }

  /// What the other side said of this pair.
  package func received(_ body: Holdfast_Frame.OneOf_Body, from link: any Link) async throws {
    switch body {
    case .pairHello(let hello): try await met(hello, link)
    case .secret(let offer): try await take(offer)
    case .segmentBegin(let message):
      guard let receiver, standing?.role == .standby else { return }
      try await receiver.begin(Array(message.header), reign: standing?.record.reign ?? .none)
    case .segmentData(let message): try await take(message)
    case .progress(let progress): await advanced(progress)
    case .missing(let missing): try await refused(missing, link)
    case .hintsWanted: try await sendHints(link, replacing: false)
    case .hints(let hints):
      try await capture?.learn(hints.prefixes, replacing: hints.replaces, isLast: hints.last)
    case .stalled(let stalled): board.hold(.peer, "the standby takes no more: \(stalled.reason)")
    case .refusal(let refusal):
      // What this side found out by itself says more.
      guard standing?.refusal == nil else { return }
      board.hold(.peer, "the other site refuses: \(refusal.reason)")
    case .hello, .heartbeat, .join, .joined: break
    }
  }

  func met(_ hello: Holdfast_PairHello, _ link: any Link) async throws {
    guard let theirs = hello.record else { throw CodingError.invalid("record of a pair") }
    disagreement(hello)
    guard let part = standing?.record.part else { return }
    board.hold(.peer, nil)
    if part == .primary { startCapture() }
    // Nothing is captured before it is known what the other side holds.
    await capture?.expectPeer(true)
    do {
      // A standby without the secret says hello again once it has it.
      let isKnown = try await settle(hello, theirs, link)
      if isKnown { await capture?.expectPeer(false) }
    } catch {
      await capture?.expectPeer(false)
      throw error
    }
  }

  /// - Returns: whether all was said that the two sides have to say before points travel.
  func settle(
    _ hello: Holdfast_PairHello, _ theirs: RoleRecord, _ link: any Link
  ) async throws -> Bool {
    let orders = standing?.on(.peer(theirs)) ?? []
    try await obey(orders)
    if standing?.record.part == .standby { await greet() }
    guard standing?.refusal == nil, let record = standing?.record else {
      return true
    }
    if orders.contains(where: { if case .refuse = $0 { true } else { false } }) {
      return true
    }
    guard record.part == .primary, let identity, let capture else { return true }
    guard RandomID(Array(hello.pairID)) != nil, !hello.journal.isEmpty else {
      var offer = Holdfast_PairSecretOffer()
      offer.pair = name
      offer.pairID = Data(identity.id.bytes)
      offer.secret = Data(identity.secret.bytes)
      try await link.send(Frames.encode(.secret(offer)))
      return false
    }
    guard let digest = Digest32(Array(hello.durableSeal)) else {
      throw CodingError.invalid("seal of the newest durable point")
    }
    let durable = PointNumber(rawValue: hello.durable)
    board.update { view in
      view.marks.durable = durable
      view.marks.received = durable
      view.marks.applied = PointNumber(rawValue: hello.applied)
      view.lag.durable(durable)
    }
    let agreement = try await capture.meet(
      seal: Seal(digest), highest: max(durable, PointNumber(rawValue: hello.highest)),
      isEmpty: hello.isEmptyJournal)
    if case .anew(let hints) = agreement, hints {
      var wanted = Holdfast_HintsWanted()
      wanted.pair = name
      try await link.send(Frames.encode(.hintsWanted(wanted)))
    }
    var tail: (RandomID, Int64)?
    if let id = RandomID(Array(hello.tailSegment)) { tail = (id, hello.tailSize) }
    ship(link, tail: tail)
    return true
  }

  func ship(_ link: any Link, tail: (id: RandomID, size: Int64)?) {
    shipTask?.cancel()
    shipping.set()
    guard let shipper else { return }
    if let tail { spoolBoard.acknowledge(tail.id, tail.size) }
    let before = shipTask
    shipTask = Task { [board] in
      // The one before has seen its cancellation once it is over.
      await before?.value
      do {
        try await shipper.run(link, tail: tail)
      } catch is CancellationError {
      } catch {
        board.update { $0.lastError = "sending: \(error)" }
        await link.close()
      }
    }
  }

  func disagreement(_ hello: Holdfast_PairHello) {
    let theirs = Dictionary(
      hello.agreed.map { ($0.key, Array($0.digest)) }, uniquingKeysWith: { a, _ in a })
    let different = configuration.agreement.filter { key, value in
      theirs[key].map { $0 != Sha256.hash(Array(value.utf8)) } ?? false
    }
    board.hold(
      .configuration,
      different.isEmpty
        ? nil
        : """
        the two sites' configurations differ in \(different.map(\.key).joined(separator: ", ")): \
        make them equal, then: systemctl reload holdfast-agent
        """)
  }

  func take(_ offer: Holdfast_PairSecretOffer) async throws {
    guard identity == nil, standing?.record.part == .standby else { return }
    guard let id = RandomID(Array(offer.pairID)), let secret = PairSecret(Array(offer.secret))
    else { throw CodingError.invalid("secret of a pair") }
    let identity = PairFiles.Identity(id: id, secret: secret)
    try files.store(identity)
    self.identity = identity
    try await startStandby()
    if standing?.role == .standby { await applier?.follow() }
    await greet()
  }
}
