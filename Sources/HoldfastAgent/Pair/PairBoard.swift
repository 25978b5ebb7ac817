package import HoldfastCore
import Synchronization

/// What is shown of a pair; read from anywhere, written by the parts that know.
package struct PairView: Sendable {
  package var role = Role.unknown
  package var reign = Reign.none
  package var peerConnected = false
  package var marks = Watermarks()
  package var lag = LagClock()
  /// By how much the wall's clock was ahead of this host's when the primary was heard last.
  package var wallLead: Int64 = 0
  /// Nothing that happened before this moment is missing from `captured`.
  package var fresh: LagClock.Claim?
  package var backlogBytes: Int64 = 0
  /// How fast content was sent of late; `nil` while nothing is.
  package var pace: SendingPace?
  package var pendingPlaces: Int64 = 0
  package var grade: Grade?
  /// What made the newest point that this process captured one instant.
  package var provider: Provider?
  package var watch: WatchKind?
  /// Why nothing is captured, received or applied; each line says what to type.
  package var held: [Hold: String] = [:]
  package var notes: [String] = []
  /// Why the newest point's grade is no better.
  package var gradeReason: String?
  package var lastError: String?
  /// What this site's controller said last, and when.
  package var service: (word: ServingRequest, at: Instant)?
  /// Why there is no session; nothing once there is one.
  package var linkError: String?
  /// Of the peer, from its heartbeats.
  package var peerCaptured = PointNumber.none
  package var peerPendingPlaces: Int64?
  /// Of the newest durable point, on a standby: while it is of another than the primary's nothing
  /// of this reign is durable.
  package var durableReign: Reign?
  /// On a primary: numbers up to this one are of points that the standby has and this site not.
  package var foreignUpTo = PointNumber.none
  /// How far the two sites' wall clocks are apart, the way of the heartbeat included.
  package var clockOffset = Duration.zero
  package var bytesSent: Int64 = 0
  package var segmentBytes: Int64 = 0
  /// How often an index took the place of another: who has one open does not see that.
  package var indexes = 0
  /// What the plan will find on the peer; `nil` before it has said so.
  package var peerFacts: [String: String]?
  /// The same of this host.
  package var facts: [String: String]?

  /// - Returns: `nil` where it is not known: also where this host stood still since the primary was
  ///   heard, and the clock by which it is counted with it, as the wall's clock then tells.
  package func lag(_ clock: any Timekeeper) -> Duration? {
    let now = clock.now()
    let gained = clock.wall().nanos - now.nanos - wallLead
    guard role == .primary || gained < Limits.wallGainMax.nanos else { return nil }
    return lag.lag(at: now)
  }

  /// How a primary tells that its standby's replica is held.
  package static let appliesNothing = "applies nothing"

  /// What a hold is about; one reason at a time for each.
  package enum Hold: String, Sendable, Hashable, CaseIterable {
    case root, replica, promotion, disk, peer, configuration, journal, spool, provider, change
  }
}

/// Bytes that went over the link, by second, while there were any to send.
package struct SendingPace: Sendable {
  private var begun: Instant
  private var isResting = false
  private var bytes: Int64 = 0
  package private(set) var bytesPerSecond: Double?

  package init(_ now: Instant) { begun = now }

  /// There is nothing to send.
  package mutating func rest() { isResting = true }

  package mutating func sent(_ count: Int64, at now: Instant) {
    guard !isResting else {
      // How long this took nobody knows.
      (begun, bytes, isResting) = (now, 0, false)
      return
    }
    bytes += count
    let passed = now - begun
    guard passed >= .seconds(1) else { return }
    bytesPerSecond = Double(bytes) / passed.seconds
    begun = now
    bytes = 0
  }
}

package final class PairBoard: Sendable {
  private let state = Mutex(PairView())
  package init() {}
  package var view: PairView { state.withLock { $0 } }
  package func update<T: Sendable>(_ body: (inout PairView) -> T) -> T {
    state.withLock { body(&$0) }
  }
  package func hold(_ what: PairView.Hold, _ reason: String?) {
    state.withLock { $0.held[what] = reason }
  }
}

/// What lies in the spool, and how much of it the standby has.
package final class SpoolBoard: Sendable {
  package struct Piece: Sendable {
    package var number: UInt64
    package var id: RandomID
    package var size: Int64
    /// Durable on the standby.
    package var acknowledged: Int64
  }
  /// A sealed point in the spool.
  package struct Sealed: Sendable {
    package var point: Point
    /// Where its seal ends.
    package var end: RecordPosition
  }
  package struct State: Sendable {
    package var pieces: [Piece] = []
    package var points: [Sealed] = []
    /// Grows when the spool is thrown away: what was being sent means nothing any more.
    package var generation = 0
    /// What the next point builds on; `nil` before the store was opened.
    package var head: Seal?
    /// See ``CaptureWorker/wholeParent``.
    package var wholeParent: Seal?

    /// Whether a standby goes on from what the spool holds; `nil` before the store was opened.
    /// - Parameters:
    ///   - durable: its newest point, with its seal.
    ///   - tail: the segment whose end it has, and how much of it.
    package func isInStep(
      _ durable: PointNumber, _ seal: Seal, tail: (id: RandomID, size: Int64)?
    ) -> Bool? {
      guard let head else { return nil }
      // The catalog is gone: what the standby holds is asked for, so that it is not sent again.
      if head == .none, seal != .none { return false }
      if let wholeParent, points.isEmpty { return seal == wholeParent }
      if let tail, let piece = pieces.first(where: { $0.id == tail.id }) {
        let end = RecordPosition(segment: piece.number, offset: tail.size)
        // What it has to the end and did not make a point of it refused.
        if points.contains(where: { $0.point.number > durable && $0.end <= end }) { return false }
      }
      let base = points.first?.point.parent ?? head
      return seal == base || seal == head || points.contains { $0.point.seal == seal }
    }
  }
  private let state = Mutex(State())
  package init() {}
  package var view: State { state.withLock { $0 } }

  package func grew(_ number: UInt64, _ id: RandomID, to size: Int64) {
    state.withLock { state in
      if let index = state.pieces.firstIndex(where: { $0.number == number }) {
        state.pieces[index].size = size
      } else {
        state.pieces.append(Piece(number: number, id: id, size: size, acknowledged: 0))
      }
    }
  }
  package func sealed(_ point: Point, end: RecordPosition) {
    state.withLock { $0.points.append(Sealed(point: point, end: end)) }
  }
  package func acknowledge(_ id: RandomID, _ size: Int64) {
    state.withLock { state in
      guard let index = state.pieces.firstIndex(where: { $0.id == id }) else { return }
      for earlier in 0..<index { state.pieces[earlier].acknowledged = state.pieces[earlier].size }
      state.pieces[index].acknowledged = max(state.pieces[index].acknowledged, size)
    }
  }
  package func removed(_ number: UInt64) {
    state.withLock { state in
      state.pieces.removeAll { $0.number == number }
      state.points.removeAll { $0.end.segment <= number }
    }
  }
  /// Places that differ in points which the standby does not have.
  package func changes(after durable: PointNumber) -> Int64 {
    state.withLock { state in
      state.points.reduce(0) { $0 + ($1.point.number > durable ? $1.point.changes : 0) }
    }
  }
  package func agree(head: Seal, wholeParent: Seal?) {
    state.withLock { state in
      state.head = head
      state.wholeParent = wholeParent
    }
  }
  package func closed() { state.withLock { $0.head = nil } }
  package func cleared() {
    state.withLock { state in
      state.pieces = []
      state.points = []
      state.generation += 1
    }
  }
  package var backlog: Int64 {
    state.withLock { $0.pieces.reduce(0) { $0 + $1.size - min($1.size, $1.acknowledged) } }
  }
}
