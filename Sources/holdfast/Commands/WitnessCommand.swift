import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastController
import HoldfastCore
import HoldfastLinux
import Logging

struct WitnessCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "witness",
    abstract: "Grants leases to the sites that joined with this one, in the foreground.")
  @OptionGroup var options: CommonOptions

  private static let folder = "witness"

  func run() async throws {
    let configuration = try options.load()
    LoggingSystem.bootstrap { StandardErrorLog(label: $0) }
    let log = Logger(label: "witness")
    let environment = ProcessInfo.processInfo.environment
    let systemd = Systemd(environment: environment)
    let lock = try StateFiles.lock(configuration.state)
    defer { withExtendedLifetime(lock) {} }
    let network = try Network(key: try StateFiles.key(configuration))
    try StateFiles.makeDirectory(configuration.control, mode: 0o755)
    let host = SystemHost(configuration)
    let pins = try Pins(disk: try host.disk([]), clock: host.clock)
    let desk: WitnessDesk
    do {
      desk = try WitnessDesk(
        disk: try host.disk([Self.folder]), clock: host.clock,
        executor: host.executor("witness"), probe: KillProbe.wanted(environment))
    } catch {
      throw CommandFailure(.damaged, "\(error)")
    }
    let pairing = Pairing(
      ownKey: network.fingerprint, pins: pins, host: host,
      dialler: TLSDialler(network: network), log: log)
    let listen = configuration.listen
    let port: Int
    do {
      port = try await network.listen(
        host: listen.host, port: listen.port, admits: { pins.admits($0) },
        accept: { link in
          Task { await Self.take(link, configuration, pins, desk, pairing, log) }
        })
    } catch {
      throw CommandFailure(.failed, "cannot listen on \(listen): \(error)")
    }
    let servers = try await Self.control(
      configuration, HostPort(host: listen.host, port: port), pairing)
    log.notice("\(configuration.site) is a witness on \(listen.host):\(port)")
    systemd.ready("\(await desk.records.count) pairs")
    await Signals.untilStopped { systemd.ready("nothing to reload") }
    systemd.stopping()
    for server in servers { await server.shutdown() }
    await network.shutdown()
    _exit(0)
  }

  private static func take(
    _ link: any Link, _ configuration: Configuration, _ pins: Pins, _ desk: WitnessDesk,
    _ pairing: Pairing, _ log: Logger
  ) async {
    guard pins.site(of: link.peer) != nil else {
      let peers = Set(configuration.peers.keys)
      _ = await pairing.admit(link, as: configuration.site, peers: peers)
      return
    }
    do throws(WitnessDesk.Lost) {
      try await WitnessSession.serve(link, name: configuration.site, desk: desk)
    } catch {
      // Nothing may be answered out of a memory that is ahead of the disk.
      log.critical("the witness ends: \(error)")
      _exit(1)
    }
  }

  /// What `invite`, `join` and `status` ask.
  private static func control(
    _ configuration: Configuration, _ listening: HostPort, _ pairing: Pairing
  ) async throws -> [ControlServer] {
    let peers = Set(configuration.peers.keys)
    let answer: @Sendable (ControlRequest, Bool) async throws -> [UInt8] = { request, mayMove in
      switch (request.method, request.path) {
      case ("GET", "/status"):
        return JSON.encode(StatusAnswer(site: configuration.site, pairs: []))
      case ("POST", "/invite") where mayMove:
        let order = try JSON.decode(InviteRequest.self, request.body)
        return JSON.encode(try pairing.invite(order, listening: listening))
      case ("POST", "/join") where mayMove:
        let order = try JSON.decode(JoinRequest.self, request.body)
        let site = try await pairing.join(order, as: configuration.site, peers: peers)
        return JSON.encode(TextAnswer(message: site))
      default:
        throw FailureAnswer(
          code: 2, "a witness knows no \(request.method) \(request.path): type it on a site")
      }
    }
    return try await ControlSockets.open(configuration, answer)
  }
}
