/// Decides the old primary's part of a planned move: the service here ends in order, all that it
/// wrote is brought to the other site, and only then may that site reign. Until the arbiter has
/// granted it the new reign, or where none can be asked this site has durably yielded, every
/// failure leads back to serving here.
package struct Yielding: Hashable, Sendable {
  package enum Stage: Hashable, Sendable {
    /// What the other site lacks is brought there while the service runs.
    case catchingUp
    /// The controller ends the service.
    case stopping
    /// The last of it is captured and brought there.
    case finishing
    /// The other site's replica is this point, and nothing changed here since.
    case ready(PointNumber)
    /// Durably: only the other site may serve from now on.
    case yielded(PointNumber)
    /// The service goes on here; why.
    case ended(String)
  }

  package enum Event: Hashable, Sendable {
    /// The other site wants it, and says so again and again.
    case asked
    /// The other site wants it no more.
    case withdrawn
    case tick
    case caughtUp
    case stopped
    /// The other site's replica is this point.
    case finished(PointNumber)
    /// The arbiter cannot be asked: this site has to decide.
    case arbiterLost
    /// What was ordered did not work; why.
    case failed(String)
    case persisted
  }

  package enum Order: Hashable, Sendable {
    case catchUp
    case stopService
    case finish
    /// Make durable that this site has yielded at this point, if nothing changed here since it.
    case persist(PointNumber)
    /// Tell the other site the stage.
    case say
    /// The service goes on here.
    case goBack
  }

  /// The reign that is to come, of the other site.
  package let next: Reign
  package private(set) var stage = Stage.catchingUp
  private let hasService: Bool
  private let hasArbiter: Bool
  private var lastAsked: Instant
  /// All is on the other site, which did not ask of late.
  private var isUnwanted = false
  /// The word that only the other site may serve is being made durable: nothing takes it back.
  private var isPersisting = false

  /// - Parameters:
  ///   - hasService: whether a controller has something to stop.
  ///   - hasArbiter: whether a third party grants reigns.
  package init(to next: Reign, hasService: Bool, hasArbiter: Bool, now: Instant) {
    self.next = next
    self.hasService = hasService
    self.hasArbiter = hasArbiter
    lastAsked = now
  }

  /// The orders to begin with.
  package var first: [Order] { [.say, .catchUp] }

  /// Whether something is yet to come of it here.
  package var isUnderWay: Bool {
    switch stage {
    case .catchingUp, .stopping, .finishing, .ready: true
    case .yielded, .ended: false
    }
  }

  package mutating func on(_ event: Event, now: Instant) -> [Order] {
    switch (stage, event) {
    case (.ended, .asked), (.yielded, .asked):
      // The other site may not have heard it.
      return [.say]
    case (.ended, _), (.yielded, _): return []
    case (.finishing, .asked):
      lastAsked = now
      defer { isUnwanted = false }
      return isUnwanted ? [.say, .finish] : [.say]
    case (_, .asked):
      lastAsked = now
      return [.say]
    case (.ready(let point), .persisted):
      stage = .yielded(point)
      return [.say]
    case (_, .withdrawn) where isPersisting, (_, .tick) where isPersisting,
      (_, .arbiterLost) where isPersisting:
      return []
    case (_, .withdrawn): return end("the other site does not want it any more")
    case (_, .failed(let why)): return end(why)
    case (_, .tick):
      guard now - lastAsked >= Limits.moveSilence else { return [] }
      return end("the other site has said nothing for \(Limits.moveSilence)")
    case (.catchingUp, .caughtUp):
      stage = hasService ? .stopping : .finishing
      return [.say, hasService ? .stopService : .finish]
    case (.stopping, .stopped):
      stage = .finishing
      return [.say, .finish]
    case (.finishing, .finished(let point)):
      // Who was started anew meanwhile takes nothing: what is given back for it, nobody has.
      isUnwanted = now - lastAsked >= Limits.moveWanted
      if isUnwanted { return [] }
      stage = .ready(point)
      return hasArbiter ? [.say] : persist(point)
    case (.ready(let point), .arbiterLost): return persist(point)
    case (_, .caughtUp), (_, .stopped), (_, .finished), (_, .arbiterLost), (_, .persisted):
      // Of an order that is over.
      return []
    }
  }

  private mutating func persist(_ point: PointNumber) -> [Order] {
    isPersisting = true
    return [.persist(point)]
  }

  private mutating func end(_ why: String) -> [Order] {
    stage = .ended(why)
    return [.goBack, .say]
  }
}
