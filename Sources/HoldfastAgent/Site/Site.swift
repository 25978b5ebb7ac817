package import HoldfastCore
import HoldfastWire
import FoundationEssentials
package import Logging
import Synchronization

/// The agent of one site: its pairs, its peers, and the sessions with them.
package actor Site {
  package private(set) var configuration: Configuration
  package nonisolated let pins: Pins
  private var pairs: [Pair] = []
  private let host: any Host
  private let ownKey: Fingerprint
  private let dialler: any Dialler
  private let log: Logger
  private var sessions: [String: (id: UInt64, link: any Link)] = [:]
  private var nextSession: UInt64 = 0
  private var tasks: [Task<Void, Never>] = []
  /// Wakes who dials a peer whose key was not known before.
  private var pinned: [String: Signal] = [:]
  /// Links that were accepted and have not ended.
  private var accepted: [UInt64: Task<Void, Never>] = [:]
  private var isStopping = false
  /// The last change of what this site does: one at a time, for two that meet would each make a
  /// pair's workers of their own.
  private var change: Task<Void, Never>?
  /// Set once listening began.
  package private(set) var port = 0

  package init(
    configuration: Configuration, ownKey: Fingerprint, host: any Host, pins: Pins,
    dialler: any Dialler, log: Logger
  ) throws {
    self.configuration = configuration
    self.ownKey = ownKey
    self.host = host
    self.pins = pins
    self.dialler = dialler
    self.log = log
    pairs = try configuration.pairs.map {
      try Pair(configuration: $0, site: configuration.site, siteKey: ownKey, host: host)
    }
  }

  package func start(port: Int) async {
    self.port = port
    for pair in pairs { await pair.keepStarting(log) }
    dial()
  }

  private func dial() {
    for (name, peer) in configuration.peers {
      guard configuration.partners.contains(name), let address = peer.address else { continue }
      let isPinned = Signal()
      pinned[name] = isPinned
      tasks.append(Task { await self.keepDialling(name, address, isPinned) })
    }
  }

  // MARK: Reload

  /// Takes a configuration that was read again: pairs whose settings changed begin anew, the
  /// others go on undisturbed.
  /// - Returns: what only a restart changes.
  /// - Throws: that a pair is in a move, which nothing may cut short; nothing was changed then.
  package func reload(_ next: Configuration) async throws -> [String] {
    try await inTurn { try await self.take(next) }
  }

  private func inTurn<Result: Sendable>(
    _ work: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    let before = change
    let mine = Task {
      await before?.value
      return try await work()
    }
    change = Task { _ = try? await mine.value }
    return try await mine.value
  }

  private func take(_ next: Configuration) async throws -> [String] {
    guard !isStopping else { return [] }
    var fixed: [String] = []
    if next.site != configuration.site { fixed.append("site") }
    if next.listen != configuration.listen { fixed.append("listen") }
    if next.state != configuration.state { fixed.append("state") }
    if next.control != configuration.control { fixed.append("control") }
    if next.memoryBytes != configuration.memoryBytes { fixed.append("memory") }
    let old = pairs
    for pair in old where await pair.isAtMove {
      throw FailureAnswer(code: 3, "\(pair.name) is being moved: reload again afterwards")
    }
    let gone = old.filter { pair in !next.pairs.contains(pair.wanted) }
    let fresh = next.pairs.filter { pair in !old.contains { $0.wanted == pair } }
    let isRedialling =
      next.peers != configuration.peers || next.partners != configuration.partners
    let before = configuration
    configuration.peers = next.peers
    configuration.pairs = next.pairs
    guard isRedialling || !gone.isEmpty || !fresh.isEmpty else { return fixed }
    do {
      try await replace(gone, by: fresh, redialling: isRedialling)
    } catch {
      configuration = before
      throw error
    }
    return fixed
  }

  /// - Throws: that one of the new cannot be made; nothing was changed then.
  private func replace(
    _ gone: [Pair], by fresh: [PairConfiguration], redialling: Bool
  ) async throws {
    let made = try fresh.map {
      try Pair(configuration: $0, site: configuration.site, siteKey: ownKey, host: host)
    }
    if redialling {
      for task in tasks { task.cancel() }
      tasks = []
    }
    var promises: [String: Instant] = [:]
    for pair in gone {
      await pair.stop()
      promises[pair.name] = await pair.promisedUntil
    }
    pairs.removeAll { pair in gone.contains { $0 === pair } }
    for pair in made {
      if let promise = promises[pair.name] { await pair.promised(until: promise) }
      await pair.keepStarting(log)
      pairs.append(pair)
    }
    pairs.sort { $0.name < $1.name }
    // A session knows the pairs that it began with.
    for session in sessions.values { await session.link.close() }
    if redialling { dial() }
  }

  /// See ``Pair/approve()``.
  package func approve(_ name: String) async throws -> String {
    try await inTurn { try await self.takeHeld(name) }
  }

  private func takeHeld(_ name: String) async throws -> String {
    let pair = try pair(name)
    guard !isStopping else { throw FailureAnswer(code: 3, "the agent ends: try again") }
    do {
      let answer = try await pair.approve()
      try await replace([pair], by: [pair.wanted], redialling: false)
      return answer
    } catch {
      // As it was before.
      if await pair.isStopped {
        await pair.keepSettings()
        await pair.keepStarting(log)
      }
      throw error
    }
  }

  package func stop() async {
    isStopping = true
    await change?.value
    let ending = tasks + accepted.values
    for task in ending { task.cancel() }
    for session in sessions.values { await session.link.close() }
    for task in ending { await task.value }
    for pair in pairs { await pair.stop() }
  }

  package func pair(_ name: String) throws -> Pair {
    guard let pair = pairs.first(where: { $0.name == name }) else {
      let known = pairs.map(\.name).joined(separator: ", ")
      throw FailureAnswer(code: 2, "there is no pair \(name) here; there are: \(known)")
    }
    return pair
  }

  package func status() async -> StatusAnswer {
    var answer = StatusAnswer(site: configuration.site, pairs: [])
    for pair in pairs { answer.pairs.append(await pair.status()) }
    return answer
  }

  package func serving(_ name: String, _ request: ServingRequest) async throws -> ServingAnswer {
    let pair = try pair(name)
    pair.board.update { $0.service = (request, host.clock.now()) }
    await pair.heard(request)
    return await pair.report(otherKey: pins.key(of: pair.peer))
  }

  // MARK: Links

  /// Takes over a link that somebody else dialled.
  package nonisolated func accept(_ link: any Link) {
    Task { await self.take(link) }
  }

  private func take(_ link: any Link) async {
    if isStopping { return await link.close() }
    nextSession += 1
    let id = nextSession
    accepted[id] = Task {
      if let peer = pins.site(of: link.peer) {
        await run(link, peer)
      } else {
        await admit(link)
      }
      accepted[id] = nil
    }
  }

  /// Where both sides dial, the one whose name comes first begins; the other waits, in case only
  /// its direction works.
  private func keepDialling(
    _ peer: String, _ address: HostPort, _ isPinned: Signal
  ) async {
    var backoff = Backoff()
    if configuration.site > peer { await pause(.seconds(2)) }
    while !Task.isCancelled {
      guard sessions[peer] == nil, let key = pins.key(of: peer) else {
        await isPinned.wait(until: host.clock.now() + .milliseconds(500), host.clock)
        continue
      }
      do {
        let link = try await dialler.dial(address) { $0 == key }
        backoff.succeeded()
        await run(link, peer)
        await pause(Limits.backoffFirst)
      } catch {
        let wait = backoff.failed(host.dice)
        log.debug("dialling \(peer) at \(address) failed: \(error); again in \(wait)")
        for pair in pairs where pair.peer == peer {
          pair.board.update { $0.linkError = "\(peer) at \(address) is not reachable: \(error)" }
        }
        await pause(wait)
      }
    }
  }

  private func pause(_ duration: Duration) async {
    try? await host.clock.sleep(until: host.clock.now() + duration)
  }

  private func run(_ link: any Link, _ peer: String) async {
    // The one before may be half dead without knowing.
    if let old = sessions[peer] { await old.link.close() }
    nextSession += 1
    let id = nextSession
    sessions[peer] = (id, link)
    log.info("session with \(peer)")
    let session = Session(
      link: link, site: configuration.site, peer: peer,
      pairs: pairs.filter { $0.peer == peer }, clock: host.clock)
    do {
      try await session.run()
      log.info("session with \(peer) ended")
    } catch {
      log.warning("session with \(peer) ended: \(error)")
      for pair in pairs where pair.peer == peer {
        pair.board.update { $0.linkError = "session with \(peer) ended: \(error)" }
      }
    }
    await link.close()
    if sessions[peer]?.id == id { sessions[peer] = nil }
  }

  // MARK: Pairing

  private nonisolated var pairing: Pairing {
    Pairing(ownKey: ownKey, pins: pins, host: host, dialler: dialler, log: log)
  }

  package func invite(_ request: InviteRequest) throws -> TokenAnswer {
    try pairing.invite(request, listening: HostPort(host: configuration.listen.host, port: port))
  }

  /// A stranger may say one thing: a token.
  private func admit(_ link: any Link) async {
    let name = configuration.site
    let peers = Set(configuration.peers.keys)
    if let site = await pairing.admit(link, as: name, peers: peers) { pinned[site]?.set() }
  }

  package func join(_ request: JoinRequest) async throws -> TextAnswer {
    let peers = Set(configuration.peers.keys)
    let site = try await pairing.join(request, as: configuration.site, peers: peers)
    pinned[site]?.set()
    return TextAnswer(message: site)
  }
}
