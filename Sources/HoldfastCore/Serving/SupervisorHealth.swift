/// Whether the other host is off, and whether the service here is well.
extension Supervisor {
  /// Whether the other host need not be fenced, or was.
  mutating func isAlone(
    _ report: AgentReport, _ now: Instant, _ orders: inout [Order]
  ) -> Bool {
    let reign = report.record.reign
    if settled == reign { return true }
    if settings.fencing == .none || report.isPlanned {
      // A command that is configured later is for what happens then.
      settled = reign
      orders.append(.settle(reign))
      return true
    }
    if fencingFor == nil, now >= nextFencing {
      fencingFor = reign
      orders.append(.fenceOther)
    }
    return false
  }

  mutating func otherFenced(
    _ isOff: Bool, _ now: Instant, _ orders: inout [Order]
  ) {
    let begun = fencingFor
    fencingFor = nil
    guard let reign = report?.record.reign, reign == begun else { return }
    guard isOff || settings.fencing == .wanted else {
      nextFencing = now + Limits.fenceAgainAfter
      return
    }
    settled = reign
    orders.append(.settle(reign))
  }

  mutating func hear(isWell: Bool, _ orders: inout [Order]) {
    illRounds = isWell || service != .running || isSuspended ? 0 : illRounds + 1
    guard settings.movesUnhealthy, illRounds > 0, illRounds % Limits.illRoundsMax == 0 else {
      return
    }
    orders.append(.moveAway)
  }
}
