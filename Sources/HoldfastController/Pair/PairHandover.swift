package import HoldfastCore

/// Whether a controller that begins anew could go on where this one is.
extension PairController {
  /// Why one could not just now; `nil`: it could.
  /// - Parameter next: what it would go by; `nil` where the pair is gone from the configuration.
  package func reasonToStay(_ next: PairConfiguration?) -> String? {
    // What is wanted is on record, and the next goes on with it.
    let isAtMove = supervisor.yieldingTo != nil || supervisor.report?.move != nil
    if isAtMove || isAgentPromoting { return "a move is under way" }
    switch supervisor.service {
    case .stopped, .failed: return nil
    case .running: break
    // What cannot be ended keeps nothing from being set right, once nobody counts on its end.
    case .fencing where supervisor.mustBeOverAt.map { $0 < world.clock.now() } ?? true: return nil
    case .starting, .stopping, .fencing: return "the service is \(supervisor.service)"
    }
    guard let next, next.failover.hasArbiter else { return nil }
    return reason(next.failover.terms)
  }

  /// - Parameter next: the times that it would go by.
  private func reason(_ next: LeaseTerms) -> String? {
    let terms = pair.failover.terms
    guard let lease = supervisor.lease else {
      let why =
        pair.failover.hasArbiter
        ? "on a person's word, and the arbiter grants it no lease"
        : "without an arbiter, and so without a lease"
      return "the service runs \(why): \(Self.byRestart)"
    }
    let handover = next.following(lease, overBy: supervisor.mustBeOverAt)
    if next.mayHandOver(handover, now: world.clock.now() + terms.abortTimeout) { return nil }
    guard next.mayFollow(terms) else {
      return """
        ttl, or one of its times, is changed so much that the service cannot go on under the lease \
        that it has: \(Self.byRestart)
        """
    }
    return "the lease is about to be renewed"
  }

  private static let byRestart = """
    to end the service here and have it start anew, type: systemctl restart holdfast-controller; \
    or move it away first: holdfast switchover
    """
}
