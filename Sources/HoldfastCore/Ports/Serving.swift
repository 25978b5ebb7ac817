/// What a controller asks its site's agent. None of it throws: an agent that does not answer, or
/// refuses, is `nil` or false.
package protocol AgentDesk: Sendable {
  /// - Parameter word: what the agent shows to people.
  func serving(
    _ pair: String, _ word: ServiceWord
  ) async -> (report: AgentReport, names: PairNames?)?
  /// The arbiter has granted the lease of this reign here.
  func grant(_ pair: String, _ reign: Reign) async
  /// Whether the other site promised not to serve for so long.
  func askPromise(_ pair: String, _ reign: Reign, for ttl: Duration) async -> Bool
  /// Asks for the service to be moved to the other site, for it is ill here.
  /// - Returns: why it is not; `nil` where it is.
  func moveAway(_ pair: String, _ why: String) async -> String?
  /// Makes the reign durable and the tree ready. What is lost is judged anew unless a person has
  /// agreed to whatever it is, for the grant may have come long after.
  /// - Parameter othersLeft: for so long yet the other site may serve.
  func promote(
    _ pair: String, _ intent: PromotionIntent, othersLeft: Duration
  ) async -> PromotionOutcome
  /// Has the agent never begin this reign.
  /// - Returns: false where it has, or gives no answer.
  func forgo(_ pair: String, _ reign: Reign) async -> Bool
}

/// What a controller tells its agent of the service here.
package struct ServiceWord: Sendable {
  /// One of the words of ``Supervisor/Service``.
  package var service: String
  /// Until fencing begins, unless the lease is renewed before.
  package var leaseLeft: Duration?
  /// What keeps the service from running, for people.
  package var trouble: String?
  /// What the plan would find on this host; `nil` before it was looked at.
  package var facts: [String: String]?
  /// Whether the arbiter gave no answer when it was asked last.
  package var isArbiterSilent: Bool
  /// How far the service here has ended for a reign of the other site.
  package var yield: (next: Reign, word: Supervisor.Yield)?
  /// The newest reign, where the arbiter says that nobody holds its lease.
  package var vacant: Reign?
  /// Whether the other site's lease lives, or may; `nil`: the arbiter did not say.
  package var isHeldByOther: Bool?
  /// What a failover that is not done, or was withdrawn and is not declined yet, is to bring.
  package var wanted: Epoch?
  /// See ``Supervisor/contradicted``.
  package var isWordContradicted: Bool
  package init(
    service: String, leaseLeft: Duration?, trouble: String?,
    yield: (next: Reign, word: Supervisor.Yield)? = nil, facts: [String: String]? = nil,
    isArbiterSilent: Bool = false, vacant: Reign? = nil, isHeldByOther: Bool? = nil,
    wanted: Epoch? = nil, isWordContradicted: Bool = false
  ) {
    self.isWordContradicted = isWordContradicted
    self.vacant = vacant
    self.isHeldByOther = isHeldByOther
    self.wanted = wanted
    self.facts = facts
    self.isArbiterSilent = isArbiterSilent
    self.yield = yield
    self.service = service
    self.leaseLeft = leaseLeft
    self.trouble = trouble
  }
}

package enum PromotionOutcome: Hashable, Sendable {
  case done(PromotionReport)
  /// Why not.
  /// - Parameter isForLoss: more would be lost than anybody has agreed to.
  case failed(String, isForLoss: Bool)
}

/// What a promotion came to.
package struct PromotionReport: Hashable, Sendable {
  package var point: PointNumber
  package var grade: String
  package var reign: Reign
  package var lossSeconds: Double?
  /// When that ends, for people.
  package var lossBefore: String?
  package var lossFiles: Int64?
  package init(
    point: PointNumber, grade: String, reign: Reign, lossSeconds: Double?, lossBefore: String?,
    lossFiles: Int64?
  ) {
    self.lossBefore = lossBefore
    self.point = point
    self.grade = grade
    self.reign = reign
    self.lossSeconds = lossSeconds
    self.lossFiles = lossFiles
  }
}

/// By what an arbiter knows a pair.
package struct PairNames: Hashable, Sendable {
  package var pair: RandomID
  /// The key of the other site.
  package var other: Fingerprint
  package init(pair: RandomID, other: Fingerprint) {
    self.pair = pair
    self.other = other
  }
}

/// The third party that grants leases.
package protocol Arbiter: Sendable {
  /// - Returns: `nil` where no answer came, or none that means anything.
  func ask(_ request: ArbiterRequest, _ statement: SiteStatement) async -> ArbiterAnswer?
  /// Why the last question got no answer, for people; `nil` where it got one.
  var trouble: String? { get async }
}

/// The service of a pair on this host. All calls block.
package protocol ServiceHost: Sendable {
  /// What this host lacks for ``fence()``: what cannot be ended is not to be started under a lease.
  var shortcomings: [String] { get }
  /// Has the service manager start the plan's units only between ``allow(_:)`` and ``fence()`` or
  /// ``stop()``.
  func bind() throws(StepError)
  /// Holds open whatever ``fence()`` will need; called again and again while the service runs.
  func prepare()
  /// Has all of it stand still until ``thaw()``, as ``fence()`` does and no more.
  func suspend()
  /// What ``suspend()`` had stand still goes on, unless it was fenced meanwhile.
  func thaw()
  /// Whether all that was allowed ended in ``fence()`` or ``stop()``, as the last of them saw it.
  var isOver: Bool { get }
  /// Ends this host at once, unless all is over once fencing has had its time; where the host, or
  /// the configuration, does not let it, nothing happens.
  func endHost()
  /// Stops all of it at once and for good: it forks nothing and needs no disk.
  /// - Returns: what still runs or could not be looked at.
  func fence() -> [String]
  /// After ``fence()``: what the service manager starts to end what was fenced is ended too, until
  /// it is done with it, something is allowed again, or ``Limits/sweptWithin`` has passed.
  /// - Parameter time: for as long, for what was just being started; a host that has nothing of it
  ///   is looked at for no longer otherwise.
  func sweep(atLeast time: Duration)
  /// The service may be started from now on; before, and after ``fence()``, by nobody.
  /// - Parameters:
  ///   - epoch: what commands are told of it.
  ///   - isWanted: asked where no fencing can come between.
  /// - Returns: whether it was.
  func allow(in epoch: Epoch, _ isWanted: () -> Bool) -> Bool
  /// Ends what the plan started in order, from the last step to the first.
  /// - Throws: what did not end within its time. What ended before stays so.
  func stop() throws(StepError)
  /// Makes sure that the other host is off, by a command of the administrator's.
  /// - Throws: what it printed, or that it took too long.
  /// - Parameter epoch: the one that begins here.
  func fenceOther(_ command: FenceCommand, in epoch: Epoch) throws(StepError)
  /// Tells the segments of the plan's addresses once more where they are, for those who missed it,
  /// or heard another host since; nothing where the service may not run.
  func announce()
  /// What the plan would find on this host.
  func facts() -> [String: String]
  /// Does one step; doing it again changes nothing.
  /// - Throws: why it failed.
  func run(_ step: PlanStep) throws(StepError)
}

package struct StepError: Error, Hashable, Sendable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// Calls at a moment by CLOCK_BOOTTIME from a thread of its own, whatever else this process does.
package protocol DeadlineTimer: Sendable {
  /// - Parameter moment: `nil` for never; the last call counts.
  func set(_ moment: Instant?)
}

/// Makes a ``DeadlineTimer``, given what to call when its moment has come.
package typealias TimerMaker = (@escaping @Sendable () -> Void) -> any DeadlineTimer
