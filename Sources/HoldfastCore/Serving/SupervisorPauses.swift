/// A host that stood still: the service waits until it is known again that it may go on.
extension Supervisor {
  mutating func paused(_ now: Instant, _ orders: inout [Order]) {
    guard settings.hasArbiter else { return }
    guard mayRun else {
      // Nor is what was granted, or asked for, before anything was started.
      lease = nil
      return askAnew(now, &orders)
    }
    // On a person's word it runs whoever is heard.
    guard fenceAt != nil else { return orders.append(.thaw) }
    // What a plan is at, and what systemd is stopping, cannot stand still as a whole.
    guard service == .running || service == .failed else { return fence(.paused, &orders) }
    isSuspended = true
    // Nobody follows under a lease that is not trusted.
    orders.append(.note(nil))
    // Once more: an answer of before may just have had it go on.
    orders.append(.suspend)
    askAnew(now, &orders)
  }

  /// The arbiter, or the other site, was asked after the pause, and this site may go on. What it
  /// had to wait for before it served was over then.
  mutating func resume(_ reign: Reign, _ orders: inout [Order]) {
    guard isSuspended, mayRun, report?.record.reign == reign else { return }
    isSuspended = false
    orders.append(.thaw)
  }
}
