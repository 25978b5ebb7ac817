import HoldfastCore
import Synchronization

/// A move of a pair, as it goes and as it stays on record: `GET /pairs/P/moves`.
package struct MoveReport: Codable, Hashable, Sendable {
  package struct Phase: Codable, Hashable, Sendable {
    package var name: String
    package var seconds: Double
    package init(name: String, seconds: Double) {
      self.name = name
      self.seconds = seconds
    }
  }
  /// What a failover leaves out; stated before its epoch, so that a crash does not take it away.
  package struct Loss: Codable, Hashable, Sendable {
    /// The point that is promoted.
    package var point: UInt64
    /// What was written for so long before is not in it; `null` where that is not known.
    @Nullable package var seconds: Double?
    /// When that ends, by this site's clock.
    package var before: String
  }
  /// `failover`, `switchover`, `failback` or `resume`.
  package var kind: String
  /// Who ordered it, and where.
  package var by: String
  package var begun: String
  package var phases: [Phase]
  /// Of a failover that came so far; left out otherwise.
  package var loss: Loss?
  /// What is done now, and for how long; not on record.
  package var phase: Phase?
  /// `nil` while it goes on, empty once it is done, or why it was not.
  package var failure: String?
}

/// The move that a pair is in, and those before it. Read from anywhere; one move at a time writes.
package final class MoveBoard: Sendable {
  private struct State {
    var current: MoveReport?
    /// Of the move that began last.
    var number = 0
    var phaseBegan = Instant(nanos: 0)
    var ended: [MoveReport] = []

    mutating func end(_ now: Instant) {
      if let name = current?.phase?.name {
        current?.phases.append(.init(name: name, seconds: (now - phaseBegan).seconds))
        // Of what is tried again and again the last tries count.
        if current?.phases.count ?? 0 > Limits.movePhasesMax { current?.phases.removeFirst() }
      }
      current?.phase = nil
      phaseBegan = now
    }
  }
  private let state = Mutex(State())
  private let clock: any Timekeeper
  private let probe: any Probe

  init(_ clock: any Timekeeper, probe: any Probe, ended: [MoveReport]) {
    self.clock = clock
    self.probe = probe
    state.withLock { $0.ended = ended }
  }

  /// The newest first.
  package var moves: [MoveReport] {
    let now = clock.now()
    return state.withLock { state in
      var current = state.current
      current?.phase?.seconds = (now - state.phaseBegan).seconds
      return (current.map { [$0] } ?? []) + state.ended
    }
  }

  package var current: MoveReport? { state.withLock { $0.current } }

  /// What is to be on record, should this process end now.
  var kept: [MoveReport] {
    moves.map { move in
      guard move.failure == nil else { return move }
      var kept = move
      kept.phase = nil
      kept.failure = "not followed to its end: the agent was started anew meanwhile"
      return kept
    }
  }

  /// - Returns: its number; `nil` where another is under way.
  func begin(_ kind: String, by: String) -> Int? {
    let now = clock.now()
    let wall = clock.wall()
    return state.withLock { state in
      guard state.current == nil else { return nil }
      state.current = MoveReport(
        kind: kind, by: by, begun: wall.rfc3339, phases: [], phase: nil, failure: nil)
      state.phaseBegan = now
      state.number += 1
      return state.number
    }
  }

  /// Of the move that began last.
  var number: Int { state.withLock { $0.number } }

  /// What is done from now on; what was done before is over.
  func enter(_ phase: String) {
    let now = clock.now()
    let isEntered = state.withLock { state in
      guard let current = state.current, current.phase?.name != phase else { return false }
      state.end(now)
      state.current?.phase = .init(name: phase, seconds: 0)
      return true
    }
    if isEntered { probe.hit(.moving) }
  }

  /// What the move that goes on leaves out.
  func state(_ loss: MoveReport.Loss) { state.withLock { $0.current?.loss = loss } }

  /// The phases of the move that goes on, the one that it is in too.
  func close() -> [MoveReport.Phase] {
    let now = clock.now()
    return state.withLock { state in
      state.end(now)
      return state.current?.phases ?? []
    }
  }

  /// - Parameters:
  ///   - failure: `nil` where it was done.
  ///   - number: of the move that is meant; it may be over already.
  func finish(_ failure: String? = nil, number: Int) {
    let now = clock.now()
    state.withLock { state in
      guard number == state.number else { return }
      state.end(now)
      guard var done = state.current else { return }
      done.failure = failure ?? ""
      state.current = nil
      let last = state.ended.first
      if failure != nil, let last, (last.kind, last.by) == (done.kind, done.by),
        last.failure == failure
      {
        // What fails again and again for one reason does not push out what else there was.
        state.ended.removeFirst()
      }
      state.ended.insert(done, at: 0)
      if state.ended.count > Limits.movesKept { state.ended.removeLast() }
    }
  }
}
