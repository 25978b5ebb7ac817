import HoldfastBytes
package import HoldfastCore
import HoldfastWire
import Synchronization

/// One session with a pinned peer: says hello, hands frames to the pairs they are about, beats,
/// and ends a link that has gone silent.
package final class Session: Sendable {
  private let link: any Link
  private let site: String
  package let peer: String
  private let pairs: [Pair]
  private let clock: any Timekeeper
  /// When this side began to wait for a frame; `nil` while it works on one.
  private let waitingSince: Mutex<Instant?>
  private let echo: Mutex<EchoClock>

  package init(
    link: any Link, site: String, peer: String, pairs: [Pair], clock: any Timekeeper
  ) {
    self.link = link
    self.site = site
    self.peer = peer
    self.pairs = pairs
    self.clock = clock
    waitingSince = Mutex(nil)
    echo = Mutex(EchoClock(begun: clock.now()))
  }

  /// - Throws: why the session ended, unless the peer closed it in order.
  package func run() async throws {
    var hello = Holdfast_Hello()
    hello.version = Frames.version
    hello.versionMin = Frames.version
    hello.site = site
    hello.pairs = pairs.map(\.name)
    try await link.send(Frames.encode(.hello(hello)))
    guard let first = try await next() else { return }
    guard case .control(.hello(let theirs)) = first else {
      throw LinkError.broken("the peer did not say hello")
    }
    guard theirs.versionMin <= Frames.version, Frames.version <= theirs.version else {
      let reason = """
        versions do not meet: \(site) speaks \(Frames.version), \(peer) \
        \(theirs.versionMin) to \(theirs.version): upgrade the older site, the standby first
        """
      var refusal = Holdfast_Refusal()
      refusal.reason = reason
      try await link.send(Frames.encode(.refusal(refusal)))
      throw LinkError.broken(reason)
    }
    let common = pairs.filter { theirs.pairs.contains($0.name) }
    for pair in pairs where !theirs.pairs.contains(pair.name) {
      pair.board.hold(
        .configuration, "\(peer) does not know pair \(pair.name): add it to its configuration")
    }
    let beating = Task { await self.beat(common) }
    for pair in common { await pair.linkUp(link) }
    do {
      while let body = try await next() { try await handle(body, common) }
    } catch {
      await end(common, beating)
      throw error
    }
    await end(common, beating)
  }

  private func end(_ common: [Pair], _ beating: Task<Void, Never>) async {
    beating.cancel()
    await link.close()
    for pair in common { await pair.linkDown(link) }
  }

  private func next() async throws -> Message? {
    waitingSince.withLock { $0 = clock.now() }
    defer { waitingSince.withLock { $0 = nil } }
    guard let frame = try await link.receive() else { return nil }
    return try Frames.decode(frame)
  }

  private func handle(_ message: Message, _ common: [Pair]) async throws {
    let body: Holdfast_Frame.OneOf_Body
    switch message {
    case .data(let data):
      try await common.first { $0.name == data.pair }?.take(data)
      return
    case .control(let control): body = control
    }
    if case .heartbeat(let heartbeat) = body {
      let stamp = EchoClock.Stamp(
        own: heartbeat.stamp, echo: heartbeat.echo, echoAge: heartbeat.echoAgeNanos)
      let sent = echo.withLock { $0.heard(stamp, clock.now()) }
      for pulse in heartbeat.pulses {
        common.first { $0.name == pulse.pair }?.heard(pulse, sent: sent)
      }
      return
    }
    if case .refusal(let refusal) = body, refusal.pair.isEmpty {
      throw LinkError.broken("\(peer) refuses: \(refusal.reason)")
    }
    guard let name = body.pair, let pair = common.first(where: { $0.name == name }) else { return }
    try await pair.received(body, from: link)
  }

  private func beat(_ common: [Pair]) async {
    while !Task.isCancelled {
      var heartbeat = Holdfast_Heartbeat()
      let stamp = echo.withLock { $0.stamp(clock.now()) }
      (heartbeat.stamp, heartbeat.echo) = (stamp.own, stamp.echo)
      heartbeat.echoAgeNanos = stamp.echoAge
      heartbeat.pulses = common.compactMap { $0.pulse() }
      do {
        try await link.send(Frames.encode(.heartbeat(heartbeat)))
        try await clock.sleep(until: clock.now() + Limits.heartbeatEvery)
      } catch {
        return
      }
      let since = waitingSince.withLock { $0 }
      if let since, clock.now() - since > Limits.deadAfter { await link.close() }
    }
  }
}

extension Holdfast_Frame.OneOf_Body {
  /// The pair that a frame is about.
  var pair: String? {
    switch self {
    case .pairHello(let message): message.pair
    case .segmentBegin(let message): message.pair
    case .progress(let message): message.pair
    case .missing(let message): message.pair
    case .hintsWanted(let message): message.pair
    case .hints(let message): message.pair
    case .refusal(let message): message.pair
    case .secret(let message): message.pair
    case .stalled(let message): message.pair
    case .promiseWanted(let message): message.pair
    case .promiseAnswer(let message): message.pair
    case .yieldWanted(let message): message.pair
    case .yieldStage(let message): message.pair
    case .moveWanted(let message): message.pair
    case .moveAnswer(let message): message.pair
    case .facts(let message): message.pair
    case .hello, .heartbeat, .join, .joined, .arbiterAsk, .arbiterSays: nil
    }
  }
}
