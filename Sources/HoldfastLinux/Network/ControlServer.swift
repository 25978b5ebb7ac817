import CLinux
import Glibc
import HoldfastCore
import NIOCore
import NIOHTTP1
import NIOPosix

/// A request on a control socket.
package struct ControlRequest: Sendable {
  package var method: String
  package var path: String
  package var body: [UInt8]
  /// The user behind the socket, as the kernel knows it (SO_PEERCRED).
  package var user: UInt32
}

package struct ControlResponse: Sendable {
  package var status: Int
  package var body: [UInt8]
  package init(status: Int, body: [UInt8]) {
    self.status = status
    self.body = body
  }
}

/// HTTP over Unix sockets: docs/api.md.
package final class ControlServer: Sendable {
  package enum Failure: Error, Sendable { case bind(String, String) }
  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel

  /// - Parameters:
  ///   - groupName: who may use the socket besides its owner; where there is no such group, nobody.
  package init(
    path: String, groupName: String,
    handle: @escaping @Sendable (ControlRequest) async -> ControlResponse
  ) async throws(Failure) {
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    _ = unsafe unlink(path)
    do {
      channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: CInt(Limits.controlConnectionsMax))
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let operations = channel.pipeline.syncOperations
            try operations.configureHTTPServerPipeline(withErrorHandling: true)
            try operations.addHandler(ControlHandler(handle))
          }
        }
        .bind(unixDomainSocketPath: path).get()
    } catch {
      throw .bind(path, "\(error)")
    }
    var mode: mode_t = 0o600
    if let entry = unsafe getgrnam(groupName) {
      if unsafe chown(path, uid_t.max, entry.pointee.gr_gid) == 0 { mode = 0o660 }
    }
    _ = unsafe chmod(path, mode)
  }

  package func shutdown() async {
    try? await channel.close().get()
    try? await group.shutdownGracefully()
  }
}

final class ControlHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let handle: @Sendable (ControlRequest) async -> ControlResponse
  private var request: ControlRequest?

  init(_ handle: @escaping @Sendable (ControlRequest) async -> ControlResponse) {
    self.handle = handle
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      request = ControlRequest(
        method: head.method.rawValue, path: head.uri, body: [], user: .max)
    case .body(let buffer):
      request?.body += Array(buffer.readableBytesView)
      if let count = request?.body.count, count > Limits.requestBytesMax {
        context.close(promise: nil)
        request = nil
      }
    case .end:
      guard let request else { return }
      self.request = nil
      answer(context, request)
    }
  }

  private func answer(_ context: ChannelHandlerContext, _ request: ControlRequest) {
    let channel = context.channel
    let answered = context.eventLoop.makePromise(of: ControlResponse.self)
    answered.completeWithTask { [handle] in
      var known = request
      known.user = await Self.user(of: channel)
      return await handle(known)
    }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    answered.futureResult.whenSuccess { response in
      let (handler, context) = bound.value
      handler.write(response, context)
    }
  }

  private func write(_ response: ControlResponse, _ context: ChannelHandlerContext) {
    let headers: HTTPHeaders = [
      "content-type": "application/json", "content-length": "\(response.body.count)",
      "connection": "close",
    ]
    let head = HTTPResponseHead(
      version: .http1_1, status: HTTPResponseStatus(statusCode: response.status),
      headers: headers)
    let buffer = context.channel.allocator.buffer(bytes: response.body)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
      channel.close(promise: nil)
    }
  }

  /// struct ucred of SO_PEERCRED: process, user, group.
  private static func user(of channel: any Channel) async -> UInt32 {
    guard let provider = channel as? any SocketOptionProvider else { return .max }
    let name = NIOBSDSocket.Option(rawValue: SO_PEERCRED)
    let credentials: Credentials? = try? await provider.unsafeGetSocketOption(
      level: .socket, name: name
    ).get()
    return credentials?.user ?? .max
  }

  private struct Credentials: Sendable {
    var process: Int32
    var user: UInt32
    var group: UInt32
  }
}
