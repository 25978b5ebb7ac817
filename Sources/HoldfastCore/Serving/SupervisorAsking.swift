/// What is asked of the arbiter, and of the other site where that does not answer.
extension Supervisor {
  /// The answer to what was asked before is of no use any more.
  mutating func askAnew(_ now: Instant, _ orders: inout [Order]) {
    pending = nil
    pendingPromise = nil
    nextAsk = Instant(nanos: .min)
    ask(now, &orders)
  }

  mutating func ask(_ now: Instant, _ orders: inout [Order]) {
    guard settings.hasArbiter, pending == nil, now >= nextAsk, let record = report?.record else {
      return
    }
    let request: ArbiterRequest
    if let intent, intent.isWithdrawn {
      // What the agent may yet begin is not the other site's.
      if forgone != intent.reign { orders.append(.forgo(intent.reign)) }
      request = forgone == intent.reign ? .decline(intent.reign) : .ask
    } else if let intent {
      // The other site may have gone on since: only what was granted before still counts.
      let isOver = intent.cause == .planned && intent.point != nil && !isOffered(intent)
      request = isOver ? .ask : .acquire(intent.reign, intent.cause)
    } else if record.part == .primary {
      // An arbiter that has lost its memory has to hear of both sites.
      // What cannot be ended here in time is not kept from the other site either.
      let isStuck = fencingSince.map { now - $0 > settings.terms.fencingTime } ?? false
      request = isOver || isReady ? release ?? .ask : isStuck ? .ask : .renew
    } else {
      request = .ask
    }
    nextAsk = now + settings.terms.renewEvery
    let number = begin(.arbiter(request), intent?.reign ?? record.reign, now)
    orders.append(.askArbiter(number, request, record))
  }

  /// Whether the reign of this site is known to be over.
  var isOver: Bool {
    if report?.isRefused == true { return true }
    if case .superseded = refusal { return true }
    return false
  }

  /// Said once nothing runs here.
  private var release: ArbiterRequest? {
    guard service == .stopped, !hasReleased else { return nil }
    return lease == nil || report?.isRefused == true ? .release : nil
  }

  private mutating func begin(
    _ kind: Pending.Kind, _ reign: Reign, _ now: Instant
  ) -> RequestNumber {
    lastNumber += 1
    let request = Pending(number: lastNumber, kind: kind, reign: reign, sentAt: now)
    if kind == .peer { pendingPromise = request } else { pending = request }
    return lastNumber
  }

  /// - Returns: what was asked; `nil` where the answer comes to nothing that is waited for.
  mutating func settled(_ number: RequestNumber) -> Pending? {
    if let request = pending, request.number == number {
      pending = nil
      return request
    }
    guard let request = pendingPromise, request.number == number else { return nil }
    pendingPromise = nil
    return request
  }

  mutating func timeOut(_ now: Instant, _ orders: inout [Order]) {
    func isLate(_ request: Pending?) -> Bool {
      request.map { now >= $0.sentAt + settings.terms.timeout } ?? false
    }
    if isLate(pendingPromise) { pendingPromise = nil }
    guard isLate(pending) else { return }
    pending = nil
    isArbiterLost = true
    withoutArbiter(now, &orders)
  }

  /// While both sites see one another nobody moves: the other promises not to serve.
  mutating func withoutArbiter(_ now: Instant, _ orders: inout [Order]) {
    if isReady {
      if yield != .released { yield = .arbiterLost }
      return
    }
    guard let report, report.record.part == .primary, !isOver, intent == nil, !hasEnded else {
      return
    }
    let number = begin(.peer, report.record.reign, now)
    orders.append(.askPeer(number, report.record.reign))
  }

  /// A site that serves nothing, and could with the other's promise alone, does not wait for the
  /// arbiter's next silence to ask for it.
  mutating func askPromiseAgain(_ now: Instant, _ orders: inout [Order]) {
    guard isArbiterLost, pendingPromise == nil, service == .stopped, !isReady,
      report?.role == .primary, (lease?.fenceAt ?? now) <= now, now >= nextPromiseAsk
    else { return }
    nextPromiseAsk = now + Limits.moveEvery
    withoutArbiter(now, &orders)
  }
}
