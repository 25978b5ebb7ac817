import HoldfastCore

/// Moves on record: one at a time, each with its phases and what it came to.
extension Pair {
  /// - Throws: ``FailureAnswer`` where another is under way.
  func begin(_ kind: String, by: String) throws {
    guard moves.begin(kind, by: by) else { throw otherMove }
    keepMoves()
  }

  /// - Parameter failure: `nil` where it was done.
  func finish(_ failure: String? = nil) {
    moves.finish(failure)
    keepMoves()
  }

  /// What cannot be kept hinders nothing.
  private func keepMoves() { try? files.store(moves.kept) }

  /// Carries a move out, and keeps on record what became of it.
  /// - Throws: ``FailureAnswer`` where another is under way, and what `body` throws.
  func recorded<T>(
    _ kind: String, by: String, _ body: () async throws -> T
  ) async throws -> T {
    try begin(kind, by: by)
    do {
      let answer = try await body()
      finish()
      return answer
    } catch {
      finish("\(error)")
      throw error
    }
  }

  /// A failover that a person orders here is the controller's to carry out: until it has ended
  /// nobody begins another move.
  /// - Parameters:
  ///   - by: who ordered it, for people.
  ///   - carryOut: how the controller is told.
  package func ordered(
    by: String, _ carryOut: @Sendable () async throws -> FailoverAnswer
  ) async throws -> FailoverAnswer {
    guard !isMoving, !isReturning else { throw otherMove }
    return try await recorded("failover", by: by) {
      isOrdered = true
      defer { isOrdered = false }
      moves.enter("lease")
      var answer = try await carryOut()
      answer.phases = moves.close()
      return answer
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

  /// The move is done once the service is there.
  func finishServed() async throws {
    do {
      try await untilServed()
      finish()
    } catch {
      finish("\(error)")
      throw error
    }
  }

  /// The controller runs the plan once this site has the reign.
  func untilServed() async throws {
    moves.enter("plan")
    let end = host.clock.now() + Limits.moveWithin
    while host.clock.now() < end, !isStopped, standing?.role == .primary {
      guard let word = heardService(board.view, host.clock.now()) else {
        throw FailureAnswer(
          code: 1,
          """
          \(name) is promoted here, and the controller says nothing: type: systemctl status \
          holdfast-controller
          """)
      }
      switch word.service {
      case "\(Supervisor.Service.running)": return
      case "\(Supervisor.Service.failed)":
        throw FailureAnswer(
          code: 1,
          "\(name) is promoted here, and its plan failed: \(word.trouble ?? "see its log")")
      default: break
      }
      try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
    throw FailureAnswer(
      code: 1, "\(name) was promoted here, and is not served: see holdfast status \(name)")
  }
}
