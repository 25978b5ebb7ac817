/// The times of a lease, all by CLOCK_BOOTTIME: docs/failover.md says why they keep two sites from
/// serving at once.
package struct LeaseTerms: Hashable, Sendable {
  /// For how long the arbiter grants, from when it hears.
  package var ttl: Duration
  /// From one renewal to the next.
  package var renewEvery: Duration
  /// An answer that takes longer is none.
  package var timeout: Duration
  /// What fencing may take, from the decision until nothing writes.
  package var stopBudget: Duration
  /// By how much the holder is done before the arbiter may grant to another.
  package var margin: Duration
  /// A controller that does not feed its watchdog for so long is killed.
  package var watchdog: Duration
  /// What that killing, or starting a controller that died, may take until fencing begins.
  package var abortTimeout: Duration

  /// Rates of two clocks differ by less (NTP slews by at most 500 ppm: adjtimex(2)), so that over
  /// one ttl they come apart by less than a thousandth of it.
  private static let driftShare = 1000
  /// What waking a thread may take on a busy host.
  package static let schedulingAllowance = Duration.milliseconds(100)

  /// As the controller's unit has it: `TimeoutAbortSec`, `RestartSec` and what a start takes.
  private static let abortTimeout = Duration.seconds(1)

  /// Each time that is not given in its usual proportion to `ttl`.
  package init(
    ttl: Duration, margin: Duration? = nil, stopBudget: Duration? = nil, watchdog: Duration? = nil
  ) {
    self.ttl = ttl
    renewEvery = ttl / 5
    timeout = ttl / 5
    self.stopBudget = stopBudget ?? ttl / 10
    self.margin = margin ?? max(ttl / 20, ttl / Self.driftShare + Self.schedulingAllowance)
    self.watchdog = watchdog ?? ttl * 3 / 10
    abortTimeout = Self.abortTimeout
  }

  /// Until when, from the moment a renewal was sent, the holder may serve without another: then
  /// fencing begins, and ends before anybody else is granted the lease, also where the controller
  /// has to be killed or started first.
  package var servingTime: Duration { ttl - margin - fencingTime }

  /// From the moment in which fencing begins until nothing may be left of the service, whoever
  /// fences.
  package var fencingTime: Duration { stopBudget + abortTimeout + watchdogLead }

  /// A host that stood still for longer is not trusted with what it believes of its lease: half of
  /// what the margin allows for, and no less than what waking a thread may take.
  package var pauseMax: Duration { max(margin / 2, Self.schedulingAllowance) }

  /// A controller that lives fences by itself so long before its watchdog would have it killed.
  package let watchdogLead = Duration.milliseconds(200)

  /// What a controller that follows has of a lease of the one before: with other times it begins to
  /// fence so much sooner that all is over when the arbiter counts on it.
  /// - Parameter overBy: when that is, as the one before noted it.
  package func following(_ lease: Lease, overBy: Instant?) -> Lease {
    guard let overBy else { return lease }
    let begin = Instant(nanos: overBy.nanos - fencingTime.nanos)
    return Lease(reign: lease.reign, fenceAt: min(lease.fenceAt, begin))
  }

  /// Whether a controller that follows one which died may go on under a lease that ends then: were
  /// it to hang as well, it would be killed in time to fence.
  package func mayHandOver(_ lease: Lease, now: Instant) -> Bool {
    // One that lasts longer was never granted: it is of another boot.
    lease.fenceAt >= now + watchdog && lease.fenceAt <= now + servingTime
  }

  /// Whether there are moments in which a controller that goes by these times may go on under a
  /// lease of one that went by others: see ``mayHandOver(_:now:)``.
  package func mayFollow(_ before: LeaseTerms) -> Bool {
    // As long as what was granted lasts at best and, just before it is renewed, at worst; noted
    // with the times of before.
    let begin = before.fencingTime - fencingTime
    let most = min(before.servingTime, before.servingTime + begin) - before.abortTimeout
    let least = most - before.renewEvery
    return most >= watchdog && least <= servingTime
  }

  /// What of these times does not keep two sites apart, with the numbers.
  package var violations: [String] {
    func show(_ duration: Duration) -> String { "\(duration.nanos / 1_000_000) ms" }
    var found: [String] = []
    let left = ttl - margin
    let renewal = renewEvery + timeout * 2 + fencingTime
    if renewal > left {
      found.append(
        """
        renew-every + 2 timeout + stop-budget + abort-timeout + watchdog-lead = \(show(renewal)) \
        must be at most ttl - margin = \(show(left)): one lost renewal would stop the service
        """)
    }
    // Fed when an answer has come; later, it would be fed by none.
    let dying = watchdog + abortTimeout + stopBudget + timeout
    if dying > left {
      found.append(
        """
        watchdog + abort-timeout + stop-budget + timeout = \(show(dying)) must be at most ttl - \
        margin = \(show(left)): a hung controller would be stopped too late
        """)
    }
    let drift = ttl / Self.driftShare + Self.schedulingAllowance
    if margin < drift {
      found.append(
        """
        margin = \(show(margin)) must be at least ttl / 1000 + \(show(Self.schedulingAllowance)) \
        = \(show(drift)): two clocks may come apart by as much
        """)
    }
    return found
  }
}
