/// Decides the standby's part of a planned move: asks the primary to yield, and is promoted once it
/// has, or once the arbiter has granted the new reign.
package struct Taking: Hashable, Sendable {
  package enum Stage: Hashable, Sendable {
    /// The primary is asked, and on its way.
    case asking
    /// The primary serves no more, and the replica here is its final point: the arbiter is asked.
    case offered(PointNumber)
    /// Past the commit point.
    case promoting(PointNumber)
    case done
    case failed(String)
  }

  package enum Event: Hashable, Sendable {
    case tick
    /// - Parameter isApplied: whether the replica here is the point that the stage names.
    case heard(Yielding.Stage, isApplied: Bool)
    /// The arbiter has granted the new reign here: whatever the other site says from now on.
    case granted
    /// This site has the new reign and a tree that is ready.
    case promoted
    case notPromoted(String)
    /// A person, or time, ends the wait.
    case givenUp(String)
  }

  package enum Order: Hashable, Sendable {
    /// Tell the primary what is wanted.
    case ask
    /// Tell the primary that it is wanted no more.
    case withdraw
    /// This site's controller may ask the arbiter for the new reign.
    case offer(PointNumber)
    case promote(PointNumber)
  }

  package let next: Reign
  package private(set) var stage = Stage.asking
  private var deadline: Instant
  private var lastHeard: Instant

  package init(_ next: Reign, now: Instant, within limit: Duration) {
    self.next = next
    deadline = now + limit
    lastHeard = now
  }

  /// The final point, where this site may be granted the new reign at it.
  package var offer: PointNumber? {
    switch stage {
    case .offered(let point), .promoting(let point): point
    case .asking, .done, .failed: nil
    }
  }

  package mutating func on(_ event: Event, now: Instant) -> [Order] {
    switch (stage, event) {
    case (.done, _), (.failed, _): return []
    case (_, .promoted):
      stage = .done
      return []
    case (.promoting, .notPromoted(let why)), (.promoting, .givenUp(let why)):
      // The agent tries it again by itself.
      stage = .failed(why)
      return []
    case (.promoting, _): return []
    case (.offered(let point), .granted):
      stage = .promoting(point)
      return []
    case (.asking, .granted): return []
    case (_, .heard(.yielded(let point), let isApplied)):
      lastHeard = now
      guard isApplied else { return [] }
      stage = .promoting(point)
      return [.promote(point)]
    case (_, .heard(.ended(let why), _)):
      stage = .failed(why)
      return []
    case (.asking, .heard(.ready(let point), true)):
      lastHeard = now
      stage = .offered(point)
      // Nobody serves meanwhile.
      deadline = min(deadline, now + Limits.offeredWithin)
      return [.offer(point)]
    case (.offered(let point), .heard(.ready(let told), _)) where told != point:
      return fail("the primary has gone on since its final point")
    case (.offered, .heard(.catchingUp, _)), (.offered, .heard(.stopping, _)),
      (.offered, .heard(.finishing, _)):
      return fail("the primary was started anew since its final point")
    case (_, .heard):
      lastHeard = now
      return []
    case (_, .notPromoted(let why)), (_, .givenUp(let why)): return fail(why)
    case (_, .tick):
      if now >= deadline { return fail("it took too long") }
      if now - lastHeard >= Limits.moveSilence {
        return fail("the primary has said nothing for \(Limits.moveSilence)")
      }
      return [.ask]
    }
  }

  private mutating func fail(_ why: String) -> [Order] {
    stage = .failed(why)
    return [.withdraw]
  }
}
