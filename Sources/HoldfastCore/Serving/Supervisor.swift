/// Decides, for one pair on one site, when its service runs here. Without an arbiter: while the
/// agent says that this site is primary. With one: only under its lease; while it is lost, under
/// the other site's promise not to serve; while both are lost, on the word of a person who has made
/// sure that the other site is down.
package struct Supervisor: Sendable {
  package let settings: SupervisionSettings
  package internal(set) var service = Service.stopped
  package internal(set) var lease: Lease?
  package internal(set) var intent: PromotionIntent?
  /// What the agent said last, whether or not it answers now.
  package internal(set) var report: AgentReport?
  /// When it was heard.
  var reportedAt: Instant?
  /// The newest reign, where the arbiter said last that nobody holds its lease.
  package internal(set) var vacant: Reign?
  /// Whether the other site's lease lives, or may, as the arbiter said last; `nil`: it did not say.
  package internal(set) var isHeldByOther: Bool?
  /// The withdrawn reign that the agent never begins.
  var forgone: Reign?
  /// Why the arbiter granted nothing when it answered last.
  package internal(set) var refusal: ArbiterRefusal?

  struct Pending {
    enum Kind: Hashable {
      case arbiter(ArbiterRequest)
      case peer
    }
    var number: RequestNumber
    var kind: Kind
    var reign: Reign
    var sentAt: Instant
  }
  var pending: Pending?
  /// The promise that was asked for: beside the arbiter, which may not answer for long.
  var pendingPromise: Pending?
  var lastNumber: RequestNumber = 0
  var nextAsk = Instant(nanos: .min)
  /// Why this standby is not promoted by itself though nobody holds the lease.
  package internal(set) var withheld: Withheld?
  /// Since when the arbiter says that nobody holds the lease.
  var freeSince: Instant?
  /// The other site's lease may live until then, as the arbiter said last.
  var othersLeaseEnd = Instant(nanos: .min)
  /// The other site may serve until then, on this one's promise.
  var promiseEnd = Instant(nanos: .min)
  /// The arbiter knows that nothing of a reign that is over runs here.
  var hasReleased = false
  /// The reign that a person's word is good for, until the arbiter is heard.
  var wordReign: Reign?
  var wordCountsFrom = Instant(nanos: .min)
  /// This site's reign, where the arbiter has contradicted a person's word for it: what it was
  /// given for is not so, until it is given anew.
  package internal(set) var contradicted: Reign?
  var nextPromiseAsk = Instant(nanos: .min)
  /// Whether the last question got no answer at all.
  package internal(set) var isArbiterLost = false
  var isPromoting = false
  /// Since when the agent was to promote this site to the reign that was granted.
  var promotingSince: Instant?
  /// When this site declined a reign last: it leaves it to the other for a while.
  var declinedAt: Instant?
  var chance: RandomID?
  /// Something of the plan may run that nothing is known of.
  package internal(set) var mayFind = false
  /// The reign that the service here was, or is to be, ended for.
  package internal(set) var yieldingTo: Reign?
  /// All that was written here is on the other site.
  var isReady = false
  /// How far it came.
  package internal(set) var yield: Yield?
  /// The reign in which the other host need not be fenced.
  var settled: Reign?
  /// The reign whose other host a command is making sure of.
  var fencingFor: Reign?
  var nextFencing = Instant(nanos: .min)
  /// See ``Event/startOrdered``.
  private var isStartWanted = false
  /// The newest reign at which this site asked for the next: see ``nobodyHolds(_:_:_:)``.
  var askedAt: Reign?
  /// Rounds of checks that failed, one after the other.
  var illRounds = 0
  /// The service stands still until the arbiter, or the other site, is heard again.
  package internal(set) var isSuspended = false
  /// Until when what is being fenced is counted on to be over.
  var fencedBy: Instant?
  /// Since when it is being fenced.
  var fencingSince: Instant?

  package init(_ settings: SupervisionSettings) { self.settings = settings }

  package mutating func on(_ event: Event, now: Instant) -> [Order] {
    var orders: [Order] = []
    switch event {
    case .began(let handover, let intent, let settled, let overBy):
      self.settled = settled
      goOn(with: intent, now, &orders)
      begin(handover, now, &orders)
      if service == .fencing { fencedBy = overBy }
    case .tick(let chance):
      self.chance = chance
      giveUpPromotion(now, &orders)
      timeOut(now, &orders)
      ask(now, &orders)
      askPromiseAgain(now, &orders)
    case .agent(let report): if let report { heard(report, now, &orders) }
    case .arbiter(let number, let answer):
      guard let request = settled(number), case .arbiter(let asked) = request.kind else { break }
      answered(answer, to: asked, request, now, &orders)
    case .arbiterFailed(let number):
      guard settled(number) != nil else { break }
      isArbiterLost = true
      withoutArbiter(now, &orders)
    case .peer(let number, let isPromised):
      guard let request = settled(number), isPromised, !hasEnded else { break }
      extend(request.reign, from: request.sentAt, now, &orders)
    case .promoted:
      isPromoting = false
      promotingSince = nil
    case .notPromoted: isPromoting = false
    case .lossRefused:
      isPromoting = false
      // What is lost grows by itself alone: nobody waits for that, and the other site may serve.
      // Somebody may have agreed to it meanwhile.
      if let intent, !intent.isWithdrawn, !intent.isLossAccepted { withdraw(now, &orders) }
    case .forgone(let reign):
      guard let intent, intent.isWithdrawn, intent.reign == reign else { break }
      forgone = reign
      askAnew(now, &orders)
    case .started: if service == .starting { service = .running }
    case .startFailed: if service == .starting { service = .failed }
    case .stopped:
      guard service == .stopping else { break }
      service = .stopped
      if yieldingTo != nil { ended(.stopped) }
      orders.append(.note(nil))
    case .stopFailed:
      guard service == .stopping else { break }
      service = .failed
      if yieldingTo != nil { yield = .stopFailed }
    case .fenced: service = .stopped
    case .paused: paused(now, &orders)
    case .otherFenced(let isOff): otherFenced(isOff, now, &orders)
    case .health(let isWell): hear(isWell: isWell, &orders)
    case .failoverOrdered(let point, let isLossAccepted):
      failover(isOrdered: true, isLossAccepted: isLossAccepted, point, &orders)
    case .failoverWithdrawn:
      if let intent, intent.cause != .planned, !intent.isWithdrawn { withdraw(now, &orders) }
    case .startOrdered: isStartWanted = service == .failed
    }
    startAgain(now, &orders)
    guardLease(now, &orders)
    start(now, &orders)
    fencingSince = service == .fencing ? fencingSince ?? now : nil
    return orders
  }

  /// When the service here is to be fenced unless something better is heard before; `nil` where
  /// nothing runs.
  package var fenceAt: Instant? { mayRun ? lease?.fenceAt : nil }

  /// When whatever is left of the service here ends with this host, for another site may serve
  /// from then on; `nil` where nothing runs, or nobody else counts on its end.
  package var mustBeOverAt: Instant? {
    service == .fencing ? fencedBy : fenceAt.map { $0 + settings.terms.fencingTime }
  }

  /// Whether something of the service may run here.
  var mayRun: Bool {
    switch service {
    case .starting, .running, .failed, .stopping: true
    case .stopped, .fencing: false
    }
  }

  /// Whether somebody waits for what the agent says next: a move is under way.
  package var isMoving: Bool { intent != nil || yieldingTo != nil || report?.move != nil }

  /// Whether the watchdog may be told that all is well: were this controller to hang from now on,
  /// it would be killed in time to fence. What is being fenced has threads of its own, the last
  /// resort among them, and keeps no other pair from serving.
  /// - Parameter watchdog: of this process, which may look after pairs of shorter times.
  package func mayFeedWatchdog(now: Instant, _ watchdog: Duration) -> Bool {
    fenceAt.map { $0 + settings.terms.watchdogLead >= now + watchdog } ?? true
  }

  // MARK: Beginning

  private mutating func begin(_ handover: Lease?, _ now: Instant, _ orders: inout [Order]) {
    if let handover, settings.hasArbiter, settings.terms.mayHandOver(handover, now: now) {
      lease = handover
      service = .starting
      orders.append(.start)
    } else if settings.hasArbiter {
      // What an earlier boot or a person started must not run without a lease.
      fence(.began, &orders)
    } else {
      // Without one it may run where the agent says that this site is primary.
      mayFind = true
    }
  }

  // MARK: The agent

  private mutating func heard(_ report: AgentReport, _ now: Instant, _ orders: inout [Order]) {
    let isNew = report.record != self.report?.record
    if isNew {
      hasReleased = false
      refusal = nil
    }
    self.report = report
    reportedAt = now
    promiseEnd = now + report.promiseLeft
    if let done = intent, done.reign == report.record.reign, report.record.part == .primary {
      intent = nil
      isPromoting = false
      orders.append(.persist(nil))
    } else if let lost = intent, lost.reign.epoch <= report.record.reign.epoch {
      intent = nil
      orders.append(.persist(nil))
    }
    leaveToPromised(now, &orders)
    hear(report.isByWord, of: report.record.reign, now, &orders)
    let reign = report.record.reign
    let isOthers = report.isRefused || report.record.part != .primary
    if mayRun, isOthers || (settings.hasArbiter && lease?.reign != reign && wordReign != reign) {
      fence(.superseded, &orders)
    }
    if mayFind, isOthers { fence(.began, &orders) }
    hear(report.move, report, now, &orders)
    // Who begins to reign while no arbiter answers needs the other site's promise.
    if isNew, isArbiterLost, lease == nil { withoutArbiter(now, &orders) }
    if let lease, lease.fenceAt > now, lease.reign == report.record.reign, !report.isRefused,
      report.role == .unknown
    {
      orders.append(.hand(lease.reign))
    }
  }

  /// A word counts until the arbiter has granted; what an agent said before it heard of that, not.
  private mutating func hear(
    _ isByWord: Bool, of reign: Reign, _ now: Instant, _ orders: inout [Order]
  ) {
    if isByWord, reign == contradicted {
      // Until the agent has heard of it.
      wordReign = nil
      return
    }
    contradicted = nil
    if isByWord, lease?.reign == reign, let lease, lease.fenceAt > now {
      orders.append(.hand(reign))
    } else if isByWord, now >= wordCountsFrom {
      wordReign = reign
    } else if wordReign != reign || !mayRun {
      wordReign = nil
    }
  }

  // MARK: Service

  private mutating func guardLease(_ now: Instant, _ orders: inout [Order]) {
    guard let end = fenceAt, now >= end else { return }
    fence(.leaseOver, &orders)
  }

  mutating func fence(_ reason: Reason, _ orders: inout [Order]) {
    guard service != .fencing else { return }
    mayFind = false
    isSuspended = false
    fencedBy = mustBeOverAt
    // What is left of it is another's to wait for, not this site's to use.
    lease = nil
    service = .fencing
    orders.append(.fence(reason))
    orders.append(.note(nil))
  }

  private mutating func start(_ now: Instant, _ orders: inout [Order]) {
    guard service == .stopped, yieldingTo == nil, let report, report.role == .primary,
      !report.isRefused, report.record.part == .primary, mayServe(report.record.reign, now)
    else { return }
    guard isAlone(report, now, &orders) else { return }
    // One that is over bounds nothing that runs on a person's word.
    if let lease, lease.fenceAt <= now { self.lease = nil }
    run(&orders)
  }

  /// A plan that failed runs once more on a person's word; where the other host is to be fenced for
  /// this reign and was not, after that.
  private mutating func startAgain(_ now: Instant, _ orders: inout [Order]) {
    guard isStartWanted else { return }
    guard service == .failed, let report else {
      isStartWanted = false
      return
    }
    guard !isSuspended, isAlone(report, now, &orders) else { return }
    isStartWanted = false
    run(&orders)
  }

  private func mayServe(_ reign: Reign, _ now: Instant) -> Bool {
    if !settings.hasArbiter { return true }
    // Who can be asked knows better than who has looked, unless it knows nothing.
    if wordReign == reign, isArbiterLost || refusal == .unheard { return true }
    guard let lease, lease.reign == reign, lease.fenceAt > now else { return false }
    return now >= othersLeaseEnd && now >= promiseEnd
  }

  mutating func run(_ orders: inout [Order]) {
    service = .starting
    mayFind = false
    orders.append(.note(lease))
    orders.append(.start)
  }
}
