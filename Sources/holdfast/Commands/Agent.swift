import ArgumentParser
import Dispatch
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastLinux
import Logging
import Synchronization

struct Agent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the data path of all pairs in the foreground.")
  @OptionGroup var options: CommonOptions

  func run() async throws {
    let configuration = try options.load()
    try await Self.serve(configuration) { try options.load() }
  }

  /// Runs until SIGTERM or SIGINT.
  /// - Parameter again: reads the configuration anew, at SIGHUP.
  static func serve(
    _ configuration: Configuration, again: @escaping @Sendable () throws -> Configuration
  ) async throws {
    LoggingSystem.bootstrap { StandardErrorLog(label: $0) }
    let environment = ProcessInfo.processInfo.environment
    let log = Self.logger(isVerbose: environment["HOLDFAST_DEBUG"] != nil)
    let systemd = Systemd(environment: environment)
    for pair in configuration.pairs {
      if let first = Check.overlaps(pair, configuration).first {
        throw CommandFailure(.refused, first)
      }
    }
    let lock = try StateFiles.lock(configuration.state)
    defer { withExtendedLifetime(lock) {} }
    let key = try StateFiles.key(configuration)
    try StateFiles.makeDirectory(configuration.control, mode: 0o755)
    let host = SystemHost(
      configuration, probe: KillProbe.wanted(environment),
      isAlone: environment["HOLDFAST_ALONE"] == "1")
    let network = try Network(key: key)
    let pins = try Pins(disk: try host.disk([]), clock: host.clock)
    let site = try Site(
      configuration: configuration, ownKey: network.fingerprint, host: host, pins: pins,
      dialler: TLSDialler(network: network), log: log)
    let port: Int
    do {
      port = try await network.listen(
        host: configuration.listen.host, port: configuration.listen.port,
        admits: { pins.admits($0) }, accept: { site.accept($0) })
    } catch {
      throw CommandFailure(
        .failed, "cannot listen on \(configuration.listen): \(error); is another agent running?")
    }
    await site.start(port: port)
    let servers = try await control(configuration, site)
    log.notice("\(configuration.site) listens on \(configuration.listen.host):\(port)")
    systemd.ready("\(configuration.pairs.count) pairs")
    let watchdog = Task {
      guard let every = systemd.watchdogEvery else { return }
      while !Task.isCancelled {
        // An agent that cannot answer its own question is not alive.
        _ = await site.status()
        systemd.alive()
        try? await Task.sleep(for: every)
      }
    }
    await Signals.untilStopped {
      Task { await reload(site, systemd, log, again) }
    }
    systemd.stopping()
    watchdog.cancel()
    endInTime(log)
    for server in servers { await server.shutdown() }
    await site.stop()
    await network.shutdown()
    log.notice("stopped")
    // Not through what a process does at its end: threads that still run would lose the ground.
    _exit(0)
  }

  /// A long capture or apply is not waited for: whatever is cut short the next start finishes, as
  /// after a crash.
  private static func endInTime(_ log: Logger) {
    let limit = Limits.stopWithin.nanos
    DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(Int(limit))) {
      log.notice("stopped with work under way: the next start goes on with it")
      _exit(0)
    }
  }

  /// A configuration with a mistake changes nothing.
  private static func reload(
    _ site: Site, _ systemd: Systemd, _ log: Logger,
    _ again: @Sendable () throws -> Configuration
  ) async {
    systemd.reloading()
    defer { systemd.ready("reloaded") }
    do {
      let next = try again()
      for pair in next.pairs {
        if let first = Check.overlaps(pair, next).first {
          throw CommandFailure(.refused, first)
        }
      }
      let fixed = try await site.reload(next)
      log.notice("the configuration was read again")
      if !fixed.isEmpty {
        log.warning(
          """
          \(fixed.joined(separator: ", ")) changed: in force after: systemctl restart \
          holdfast-agent
          """)
      }
    } catch {
      log.error("the configuration was not taken, the old one stays in force: \(error)")
    }
  }

  private static func logger(isVerbose: Bool) -> Logger {
    var log = Logger(label: "agent")
    if isVerbose { log.logLevel = .debug }
    return log
  }

  private static func control(
    _ configuration: Configuration, _ site: Site
  ) async throws -> [ControlServer] {
    let client = AgentClient(configuration: configuration)
    let control = Control(site: site) { path, body in
      do {
        return try await client.orderController(path, body)
      } catch let failure as CommandFailure {
        throw FailureAnswer(code: failure.code.rawValue, failure.message)
      }
    }
    return try await ControlSockets.open(configuration) { request, mayMove in
      try await control.answer(
        method: request.method, path: request.path, body: request.body, mayMove: mayMove,
        user: request.user)
    }
  }
}

struct TLSDialler: Dialler {
  let network: Network
  func dial(
    _ address: HostPort, admits: @escaping @Sendable (Fingerprint) -> Bool
  ) async throws -> any Link {
    try await network.dial(host: address.host, port: address.port, admits: admits)
  }
}

/// One line a message, for the system log and for people.
struct StandardErrorLog: LogHandler {
  let label: String
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.info
  init(label: String) { self.label = label }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }
  func log(event: LogEvent) {
    // sd-daemon(3): a leading <n> gives the priority.
    let level =
      switch event.level {
      case .trace, .debug: 7
      case .info: 6
      case .notice: 5
      case .warning: 4
      case .error: 3
      case .critical: 2
      }
    let bytes = Array("<\(level)>\(event.message)\n".utf8)
    unsafe _ = write(STDERR_FILENO, bytes, bytes.count)
  }
}

/// SIGTERM and SIGINT end the agent in order, SIGHUP reloads.
enum Signals {
  static func untilStopped(reload: @escaping @Sendable () -> Void) async {
    for number in [SIGTERM, SIGINT, SIGHUP] { _ = signal(number, SIG_IGN) }
    let queue = DispatchQueue(label: "signals")
    await withCheckedContinuation { continuation in
      let once = Mutex(false)
      var sources: [any DispatchSourceSignal] = []
      for number in [SIGTERM, SIGINT] {
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler {
          let isFirst = once.withLock { isDone in
            defer { isDone = true }
            return !isDone
          }
          if isFirst { continuation.resume() }
        }
        source.resume()
        sources.append(source)
      }
      let source = DispatchSource.makeSignalSource(signal: SIGHUP, queue: queue)
      source.setEventHandler(handler: reload)
      source.resume()
      sources.append(source)
      kept.withLock { $0 = sources.map(Kept.init) }
    }
  }

  /// Dispatch stops telling when a source goes.
  private struct Kept: @unchecked Sendable {
    // Sources may be released from any thread.
    let source: any DispatchSourceSignal
  }
  private static let kept = Mutex<[Kept]>([])
}
