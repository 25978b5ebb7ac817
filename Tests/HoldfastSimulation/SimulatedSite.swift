package import HoldfastCore

/// One host of a pair: what its disk keeps, what its processes know, and whether the service really
/// runs there.
package final class SimulatedSite {
  package let name: String
  let index: Int
  let key: Fingerprint
  var clock: SimulatedClock

  // The disk.
  /// Of the configuration that its controller was started with.
  var terms: LeaseTerms
  var record: RoleRecord
  /// No promise that the other site may count on was given for longer.
  var promiseTerm: Duration?
  /// The point that its tree is to become, where the record says primary and the tree is not ready.
  var promotingTo: PointNumber?
  /// The boot that it began in.
  var promotingBoot = 0
  var superseded: Reign?
  /// See ``AgentReport/hasPromised``.
  var hasPromised = true
  var intent: PromotionIntent?
  /// The reign in which the other host need not be fenced.
  var settled: Reign?
  /// The other site had yielded to the reign of its record.
  var isPlanned = false
  /// When it was last to take an ill service.
  var illMovedAt: Int64?
  var yield: Yield?
  /// When its tree had all that the other's held, by the true time.
  var receivedAt: Int64 = 0
  /// How many writes its tree holds.
  package internal(set) var tree = 0
  /// When its own service wrote last, by the true time.
  private(set) var wroteAt: Int64 = 0
  /// What was lost when a reign was granted here.
  var counted: (reign: Reign, length: Duration)?
  /// Its controller is told to leave failovers to a person.
  var isManual = false

  // Gone with the boot.
  var isUp = true
  var boots = 0
  var note: Lease?
  /// When the service is counted on to be over, as it was noted with it.
  var overBy: Instant?
  /// By how much the wall's clock was ahead of this host's when it was noted.
  var leadAtNote: Int64 = 0
  /// Processes of the service are there.
  var runs = false
  /// They stand still since this host did.
  var isSuspended = false
  /// Until when nothing happens here, by the true time.
  var pausedUntil: Int64?
  /// Until when its agent alone does nothing.
  var agentStandsUntil: Int64?
  /// A person who has made sure that this host is off lets nobody start it.
  var isHeldOff = false
  /// A person waits to have it go on, with the other host off.
  var isPersonWaiting = false
  /// What the order to go on that was typed last came to at once.
  var lastResumption: Resumption.Stage?
  /// Until when its agent fails whenever it is to promote it, by the true time.
  var fullUntil: Int64 = 0
  /// The truth that nobody in the world can see: something here answers and writes.
  package var isServing: Bool { runs && !isSuspended && pausedUntil == nil }

  // Gone with the process.
  var standing: Standing?
  var promotion: SimulatedPromotion?
  /// Its agent takes nothing that the other site wrote.
  var isHeld = false
  /// The reigns that its agent never begins.
  var forgone: Set<Reign> = []
  var promisedUntil = Instant(nanos: .min)
  /// The boot since which all promises are on record.
  var promisesKnownSince: Int?
  /// Until when promises of agents before this one may count.
  var longerUntil = Instant(nanos: .min)
  /// The other site was heard to have sent nothing yet that is not here, at that moment or later.
  var lastHeard: Instant?
  var echo = EchoClock(begun: Instant(nanos: 0))
  /// By how much the wall's clock was ahead of this host's then.
  var leadAtHeard: Int64 = 0
  /// Of the witness, the question that it took last, and by which controller.
  var (heardRun, heardNumber): (Int, Supervisor.RequestNumber) = (0, 0)
  /// Of the store, that was asked last.
  var newestInquiry: Supervisor.RequestNumber?
  var isByWord = false
  var resumption: SimulatedResumption?
  /// See the agent's `mayServe`.
  var stoppedHeard = 0
  var mayServe: Bool {
    guard standing?.record.part == .primary else { return false }
    return standing?.role == .primary || isPromoting || stoppedHeard < 2
  }
  /// What its controller last told its agent of the arbiter.
  var arbiterView: Resumption.ArbiterView?
  var yielding: Yielding?
  var taking: Taking?
  package internal(set) var supervisor: Supervisor?
  /// What has come while the controller stood still; `nil` while it runs.
  var inbox: [Supervisor.Event]?
  var fedAt = Instant(nanos: 0)

  /// What was ordered of a process that is gone comes to nothing.
  var agentRun = 0
  var controllerRun = 0

  init(
    name: String, index: Int, key: Fingerprint, clock: SimulatedClock, terms: LeaseTerms,
    record: RoleRecord
  ) {
    self.terms = terms
    self.name = name
    self.index = index
    self.key = key
    self.clock = clock
    self.record = record
  }

  /// For its own ttl, which is at least what was asked for.
  func promise(_ now: Instant) {
    let isOver = now >= max(longerUntil, promisedUntil)
    let ttl = terms.ttl
    if promiseTerm.map({ ttl > $0 || (ttl < $0 && isOver) }) ?? true { promiseTerm = ttl }
    promisedUntil = max(promisedUntil, now + ttl)
    counted = nil
    hasPromised = true
  }

  /// The other site serves no more.
  func endPromise(_ now: Instant) {
    promisedUntil = now
    hasPromised = false
  }

  /// Nothing of the service is left.
  func ended() {
    runs = false
    isSuspended = false
    overBy = nil
  }

  func isAgentStanding(_ now: Int64) -> Bool { agentStandsUntil.map { $0 > now } ?? false }

  /// What may be on its disk of a reign is to be taken back.
  var isRecalling: Bool {
    if case .recalling = promotion?.decision.stage { true } else { false }
  }
  var isPromoting: Bool { promotion?.decision.isPromoting ?? false }

  func wrote(at moment: Int64) {
    tree += 1
    wroteAt = moment
  }

  /// As the real agent has it: nothing is known where the host stood still since.
  func loss(_ now: Instant, lead: Int64) -> Duration? {
    lead - leadAtHeard < Limits.wallGainMax.nanos ? lastHeard.map { now - $0 } : nil
  }

  func report(_ now: Instant, lead: Int64) -> AgentReport? {
    guard let standing else { return nil }
    if supervisor?.contradicted != nil { isByWord = false }
    return AgentReport(
      record: standing.record, role: isPromoting ? .promoting : standing.role,
      isRefused: standing.refusal != nil, promiseLeft: max(.zero, promisedUntil - now),
      loss: loss(now, lead: lead), isByWord: isByWord, move: plannedMove,
      isPlanned: isPlanned || standing.record.reign.epoch <= Epoch(rawValue: 1),
      hasPromised: hasPromised)
  }
}

/// A host's clock: runs at its own rate, begins anew with each boot.
struct SimulatedClock {
  var bootedAt: Int64
  /// Millionths by which it is fast; at most 500 either way, as by adjtimex(2).
  var drift: Int64
  var offset: Int64

  func local(_ now: Int64) -> Instant {
    let passed = now - bootedAt
    return Instant(nanos: offset + passed + passed / 1_000_000 * drift)
  }

  /// The true time at which it will show `instant`.
  func trueTime(_ instant: Instant) -> Int64 {
    let passed = instant.nanos - offset
    return bootedAt + passed - passed / 1_000_000 * drift
  }
}
