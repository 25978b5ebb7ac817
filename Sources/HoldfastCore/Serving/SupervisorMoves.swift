/// A planned move: what the controllers of both sites do of it, at their agents' word.
extension Supervisor {
  /// A planned move that both agents are at.
  mutating func hear(
    _ move: PlannedMove?, _ report: AgentReport, _ now: Instant, _ orders: inout [Order]
  ) {
    switch move {
    case .yielding(let next): yield(to: next, isReady: false, &orders)
    case .ready(let next):
      let wasReady = isReady
      yield(to: next, isReady: true, &orders)
      guard !wasReady else { break }
      nextAsk = Instant(nanos: .min)
      // Nobody is kept waiting for one that has given no answer of late.
      if isArbiterLost { withoutArbiter(now, &orders) }
    case .taking(let next, let point):
      goOn(&orders)
      guard settings.hasArbiter, intent == nil, report.role == .standby,
        next.epoch == report.record.reign.epoch.next
      else { return }
      let begun = PromotionIntent(reign: next, cause: .planned, point: point)
      intent = begun
      orders.append(.persist(begun))
      askAnew(now, &orders)
    case .asking, nil: goOn(&orders)
    }
  }

  mutating func yield(to next: Reign, isReady: Bool, _ orders: inout [Order]) {
    if yieldingTo != next {
      yieldingTo = next
      yield = nil
      hasReleased = false
    }
    self.isReady = isReady
    switch service {
    case .starting, .running: stop(&orders)
    case .failed: if yield != .stopFailed { stop(&orders) }
    case .stopped where mayFind:
      // It may run all the same, since before this controller began.
      mayFind = false
      stop(&orders)
    case .stopped:
      if yield == nil { ended(.nothingRuns) }
      // What was renewed while the final point was made is given back.
      if isReady { lease = nil }
    case .stopping, .fencing: break
    }
  }

  /// Nothing runs here any more, and the agent is told so. To go on, this site has to be granted
  /// anew: the other's promise may end from now on, also one that is still on its way here.
  mutating func ended(_ word: Yield) {
    yield = word
    lease = nil
    pending = nil
    pendingPromise = nil
  }

  /// The service was ended in order for the other site: no promise of that counts any more.
  var hasEnded: Bool { yieldingTo != nil && service == .stopped }

  mutating func stop(_ orders: inout [Order]) {
    // systemd has what it ends go on first; until it may, this is asked again and again.
    guard !isSuspended else { return }
    service = .stopping
    orders.append(.stop)
  }

  /// A move that this site was to yield in is off.
  mutating func goOn(_ orders: inout [Order]) {
    guard yieldingTo != nil else { return }
    yieldingTo = nil
    isReady = false
    hasReleased = false
    // That the lease was given back, say, is of no use any more, and must not end the next one.
    pending = nil
    nextAsk = Instant(nanos: .min)
    // What could not be stopped is made whole again; what was stopped starts under its lease.
    if yield == .stopFailed, service == .failed {
      if isSuspended { fence(.paused, &orders) } else { run(&orders) }
    }
    yield = nil
  }

  /// Whether the move that an intent is of is still under way.
  func isOffered(_ intent: PromotionIntent) -> Bool {
    guard intent.cause == .planned, case .taking(let next, _) = report?.move else { return false }
    return next == intent.reign
  }

  /// The arbiter names the newest reign while a planned move that is off has left an intent.
  mutating func settle(_ newest: Reign, _ now: Instant, _ orders: inout [Order]) {
    guard let intent, intent.cause == .planned, intent.point != nil, !isOffered(intent) else {
      return
    }
    guard newest == intent.reign else { return abandon(nil, &orders) }
    // It was granted, and nobody else can serve any more but on this site's promise: whatever is
    // newest here goes on.
    let granted = PromotionIntent(reign: newest, cause: .planned)
    self.intent = granted
    promotingSince = nil
    nextAsk = Instant(nanos: .min)
    orders.append(.persist(granted))
    leaveToPromised(now, &orders)
  }

  /// Where the other site was promised that it may go on, what it wrote since it yielded is not
  /// given up for a planned move that is off: it has its reign again.
  mutating func leaveToPromised(_ now: Instant, _ orders: inout [Order]) {
    guard let intent, intent.cause == .planned, intent.point == nil, !intent.isWithdrawn,
      report?.hasPromised == true
    else { return }
    withdraw(now, &orders)
  }
}
