import HoldfastCore

/// Moves on record: one at a time, each with its phases and what it came to.
extension Pair {
  /// One that is done but for its plan keeps no other from beginning.
  /// - Returns: its number.
  /// - Throws: ``FailureAnswer`` where another is under way.
  @discardableResult
  func begin(_ kind: String, by: String) throws -> Int {
    if !isMoving, moves.current?.phase?.name == Self.planPhase { giveUpWaiting() }
    guard let number = moves.begin(kind, by: by) else { throw otherMove }
    keepMoves()
    return number
  }

  /// - Parameters:
  ///   - failure: `nil` where it was done.
  ///   - number: of the move that is meant; `nil`: the one that is under way.
  func finish(_ failure: String? = nil, number: Int? = nil) {
    moves.finish(failure, number: number ?? moves.number)
    keepMoves()
  }

  /// What cannot be kept hinders nothing.
  func keepMoves() {
    // From then on the file is another's.
    if !isStopped { try? files.store(moves.kept) }
  }

  /// Another order comes before what was waited for.
  func giveUpWaiting() {
    isOrdered = false
    finish("another order came before the service ran")
  }

  /// Carries a move out, and keeps on record what became of it.
  /// - Throws: ``FailureAnswer`` where another is under way, and what `body` throws.
  func recorded<T>(
    _ kind: String, by: String, _ body: () async throws -> T
  ) async throws -> T {
    let number = try begin(kind, by: by)
    do {
      let answer = try await body()
      finish(number: number)
      return answer
    } catch {
      finish("\(error)", number: number)
      throw error
    }
  }

  /// A failover that a person orders here is the controller's to carry out: until it has ended
  /// nobody begins another move, but by saying that the other site is down.
  /// - Parameters:
  ///   - by: who ordered it, for people.
  ///   - carryOut: how the controller is told.
  package func failover(
    by: String, _ carryOut: @Sendable () async throws -> FailoverAnswer
  ) async throws -> FailoverAnswer {
    try await untilPreviewed()
    guard !isMoving, !isReturning else { throw otherMove }
    return try await recorded("failover", by: by) {
      let number = moves.number
      isOrdered = true
      defer { if moves.number == number { isOrdered = false } }
      moves.enter("lease")
      var answer: FailoverAnswer
      do {
        answer = try await carryOut()
      } catch {
        // What the controller had begun goes on without it.
        while isMoving, !isStopped {
          try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
        }
        guard standing?.role == .primary, moves.number == number else { throw error }
        throw FailureAnswer(
          code: 1,
          "\(name) is promoted here, and who ordered it heard this: \(error): see holdfast status")
      }
      if moves.number == number { answer.phases = moves.close() }
      return answer
    }
  }

  /// Nobody is refused for what another only looks at, unless that takes long.
  func untilPreviewed() async throws {
    let end = host.clock.now() + Limits.agentAnswersWithin
    while isPreviewing, !isStopped, host.clock.now() < end {
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
  }

  /// That another move is under way, and whose.
  var otherMove: FailureAnswer {
    let whose =
      moves.current.map {
        "a \($0.kind) of \(name) is under way, ordered by \($0.by) at \($0.begun)"
      } ?? "another move of \(name) is under way"
    return FailureAnswer(
      code: 3, "\(whose): wait for its end, see holdfast status \(name)")
  }

  // MARK: The plan

  static let planPhase = "plan"

  /// The move is done once the service is there.
  func finishServed() async throws {
    let number = moves.number
    do {
      try await untilServed()
      finish(number: number)
    } catch {
      finish("\(error)", number: number)
      throw error
    }
  }

  /// The controller runs the plan once this site has the reign.
  func untilServed() async throws {
    moves.enter(Self.planPhase)
    let number = moves.number
    let end = host.clock.now() + Limits.moveWithin
    var trouble = ""
    while host.clock.now() < end, !isStopped, standing?.role == .primary, moves.number == number {
      guard let word = heardService(board.view, host.clock.now()) else {
        throw FailureAnswer(
          code: 1,
          """
          \(name) is primary here, and the controller says nothing: type: systemctl status \
          holdfast-controller
          """)
      }
      trouble = word.trouble.map { ": \($0)" } ?? ""
      switch word.service {
      case "\(Supervisor.Service.running)": return
      case "\(Supervisor.Service.failed)":
        throw FailureAnswer(code: 1, "\(name) is primary here, and its plan failed\(trouble)")
      default: break
      }
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
    throw FailureAnswer(
      code: 1, "\(name) was promoted here, and is not served\(trouble): see holdfast status \(name)"
    )
  }
}
