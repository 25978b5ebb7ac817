import FoundationEssentials
package import HoldfastCore
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// etcd 3.4 or later by its JSON gateway ("gRPC gateway" in its documentation), over mutual TLS.
/// The members are asked in turn, each for its share of the time that is left.
package final class EtcdStore: SharedStore {
  private let endpoints: [HostPort]
  private let identity: EtcdIdentity?
  private let clock: any Timekeeper
  private let timeout: Duration
  /// The member that answered last, which is asked first.
  private let preferred = Mutex(0)

  /// - Parameters:
  ///   - timeout: of one call, all members together.
  ///   - reader: a thread that may block, for the files of TLS.
  package init(
    _ settings: EtcdSettings, clock: any Timekeeper, timeout: Duration, reader: any Helper
  ) {
    endpoints = settings.endpoints
    self.clock = clock
    self.timeout = timeout
    identity = settings.tls.map { EtcdIdentity($0, clock: clock, reader: reader) }
  }

  // MARK: What is asked

  package func values(
    below prefix: String
  ) async throws(SharedStoreError) -> [String: SharedValue] {
    // Up to the first key that does not begin so.
    var end = Array(prefix.utf8)
    end[end.count - 1] += 1
    let answer = try await call(
      "kv/range", RangeRequest(key: base64(Array(prefix.utf8)), range_end: base64(end)),
      RangeAnswer.self)
    var found: [String: SharedValue] = [:]
    for row in answer.kvs ?? [] {
      guard let key = bytes(row.key), let revision = UInt64(row.mod_revision) else {
        throw .wrong("a row of etcd has no key or revision")
      }
      found[String(decoding: key, as: UTF8.self)] = SharedValue(
        bytes: bytes(row.value ?? "") ?? [], revision: revision)
    }
    return found
  }

  package func commit(_ change: SharedChange) async throws(SharedStoreError) -> Bool {
    var request = TransactionRequest()
    for (key, revision) in change.conditions {
      request.compare.append(.init(key: base64(Array(key.utf8)), mod_revision: String(revision)))
    }
    for put in change.puts {
      var lease: String?
      if let lives = put.lives {
        // Whole seconds, never less than what is wanted.
        let seconds = (lives.nanos + 999_999_999) / 1_000_000_000
        lease = try await call("lease/grant", LeaseRequest(TTL: seconds), LeaseAnswer.self).ID
      }
      request.success.append(
        .init(
          request_put: .init(
            key: base64(Array(put.key.utf8)), value: base64(put.bytes), lease: lease)))
    }
    for key in change.removals {
      request.success.append(.init(request_delete_range: .init(key: base64(Array(key.utf8)))))
    }
    return try await call("kv/txn", request, TransactionAnswer.self).succeeded ?? false
  }

  private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
  private func bytes(_ text: String) -> [UInt8]? { Data(base64Encoded: text).map { Array($0) } }

  // Names as in etcd's rpc.proto; 64-bit numbers are text in JSON.
  private struct RangeRequest: Encodable {
    var key: String
    var range_end: String
  }
  private struct RangeAnswer: Decodable {
    struct Row: Decodable {
      var key: String
      var value: String?
      var mod_revision: String
    }
    var kvs: [Row]?
  }
  private struct LeaseRequest: Encodable { var TTL: Int64 }
  private struct LeaseAnswer: Decodable { var ID: String }
  private struct TransactionRequest: Encodable {
    struct Compare: Encodable {
      var key: String
      var target = "MOD"
      var mod_revision: String
    }
    struct Put: Encodable {
      var key: String
      var value: String
      var lease: String?
    }
    struct Removal: Encodable { var key: String }
    struct Step: Encodable {
      var request_put: Put?
      var request_delete_range: Removal?
    }
    var compare: [Compare] = []
    var success: [Step] = []
  }
  private struct TransactionAnswer: Decodable { var succeeded: Bool? }

  // MARK: Asking

  private func call<Answer: Decodable>(
    _ path: String, _ request: some Encodable, _ type: Answer.Type
  ) async throws(SharedStoreError) -> Answer {
    let body: [UInt8]
    do {
      body = Array(try JSONEncoder().encode(request))
    } catch {
      preconditionFailure("request that does not encode: \(error)")
    }
    let end = clock.now() + timeout
    var failure = SharedStoreError.refused("no member of etcd is named")
    let first = preferred.withLock { $0 }
    for step in endpoints.indices {
      let index = (first + step) % endpoints.count
      let endpoint = endpoints[index]
      let left = end - clock.now()
      guard left > .zero else { break }
      do throws(SharedStoreError) {
        let bytes = try await post(
          endpoint, "/v3/\(path)", body, within: left / (endpoints.count - step))
        preferred.withLock { $0 = index }
        do {
          return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
          throw .wrong("\(endpoint) answers what etcd does not")
        }
      } catch {
        // What a member that was reached said tells more than that others were not.
        if case .refused = failure { failure = error }
        preferred.withLock { $0 = (index + 1) % endpoints.count }
      }
    }
    if case .slow = failure { failure = await inquire(end) ?? failure }
    throw failure
  }

  private struct StatusAnswer: Decodable {
    /// Left out, or 0, where there is none.
    var leader: String?
    var version: String
  }

  /// Of a call that took too long: each member knows for itself whether it has a leader.
  private func inquire(_ end: Instant) async -> SharedStoreError? {
    // What is left of the call's own time; who asks waits no longer for what is decided.
    let limit = max(timeout / 4, end - clock.now()) / endpoints.count
    for endpoint in endpoints {
      guard
        let bytes = try? await post(
          endpoint, "/v3/maintenance/status", Array("{}".utf8), within: limit),
        let answer = try? JSONDecoder().decode(StatusAnswer.self, from: Data(bytes))
      else { continue }
      let isLed = answer.leader.map { $0 != "0" } ?? false
      return .undecided(
        isLed ? "\(endpoint) has a leader that decides nothing" : "\(endpoint) has no leader")
    }
    return nil
  }

  private func post(
    _ endpoint: HostPort, _ path: String, _ body: [UInt8], within limit: Duration
  ) async throws(SharedStoreError) -> [UInt8] {
    let tls = try identity?.context()
    let group = MultiThreadedEventLoopGroup.singleton
    let answered = group.next().makePromise(of: [UInt8].self)
    let name = Self.isAddress(endpoint.host) ? nil : endpoint.host
    do {
      let channel = try await ClientBootstrap(group: group)
        .connectTimeout(.nanoseconds(limit.nanos))
        .channelInitializer { [tls] channel in
          channel.eventLoop.makeCompletedFuture {
            let operations = channel.pipeline.syncOperations
            if let tls {
              try operations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
            }
            try operations.addHTTPClientHandlers()
            try operations.addHandler(EtcdAnswerHandler(answered))
          }
        }
        .connect(host: endpoint.host, port: endpoint.port).get()
      channel.eventLoop.scheduleTask(in: .nanoseconds(limit.nanos)) {
        answered.fail(SharedStoreError.slow("\(endpoint) gives no answer"))
        channel.close(promise: nil)
      }
      let head = HTTPRequestHead(
        version: .http1_1, method: .POST, uri: path,
        headers: [
          "host": "\(endpoint)", "content-length": "\(body.count)", "connection": "close",
          "content-type": "application/json",
        ])
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      let buffer = channel.allocator.buffer(bytes: body)
      channel.write(HTTPClientRequestPart.body(.byteBuffer(buffer)), promise: nil)
      channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
      let bytes = try await answered.futureResult.get()
      channel.close(promise: nil)
      return bytes
    } catch {
      answered.fail(error)
      throw Self.judged(error, endpoint)
    }
  }

  private static func judged(_ error: any Error, _ endpoint: HostPort) -> SharedStoreError {
    switch error {
    case let known as SharedStoreError: known
    case ChannelError.connectTimeout: .slow("\(endpoint) cannot be connected to in time")
    case is NIOConnectionError: .refused("\(endpoint) cannot be connected to")
    case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
      .untrusted("TLS with \(endpoint): \(error)")
    case is HTTPParserError: .wrong("\(endpoint) does not speak HTTP")
    default: .refused("\(endpoint): \(error)")
    }
  }

  /// Certificates name addresses apart from hosts.
  private static func isAddress(_ host: String) -> Bool {
    (try? SocketAddress(ipAddress: host, port: 0)) != nil
  }
}

/// Gathers one answer, of a bounded length.
private final class EtcdAnswerHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  private let answered: EventLoopPromise<[UInt8]>
  private var bytes: [UInt8] = []
  private var status = 0

  init(_ answered: EventLoopPromise<[UInt8]>) { self.answered = answered }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): status = Int(head.status.code)
    case .body(let buffer):
      bytes += Array(buffer.readableBytesView)
      if bytes.count > Limits.sharedAnswerBytesMax { context.close(promise: nil) }
    case .end:
      if status == 200 { return answered.succeed(bytes) }
      let text = String(decoding: bytes.prefix(Limits.commandOutputBytes), as: UTF8.self)
      // Without a majority, or too busy: the gateway's 503, 504 and what etcd times out itself.
      let isSlow = status == 503 || status == 504 || text.contains("timed out")
      let what = "a member of etcd answers \(status) \(text)"
      answered.fail(isSlow ? SharedStoreError.slow(what) : SharedStoreError.wrong(what))
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    answered.fail(SharedStoreError.wrong("a member of etcd ended the connection in its midst"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    answered.fail(error)
    context.close(promise: nil)
  }
}
