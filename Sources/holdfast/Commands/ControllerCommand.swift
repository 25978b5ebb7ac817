import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastController
import HoldfastCore
import HoldfastLinux
import Logging
import Synchronization

struct ControllerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "controller",
    abstract: "Decides when services run here, in the foreground.")
  static let socket = "controller.sock"
  private static let folder = "controller"

  @OptionGroup var options: CommonOptions
  @Flag(help: "Stop what a controller that is gone may have left running, and end.")
  var fence = false

  func run() async throws {
    if fence {
      // A person's order, not systemd's: nothing is ended beside one that lives.
      let environment = ProcessInfo.processInfo.environment
      let isByHand = environment["SERVICE_RESULT"] == nil
      let state = (try? options.load())?.state ?? environment["STATE_DIRECTORY"]
      let lock = isByHand ? try state.map { try StateFiles.lock("\($0)/\(Self.folder)") } : nil
      defer { withExtendedLifetime(lock) {} }
      // Both where it is now and where it was: a file may have been changed, or be wrong, since.
      let now = (try? options.load())?.control ?? Configuration.defaultControl
      return Self.fenceInStead(Array(Set([now, Self.rememberedControl ?? now])))
    }
    let configuration = try options.load()
    let folder = "\(configuration.state)/\(Self.folder)"
    let host = SystemHost(configuration)
    let disk = try host.disk([Self.folder])
    // Nothing is ended beside one that lives.
    let lock = try StateFiles.lock(folder)
    defer { withExtendedLifetime(lock) {} }
    Self.remember(control: configuration.control)
    LoggingSystem.bootstrap { StandardErrorLog(label: $0) }
    let log = Logger(label: "controller")
    let pairs = configuration.pairs.filter { $0.failover.hasArbiter || !$0.plan.isEmpty }
    try StateFiles.makeDirectory(configuration.control, mode: 0o755)
    let volatile = try LinuxDisk(configuration.control)
    let environment = ProcessInfo.processInfo.environment
    let lastResort = LastResort(environment)
    Self.fenceForgotten(configuration.control, lastResort, but: Set(pairs.map(\.name)))
    let systemd = Systemd(environment: environment)
    let watchdogs = pairs.map { pair in
      pair.failover.hasArbiter ? pair.failover.terms.watchdog : Limits.watchdogWithoutLease
    }
    let shortest = watchdogs.min() ?? Limits.watchdogWithoutLease
    systemd.setWatchdog(shortest)
    systemd.alive()
    // What is not in memory when the disk hangs comes too late.
    let isLocked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0
    let lacks =
      isLocked
      ? [] : ["memory cannot be locked (\(errnoText(errno))): LimitMEMLOCK=infinity, mlockall(2)"]
    let network = try Network(key: try StateFiles.key(configuration))
    let world = ControllerWorld(
      clock: host.clock, dice: host.dice, agent: ControlSocketAgent(configuration),
      helper: { host.helper($0) }, log: log, probe: KillProbe.wanted(environment),
      abandon: { _exit(1) })
    let arbiters = try Self.arbiters(pairs, configuration, network, host)
    var controllers: [PairController] = []
    for pair in pairs {
      let service = LinuxService(
        pair: pair, roots: pair.paths(on: configuration.site), control: configuration.control,
        folder: folder, lastResort: lastResort, lacks: lacks)
      for lack in service.shortcomings { log.error("\(pair.name): fencing: \(lack)") }
      controllers.append(
        PairController(
          pair: pair, world: world, arbiter: arbiters[pair.failover.arbiter],
          files: ControllerFiles(
            disk: disk, volatile: volatile, pair: pair.name, clock: host.clock),
          service: service, executor: host.executor("controller \(pair.name)"),
          makeTimer: { expired in
            guard let thread = DeadlineThread(expired: expired) else {
              preconditionFailure("no thread and timer to fence by: \(errnoText(errno))")
            }
            return thread
          }))
    }
    Self.watchForPauses(controllers, host, log)
    let leased = controllers.filter(\.pair.failover.hasArbiter)
    let isGuarded = AbortThread.begin {
      for controller in leased { _ = OwnThread.begin { controller.abort() } }
      // systemd does not wait for longer, and then fences in this one's stead.
      for _ in 0..<Limits.abortMillis where !leased.allSatisfy(\.isOver) { usleep(1000) }
    }
    precondition(isGuarded, "no thread that fences a controller that hung: \(errnoText(errno))")
    let server = try await Self.control(configuration, controllers)
    let running = controllers.map { controller in Task { await controller.run() } }
    systemd.ready("\(pairs.count) pairs")
    log.notice("\(configuration.site) controls \(pairs.count) pairs")
    let watchdog = Task {
      while !Task.isCancelled {
        var isWell = true
        for controller in controllers where await !controller.mayFeed(shortest) { isWell = false }
        if isWell { systemd.alive() }
        try? await Task.sleep(for: Limits.superviseEvery)
      }
    }
    // The newest order alone is followed.
    let way = Mutex<Task<Void, Never>?>(nil)
    let isStopping = SharedFlag()
    await Signals.untilStopped { [controllers, options] in
      way.withLock { way in
        way?.cancel()
        way = Task { await Self.makeWay(controllers, options, log, isStopping) }
      }
    }
    // Whoever ends in order makes way for nobody.
    isStopping.set(true)
    way.withLock { $0?.cancel() }
    systemd.stopping()
    watchdog.cancel()
    for task in running { task.cancel() }
    for controller in controllers { await controller.end() }
    await server.shutdown()
    _exit(0)
  }

  /// Ends in favour of a controller that reads the configuration anew, and goes on under the leases
  /// of this one, as after a crash: at a moment in which each has time enough left for that.
  private static func makeWay(
    _ controllers: [PairController], _ options: CommonOptions, _ log: Logger,
    _ isStopping: SharedFlag
  ) async {
    do {
      var next = try Self.usable(options)
      var told: String?
      while !Task.isCancelled {
        var isInTheWay: String?
        for controller in controllers {
          let pair = next.pairs.first { $0.name == controller.name }
          if let why = await controller.reasonToStay(pair) {
            isInTheWay = "\(controller.name): \(why)"
          }
        }
        guard let why = isInTheWay else {
          // It may have waited for long.
          let newest = try Self.usable(options)
          if newest == next { break }
          next = newest
          continue
        }
        if why != told { log.notice("a new configuration waits: \(why)") }
        told = why
        try await Task.sleep(for: Limits.superviseEvery)
      }
    } catch is CancellationError {
      return
    } catch {
      return log.error("nothing is changed: \(error)")
    }
    guard !Task.isCancelled, !isStopping.isSet else { return }
    log.notice("ends, so that the next goes by the new configuration")
    _exit(Self.madeWay)
  }

  /// - Throws: what keeps a controller from going by it, a file of an arbiter's included.
  private static func usable(_ options: CommonOptions) throws -> Configuration {
    let configuration = try options.load()
    for arbiter in configuration.arbiters.values {
      if let files = arbiter.tls { try EtcdIdentity.examine(files) }
    }
    return configuration
  }

  /// Of a process that its unit is to start again.
  private static let madeWay: Int32 = 1

  private static func watchForPauses(
    _ controllers: [PairController], _ host: SystemHost, _ log: Logger
  ) {
    let leased = controllers.filter(\.pair.failover.hasArbiter)
    guard let limit = leased.map(\.pair.failover.terms.pauseMax).min() else { return }
    let isWatched = PauseThread.begin(limit: limit, clock: host.clock) { pause in
      for controller in leased where pause > controller.pair.failover.terms.pauseMax {
        controller.paused(for: pause)
      }
    }
    precondition(isWatched, "no thread that finds pauses: \(errnoText(errno))")
  }

  private static func arbiters(
    _ pairs: [PairConfiguration], _ configuration: Configuration, _ network: Network,
    _ host: SystemHost
  ) throws -> [String: any Arbiter] {
    var found: [String: any Arbiter] = [:]
    for name in Set(pairs.filter(\.failover.hasArbiter).map(\.failover.arbiter)) {
      if let etcd = configuration.arbiters[name] {
        let ttl = pairs.filter { $0.failover.arbiter == name }.map(\.failover.ttl).min()
        let timeout = LeaseTerms(ttl: ttl ?? Limits.ttlMin).timeout
        found[name] = SharedStoreArbiter(
          site: network.fingerprint,
          store: EtcdStore(
            etcd, clock: host.clock, timeout: timeout, reader: host.helper("files of \(name)")),
          clock: host.clock)
        continue
      }
      guard let address = configuration.peers[name]?.address else {
        throw CommandFailure(.usage, "\(name) is not under `peers` with an address")
      }
      let dialler = TLSDialler(network: network)
      found[name] = WitnessClient(name: configuration.site, clock: host.clock) {
        // Read again: the agent may have joined with it meanwhile.
        let pins = try Pins(disk: try host.disk([]), clock: host.clock)
        guard let key = pins.key(of: name) else {
          throw LinkError.broken("\(name) has not joined: type holdfast invite there, join here")
        }
        return try await dialler.dial(address) { $0 == key }
      }
    }
    return found
  }

  private static func control(
    _ configuration: Configuration, _ controllers: [PairController]
  ) async throws -> ControlServer {
    let path = "\(configuration.control)/\(socket)"
    return try await ControlSockets.open(path, "holdfast-admin", mayMove: true) { request, _ in
      let parts = request.path.split(separator: "/").map(String.init)
      guard request.method == "POST", parts.count == 3, parts[0] == "pairs",
        let controller = controllers.first(where: { $0.name == parts[1] })
      else { throw FailureAnswer(code: 2, "no such request: \(request.method) \(request.path)") }
      let name = controller.name
      do throws(ControllerRefusal) {
        switch parts[2] {
        case "failover":
          let order = try? JSON.decode(FailoverRequest.self, request.body)
          let point = order?.point.map { PointNumber(rawValue: $0) }
          return JSON.encode(
            FailoverAnswer(
              try await controller.failover(
                point, isLossAccepted: order?.acceptLoss == true)))
        case "withdraw":
          let by = "user \(request.user) on \(configuration.site)"
          return JSON.encode(TextAnswer(message: try await controller.withdraw(by: by)))
        case "start":
          try await controller.start()
          return JSON.encode(
            TextAnswer(message: "\(name): the plan runs: holdfast status \(name)"))
        default: throw ControllerRefusal("no such order: \(parts[2])")
        }
      } catch {
        throw FailureAnswer(code: error.code, "\(error)")
      }
    }
  }
}

extension FailoverAnswer {
  fileprivate init(_ report: PromotionReport) {
    self.init(
      point: report.point.rawValue, grade: report.grade, epoch: report.reign.epoch.rawValue,
      reign: report.reign.id.description, lossSeconds: report.lossSeconds,
      lossBefore: report.lossBefore, lossFiles: report.lossFiles, phases: [])
  }
}

/// This site's agent, by its control sockets.
struct ControlSocketAgent: AgentDesk {
  private let client: AgentClient

  init(_ configuration: Configuration) { client = AgentClient(configuration: configuration) }

  func serving(
    _ pair: String, _ word: ServiceWord
  ) async -> (report: AgentReport, names: PairNames?)? {
    guard
      let answer = try? await client.post(
        ServingAnswer.self, "/pairs/\(pair)/serving", ServingRequest(word),
        within: Limits.agentAnswersWithin),
      let report = answer.report
    else { return nil }
    return (report, answer.names)
  }

  func grant(_ pair: String, _ reign: Reign) async {
    _ = try? await client.post(
      TextAnswer.self, "/pairs/\(pair)/grant", ReignRequest(reign),
      within: Limits.agentAnswersWithin)
  }

  func forgo(_ pair: String, _ reign: Reign) async -> Bool {
    let reply = try? await client.post(
      ForgoReply.self, "/pairs/\(pair)/forgo", ReignRequest(reign),
      within: Limits.agentAnswersWithin)
    return reply?.forgone ?? false
  }

  func askPromise(_ pair: String, _ reign: Reign, for ttl: Duration) async -> Bool {
    let reply = try? await client.post(
      PromiseReply.self, "/pairs/\(pair)/promise", PromiseRequest(reign, for: ttl),
      within: Limits.agentAnswersWithin)
    return reply?.promised ?? false
  }

  func moveAway(_ pair: String, _ why: String) async -> String? {
    do {
      _ = try await client.post(
        FailoverAnswer.self, "/pairs/\(pair)/switchover", SwitchoverRequest(illness: why))
      return nil
    } catch {
      return (error as? CommandFailure)?.message ?? "\(error)"
    }
  }

  func promote(
    _ pair: String, _ intent: PromotionIntent, othersLeft: Duration
  ) async -> PromotionOutcome {
    let request = FailoverRequest(
      point: intent.point?.rawValue,
      acceptLoss: intent.isLossAccepted || intent.cause == .planned,
      otherSiteIsDown: false, preview: false, granted: ReignRequest(intent.reign),
      planned: intent.cause == .planned, othersSeconds: othersLeft.seconds)
    do {
      let answer = try await client.post(FailoverAnswer.self, "/pairs/\(pair)/failover", request)
      return .done(
        PromotionReport(
          point: PointNumber(rawValue: answer.point), grade: answer.grade, reign: intent.reign,
          lossSeconds: answer.lossSeconds, lossBefore: answer.lossBefore,
          lossFiles: answer.lossFiles))
    } catch {
      let isForLoss = (error as? CommandFailure)?.isForLoss == true
      return .failed("\(error)", isForLoss: isForLoss)
    }
  }
}
