/// What a site keeps durably about its part in a pair.
package struct RoleRecord: Hashable, Sendable {
  package enum Part: UInt8, Hashable, Sendable {
    case primary = 1
    case standby = 2
  }
  package var reign: Reign
  package var part: Part
  package init(reign: Reign, part: Part) {
    self.reign = reign
    self.part = part
  }
}

/// Decides what a site is for a pair. Every start begins as `unknown`; a site that was promoted
/// past never serves again by itself.
package struct Standing: Equatable, Sendable {
  package enum Event: Equatable, Sendable {
    /// The peer answered with its durable record, and whether its service may run, or begin to.
    case peer(RoleRecord, mayServe: Bool)
    /// A person typed `holdfast resume`, or the configuration says `on-boot: resume`.
    case resume
    /// The arbiter granted the lease of this reign to this site.
    case granted(Reign)
    /// The epoch of a promotion here is durable.
    case promoted(Reign)
    /// In a planned move this site has durably yielded to the other, which may reign from now on.
    case yielded(Reign)
  }

  package enum Order: Equatable, Sendable {
    /// Make this durable before any other order of the same list is obeyed.
    case persist(RoleRecord)
    case serve
    case follow
    case refuse(Refusal)
  }

  /// Why the two sites cannot work together; said on both.
  package enum Refusal: Hashable, Sendable, CustomStringConvertible {
    /// The other site's epoch is higher: this one was promoted past.
    case superseded(mine: Reign, theirs: Reign)
    /// The other site's epoch is lower.
    case stale(mine: Reign, theirs: Reign)
    /// Two promotions to one number.
    case split(mine: Reign, theirs: Reign)
    /// This site has yielded to the other's new reign, which was not heard of yet.
    case yielded(Reign)
    /// Both say that they are the same part.
    case sameParts(RoleRecord.Part)

    package var description: String {
      switch self {
      case .superseded(let mine, let theirs):
        """
        the other site was promoted (epoch \(theirs.epoch), here \(mine.epoch)): do not start the \
        service here; this tree is untouched and holds what was never shipped; to bring it back, \
        type with the pair's name: holdfast failback PAIR; if the other site is lost for good: \
        holdfast resume PAIR --other-site-is-down
        """
      case .stale(let mine, let theirs):
        """
        the other site came back with epoch \(theirs.epoch), here is \(mine.epoch): it stays out; \
        keep its service stopped, which this site waits for where it does not serve yet
        """
      case .split(let mine, let theirs):
        """
        both sites were promoted to epoch \(mine.epoch) (\(mine) and \(theirs)): nothing is \
        exchanged and both trees are kept; on the site that is to give way, type with the pair's \
        name: holdfast failback PAIR --as-standby
        """
      case .yielded(let next):
        """
        this site has yielded to the other, which goes on with epoch \(next.epoch) once they are \
        connected; if the other site is lost, type with its name: holdfast resume PAIR \
        --other-site-is-down
        """
      case .sameParts(let part):
        "both sites say that they are the \(part): check `primary` and `standby` on both"
      }
    }

    /// What the other site is told; `nil` where it is the one that is right.
    package var forOther: String? {
      switch self {
      case .superseded, .yielded: nil
      case .stale(let mine, let theirs):
        """
        this site was promoted to epoch \(mine.epoch), yours is \(theirs.epoch): do not start the \
        service there
        """
      case .split, .sameParts: description
      }
    }
  }

  package private(set) var record: RoleRecord
  package private(set) var role: Role
  /// Why nothing happens; that this site was promoted past outlives restarts.
  package private(set) var refusal: Refusal?

  /// - Parameters:
  ///   - superseded: by which reign, as it was once said.
  ///   - yielded: to which reign, as it was made durable.
  package init(record: RoleRecord, superseded: Reign? = nil, yielded: Reign? = nil) {
    self.record = record
    role = .unknown
    refusal =
      superseded.map { .superseded(mine: record.reign, theirs: $0) } ?? yielded.map { .yielded($0) }
  }

  package mutating func on(_ event: Event) -> [Order] {
    switch event {
    case .promoted(let reign):
      precondition(reign.epoch > record.reign.epoch, "promotion to \(reign) from \(self)")
      record = RoleRecord(reign: reign, part: .primary)
      role = .primary
      refusal = nil
      return [.persist(record), .serve]
    case .yielded(let next):
      precondition(next.epoch > record.reign.epoch, "yielding to \(next) from \(self)")
      return refuse(.yielded(next), as: .unknown)
    case .resume:
      if refusal != nil { return [] }
      return settle()
    case .granted(let reign):
      guard refusal == nil, record.part == .primary, record.reign == reign else { return [] }
      return settle()
    case .peer(let theirs, let mayServe):
      return met(theirs, mayServe)
    }
  }

  private mutating func met(_ theirs: RoleRecord, _ mayServe: Bool) -> [Order] {
    let mine = record.reign
    // Only the reign that was yielded to, or a later one, ends that.
    if case .yielded(let next) = refusal, theirs.reign.epoch < next.epoch { return [] }
    if mine.epoch == .none, record.part == .standby, theirs.part == .primary {
      record.reign = theirs.reign
      return [.persist(record)] + settle()
    }
    if theirs.reign.epoch == .none, theirs.part == .standby, record.part == .primary {
      return settle()
    }
    if theirs.reign.epoch > mine.epoch {
      return refuse(.superseded(mine: mine, theirs: theirs.reign), as: .unknown)
    }
    if theirs.reign.epoch < mine.epoch {
      // Its record proves that this reign is the newest of the two sites. On a person's word it may
      // serve in the old one: it ends that once it hears of the new, and says so.
      let isWaiting = mayServe && role == .unknown
      let orders = record.part == .primary && !isWaiting ? settle() : []
      return orders + [.refuse(.stale(mine: mine, theirs: theirs.reign))]
    }
    if theirs.reign != mine {
      return refuse(.split(mine: mine, theirs: theirs.reign), as: .split)
    }
    if theirs.part == record.part { return refuse(.sameParts(record.part), as: .unknown) }
    return settle()
  }

  private mutating func settle() -> [Order] {
    let was = role
    refusal = nil
    switch record.part {
    case .primary:
      role = .primary
      return was == .primary ? [] : [.serve]
    case .standby:
      role = .standby
      return was == .standby ? [] : [.follow]
    }
  }

  private mutating func refuse(_ why: Refusal, as newRole: Role) -> [Order] {
    refusal = why
    role = newRole
    return [.refuse(why)]
  }
}
