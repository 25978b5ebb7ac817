/// What a site tells the arbiter of itself with every request, so that no higher epoch stays
/// unheard of.
package struct SiteStatement: Hashable, Sendable {
  package var pair: RandomID
  /// The key of the pair's other site.
  package var other: Fingerprint
  package var record: RoleRecord
  /// What both sites have configured.
  package var ttl: Duration
  package init(pair: RandomID, other: Fingerprint, record: RoleRecord, ttl: Duration) {
    self.pair = pair
    self.other = other
    self.record = record
    self.ttl = ttl
  }
}

/// What a site asks of the arbiter.
package enum ArbiterRequest: Hashable, Sendable {
  /// The lease of the reign in the statement, for one more ttl.
  case renew
  /// A new reign for this site. Asked again with the same reign it is the same request.
  /// An ordered one also while the other site's lease lives; a planned one only once the other site
  /// has given its lease back and not taken it again.
  case acquire(Reign, PromotionIntent.Cause)
  /// The service has ended here: nobody needs to wait for the end of the lease.
  case release
  /// This reign, which may have been granted to this site, never begins: nothing of it was made
  /// durable here, and it is not asked for again. The other site reigns on.
  case decline(Reign)
  /// Whether anybody holds the lease.
  case ask
}

/// What the arbiter says.
package enum ArbiterAnswer: Hashable, Sendable {
  /// The lease runs for one ttl from when the request was sent. Who does not serve yet waits so
  /// long first: another's lease may live until then.
  case granted(wait: Duration)
  /// Given back, or declined.
  case released
  /// Another's lease of this reign lives so much longer at most, or was not given back.
  case held(Reign, left: Duration)
  /// Nobody holds the lease; this reign was the last.
  case free(Reign)
  case refused(ArbiterRefusal)
}

/// Why the arbiter grants nothing.
package enum ArbiterRefusal: Hashable, Sendable, CustomStringConvertible {
  /// The other site has not spoken yet, and nothing is on record.
  case unheard
  /// The pair is bound to two other keys.
  case foreign
  /// Leases of before may still live for so long.
  case quiet(left: Duration)
  /// This reign is the newest, and another site's.
  case superseded(Reign)
  /// Two reigns of one number.
  case split(Reign)

  package var description: String {
    switch self {
    case .unheard:
      """
      the arbiter knows nothing of the pair and waits for the other site's word: if that site is \
      off and stays off, type, with the pair's name, where this one is the primary: holdfast \
      resume PAIR --other-site-is-down; where it is the standby: holdfast failover PAIR \
      --other-site-is-down
      """
    case .foreign: "the arbiter knows the pair by the keys of two other sites"
    case .quiet(let left): "the arbiter grants nothing for \(left.nanos / 1_000_000) ms yet"
    case .superseded(let reign): "the arbiter has granted epoch \(reign.epoch) to the other site"
    case .split(let reign): "the arbiter knows another reign of epoch \(reign.epoch): \(reign)"
    }
  }
}
