import HoldfastCore
import HoldfastStore

/// Promoting this site: up to the commit point everything leads back, behind it forward.
extension Pair {
  /// Promotes this site. Before the new epoch is durable an abort restores everything; after it
  /// the way is forward, over crashes too.
  /// - Parameter by: who ordered it, for people.
  package func failover(_ request: FailoverRequest, by: String) async throws -> FailoverAnswer {
    try await untilPreviewed()
    let granted = request.granted?.value
    let onWord = granted == nil && request.otherSiteIsDown
    if let granted, granted == taking?.next {
      // The arbiter's part of a planned move, at the point that the other site named.
      guard let point = taking?.offer else { throw otherMove }
      await tellTaking(.granted)
      moves.enter("promote")
      do {
        var planned = request
        planned.point = point.rawValue
        let answer = try await failover(
          planned, to: granted, onWord: false, isPlanned: true)
        taken = answer
        await tellTaking(.promoted)
        return answer
      } catch {
        await tellTaking(.notPromoted("\(error)"))
        throw error
      }
    }
    if granted != nil, taking != nil { try await giveUpTaking() }
    var request = request
    let isPlanned = granted != nil && request.planned == true
    if isPlanned {
      if promisesGiven.hasPromised { throw isLeftToOther }
      // It was offered at that point, and nobody wrote since.
      request.point = nil
    }
    // A person who says that the other site is down waits for no arbiter any more.
    guard !isMoving, !isReturning, granted != nil || onWord || !self.isOrdered else {
      throw otherMove
    }
    if request.preview {
      isMoving = true
      isPreviewing = true
      defer {
        isMoving = false
        isPreviewing = false
      }
      return try await failover(request, to: nil, onWord: onWord)
    }
    // Refused, and not put on record before what is under way.
    guard standing?.record.part == .standby else {
      return try await failover(request, to: granted, onWord: onWord)
    }
    if onWord, self.isOrdered { giveUpWaiting() }
    // What a person ordered is on record already, and ends when the controller has answered.
    let isOrdered = self.isOrdered
    if !isOrdered { try begin("failover", by: by) }
    var answer: FailoverAnswer
    isMoving = true
    do {
      answer = try await failover(
        request, to: granted, onWord: onWord, isPlanned: isPlanned)
      isMoving = false
    } catch {
      isMoving = false
      // The controller tries again.
      if isOrdered { moves.enter("lease") } else { finish("\(error)") }
      throw error
    }
    if isOrdered {
      moves.enter(Self.planPhase)
    } else if granted != nil {
      // The controller waits for this answer; its plan is followed without it.
      Task { try? await self.finishServed() }
    } else if needsController, heardService(board.view, host.clock.now()) != nil {
      try await finishServed()
      answer.phases = moves.moves.first?.phases ?? []
    } else {
      answer.phases = moves.close()
      finish()
    }
    return answer
  }

  private var isLeftToOther: FailureAnswer {
    FailureAnswer(
      code: 3,
      """
      \(name): the move is off, and \(peer) may have gone on since by this site's promise: the \
      service is left to it
      """)
  }

  /// - Parameters:
  ///   - granted: the reign to come; `nil` for one that is new.
  ///   - onWord: the service may start though no arbiter grants it.
  ///   - isPlanned: the other site has yielded.
  func failover(
    _ request: FailoverRequest, to granted: Reign?, onWord: Bool, isPlanned: Bool = false
  ) async throws -> FailoverAnswer {
    if let granted, granted == standing?.record.reign {
      throw FailureAnswer(code: 3, "\(name) is promoted to epoch \(granted.epoch) already")
    }
    guard let record = standing?.record, record.part == .standby, receiver != nil, applier != nil
    else {
      let role = standing?.role ?? .unknown
      throw FailureAnswer(
        code: 3,
        role == .primary
          ? "\(name) is primary here already, in epoch \(standing?.record.reign.epoch ?? .none)"
          : "\(name) is \(role.rawValue) here: only a standby is promoted; see holdfast status")
    }
    if case .split = standing?.refusal {
      throw FailureAnswer(code: 3, standing?.refusal?.description ?? "split")
    }
    guard request.granted == nil || granted?.epoch ?? .none > record.reign.epoch else {
      throw FailureAnswer(code: 2, "no reign that comes after \(record.reign)")
    }
    guard promoting == nil else { throw otherMove }
    let decision = Promotion(
      Promotion.Request(
        point: request.point.map { PointNumber(rawValue: $0) }, isLossAccepted: request.acceptLoss,
        isOtherDown: request.otherSiteIsDown, isPreview: request.preview), promotionTerms)
    let reign = granted ?? Reign(epoch: record.reign.epoch.next, id: RandomID(host.dice))
    let others = othersLeft(request, isGranted: granted != nil, onWord: onWord)
    // Of what the other site yielded nothing is lost.
    let counted = isPlanned ? nil : try count(granted, others)
    promoting = PromotionUnderWay(
      decision: decision, reign: reign, isPlanned: isPlanned, isByWord: onWord,
      isFollowed: moves.current?.kind == "failover" && !request.preview,
      counted: counted)
    await follow(decision.first, to: reign)
    return try outcome(of: reign)
  }

  /// For how long yet the other site may write: on a lease, or on this site's promise.
  private func othersLeft(
    _ request: FailoverRequest, isGranted: Bool, onWord: Bool
  ) -> Duration {
    let now = host.clock.now()
    var left = max(.zero, promisedUntil - now)
    if isGranted {
      let told = request.othersSeconds ?? configuration.failover.ttl.seconds
      left = max(left, .seconds(min(max(0, told), Limits.ttlMax.seconds)))
    } else if configuration.failover.hasArbiter, !onWord,
      heardService(board.view, now)?.heldByOther != false
    {
      left = max(left, configuration.failover.ttl)
    }
    return left
  }

  /// What is lost until then. Of a reign that is granted it is put on record before anything else,
  /// and does not grow from then on; who goes on after a crash may know it from there alone.
  /// - Returns: `nil` where it is not known.
  private func count(
    _ granted: Reign?, _ othersLeft: Duration
  ) throws -> PairFiles.CountedLoss? {
    // What cannot be read is as if it had never been.
    let known = (try? files.counted()) ?? nil
    if let known, known.reign == granted { return known }
    guard let lag = board.view.lag(host.clock) else { return nil }
    let counted = PairFiles.CountedLoss(
      reign: granted ?? .none, length: lag + othersLeft, end: host.clock.wall() + othersLeft)
    if granted != nil { try files.store(counted: counted) }
    return counted
  }

  var promotionTerms: Promotion.Terms {
    Promotion.Terms(
      require: configuration.require, maxLoss: configuration.failover.maxLoss,
      hasArbiter: configuration.failover.hasArbiter)
  }

  /// What became of the promotion that was followed.
  private func outcome(of reign: Reign) throws -> FailoverAnswer {
    guard let promoting, promoting.reign == reign else { throw stopped }
    if promoting.decision.isOver { self.promoting = nil }
    switch promoting.decision.stage {
    case .done:
      guard let choice = promoting.choice else { preconditionFailure("done without a choice") }
      return FailoverAnswer(
        choice, before: promoting.counted?.end, epoch: promoting.reign.epoch,
        reign: "\(promoting.reign.id)")
    case .looked(let choice, let refusal):
      var answer = FailoverAnswer(
        choice, before: promoting.counted?.end, epoch: promoting.reign.epoch, reign: "")
      answer.refusal = refusal.map { failure($0).message }
      return answer
    case .refused(let refusal): throw failure(refusal)
    case .failed(let why):
      throw FailureAnswer(code: promoting.exitCode, "nothing was changed: \(why)")
    case .recalling(let why):
      throw FailureAnswer(
        code: 1,
        """
        \(name) is not promoted: \(why); what was on record before cannot be written either, and \
        until it is nothing is received here: it is tried again by itself, see holdfast status \
        \(name)
        """)
    case .waiting(_, let why):
      throw FailureAnswer(
        code: 1,
        """
        \(name) is promoted to epoch \(promoting.reign.epoch), which cannot be undone, and its \
        tree is not ready: \(why); put that right, it goes on by itself: see holdfast status \(name)
        """)
    case .holding, .probing, .pinning, .committing, .placing, .completing: throw stopped
    }
  }

  private var stopped: FailureAnswer {
    FailureAnswer(
      code: 1, "\(name) was stopped here meanwhile: see holdfast status \(name) in a moment")
  }

  private func failure(_ refusal: Promotion.Refusal) -> FailureAnswer {
    switch refusal {
    case .noSuchPoint(let number):
      FailureAnswer(
        code: 2, "there is no point \(number) of \(name): type: holdfast points \(name)")
    case .ofBranch(let number):
      FailureAnswer(
        code: 3,
        """
        point \(number) is of a branch, which is not promoted: to have what is in it, type: \
        holdfast restore \(name) --point \(number) --to DIR
        """)
    case .nothingDurable:
      FailureAnswer(
        code: 3,
        """
        no point of \(name) that the other site captured is durable here: there is nothing to \
        promote; what this site had before may be kept as a branch: holdfast points \(name)
        """)
    case .belowGrade(let newest):
      FailureAnswer(
        code: 3,
        """
        no point of grade \(configuration.require.word) is kept; the newest is point \
        \(newest.number) (\(newest.grade.word)): to take it, type: holdfast failover \(name) \
        --point \(newest.number)
        """)
    case .otherSiteNotDown:
      FailureAnswer(
        code: 3,
        """
        arbiter is none: make sure that \(peer) is down and stays down, then say so: holdfast \
        failover \(name) --other-site-is-down
        """)
    case .loss(let loss, let isOlder):
      FailureAnswer(
        code: 3,
        """
        \(words(loss)) may be lost (\
        \(isOlder
          ? "an older point than the newest was asked for"
          : "limit: \(format(configuration.failover.maxLoss.seconds)) s")\
        \(loss.places.map { "; at most \($0) places" } ?? "")): if that is acceptable, add \
        --accept-loss
        """, isForLoss: true)
    }
  }

  private func words(_ loss: Promotion.Loss) -> String {
    if let seconds = loss.seconds?.seconds {
      return "the last \(format(seconds)) seconds of writes"
    }
    return """
      how much was written since the point was captured (\(loss.captured.rfc3339) by the \
      primary's clock) is not known, for \(peer) was not heard since the agent started here, or \
      the clock was set: that
      """
  }

  func format(_ seconds: Double) -> String {
    String(Double(Int(seconds * 10)) / 10)
  }
}
