import HoldfastCore
import HoldfastStore

/// A resumption that this site is at, and what was on record before.
struct ResumptionUnderWay {
  var decision: Resumption
  let before: PairFiles.Saved
}

/// A person has this site go on: obeys ``Resumption``.
extension Pair {
  package func resume(_ request: ResumeRequest) async throws -> String {
    guard let standing else {
      throw FailureAnswer(code: 3, "nothing to resume: type: holdfast adopt \(name)")
    }
    guard !isReturning else { throw otherMove }
    // What may be on the disk of it is taken back first.
    if let resuming, !resuming.decision.isOver { _ = try outcome(of: resuming.decision) }
    let before = try files.role() ?? PairFiles.Saved(record: standing.record)
    let decision = Resumption(
      Resumption.Facts(
        standing: standing, isOtherDown: request.otherSiteIsDown, isConnected: link != nil,
        hasArbiter: configuration.failover.hasArbiter,
        arbiter: heardService(board.view, host.clock.now())?.arbiter,
        offered: try offered, isPromoting: promoting != nil,
        usedUpTo: max(board.view.marks.captured, before.usedUpTo)),
      fresh: RandomID(host.dice))
    dropResumption()
    resuming = ResumptionUnderWay(decision: decision, before: before)
    try await follow(decision.first)
    let followed = resuming?.decision
    if followed?.isOver == true { resuming = nil }
    let answer = try outcome(of: followed)
    try await untilResumed()
    return answer
  }

  /// Without an arbiter nobody reigns by an offer, but by the durable yield.
  private var offered: Reign? {
    get throws { configuration.failover.hasArbiter ? try files.yield()?.next : nil }
  }

  /// What it left to do is another's now.
  func dropResumption() {
    resumeTask?.cancel()
    if resuming != nil { board.hold(.promotion, nil) }
    resuming = nil
  }

  private func follow(_ first: [Resumption.Order]) async throws {
    var orders = first
    while !orders.isEmpty, !isStopped, let work = resuming {
      let event: Resumption.Event
      switch orders.removeFirst() {
      case .goOn(let isByWord):
        try await goOn(isByWord: isByWord)
        continue
      case .begin(let reign, let isByWord):
        try await begin(reign, isByWord: isByWord)
        continue
      case .wait:
        retryResumption(work)
        continue
      case .commit(let reign, let used):
        moves.enter("epoch")
        let saved = PairFiles.Saved(
          record: RoleRecord(reign: reign, part: .primary), usedUpTo: used)
        event = made { try files.store(saved) }
      case .recall: event = made { try files.store(work.before) }
      }
      orders += resuming?.decision.on(event) ?? []
    }
  }

  private func made(_ body: () throws -> Void) -> Resumption.Event {
    do {
      try body()
      return .done
    } catch {
      return .failed("\(error)")
    }
  }

  private func goOn(isByWord: Bool) async throws {
    self.isByWord = isByWord
    promoting?.isOfEarlierBoot = false
    moves.enter("serve")
    try await obey(standing?.on(.resume) ?? [])
    if standing?.record.part == .primary { await greet() }
  }

  /// The new reign is durable.
  private func begin(_ reign: Reign, isByWord: Bool) async throws {
    moves.enter("serve")
    // Of epochs below its own nothing counts, also where it stays on the disk.
    try? files.store(nil as PairFiles.Yield?)
    try? files.store(superseded: nil)
    yielding = nil
    isPlanned = false
    self.isByWord = isByWord
    _ = standing?.on(.promoted(reign))
    board.hold(.peer, nil)
    startCapture()
    await capture?.serve(reign, highest: try files.role()?.usedUpTo ?? .none, isPromoted: true)
    showRole()
    await greet()
  }

  /// What was on record before could not be written: it is tried until it is.
  private func retryResumption(_ work: ResumptionUnderWay) {
    guard case .recalling(let reign, let why) = work.decision.stage else {
      preconditionFailure("nothing of a resumption waits at \(work.decision.stage)")
    }
    board.hold(
      .promotion,
      """
      to resume in epoch \(reign.epoch) failed (\(why)), and what was on record before cannot be \
      written either: keep \(peer) off, and put that right; it is tried again by itself
      """)
    resumeTask = Task { [host] in
      try? await host.clock.sleep(until: host.clock.now() + Limits.pairRetry)
      guard !Task.isCancelled, !self.isStopped, let orders = self.resuming?.decision.on(.retry)
      else { return }
      try? await self.follow(orders)
      if self.resuming?.decision.isOver == true { self.dropResumption() }
    }
  }

  private func outcome(of decision: Resumption?) throws -> String {
    switch decision?.stage {
    case .goesOn:
      let epoch = standing?.record.reign.epoch ?? .none
      return "\(name): \(standing?.role.rawValue ?? "unknown") in epoch \(epoch)"
    case .begun(let reign):
      let lost = decision?.lost?.epoch ?? .none
      return """
        \(name): primary in epoch \(reign.epoch), from this site's own tree; what \(peer) wrote in \
        epoch \(lost) is not in it: keep that site off
        """
    case .refused(.otherConnected):
      throw FailureAnswer(
        code: 3,
        "\(peer) is connected, so it is not lost: to come back, type: holdfast failback \(name)")
    case .refused(.otherMayServe):
      throw FailureAnswer(
        code: 3,
        """
        the arbiter does not say yet that nobody serves: \(peer) holds its lease, or did a moment \
        ago; if it is off, wait for two ttl and type it again
        """)
    case .refused(.promoting): throw otherMove
    case .refused(.standing(let refusal)): throw FailureAnswer(code: 3, "\(refusal)")
    case .failed(let why): throw FailureAnswer(code: 1, "\(name) is not resumed: \(why)")
    case .recalling(_, let why):
      throw FailureAnswer(
        code: 1,
        """
        \(name) is not resumed: \(why); what was on record before cannot be written either: keep \
        \(peer) off until holdfast status \(name) says no more of it
        """)
    case .committing, nil:
      throw FailureAnswer(
        code: 1, "\(name) was stopped here meanwhile: see holdfast status \(name) in a moment")
    }
  }

  /// Where the service may start at once; an arbiter may take its time.
  private func untilResumed() async throws {
    guard standing?.role == .primary, isByWord || !configuration.failover.hasArbiter,
      needsController, heardService(board.view, host.clock.now()) != nil
    else { return }
    try await untilServed()
  }
}

extension ServingRequest {
  fileprivate var arbiter: Resumption.ArbiterView {
    Resumption.ArbiterView(
      isSilent: arbiterSilent == true, vacant: vacant?.value, isHeldByOther: heldByOther)
  }
}
