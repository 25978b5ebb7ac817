/// Decides what it comes to that a person has a site go on: as what it was, or, where the other
/// site is lost with a reign above this site's own, in a new one above both, from this site's own
/// tree. The new reign counts once it is durable; what fails before leads back.
package struct Resumption: Equatable, Sendable {
  /// What this site knows when the order comes.
  package struct Facts: Equatable, Sendable {
    package var standing: Standing
    /// The person has made sure that the other site is off and stays off.
    package var isOtherDown: Bool
    package var isConnected: Bool
    package var hasArbiter: Bool
    /// `nil`: the controller here says nothing.
    package var arbiter: ArbiterView?
    /// The other site's reign to come, of a planned move that this site was at: whether it has
    /// begun is not known here.
    package var offered: Reign?
    /// Of a reign that has begun here, the tree is not ready yet.
    package var isPromoting: Bool
    /// No point up to this number is free here.
    package var usedUpTo: PointNumber
    package init(
      standing: Standing, isOtherDown: Bool, isConnected: Bool, hasArbiter: Bool,
      arbiter: ArbiterView?, offered: Reign?, isPromoting: Bool, usedUpTo: PointNumber
    ) {
      self.offered = offered
      self.standing = standing
      self.isOtherDown = isOtherDown
      self.isConnected = isConnected
      self.hasArbiter = hasArbiter
      self.arbiter = arbiter
      self.isPromoting = isPromoting
      self.usedUpTo = usedUpTo
    }
  }

  /// What a controller knows of its arbiter.
  package struct ArbiterView: Hashable, Sendable {
    /// It gave no answer when it was asked last.
    package var isSilent: Bool
    /// The newest reign, where nobody holds its lease.
    package var vacant: Reign?
    /// Whether the other site's lease lives, or may; `nil`: it was not said.
    package var isHeldByOther: Bool?
    package init(isSilent: Bool, vacant: Reign?, isHeldByOther: Bool?) {
      self.isSilent = isSilent
      self.vacant = vacant
      self.isHeldByOther = isHeldByOther
    }
  }

  /// Nothing was changed.
  package enum Refusal: Error, Hashable, Sendable {
    /// So it is not lost.
    case otherConnected
    /// The arbiter does not say yet that nobody serves.
    case otherMayServe
    /// This site's own tree is not ready.
    case promoting
    case standing(Standing.Refusal)
  }

  package enum Stage: Equatable, Sendable {
    /// Goes on as what it was.
    case goesOn
    case committing(Reign)
    /// That failed, and it may be durable all the same: what was on record before is made so anew.
    case recalling(Reign, why: String)
    case begun(Reign)
    case refused(Refusal)
    /// Nothing was changed.
    case failed(why: String)
  }

  package enum Event: Hashable, Sendable {
    /// What was ordered last is done.
    case done
    case failed(String)
    /// It is time to try again.
    case retry
  }

  package enum Order: Hashable, Sendable {
    /// Be what this site was; answered by nothing.
    /// - isByWord: the service may start though no arbiter grants it.
    case goOn(isByWord: Bool)
    /// Make durable that this site is primary in this reign, and that no point up to the number is
    /// its own to use.
    case commit(Reign, usedUpTo: PointNumber)
    /// Make what was on record before the commit durable anew.
    case recall
    /// Reign, by the person's word where there is an arbiter; answered by nothing.
    case begin(Reign, isByWord: Bool)
    /// Say `retry` after a while.
    case wait
  }

  package private(set) var stage: Stage
  package let facts: Facts
  /// The other site's reign that a new one is above: what was written in it is not in this site's
  /// tree.
  package let lost: Reign?

  /// - Parameter fresh: of a new reign, should there be one.
  package init(_ facts: Facts, fresh: RandomID) {
    self.facts = facts
    let found = Self.lostReign(facts)
    lost = (try? found.get()) ?? nil
    switch found {
    case .failure(let refusal): stage = .refused(refusal)
    case .success(let lost?):
      let epoch = max(lost.epoch, facts.standing.record.reign.epoch).next
      stage = .committing(Reign(epoch: epoch, id: fresh))
    case .success(nil):
      stage = facts.standing.refusal.map { .refused(.standing($0)) } ?? .goesOn
    }
  }

  /// The orders to begin with.
  package var first: [Order] {
    switch stage {
    case .goesOn:
      let isPrimary = facts.standing.record.part == .primary
      return [.goOn(isByWord: facts.isOtherDown && isPrimary)]
    case .committing(let reign):
      // Of the points that the other captured in its reign, nothing was heard.
      let used = PointNumber(rawValue: facts.usedUpTo.rawValue + Limits.pointsUnheard)
      return [.commit(reign, usedUpTo: used)]
    case .recalling, .begun, .refused, .failed: return []
    }
  }

  /// Whether nothing is yet to come of it.
  package var isOver: Bool {
    switch stage {
    case .goesOn, .begun, .refused, .failed: true
    case .committing, .recalling: false
    }
  }

  package mutating func on(_ event: Event) -> [Order] {
    switch (stage, event) {
    case (.committing(let reign), .done):
      stage = .begun(reign)
      return [.begin(reign, isByWord: facts.hasArbiter)]
    case (.committing(let reign), .failed(let why)):
      // A flush that failed may have come to the disk, and to no disk twice in the same way.
      stage = .recalling(reign, why: why)
      return [.recall]
    case (.recalling(_, let why), .done):
      stage = .failed(why: why)
      return []
    case (.recalling, .failed): return [.wait]
    case (.recalling, .retry): return [.recall]
    case (.committing, .retry), (.goesOn, _), (.begun, _), (.refused, _), (.failed, _):
      // Of an order that is over.
      return []
    }
  }

  /// The reign above this site's own that the other may have been lost with: yielded to, begun past
  /// this site, or granted; `nil`: there is none.
  private static func lostReign(_ facts: Facts) -> Result<Reign?, Refusal> {
    guard facts.isOtherDown else { return .success(nil) }
    let standing = facts.standing
    let lost: Reign
    switch standing.refusal {
    case .yielded(let theirs), .superseded(_, let theirs), .split(_, let theirs):
      guard standing.record.part == .primary else { return .success(nil) }
      guard !facts.isConnected else { return .failure(.otherConnected) }
      if facts.mayOtherServe { return .failure(.otherMayServe) }
      lost = theirs
    case .stale, .sameParts: return .success(nil)
    case nil:
      guard standing.record.part == .primary else { return .success(nil) }
      let mine = standing.record.reign.epoch
      if let vacant = facts.arbiter?.vacant, vacant.epoch > mine {
        lost = vacant
      } else if let offered = facts.offered, offered.epoch > mine, !facts.isConnected {
        if facts.mayOtherServe { return .failure(.otherMayServe) }
        lost = offered
      } else if facts.doesOtherServe {
        return .failure(.otherMayServe)
      } else {
        return .success(nil)
      }
    }
    return facts.isPromoting ? .failure(.promoting) : .success(lost)
  }
}

extension Resumption.Facts {
  /// The arbiter answers, and says that the other site serves, or may.
  fileprivate var doesOtherServe: Bool {
    hasArbiter && arbiter?.isSilent == false && arbiter?.isHeldByOther == true
  }

  /// The arbiter answers, and does not say that nobody serves.
  fileprivate var mayOtherServe: Bool {
    guard hasArbiter, let arbiter, !arbiter.isSilent else { return false }
    return arbiter.isHeldByOther != false
  }
}
