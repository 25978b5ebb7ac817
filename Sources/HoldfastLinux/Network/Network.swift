package import HoldfastCore
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

/// Makes links to peers, by dialling and by listening. Who may speak is asked for each key.
package final class Network: Sendable {
  package enum Failure: Error, Sendable, CustomStringConvertible {
    case key(String)
    case bind(String)
    /// Why there is no link, with what to look at.
    case dial(String)

    package var description: String {
      switch self {
      case .key(let text): "the site's key: \(text)"
      case .bind(let text), .dial(let text): text
      }
    }
  }

  /// Bulk comes in few calls; who sends little keeps little.
  private static var reading: AdaptiveRecvByteBufferAllocator {
    AdaptiveRecvByteBufferAllocator(
      minimum: 2 << 10, initial: 16 << 10, maximum: Limits.receiveBytesMax)
  }

  private let group: MultiThreadedEventLoopGroup
  private let server: NIOSSLContext
  private let client: NIOSSLContext
  /// The public key of this site.
  package let fingerprint: Fingerprint
  private let listener = Mutex<(any Channel)?>(nil)
  private let unproven = Mutex(0)

  package init(key: SiteKey) throws(Failure) {
    do {
      let certificate = try NIOSSLCertificate(bytes: key.certificate, format: .pem)
      let privateKey = try NIOSSLPrivateKey(bytes: key.privateKey, format: .pem)
      fingerprint = try Self.fingerprint(certificate)
      var configuration = TLSConfiguration.makeServerConfiguration(
        certificateChain: [.certificate(certificate)], privateKey: .privateKey(privateKey))
      configuration.minimumTLSVersion = .tlsv13
      // The callback below judges the key; names and dates mean nothing.
      configuration.certificateVerification = .noHostnameVerification
      // Not the system's, which a small host need not have.
      configuration.trustRoots = .certificates([certificate])
      // A peer that is dead says no farewell.
      configuration.shutdownTimeout = .nanoseconds(Limits.farewellWithin.nanos)
      server = try NIOSSLContext(configuration: configuration)
      var dialling = TLSConfiguration.makeClientConfiguration()
      dialling.minimumTLSVersion = .tlsv13
      dialling.certificateVerification = .noHostnameVerification
      dialling.trustRoots = .certificates([certificate])
      dialling.certificateChain = [.certificate(certificate)]
      dialling.privateKey = .privateKey(privateKey)
      dialling.shutdownTimeout = .nanoseconds(Limits.farewellWithin.nanos)
      client = try NIOSSLContext(configuration: dialling)
    } catch {
      throw .key("\(error)")
    }
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  }

  private static func fingerprint(_ certificate: NIOSSLCertificate) throws -> Fingerprint {
    HoldfastLinux.fingerprint(ofPublicKey: try certificate.extractPublicKey().toSPKIBytes())
  }

  package static func fingerprint(of key: SiteKey) throws(Failure) -> Fingerprint {
    do {
      return try fingerprint(NIOSSLCertificate(bytes: key.certificate, format: .pem))
    } catch {
      throw .key("\(error)")
    }
  }

  /// Accepts links until ``shutdown()``.
  /// - Parameters:
  ///   - admits: whether a key may speak at all; asked during the handshake, before anything else
  ///     is said.
  ///   - accept: owns the link from then on.
  /// - Returns: the port that is listened on.
  package func listen(
    host: String, port: Int, admits: @escaping @Sendable (Fingerprint) -> Bool,
    accept: @escaping @Sendable (TLSLink) -> Void
  ) async throws(Failure) -> Int {
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 64)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.recvAllocator, value: Self.reading)
      .childChannelInitializer { [self] channel in
        // A stranger who only connects holds one of a few places, for a short while.
        guard begin() else { return channel.close() }
        let proven = ProvenKey()
        return channel.eventLoop.makeCompletedFuture {
          let tls = NIOSSLServerHandler(context: self.server) { certificates, verdict in
            verdict.succeed(Self.judge(certificates, proven, admits))
          }
          try channel.pipeline.syncOperations.addHandler(tls)
          try self.finish(channel, proven) { link in
            accept(link)
          } ended: {
            self.ended()
          }
        }
      }
    do {
      let channel = try await bootstrap.bind(host: host, port: port).get()
      listener.withLock { $0 = channel }
      return channel.localAddress?.port ?? port
    } catch {
      throw .bind("\(error)")
    }
  }

  private func begin() -> Bool {
    unproven.withLock { count in
      guard count < Limits.unprovenConnectionsMax else { return false }
      count += 1
      return true
    }
  }
  private func ended() { unproven.withLock { $0 -= 1 } }

  /// Opens a link.
  /// - Parameter admits: whether this is the key that was meant.
  package func dial(
    host: String, port: Int, admits: @escaping @Sendable (Fingerprint) -> Bool
  ) async throws(Failure) -> TLSLink {
    let proven = ProvenKey()
    let begun = ContinuousClock.now
    let ready = group.next().makePromise(of: TLSLink.self)
    let bootstrap = ClientBootstrap(group: group)
      .connectTimeout(.nanoseconds(Limits.dialTimeout.nanos))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.autoRead, value: false)
      .channelOption(.recvAllocator, value: Self.reading)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let tls = try NIOSSLClientHandler(context: self.client, serverHostname: nil) {
            certificates, verdict in
            verdict.succeed(Self.judge(certificates, proven, admits))
          }
          try channel.pipeline.syncOperations.addHandler(tls)
          try self.finish(channel, proven) {
            ready.succeed($0)
          } ended: {
            ready.fail(ChannelError.ioOnClosedChannel)
          }
        }
      }
    do {
      _ = try await bootstrap.connect(host: host, port: port).get()
      return try await ready.futureResult.get()
    } catch {
      ready.fail(error)
      let isSilent = ContinuousClock.now - begun >= Limits.dialTimeout
      throw .dial(Self.reason(error, "\(host):\(port)", proven, isSilent: isSilent))
    }
  }

  private static func reason(
    _ error: any Error, _ place: String, _ proven: ProvenKey, isSilent: Bool
  ) -> String {
    if let key = proven.refused {
      return "key \(key) is not the one expected at \(place): was that host made anew?"
    }
    if let error = error as? NIOConnectionError {
      let codes = error.connectionErrors.compactMap { ($0.error as? IOError)?.errnoCode }
      let first = error.connectionErrors.first.map { "\($0.error)" } ?? "\(error)"
      return codes.contains(ECONNREFUSED)
        ? "nothing listens at \(place): is it running there?"
        : "\(place) cannot be reached: \(first)"
    }
    if isSilent {
      return "no answer from \(place): is the host up, and does a firewall let it through?"
    }
    return """
      what answers at \(place) ended the link, or speaks no TLS that this site knows: is the port \
      right? (\(error))
      """
  }

  private static func judge(
    _ certificates: [NIOSSLCertificate], _ proven: ProvenKey,
    _ admits: (Fingerprint) -> Bool
  ) -> NIOSSLVerificationResult {
    guard let leaf = certificates.first, let key = try? fingerprint(leaf) else { return .failed }
    guard admits(key) else {
      proven.refuse(key)
      return .failed
    }
    proven.set(key)
    return .certificateVerified
  }

  /// Adds framing, and calls `ready` once the handshake has ended well, `ended` once in any case.
  private func finish(
    _ channel: any Channel, _ proven: ProvenKey, ready: @escaping @Sendable (TLSLink) -> Void,
    ended: @escaping @Sendable () -> Void
  ) throws {
    let inbox = Inbox()
    let operations = channel.pipeline.syncOperations
    try operations.addHandler(HandshakeHandler(proven: proven, inbox: inbox, ready, ended))
    try operations.addHandler(InboxHandler(inbox))
  }

  package func shutdown() async {
    let channel = listener.withLock { channel in
      defer { channel = nil }
      return channel
    }
    try? await channel?.close().get()
    try? await group.shutdownGracefully()
  }
}

/// The key that the other side proved in its handshake.
final class ProvenKey: Sendable {
  private let state = Mutex<(key: Fingerprint?, refused: Fingerprint?)>((nil, nil))
  func set(_ key: Fingerprint) { state.withLock { $0.key = key } }
  func refuse(_ key: Fingerprint) { state.withLock { $0.refused = key } }
  var key: Fingerprint? { state.withLock { $0.key } }
  var refused: Fingerprint? { state.withLock { $0.refused } }
}

/// Waits for the end of the TLS handshake, but not for ever.
final class HandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  private let proven: ProvenKey
  private let inbox: Inbox
  private let ready: @Sendable (TLSLink) -> Void
  private let ended: @Sendable () -> Void
  private var isEnded = false

  init(
    proven: ProvenKey, inbox: Inbox, _ ready: @escaping @Sendable (TLSLink) -> Void,
    _ ended: @escaping @Sendable () -> Void
  ) {
    self.proven = proven
    self.inbox = inbox
    self.ready = ready
    self.ended = ended
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let channel = context.channel
    let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: .nanoseconds(Limits.dialTimeout.nanos)) {
      if !bound.value.isEnded { channel.close(promise: nil) }
    }
    if context.channel.isActive { context.read() }
  }

  func channelActive(context: ChannelHandlerContext) {
    context.fireChannelActive()
    context.read()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? TLSUserEvent, case .handshakeCompleted = event,
      let key = proven.key, !isEnded
    {
      isEnded = true
      ready(TLSLink(peer: key, channel: context.channel, inbox: inbox))
      ended()
      context.read()
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if !isEnded { context.read() }
    context.fireChannelReadComplete()
  }

  func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  private func end() {
    guard !isEnded else { return }
    isEnded = true
    ended()
  }
}
