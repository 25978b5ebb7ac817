import Glibc
import HoldfastCore
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Whether a service answers.
enum ServiceCheck {
  /// Between two tries.
  private static let pauseMicros: UInt32 = 50_000
  /// Of one try.
  private static let patience = Duration.seconds(2)

  /// Tries until it does, for `within` at most. Blocks.
  /// - Throws: what the last try said.
  static func pass(
    _ check: PlanStep.Check, within: Duration,
    _ command: (String, Duration) throws(StepError) -> Void
  ) throws(StepError) {
    let clock = SystemClock()
    let end = clock.now() + within
    while true {
      let left = end - clock.now()
      do throws(StepError) {
        switch check {
        case .tcp(let place): return try connect(place)
        case .http(let url): return try get(url)
        case .exec(let text): return try command(text, max(left, .milliseconds(100)))
        }
      } catch {
        guard clock.now() < end else { throw error }
      }
      usleep(pauseMicros)
    }
  }

  private static func connect(_ place: HostPort) throws(StepError) {
    do {
      try ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connectTimeout(.nanoseconds(patience.nanos))
        .connect(host: place.host, port: place.port).flatMap { $0.close() }.wait()
    } catch {
      throw StepError("nothing listens on \(place): \(error)")
    }
  }

  private static func get(_ url: String) throws(StepError) {
    guard let target = Target(url) else { throw StepError("\(url) is no http or https URL") }
    let group = MultiThreadedEventLoopGroup.singleton
    let status = group.next().makePromise(of: Int.self)
    do {
      // The service on this host is asked, by an address that its certificate need not name.
      var settings = TLSConfiguration.makeClientConfiguration()
      settings.certificateVerification = .none
      let tls = target.isTLS ? try NIOSSLContext(configuration: settings) : nil
      let channel = try ClientBootstrap(group: group)
        .connectTimeout(.nanoseconds(patience.nanos))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let operations = channel.pipeline.syncOperations
            if let tls {
              try operations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
            }
            try operations.addHTTPClientHandlers()
            try operations.addHandler(StatusHandler(status))
          }
        }
        .connect(host: target.place.host, port: target.place.port).wait()
      channel.eventLoop.scheduleTask(in: .nanoseconds(patience.nanos)) {
        status.fail(ChannelError.connectTimeout(.nanoseconds(patience.nanos)))
      }
      let head = HTTPRequestHead(
        version: .http1_1, method: .GET, uri: target.path,
        headers: ["host": target.place.host, "connection": "close", "user-agent": "holdfast"])
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
      let code = try status.futureResult.wait()
      try? channel.close().wait()
      guard code < 400 else { throw StepError("\(url) answers \(code)") }
    } catch let error as StepError {
      throw error
    } catch {
      status.fail(error)
      throw StepError("\(url): \(error)")
    }
  }

  /// What of a URL (RFC 3986) a check needs.
  private struct Target {
    let isTLS: Bool
    let place: HostPort
    let path: String

    init?(_ url: String) {
      guard let scheme = url.firstRange(of: "://") else { return nil }
      switch url[..<scheme.lowerBound] {
      case "http": isTLS = false
      case "https": isTLS = true
      default: return nil
      }
      let rest = url[scheme.upperBound...]
      let authority = String(rest.prefix { $0 != "/" && $0 != "?" })
      let tail = rest.dropFirst(authority.count)
      path = tail.hasPrefix("/") ? String(tail) : "/" + tail
      let usual = isTLS ? 443 : 80
      guard let place = HostPort(authority) ?? HostPort("\(authority):\(usual)") else { return nil }
      self.place = place
    }
  }
}

private final class StatusHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  private let status: EventLoopPromise<Int>
  init(_ status: EventLoopPromise<Int>) { self.status = status }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .head(let head) = unwrapInboundIn(data) { status.succeed(Int(head.status.code)) }
  }
  func channelInactive(context: ChannelHandlerContext) {
    status.fail(ChannelError.eof)
    context.fireChannelInactive()
  }
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    status.fail(error)
    context.close(promise: nil)
  }
}
