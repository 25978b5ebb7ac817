package import HoldfastCore
import Logging

/// The shell around one pair's ``Supervisor``: brings it what happens, does what it orders.
package actor PairController {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  private nonisolated let executor: any SerialExecutor
  package nonisolated let pair: PairConfiguration
  let world: ControllerWorld
  /// `nil` where a person decides.
  private let arbiter: (any Arbiter)?
  let files: ControllerFiles
  let service: any ServiceHost
  private let timer: any DeadlineTimer
  /// Ends this host where fencing has not ended the service.
  private let lastTimer: any DeadlineTimer
  /// Whether somebody counts on the service here being over in time.
  private let isWatched = SharedFlag()
  /// Runs plans, and fences; one after the other each.
  let planner: any Helper
  let fencer: any Helper
  private let sweeper: any Helper
  /// Runs the plan's checks while the service runs, and what may take long besides.
  let checker: any Helper
  /// Looks what the plan would find: at files, which may hang.
  let looker: any Helper
  /// Makes sure that the other host is off: what waits for that waits for nothing else.
  let outer: any Helper
  var supervisor: Supervisor
  private var names: PairNames?
  private var shown = Shown()
  /// Why the last thing that was tried did not work.
  var trouble: String?
  /// Why this site could not be promoted.
  var promotionFailure: String?
  /// The last order that a person withdrew.
  var withdrawn: (reign: Reign, by: String)?
  /// The last order that would have cost more than was agreed to.
  var lossRefusal: (reign: Reign, why: String)?
  /// Why the arbiter did not answer.
  var silence: String?
  var plan = PlanProgress()
  /// What the last promotion of this process came to.
  var promotion: PromotionReport?
  /// The agent is asked to promote this site, and has not answered.
  var isAgentPromoting = false
  /// When the round of checks began that has not ended.
  var roundBegunAt: Instant?
  /// It is of a service that has ended since.
  var isRoundStale = false
  /// What the checks found wrong with the service that runs.
  var illness: String?
  /// The service manager starts the plan's units only where this allows it.
  var isBound = false
  /// Why an ill service was not moved, and why the other host may not be off.
  var moveRefusal: String?
  var fencingFailure: String?
  /// What of the service does not end.
  private var unfenced: String?
  var isMovingAway = false
  /// Of the arbiter: of those before it nobody waits for the answer.
  private var newestQuestion: Supervisor.RequestNumber = 0
  /// What the plan would find here, and whether the agent knows.
  var facts: (found: [String: String]?, isTold: Bool) = (nil, true)

  /// What was said of late, so that each is said once.
  private struct Shown: Equatable {
    var service = Supervisor.Service.stopped
    var refusal: ArbiterRefusal?
    var intent: PromotionIntent?
    var withheld: Supervisor.Withheld?
  }

  /// - Parameters:
  ///   - executor: a thread that may block for moments.
  ///   - service: what the plan starts.
  ///   - makeTimer: given what to call when its moment has come, on its own thread.
  package init(
    pair: PairConfiguration, world: ControllerWorld, arbiter: (any Arbiter)?,
    files: ControllerFiles, service: any ServiceHost, executor: any SerialExecutor,
    makeTimer: TimerMaker
  ) {
    self.pair = pair
    self.world = world
    self.arbiter = arbiter
    self.files = files
    self.service = service
    self.executor = executor
    planner = world.helper("plan \(pair.name)")
    fencer = world.helper("fence \(pair.name)")
    sweeper = world.helper("sweep \(pair.name)")
    checker = world.helper("check \(pair.name)")
    looker = world.helper("look \(pair.name)")
    outer = world.helper("fence the other of \(pair.name)")
    let fencing: SupervisionSettings.Fencing =
      pair.failover.fence.map { $0.isRequired ? .required : .wanted } ?? .none
    supervisor = Supervisor(
      SupervisionSettings(
        terms: pair.failover.terms, isAutomatic: pair.failover.isAutomatic,
        maxLoss: pair.failover.maxLoss, hasArbiter: pair.failover.hasArbiter, fencing: fencing,
        movesUnhealthy: pair.failover.onUnhealthy == .release))
    let announce = Announcement()
    timer = makeTimer {
      _ = service.fence()
      announce.call()
    }
    lastTimer = makeTimer { [log = world.log] in
      guard !service.isOver else { return }
      // First what counts: what is said may wait for a disk that hangs.
      service.endHost()
      guard !service.isOver else { return }
      log.critical("\(pair.name): the service is not over yet, and the other site may serve")
    }
    announce.set { [weak self] in Task { await self?.expired() } }
  }

  package nonisolated var name: String { pair.name }

  /// Runs until it is cancelled.
  package func run() async {
    let terms = pair.failover.terms
    let hasArbiter = pair.failover.hasArbiter
    // Without an arbiter what runs runs on, and what does not starts once the agent knows that this
    // site is primary.
    let noted = hasArbiter ? files.handover(pauseMax: terms.pauseMax) : nil
    let handover = noted.map { terms.following($0, overBy: files.overBy()) }
    let isFollowing = handover.map { terms.mayHandOver($0, now: world.clock.now()) }
    // Nothing of a lease is looked after before it can be started by nobody else; what may run
    // already is, and no plan begins meanwhile.
    if hasArbiter, isFollowing != true {
      await fenceNow()
      await bind(isAlone: true)
    } else {
      Task { await bind(isAlone: false) }
    }
    do {
      let intent = try files.intent()
      tell(
        .began(
          handover: handover, intent: intent, settled: try files.settled(),
          overBy: files.overBy()))
    } catch {
      trouble = "\(error)"
      world.log.critical("\(name): \(error)")
      tell(.began(handover: nil, intent: nil))
    }
    let tasks = [
      Task { await self.poll() }, Task { await self.check() },
      Task { await self.lookForFacts() }, Task { await self.keepAnnouncing() },
    ]
    while !Task.isCancelled {
      tick()
      try? await world.clock.sleep(until: world.clock.now() + Limits.superviseEvery)
    }
    for task in tasks { task.cancel() }
  }

  /// Ends the service here, whatever it is at; where no arbiter counts on that, it runs on.
  package func end() async {
    plan.abandon()
    guard pair.failover.hasArbiter else { return }
    await fenceNow()
    files.note(nil)
    await withCheckedContinuation { continuation in
      sweeper.run { [service] in
        service.sweep(atLeast: .zero)
        continuation.resume()
      }
    }
  }

  /// The timer has fenced, maybe in the very moment in which the lease was renewed or a plan began:
  /// once more, now that no plan is wanted.
  private func expired() {
    plan.abandon()
    fence()
    // Until it knows, its watchdog is fed no more.
    tick()
  }

  /// This host stood still for as long. Called on the thread that found it: whatever this actor is
  /// at, nothing of the service may run before it is known that it may.
  package nonisolated func paused(for pause: Duration) {
    if isWatched.isSet { service.suspend() }
    Task {
      let millis = pause.nanos / 1_000_000
      world.log.critical("\(name): this host stood still for \(millis) ms: the lease is asked anew")
      await self.tell(.paused)
    }
  }

  /// This process is about to be killed for hanging. Called on a thread of its own.
  package nonisolated func abort() { _ = service.fence() }

  /// See ``ServiceHost/isOver``.
  package nonisolated var isOver: Bool { service.isOver }

  private func tick() { tell(.tick(chance: RandomID(world.dice))) }

  private func poll() async {
    while !Task.isCancelled {
      let answer = await world.agent.serving(name, word())
      if let names = answer?.names { self.names = names }
      tell(.agent(answer?.report))
      let pause = supervisor.isMoving ? Limits.superviseEvery : Limits.agentAskedEvery
      try? await world.clock.sleep(until: world.clock.now() + pause)
    }
  }

  /// See ``Supervisor/mayFeedWatchdog(now:_:)``.
  package func mayFeed(_ watchdog: Duration) -> Bool {
    supervisor.mayFeedWatchdog(now: world.clock.now(), watchdog)
  }

  // MARK: Events and orders

  func tell(_ event: Supervisor.Event) {
    let orders = supervisor.on(event, now: world.clock.now())
    // Before anything new is started, whose end is later.
    lastTimer.set(supervisor.mustBeOverAt)
    for order in orders {
      do {
        try obey(order)
      } catch {
        // What could not be made durable is not acted upon: the next begins from what is.
        world.log.critical("\(name): \(error): the controller ends and begins anew")
        world.abandon()
        return
      }
    }
    timer.set(supervisor.fenceAt)
    isWatched.set(supervisor.mustBeOverAt != nil)
    say()
  }

  private func obey(_ order: Supervisor.Order) throws {
    switch order {
    case .persist(let intent):
      try files.store(intent: intent)
      if let intent, !intent.isWithdrawn { promotionFailure = nil }
      if intent != nil { world.probe.hit(.wanting) }
    case .note(let lease):
      // Before the lease that it follows from, and on record until all is over.
      if lease != nil { files.note(overBy: supervisor.mustBeOverAt) }
      files.note(lease)
    case .askArbiter(let number, let request, let record):
      guard let names, let arbiter else { return }
      let statement = SiteStatement(
        pair: names.pair, other: names.other, record: record, ttl: pair.failover.ttl)
      newestQuestion = number
      Task {
        let answer = await arbiter.ask(request, statement)
        let found = answer == nil ? await arbiter.trouble ?? "no answer" : nil
        // Of one that another has followed nobody waits for the answer.
        if number == newestQuestion { silence = found }
        tell(answer.map { .arbiter(number, $0) } ?? .arbiterFailed(number))
      }
      if supervisor.fenceAt != nil { service.prepare() }
    case .askPeer(let number, let reign):
      Task {
        let ttl = pair.failover.ttl
        tell(.peer(number, isPromised: await world.agent.askPromise(name, reign, for: ttl)))
      }
    case .hand(let reign): Task { await world.agent.grant(name, reign) }
    case .promote(let intent, let othersLeft):
      isAgentPromoting = true
      Task {
        defer { isAgentPromoting = false }
        switch await world.agent.promote(name, intent, othersLeft: othersLeft) {
        case .done(let report):
          promotion = report
          promotionFailure = nil
          trouble = nil
          world.log.notice("\(name): \(report.words(isPlanned: intent.cause == .planned))")
          tell(.promoted)
        case .failed(let reason, let isForLoss):
          promotionFailure = reason
          tell(isForLoss ? .lossRefused : .notPromoted)
          if isForLoss, supervisor.intent?.isOrdered != true {
            lossRefusal = (intent.reign, reason)
          }
        }
      }
    case .forgo(let reign):
      Task { if await world.agent.forgo(name, reign) { tell(.forgone(reign)) } }
    case .start: start(plan.begin())
    case .stop: stop()
    case .suspend: fencer.run { [service] in service.suspend() }
    case .thaw: fencer.run { [service] in service.thaw() }
    case .fenceOther: fenceOther()
    case .settle(let reign): try files.store(settled: reign)
    case .moveAway: moveAway()
    case .fence(let reason):
      plan.abandon()
      world.log.critical("\(name): fenced: \(reason.words)")
      fence()
    case .refuse(let refusal): trouble = refusal?.description ?? "this site cannot be promoted now"
    }
  }

  private func fenced(_ left: [String]) async {
    if let first = left.first, unfenced == nil {
      for line in left { world.log.critical("\(name): fencing: \(line)") }
      unfenced = """
        the service cannot be ended here: \(first): it is tried again and again; if it stays, \
        type: systemctl reboot
        """
    }
    // What still runs is fenced again, until nothing does.
    if !left.isEmpty {
      try? await world.clock.sleep(until: world.clock.now() + .milliseconds(100))
      return fence()
    }
    unfenced = nil
    files.note(overBy: nil)
    tell(.fenced)
    sweeper.run { [service] in service.sweep(atLeast: Limits.sweptAtLeast) }
  }

  private func fence() {
    fencer.run { [service, weak self] in
      let left = service.fence()
      Task { await self?.fenced(left) }
    }
  }

  // MARK: Saying

  private func say() {
    let next = Shown(
      service: supervisor.service,
      // One that comes between two of a kind is said once.
      refusal: supervisor.refusal ?? (supervisor.lease == nil ? shown.refusal : nil),
      intent: supervisor.intent, withheld: supervisor.withheld)
    guard next != shown else { return }
    if next.service != shown.service {
      world.log.notice("\(name): service \(next.service)")
      if let place = next.service.place { world.probe.hit(place) }
    }
    if let refusal = next.refusal, refusal.kind != shown.refusal?.kind {
      world.log.notice("\(name): \(refusal)")
    }
    if let withheld = next.withheld, withheld != shown.withheld {
      world.log.error("\(name): \(withheld.words(pair))")
    }
    if let intent = next.intent, intent != shown.intent {
      let epoch = intent.reign.epoch
      let isLeft = intent.cause == .planned && supervisor.report?.hasPromised == true
      let why =
        isLeft
        ? "the other site may have gone on by this one's promise" : promotionFailure ?? "withdrawn"
      world.log.notice(
        "\(name): wants epoch \(epoch)\(intent.isWithdrawn ? " no more: \(why)" : "")")
    }
    shown = next
  }

  /// What `status` shows of it.
  package func word() -> ServiceWord {
    let now = world.clock.now()
    // Without an arbiter nothing was ended at the start.
    let isKnown = !supervisor.mayFind && (isBound || supervisor.report != nil)
    let isWanting = supervisor.intent != nil || supervisor.isHoldingBack(now)
    var troubles = [
      unfenced, illness, moveRefusal, fencingFailure, trouble, isWanting ? promotionFailure : nil,
    ].compactMap { $0 }
    if let withheld = supervisor.withheld { troubles.append(withheld.words(pair)) }
    if let silence {
      troubles.append("the arbiter \(pair.failover.arbiter) does not answer: \(silence)")
    } else if let refusal = supervisor.refusal, trouble != "\(refusal)" {
      troubles.append("\(refusal)")
    }
    defer { facts.isTold = true }
    var yield: (next: Reign, word: Supervisor.Yield)?
    if let next = supervisor.yieldingTo, let word = supervisor.yield { yield = (next, word) }
    return ServiceWord(
      service: isKnown ? "\(supervisor.service)" : "unknown",

      leaseLeft: supervisor.lease.map { max(.zero, $0.fenceAt - now) },
      trouble: troubles.isEmpty ? nil : troubles.joined(separator: "; "),
      yield: yield, facts: facts.isTold ? nil : facts.found, isArbiterSilent: silence != nil,
      vacant: supervisor.vacant, isHeldByOther: supervisor.isHeldByOther,
      wanted: supervisor.intent.flatMap { intent in
        intent.cause == .planned && !intent.isWithdrawn ? nil : intent.reign.epoch
      }, isWordContradicted: supervisor.contradicted != nil)
  }
}
