/// What a controller is told to hold to for a pair.
package struct SupervisionSettings: Hashable, Sendable {
  package var terms: LeaseTerms
  /// Whether the standby is promoted without a person.
  package var isAutomatic: Bool
  /// Beyond it nothing is promoted without a person.
  package var maxLoss: Duration
  /// Whether a third party grants leases; otherwise the service runs wherever the agent says that
  /// this site is primary.
  package var hasArbiter: Bool
  /// Whether a command makes sure that the other host is off before this one starts the service
  /// where the other was not asked to yield.
  package var fencing: Fencing
  /// Whether a service that its checks find ill moves to the other site.
  package var movesUnhealthy: Bool

  package enum Fencing: Hashable, Sendable {
    case none
    case wanted
    /// Nothing starts without its success.
    case required
  }

  package init(
    terms: LeaseTerms, isAutomatic: Bool, maxLoss: Duration, hasArbiter: Bool = true,
    fencing: Fencing = .none, movesUnhealthy: Bool = false
  ) {
    self.fencing = fencing
    self.movesUnhealthy = movesUnhealthy
    self.terms = terms
    self.isAutomatic = isAutomatic
    self.maxLoss = maxLoss
    self.hasArbiter = hasArbiter
  }
}

/// How far the agents have brought a planned move that concerns this site's controller.
package enum PlannedMove: Hashable, Sendable {
  /// The service is to come here, and the other site is at its part: nothing to be done yet.
  case asking(Reign)
  /// The other site is to reign so: the service here is to end in order.
  case yielding(Reign)
  /// All that was written here is in a point that the other site has applied: the lease may go.
  case ready(Reign)
  /// The other site serves no more, and the replica here is its final point: this site may be
  /// granted the reign at it.
  case taking(Reign, PointNumber)
}

/// What the agent on this site says of a pair.
package struct AgentReport: Hashable, Sendable {
  package var record: RoleRecord
  package var role: Role
  /// This site may not serve: the other was promoted past it, both were, or it has yielded.
  package var isRefused: Bool
  /// This site promised the other not to serve for so long yet.
  package var promiseLeft: Duration
  /// What would be lost if this standby were promoted now; `nil`: nothing may be promoted.
  package var loss: Duration?
  /// A person has said that the other site is down, and the arbiter was not heard since.
  package var isByWord: Bool
  package var move: PlannedMove?
  /// The other site yielded to this reign, or never reigned.
  package var isPlanned: Bool
  /// Since this site was last offered the service, it has promised the other not to serve: that
  /// may have gone on by it, and have written since.
  package var hasPromised: Bool
  package init(
    record: RoleRecord, role: Role, isRefused: Bool, promiseLeft: Duration, loss: Duration?,
    isByWord: Bool = false, move: PlannedMove? = nil, isPlanned: Bool = false,
    hasPromised: Bool = false
  ) {
    self.hasPromised = hasPromised
    self.isPlanned = isPlanned
    self.isByWord = isByWord
    self.move = move
    self.record = record
    self.role = role
    self.isRefused = isRefused
    self.promiseLeft = promiseLeft
    self.loss = loss
  }
}

/// A right to serve that is known to last.
package struct Lease: Hashable, Sendable {
  package var reign: Reign
  /// When fencing begins, unless there is another before.
  package var fenceAt: Instant
  package init(reign: Reign, fenceAt: Instant) {
    self.reign = reign
    self.fenceAt = fenceAt
  }
}

/// A promotion that was begun: durable before the arbiter hears of it.
package struct PromotionIntent: Hashable, Sendable {
  package enum Cause: UInt8, Hashable, Sendable {
    /// Nobody held the lease.
    case automatic = 0
    /// A person wants it, also while the other site's lease lives.
    case ordered = 1
    /// The other site has yielded.
    case planned = 2
  }
  package var reign: Reign
  package var cause: Cause
  /// `nil` for the newest that the pair requires.
  package var point: PointNumber?
  /// Nothing is promoted to it any more, and where the arbiter has granted it, it is to know that.
  package var isWithdrawn: Bool
  /// Whether a person has agreed to whatever is lost; otherwise no more may be than is configured.
  package var isLossAccepted: Bool
  package init(
    reign: Reign, cause: Cause, point: PointNumber? = nil, isWithdrawn: Bool = false,
    isLossAccepted: Bool = false
  ) {
    self.isLossAccepted = isLossAccepted
    self.reign = reign
    self.cause = cause
    self.point = point
    self.isWithdrawn = isWithdrawn
  }
  package var isOrdered: Bool { cause == .ordered && !isWithdrawn }
}

extension Supervisor {
  package enum Event: Hashable, Sendable {
    /// The controller has started.
    /// - Parameters:
    ///   - handover: of one that ran before, since the same boot of this host.
    ///   - settled: see ``Order/settle(_:)``.
    ///   - overBy: until when what an earlier one left is counted on to be over.
    case began(
      handover: Lease?, intent: PromotionIntent?, settled: Reign? = nil, overBy: Instant? = nil)
    /// Time has gone by; `chance` was never used before.
    case tick(chance: RandomID)
    /// - Parameter report: `nil` where the agent does not answer.
    case agent(AgentReport?)
    case arbiter(RequestNumber, ArbiterAnswer)
    /// No answer of the arbiter, or none that means anything.
    case arbiterFailed(RequestNumber)
    /// Whether the other site promised not to serve.
    case peer(RequestNumber, isPromised: Bool)
    /// The agent has made the new reign durable and the tree ready.
    case promoted
    case notPromoted
    /// Nor will it, for more would be lost than anybody has agreed to.
    case lossRefused
    /// The agent has not begun this reign, and never will.
    case forgone(Reign)
    case started
    case startFailed
    /// The plan's units were stopped in order, or not within their time.
    case stopped
    case stopFailed
    case fenced
    /// This host stood still, and what ran of the service stands still since: what was believed of
    /// the lease may be long over.
    case paused
    /// Whether the other host is off.
    case otherFenced(Bool)
    /// What the plan's checks say of the service that runs.
    case health(isWell: Bool)
    /// A person wants this site promoted, the end of the other site's lease accepted, and the loss
    /// as far as it is configured, or whatever it is.
    case failoverOrdered(PointNumber?, isLossAccepted: Bool)
    /// A person wants what was ordered no more.
    case failoverWithdrawn
    /// A person has put right what the plan failed at.
    case startOrdered
  }

  package enum Order: Hashable, Sendable {
    /// Make this durable before any later order of the list is obeyed.
    case persist(PromotionIntent?)
    /// Keep this for a controller that follows on the same boot, before any later order is obeyed.
    case note(Lease?)
    case askArbiter(RequestNumber, ArbiterRequest, RoleRecord)
    /// Have the other site promise not to serve for one ttl.
    case askPeer(RequestNumber, Reign)
    /// The agent may go on as what its record says.
    case hand(Reign)
    /// - Parameter othersLeft: for so long yet the other site may serve, by the arbiter's word.
    case promote(PromotionIntent, othersLeft: Duration)
    /// Have the agent never begin this reign, and say `forgone` unless it has.
    case forgo(Reign)
    /// Run the plan, from its beginning or from where it was left.
    case start
    /// Stop the plan's units in order, from the last to the first, and say `stopped`.
    case stop
    /// Have all of the service stand still, if it does not yet.
    case suspend
    /// What stands still since a pause goes on.
    case thaw
    /// Make sure that the other host is off, and say whether it is.
    case fenceOther
    /// Make durable that it need not be fenced in this reign.
    case settle(Reign)
    /// The service is ill: the other site is to take it.
    case moveAway
    /// Stop all at once, for good, and say `fenced`.
    case fence(Reason)
    /// The order of a person cannot be obeyed.
    case refuse(ArbiterRefusal?)
  }

  /// Why a site is fenced.
  package enum Reason: Hashable, Sendable {
    case began
    case leaseOver
    case superseded
    /// This host stood still while the service was being started or ended.
    case paused
  }

  /// Why a standby is not promoted by itself.
  package enum Withheld: Hashable, Sendable {
    /// So it is configured.
    case byHand
    /// More would be lost than the pair allows.
    case loss
    /// Something is held, or what would be lost cannot be told.
    case unknownLoss
    /// It has given back what it was granted, and leaves it to the other site for a while.
    case heldBack
  }

  /// What became of the service here.
  package enum Service: Hashable, Sendable {
    case stopped
    case starting
    case running
    /// The plan ended at a step that failed; what it started before runs.
    case failed
    /// It is ended in order.
    case stopping
    case fencing
  }

  /// What the agent is to know of a planned move that this site yields in.
  package enum Yield: String, Hashable, Sendable {
    /// Nothing of the plan runs any more: it was stopped in order.
    case stopped
    /// Nothing of it runs, but it was not stopped in order: it had been killed, or never ran.
    case nothingRuns
    case stopFailed
    /// The arbiter knows it too.
    case released
    /// The arbiter could not be told.
    case arbiterLost
  }

  package typealias RequestNumber = UInt64
}
