import FoundationEssentials
import HoldfastCore
import HoldfastStore
import HoldfastWire

/// The standby's part of a planned move: obeys ``Taking``.
extension Pair {
  /// Moves the service here, with nothing lost; ordered on the primary it is this site's peer that
  /// does it.
  /// - Parameter by: who ordered it, for people.
  package func switchover(by: String) async throws -> FailoverAnswer {
    if standing?.role == .primary { return try await orderOther(by) }
    try await untilPreviewed()
    if let refusal = refusalToTake { throw refusal }
    guard let record = standing?.record else { preconditionFailure("a standby without a record") }
    return try await recorded("switchover", by: by) {
      moves.enter("catch up")
      isMoving = true
      defer { isMoving = false }
      let next = Reign(epoch: record.reign.epoch.next, id: RandomID(host.dice))
      taking = Taking(next, now: host.clock.now(), within: Limits.moveWithin)
      takenBy = by
      defer { taking = nil }
      return try await followTaking()
    }
  }

  /// The arbiter has granted another reign here than the one that a planned move is to bring, which
  /// therefore never comes.
  func giveUpTaking() async throws {
    await tellTaking(.givenUp("a failover was granted meanwhile"))
    while isMoving, !isPromoting {
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
  }

  /// How a move that nobody ordered begins to say whose it is.
  private static let illnessMark = "the checks of the service"

  /// The service is ill here: the other site takes it, unless that was tried of late.
  /// - Parameter illness: what the checks found.
  package func moveAway(_ illness: String) async throws -> FailoverAnswer {
    let cause = Verdict.bounded("\(Self.illnessMark) on \(site): \(illness)")
    try refuseIfTried(cause)
    return try await switchover(by: cause)
  }

  /// Each site has on record the moves that brought the service to it, or were to.
  private func refuseIfTried(_ cause: String) throws {
    guard cause.hasPrefix(Self.illnessMark) else { return }
    let last = moves.moves.first { $0.by.hasPrefix(Self.illnessMark) }
    if let last, let begun = WallTime(rfc3339: last.begun),
      host.clock.wall() - begun < Limits.illMovesEvery
    {
      throw FailureAnswer(
        code: 3,
        """
        \(name) was moved for that at \(last.begun), or tried to be, and may be ill wherever it \
        runs: look into the service; to move it all the same, type: holdfast switchover \(name)
        """)
    }
  }

  private func followTaking() async throws -> FailoverAnswer {
    while let taking {
      switch taking.stage {
      case .done:
        guard var answer = taken else { preconditionFailure("taken without an answer") }
        // The service had ended before the final point.
        answer.lossSeconds = 0
        answer.lossBefore = nil
        answer.lossFiles = 0
        isMoving = false
        if needsController { try await untilServed() }
        answer.phases = moves.close()
        return answer
      case .failed(let why):
        throw FailureAnswer(
          code: 3, "\(name) was not moved: \(why): see holdfast status \(name) on both sites")
      case .asking, .offered, .promoting: break
      }
      await takingWake.wait(until: host.clock.now() + Limits.moveEvery, host.clock)
      await tellTaking(.tick)
    }
    throw FailureAnswer(code: 1, "the move of \(name) was cut short: see holdfast status \(name)")
  }

  /// Why this site does not even begin.
  private var refusalToTake: FailureAnswer? {
    let view = board.view
    // Of one that has just come first the role tells no more than that.
    if isMoving || promoting != nil || isOrdered || moves.current != nil { return otherMove }
    guard standing?.role == .standby else {
      return FailureAnswer(
        code: 3,
        """
        \(name) is \(view.role.rawValue) here: a planned move wants a primary and its standby, \
        connected; see holdfast status \(name)
        """)
    }
    guard view.peerConnected else {
      return FailureAnswer(
        code: 4,
        """
        \(peer) is not connected, and a planned move wants both: if it is lost, type: holdfast \
        failover \(name)
        """)
    }
    for hold in [PairView.Hold.replica, .journal, .disk, .change, .configuration] {
      if let reason = view.held[hold] { return FailureAnswer(code: 3, reason) }
    }
    if let epoch = heardService(view, host.clock.now())?.wanted {
      return FailureAnswer(
        code: 3,
        """
        a promotion of \(name) to epoch \(epoch) was begun here and is not done, or not given back \
        yet: wait for its end; to take back what a person ordered, type: holdfast failover \(name) \
        --withdraw
        """)
    }
    guard view.marks.durable != .none else {
      return FailureAnswer(code: 3, "no point of \(name) is durable here yet: wait for the first")
    }
    if needsController, heardService(view, host.clock.now()) == nil {
      return FailureAnswer(
        code: 4, "the controller here says nothing: systemctl start holdfast-controller")
    }
    return nil
  }

  func tellTaking(_ event: Taking.Event) async {
    guard let orders = taking?.on(event, now: host.clock.now()), let next = taking?.next else {
      return
    }
    for order in orders {
      switch order {
      case .ask: await want(next, isWithdrawn: false)
      case .withdraw: await want(next, isWithdrawn: true)
      case .offer:
        moves.enter("lease")
        // The primary serves no more, and has to be granted anew to do so.
        promisesGiven.ended()
      case .promote(let point): Task { await self.take(next, at: point) }
      }
    }
    takingWake.set()
  }

  private func want(_ next: Reign, isWithdrawn: Bool) async {
    // A lease that is given back for this site is of no use where it cannot ask for it.
    let isAlone = heardService(board.view, host.clock.now())?.arbiterSilent == true
    let message = Holdfast_YieldWanted(
      pair: name, next, isWithdrawn: isWithdrawn, isAlone: isAlone, by: takenBy)
    try? await link?.send(Frames.encode(.yieldWanted(message)))
  }

  /// What the primary says of its way.
  func heard(_ message: Holdfast_YieldStage) async throws {
    guard let next = message.next, let stage = message.stage else {
      throw CodingError.invalid("stage of a planned move")
    }
    guard taking?.next == next else {
      switch stage {
      case .yielded(let point): await met(yielded: next, at: point)
      // Asked for before this agent was started anew.
      case .catchingUp, .stopping, .finishing, .ready:
        if standing?.role == .standby, !isMoving { await want(next, isWithdrawn: true) }
      case .ended: break
      }
      return
    }
    switch stage {
    case .catchingUp: moves.enter("catch up")
    case .stopping: moves.enter("stop")
    case .finishing: moves.enter("final point")
    case .ready, .yielded, .ended: break
    }
    await tellTaking(.heard(stage, isApplied: await isHere(stage)))
  }

  private func isHere(_ stage: Yielding.Stage) async -> Bool {
    switch stage {
    case .ready(let point): board.view.marks.applied == point
    case .yielded(let point): await isDurable(point)
    case .catchingUp, .stopping, .finishing, .ended: false
    }
  }

  private func isDurable(_ point: PointNumber) async -> Bool {
    let rows = try? await receiver?.points()
    return rows?.contains { $0.point.number == point && !$0.isBranch } ?? false
  }

  /// Promotes this site to the reign that the other has yielded to.
  private func take(_ next: Reign, at point: PointNumber) async {
    promisesGiven.ended()
    // By its own word the other site never serves in place of this reign, whoever declined it.
    forgone.removeAll { $0 == next }
    do {
      let request = FailoverRequest(
        point: point.rawValue, acceptLoss: true, otherSiteIsDown: true, preview: false)
      // Where no arbiter answers the service runs on the other site's promise, not on this word:
      // that site may be promoted again.
      taken = try await failover(request, to: next, onWord: false, isPlanned: true)
      await tellTaking(.promoted)
    } catch {
      let reason = "\(error)"
      await tellTaking(
        .notPromoted("\(peer) has yielded, and this site tries on by itself: \(reason)"))
    }
  }

  /// The other site has durably yielded, in a move that this site had begun before it was started
  /// anew: nobody serves before this one does.
  private func met(yielded next: Reign, at point: PointNumber) async {
    guard standing?.role == .standby, next.epoch == standing?.record.reign.epoch.next,
      await isDurable(point)
    else { return }
    guard !isMoving, promoting == nil else { return }
    Task { await self.take(next, at: point) }
  }

  // MARK: Ordered on the primary

  private func orderOther(_ by: String) async throws -> FailoverAnswer {
    guard let link else {
      throw FailureAnswer(
        code: 4,
        "\(peer) is not connected, and a planned move wants both sites: see holdfast status \(name)"
      )
    }
    let isAtPlan = !isMoving && moves.current?.phase?.name == Self.planPhase
    guard moves.current == nil || isAtPlan else { throw otherMove }
    lastOrder += 1
    let number = lastOrder
    var wanted = Holdfast_MoveWanted()
    wanted.pair = name
    wanted.number = number
    wanted.by = by
    let frame = Frames.encode(.moveWanted(wanted))
    let answer = await withCheckedContinuation { continuation in
      orders[number] = continuation
      Task {
        do {
          try await link.send(frame)
          try await host.clock.sleep(until: host.clock.now() + Limits.moveWithin * 2)
        } catch {}
        self.lost(number)
      }
    }
    guard answer.code == 0 else { throw FailureAnswer(code: answer.code, answer.text) }
    return try JSON.decode(FailoverAnswer.self, answer.body)
  }

  struct OrderAnswer: Sendable {
    var code: Int32
    var body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
  }

  /// The primary's administrator wants the move.
  func ordered(_ wanted: Holdfast_MoveWanted, _ link: any Link) {
    Task {
      var answer = Holdfast_MoveAnswer()
      answer.pair = name
      answer.number = wanted.number
      do {
        let cause = Verdict.bounded(wanted.by)
        try refuseIfTried(cause)
        answer.body = Data(JSON.encode(try await switchover(by: cause)))
      } catch {
        let failure = error as? FailureAnswer ?? FailureAnswer(code: 1, "\(error)")
        answer.code = failure.code
        answer.body = Data(failure.message.utf8)
      }
      try? await link.send(Frames.encode(.moveAnswer(answer)))
    }
  }

  func answered(_ answer: Holdfast_MoveAnswer) {
    orders.removeValue(forKey: answer.number)?.resume(
      returning: OrderAnswer(code: answer.code, body: Array(answer.body)))
  }

  /// Nobody answers any more.
  func ordersLost() {
    for number in orders.keys { lost(number) }
  }

  private func lost(_ number: UInt64) {
    let text = "no answer from \(peer) any more: see holdfast status \(name) on both sites"
    orders.removeValue(forKey: number)?.resume(
      returning: OrderAnswer(code: 4, body: Array(text.utf8)))
  }
}
