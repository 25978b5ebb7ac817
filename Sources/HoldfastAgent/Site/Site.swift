package import HoldfastCore
import HoldfastWire
import FoundationEssentials
package import Logging
import Synchronization

/// Opens links; TLS in production.
package protocol Dialler: Sendable {
  func dial(
    _ address: HostPort, admits: @escaping @Sendable (Fingerprint) -> Bool
  ) async throws -> any Link
}

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
    for pair in pairs { await start(pair) }
    dial()
  }

  private func start(_ pair: Pair) async {
    do {
      try await pair.start()
    } catch {
      pair.board.hold(.journal, "pair cannot start: \(error)")
      log.error("pair \(pair.name) cannot start: \(error)")
    }
  }

  private func dial() {
    for (name, peer) in configuration.peers {
      guard let address = peer.address else { continue }
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
    var fixed: [String] = []
    if next.site != configuration.site { fixed.append("site") }
    if next.listen != configuration.listen { fixed.append("listen") }
    if next.state != configuration.state { fixed.append("state") }
    if next.control != configuration.control { fixed.append("control") }
    if next.memoryBytes != configuration.memoryBytes { fixed.append("memory") }
    let old = pairs
    for pair in old where await pair.isAtMove {
      throw FailureAnswer(code: 3, "\(pair.name) is being promoted: reload again afterwards")
    }
    let gone = old.filter { pair in !next.pairs.contains(pair.wanted) }
    let fresh = next.pairs.filter { pair in !old.contains { $0.wanted == pair } }
    let isRedialling = next.peers != configuration.peers
    configuration.peers = next.peers
    configuration.pairs = next.pairs
    guard isRedialling || !gone.isEmpty || !fresh.isEmpty else { return fixed }
    await replace(gone, by: fresh, redialling: isRedialling)
    return fixed
  }

  private func replace(
    _ gone: [Pair], by fresh: [PairConfiguration], redialling: Bool
  ) async {
    if redialling {
      for task in tasks { task.cancel() }
      tasks = []
    }
    for pair in gone { await pair.stop() }
    pairs.removeAll { pair in gone.contains { $0 === pair } }
    for configuration in fresh {
      do {
        let pair = try Pair(
          configuration: configuration, site: self.configuration.site, siteKey: ownKey, host: host)
        await start(pair)
        pairs.append(pair)
      } catch {
        log.error("pair \(configuration.name) cannot start: \(error)")
      }
    }
    pairs.sort { $0.name < $1.name }
    // A session knows the pairs that it began with.
    for session in sessions.values { await session.link.close() }
    if redialling { dial() }
  }

  /// See ``Pair/approve()``.
  package func approve(_ name: String) async throws -> String {
    let pair = try pair(name)
    let answer = try await pair.approve()
    await replace([pair], by: [pair.wanted], redialling: false)
    return answer
  }

  package func stop() async {
    isStopping = true
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

  /// Where the other site may dial.
  package var listening: HostPort { HostPort(host: configuration.listen.host, port: port) }

  package func status() async -> StatusAnswer {
    var answer = StatusAnswer(site: configuration.site, pairs: [])
    for pair in pairs { answer.pairs.append(await pair.status()) }
    return answer
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

  /// - Parameter address: where the other site will dial.
  /// - Parameter replacing: the site whose key the token may replace by another.
  package func invite(_ address: HostPort, replacing: String?) -> InvitationToken {
    let secret = host.secret(16)
    pins.open(Invitation(secret: secret, now: host.clock.now()), replacing: replacing)
    return InvitationToken(address: address, key: ownKey, secret: secret)
  }

  /// A stranger may say one thing: a token.
  private func admit(_ link: any Link) async {
    let answer: Holdfast_Joined
    do {
      guard let frame = try await link.receive(),
        case .control(.join(let join)) = try Frames.decode(frame)
      else { return await link.close() }
      answer = judge(join, link.peer)
      try await link.send(Frames.encode(.joined(answer)))
    } catch {
      log.warning("a stranger's link ended: \(error)")
    }
    await link.close()
  }

  private func judge(_ join: Holdfast_Join, _ key: Fingerprint) -> Holdfast_Joined {
    var answer = Holdfast_Joined()
    answer.site = configuration.site
    switch pins.offered(Array(join.token)) {
    case .admitted:
      guard configuration.peers[join.site] != nil else {
        answer.refusal = """
          site \(configuration.site) has no peer named \(join.site): add it under `peers` there, \
          then type there: holdfast invite
          """
        return answer
      }
      guard pins.mayPin(join.site, key) else {
        answer.refusal = """
          site \(configuration.site) knows \(join.site) by another key: if \(join.site) was made \
          anew, type there: holdfast invite --replace \(join.site)
          """
        log.warning("join from \(key) refused: \(answer.refusal)")
        return answer
      }
      do throws(DiskError) {
        try pins.pin(join.site, key)
        pinned[join.site]?.set()
        log.notice("joined with \(join.site), key \(key)")
      } catch {
        answer.refusal = "\(configuration.site) cannot keep the key: \(error)"
      }
    case .wrong(let left): answer.refusal = "wrong token; \(left) tries left"
    case .spent: answer.refusal = "the token was used: type holdfast invite again"
    case .expired: answer.refusal = "the token has expired: type holdfast invite again"
    }
    if !answer.refusal.isEmpty { log.warning("join from \(key) refused: \(answer.refusal)") }
    return answer
  }

  /// - Parameter replacing: the other site may have another key than the one that is pinned.
  package func join(_ text: String, replacing: Bool) async throws -> String {
    guard let token = InvitationToken(text) else {
      throw FailureAnswer(code: 2, "that is no token: copy the last line that invite printed")
    }
    let link: any Link
    do {
      link = try await dialler.dial(token.address) { $0 == token.key }
    } catch {
      throw FailureAnswer(
        code: 4,
        """
        cannot reach \(token.address): \(error); is the agent there running, and the token the \
        newest?
        """)
    }
    defer { Task { await link.close() } }
    var join = Holdfast_Join()
    join.token = Data(token.secret)
    join.site = configuration.site
    let answer: Holdfast_Joined
    do {
      try await link.send(Frames.encode(.join(join)))
      guard let frame = try await link.receive(),
        case .control(.joined(let joined)) = try Frames.decode(frame)
      else { throw LinkError.closed }
      answer = joined
    } catch {
      throw FailureAnswer(
        code: 3,
        """
        the other site ended the talk (\(error)): if the token was used or is old, type there: \
        holdfast invite
        """)
    }
    guard answer.refusal.isEmpty else { throw FailureAnswer(code: 3, answer.refusal) }
    guard configuration.peers[answer.site] != nil else {
      throw FailureAnswer(code: 2, "site \(answer.site) is not under `peers` here: add it")
    }
    guard replacing || (pins.key(of: answer.site) ?? token.key) == token.key else {
      throw FailureAnswer(
        code: 3,
        """
        \(answer.site) is known here by another key: if that site was made anew, get a new token \
        and add --replace
        """)
    }
    try pins.pin(answer.site, token.key)
    pinned[answer.site]?.set()
    return answer.site
  }
}
