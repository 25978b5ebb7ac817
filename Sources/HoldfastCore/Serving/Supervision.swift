/// What a controller is told to hold to for a pair.
package struct SupervisionSettings: Hashable, Sendable {
  package var terms: LeaseTerms
  /// Whether the standby is promoted without a person.
  package var isAutomatic: Bool
  /// Beyond it nothing is promoted without a person.
  package var maxLoss: Duration
  package init(terms: LeaseTerms, isAutomatic: Bool, maxLoss: Duration) {
    self.terms = terms
    self.isAutomatic = isAutomatic
    self.maxLoss = maxLoss
  }
}

/// What the agent on this site says of a pair.
package struct AgentReport: Hashable, Sendable {
  package var record: RoleRecord
  package var role: Role
  /// The other site was promoted past this one, or both were to one number.
  package var isRefused: Bool
  /// This site promised the other not to serve for so long yet.
  package var promiseLeft: Duration
  /// What would be lost if this standby were promoted now; `nil`: nothing may be promoted.
  package var loss: Duration?
  /// A person has said that the other site is down, and the arbiter was not heard since.
  package var isByWord: Bool
  package init(
    record: RoleRecord, role: Role, isRefused: Bool, promiseLeft: Duration, loss: Duration?,
    isByWord: Bool = false
  ) {
    self.isByWord = isByWord
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
  package var reign: Reign
  /// A person wants it, also while the other site's lease lives.
  package var isOrdered: Bool
  /// `nil` for the newest that the pair requires.
  package var point: PointNumber?
  package init(reign: Reign, isOrdered: Bool, point: PointNumber? = nil) {
    self.reign = reign
    self.isOrdered = isOrdered
    self.point = point
  }
}

extension Supervisor {
  package enum Event: Hashable, Sendable {
    /// The controller has started.
    /// - Parameter handover: of one that ran before, since the same boot of this host.
    case began(handover: Lease?, intent: PromotionIntent?)
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
    case started
    case startFailed
    case fenced
    /// A person wants this site promoted, the loss and the end of the other site's lease accepted.
    case failoverOrdered(PointNumber?)
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
    case promote(Reign, PointNumber?)
    /// Run the plan, from its beginning or from where it was left.
    case start
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
  }

  /// What became of the service here.
  package enum Service: Hashable, Sendable {
    case stopped
    case starting
    case running
    /// The plan ended at a step that failed; what it started before runs.
    case failed
    case fencing
  }

  package typealias RequestNumber = UInt64
}
