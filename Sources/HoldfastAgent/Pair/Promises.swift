package import HoldfastCore

/// What this site promised the other: not to serve for a while.
package struct Promises {
  /// The other site was told that this one does not serve before.
  package private(set) var until = Instant(nanos: 0)
  /// See ``AgentReport/hasPromised``.
  package private(set) var hasPromised = true
  /// False once the mark of that could not be flushed: what is on the disk nobody knows.
  private var mayPromise = true
  /// See ``PairFiles/promiseTerm()``.
  private var term: Duration?
  /// Until when promises of agents before this one may count.
  private var longerUntil = Instant(nanos: 0)
  private let files: PairFiles
  private let record: () -> PromiseRecord
  private let clock: any Timekeeper

  /// - Parameter record: found anew each time, as its folder may come later.
  package init(
    files: PairFiles, clock: any Timekeeper, record: @escaping () -> PromiseRecord
  ) {
    self.files = files
    self.record = record
    self.clock = clock
  }

  /// Reads what agents before this one have left.
  /// - Parameter ttl: of the pair's leases; `nil` where it has no arbiter.
  package mutating func begin(ttl: Duration?) throws {
    term = try files.promiseTerm()
    hasPromised = try !files.isUnpromised()
    mayPromise = true
    guard let ttl else { return }
    // Where nothing is on record of this boot, as much as it can have been.
    let most = clock.now() + max(term ?? .zero, ttl)
    longerUntil = most
    // Where this fails it is tried again before a promise is given.
    try? keepTerm(atLeast: ttl)
    if let end = record().end() {
      keep(until: end)
    } else {
      keep(until: most)
      _ = record().store(most)
    }
  }

  /// What was promised before still holds.
  package mutating func keep(until moment: Instant) { until = max(until, moment) }

  /// - Returns: whether it holds; not where an agent that follows, also after a boot, would not
  ///   know of it.
  /// - Throws: the mark that it denies could not be removed.
  package mutating func promise(for ttl: Duration) throws(DiskError) -> Bool {
    let moment = clock.now() + ttl
    guard (try? keepTerm(atLeast: ttl)) != nil, try keepPromised(),
      record().store(max(moment, until))
    else { return false }
    keep(until: moment)
    return true
  }

  /// The other site serves no more: nobody counts on the promise.
  package mutating func ended() {
    until = clock.now()
    _ = record().store(until)
    // Also where the mark could not be stored: some of it may be there, and goes before a promise.
    hasPromised = false
    do throws(DiskError) {
      try files.store(isUnpromised: true)
      mayPromise = true
    } catch {
      if case .flushFailed = error { mayPromise = false }
    }
  }

  private mutating func keepPromised() throws(DiskError) -> Bool {
    if hasPromised { return true }
    // What a failed flush has left of it shows at the next start; till then, or the next offer,
    // nothing is promised.
    guard mayPromise else { return false }
    mayPromise = false
    try files.store(isUnpromised: false)
    mayPromise = true
    hasPromised = true
    return true
  }

  /// Durable before anything is promised for so long.
  private mutating func keepTerm(atLeast ttl: Duration) throws(DiskError) {
    guard term.map({ ttl > $0 }) ?? true else { return }
    try files.store(promiseTerm: ttl)
    term = ttl
  }

  /// A shorter one once no longer promise counts.
  package mutating func lowerTerm(to ttl: Duration) {
    guard let term, ttl < term, clock.now() >= max(longerUntil, until),
      (try? files.store(promiseTerm: ttl)) != nil
    else { return }
    self.term = ttl
  }
}
