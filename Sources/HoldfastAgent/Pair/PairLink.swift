import FoundationEssentials
import HoldfastBytes
package import HoldfastCore
import HoldfastStore
package import HoldfastWire

/// What the two sites of a pair say to one another when a link is there.
extension Pair {
  package func linkUp(_ link: any Link) async {
    self.link = link
    isAgreed = false
    greeting = nil
    linkGeneration += 1
    board.update { view in
      view.peerConnected = true
      view.linkError = nil
    }
    // A standby answers when the primary has spoken, each time it does.
    if standing?.record.part != .standby { await greet() }
    await sendFacts()
    // In a planned move each waits for the other's word.
    if taking != nil { await tellTaking(.tick) }
    if let yielding, yielding.isUnderWay { await say(yielding.stage, to: yielding.next) }
  }

  package func linkDown(_ link: any Link) async {
    guard let mine = self.link, mine as AnyObject === link as AnyObject else { return }
    self.link = nil
    isAgreed = false
    greeting = nil
    shipTask?.cancel()
    shipping.set()
    shipTask = nil
    board.update { $0.peerConnected = false }
    ordersLost()
    capture?.gate.peerLeft()
    capture?.wake.set()
  }

  func greetAgain() {
    retryTask?.cancel()
    retryTask = Task { [host] in
      try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      if !Task.isCancelled { await self.greet() }
    }
  }

  /// Says hello; where this side's disk does not let it, again a little later.
  func greet() async {
    do {
      // A window's worth is sent before the primary hears that there is still no room.
      if isStalled, let receiver, try await !receiver.hasRoom() { return greetAgain() }
      try await sayHello()
    } catch {
      greetingFailed(error)
    }
  }

  /// What one pair's disk does is no reason to part from the peer. An end of the link is seen by
  /// who reads from it.
  private func greetingFailed(_ error: any Error) {
    if error is LinkError { return }
    board.hold(.disk, "\(name) cannot go on: \(error); it is tried again by itself")
    greetAgain()
  }

  /// Sends the durable record of this side.
  private func sayHello() async throws {
    guard let link else { return }
    isStalled = false
    var hello = Holdfast_PairHello()
    hello.pair = name
    if let identity { hello.pairID = Data(identity.id.bytes) }
    hello.set(
      standing?.record
        ?? RoleRecord(reign: .none, part: isPrimaryByConfiguration ? .primary : .standby))
    hello.mayServe = mayServe
    for (key, value) in configuration.agreement {
      var agreed = Holdfast_AgreedKey()
      agreed.key = key
      agreed.digest = Data(Sha256.hash(Array(value.utf8)))
      hello.agreed.append(agreed)
    }
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
    if case .yielded = standing?.refusal, let yield = try files.yield(), let point = yield.point {
      let stage = Holdfast_YieldStage(pair: name, yield.next, .yielded(point))
      try await link.send(Frames.encode(.yieldStage(stage)))
    }
  }

  /// What the other side said of this pair.
  package func received(_ body: Holdfast_Frame.OneOf_Body, from link: any Link) async throws {
    switch body {
    case .pairHello(let hello): try await met(hello, link)
    case .secret(let offer): try await take(offer)
    case .segmentBegin(let message): try await begin(message)
    case .progress(let progress): await advanced(progress)
    case .missing(let missing): try await refused(missing)
    case .hintsWanted: try await sendHints(link, replacing: false)
    case .hints(let hints):
      capture?.gate.hear(hints.prefixes, replacing: hints.replaces, isLast: hints.last)
      capture?.wake.set()
    case .stalled(let stalled): board.hold(.peer, "the standby takes no more: \(stalled.reason)")
    case .refusal(let refusal):
      // What this side found out by itself says more.
      guard standing?.refusal == nil else { return }
      board.hold(.peer, "the other site refuses: \(refusal.reason)")
    case .promiseWanted(let wanted): try await promise(wanted, link)
    case .promiseAnswer(let answer): promised(answer.number, answer.isPromised)
    case .yieldWanted(let wanted): try await asked(wanted)
    case .yieldStage(let stage): try await heard(stage)
    case .moveWanted(let wanted): ordered(wanted, link)
    case .moveAnswer(let answer): answered(answer)
    case .facts(let facts): hear(facts)
    case .hello, .heartbeat, .join, .joined, .arbiterAsk, .arbiterSays: break
    }
  }

  func met(_ hello: Holdfast_PairHello, _ link: any Link) async throws {
    guard let theirs = hello.record, max(hello.durable, hello.highest) <= Limits.pointMax else {
      throw CodingError.invalid("record of a pair")
    }
    disagreement(hello)
    // What it has to say is asked for once its journal holds its tree.
    greeting = (hello, link)
    guard let part = standing?.record.part else { return }
    if isReturning {
      // It is known whose standby this is, and that it does not serve.
      _ = standing?.on(.peer(theirs, mayServe: hello.mayServe))
      return
    }
    if try isPlanned(theirs) {
      let tree = try files.yield()?.tree
      turn(to: theirs.reign, tree)
      return
    }
    board.hold(.peer, nil)
    if part == .primary { startCapture() }
    // Nothing is captured before it is known what the other side holds.
    capture?.gate.expectPeer(true)
    do {
      // A standby without the secret says hello again once it has it.
      let isKnown = try await settle(hello, theirs, link)
      if isKnown { noLongerExpectPeer() }
      board.hold(.disk, nil)
    } catch {
      noLongerExpectPeer()
      if error is LinkError || error is CodingError { throw error }
      greetingFailed(error)
    }
  }

  private func noLongerExpectPeer() {
    capture?.gate.expectPeer(false)
    capture?.wake.set()
  }

  /// - Returns: whether all was said that the two sides have to say before points travel.
  func settle(
    _ hello: Holdfast_PairHello, _ theirs: RoleRecord, _ link: any Link
  ) async throws -> Bool {
    let orders = standing?.on(.peer(theirs, mayServe: hello.mayServe)) ?? []
    try await obey(orders)
    let isRefused = orders.contains { if case .refuse = $0 { true } else { false } }
    isAgreed = standing?.refusal == nil && !isRefused
    if standing?.record.part == .standby { try await sayHello() }
    guard isAgreed, let record = standing?.record else { return true }
    guard record.part == .primary, !isPromoting, let identity, let capture else { return true }
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
    let highest = max(durable, PointNumber(rawValue: hello.highest))
    capture.gate.saw(highest)
    let tail = RandomID(Array(hello.tailSegment)).map { (id: $0, size: hello.tailSize) }
    func show(isInStep: Bool) {
      board.update { view in
        // What stands there of points that are not this site's says nothing of those that are.
        view.foreignUpTo = isInStep ? .none : highest
        view.marks.durable = isInStep ? durable : .none
        view.marks.received = view.marks.durable
        view.marks.applied = isInStep ? PointNumber(rawValue: hello.applied) : .none
        if isInStep { view.lag.durable(durable) } else { view.fresh = nil }
      }
    }
    // Not known either before the spool is open.
    let isInStep = spoolBoard.view.isInStep(durable, Seal(digest), tail: tail) == true
    show(isInStep: isInStep)
    if !isInStep {
      // One that runs, maybe for hours, would be of no use to this standby.
      capture.gate.interrupt()
      let agreement = try await capture.meet(
        durable, Seal(digest), isEmpty: hello.isEmptyJournal, tail: tail)
      if case .inStep = agreement { show(isInStep: true) }
    }
    // Also what was asked for over a link that is gone.
    if capture.gate.awaitsHints { try await askForHints(link) }
    ship(link, tail: tail)
    return true
  }

  func ship(_ link: any Link, tail: (id: RandomID, size: Int64)?) {
    shipTask?.cancel()
    shipping.set()
    guard let shipper else { return }
    if let tail { spoolBoard.acknowledge(tail.id, tail.size) }
    let before = shipTask
    let generation = spoolBoard.view.generation
    shipTask = Task { [board, spoolBoard, host] in
      // The one before has seen its cancellation once it is over.
      await before?.value
      do {
        try await shipper.run(link, tail: tail)
      } catch is CancellationError {
      } catch JournalError.absent(let position) {
        // The sites find out anew how far they are.
        await link.close()
        try? await host.clock.sleep(until: host.clock.now() + Limits.spoolClosedWithin)
        // Where the spool was closed, what was being sent could not be made durable here and was
        // cut off again: that is the error to be shown.
        let spool = spoolBoard.view
        guard spool.head != nil, spool.generation == generation else { return }
        board.update { view in
          view.lastError =
            "sending: the spool lacks segment \(position.segment) at \(position.offset)"
        }
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
