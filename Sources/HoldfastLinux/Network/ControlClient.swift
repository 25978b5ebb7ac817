import HoldfastCore
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks an agent through one of its control sockets.
package enum ControlClient {
  package enum Failure: Error, Sendable {
    /// Nobody listens there, or it may not be used.
    case unreachable(String)
    /// It was there, and ended before it answered: what became of the request is not known.
    case cutShort
  }

  /// - Parameter within: how long an answer may take; `nil` for however long.
  package static func ask(
    socket: String, method: String, path: String, body: [UInt8] = [], within: Duration? = nil
  ) async throws(Failure) -> ControlResponse {
    let group = MultiThreadedEventLoopGroup.singleton
    let promise = group.next().makePromise(of: ControlResponse.self)
    var isConnected = false
    do {
      let channel = try await ClientBootstrap(group: group)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let operations = channel.pipeline.syncOperations
            try operations.addHTTPClientHandlers()
            try operations.addHandler(AnswerHandler(promise))
          }
        }
        .connect(unixDomainSocketPath: socket).get()
      isConnected = true
      if let within {
        let limit = TimeAmount.nanoseconds(within.nanos)
        let late = channel.eventLoop.scheduleTask(in: limit) {
          promise.fail(ChannelError.connectTimeout(limit))
          channel.close(promise: nil)
        }
        promise.futureResult.whenComplete { _ in late.cancel() }
      }
      let headers: HTTPHeaders = [
        "host": "holdfast", "content-length": "\(body.count)", "connection": "close",
      ]
      let head = HTTPRequestHead(
        version: .http1_1, method: HTTPMethod(rawValue: method), uri: path, headers: headers)
      var buffer = channel.allocator.buffer(capacity: body.count)
      buffer.writeBytes(body)
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      channel.write(HTTPClientRequestPart.body(.byteBuffer(buffer)), promise: nil)
      try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
      return try await promise.futureResult.get()
    } catch {
      promise.fail(error)
      if isConnected, (error as? ChannelError) == .eof { throw .cutShort }
      throw .unreachable("\(error)")
    }
  }
}

private final class AnswerHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  private let promise: EventLoopPromise<ControlResponse>
  private var response = ControlResponse(status: 0, body: [])

  init(_ promise: EventLoopPromise<ControlResponse>) { self.promise = promise }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): response.status = Int(head.status.code)
    case .body(let buffer): response.body += Array(buffer.readableBytesView)
    case .end: promise.succeed(response)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    promise.fail(ChannelError.eof)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    promise.fail(error)
    context.close(promise: nil)
  }
}
