package import HoldfastCore
import NIOCore
import NIOSSL
import Synchronization

/// One TLS 1.3 session over TCP with a peer whose key was proven.
package final class TLSLink: Link {
  package let peer: Fingerprint
  private let channel: any Channel
  private let inbox: Inbox

  init(peer: Fingerprint, channel: any Channel, inbox: Inbox) {
    self.peer = peer
    self.channel = channel
    self.inbox = inbox
  }

  package func send(_ frame: [UInt8]) async throws(LinkError) {
    try await send(frame, [], 0..<0, padding: 0)
  }

  package func send(
    _ head: [UInt8], _ bytes: [UInt8], _ range: Range<Int>, padding: Int
  ) async throws(LinkError) {
    let count = head.count + range.count + padding
    precondition(count <= Limits.frameBytesMax, "frame of \(count) bytes")
    var buffer = channel.allocator.buffer(capacity: count + 4)
    buffer.writeInteger(UInt32(count))
    buffer.writeBytes(head)
    buffer.writeBytes(bytes[range])
    buffer.writeRepeatingByte(0, count: padding)
    do {
      try await channel.writeAndFlush(buffer).get()
    } catch {
      throw inbox.reason ?? .broken("\(error)")
    }
  }

  package func receive() async throws(LinkError) -> [UInt8]? { try await inbox.next() }

  package func close() async {
    try? await channel.close().get()
  }
}

/// Frames that have come and were not yet taken: bounded, since the channel reads no more while it
/// is full.
final class Inbox: Sendable {
  private struct State {
    var frames: [[UInt8]] = []
    var bytes = 0
    var end: LinkError?
    var isClosed = false
    var waiter: CheckedContinuation<Result<[UInt8]?, LinkError>, Never>?
    var resume: (@Sendable () -> Void)?
  }
  private static let bytesMax = Limits.frameBytesMax
  private let state = Mutex(State())

  var reason: LinkError? { state.withLock { $0.end } }

  func put(_ frame: [UInt8]) {
    let waiter = state.withLock {
      state -> CheckedContinuation<Result<[UInt8]?, LinkError>, Never>? in
      if let waiter = state.waiter {
        state.waiter = nil
        return waiter
      }
      state.frames.append(frame)
      state.bytes += frame.count
      return nil
    }
    waiter?.resume(returning: .success(frame))
  }

  /// Whether there is room; otherwise `resume` is called once there is.
  func hasRoom(_ resume: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      if state.bytes < Self.bytesMax { return true }
      state.resume = resume
      return false
    }
  }

  func finish(_ error: LinkError?) {
    let waiter = state.withLock {
      state -> CheckedContinuation<Result<[UInt8]?, LinkError>, Never>? in
      if state.isClosed { return nil }
      state.isClosed = true
      state.end = error
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(returning: error.map { .failure($0) } ?? .success(nil))
  }

  func next() async throws(LinkError) -> [UInt8]? {
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (now, resume) = state.withLock {
          state -> (Result<[UInt8]?, LinkError>?, (@Sendable () -> Void)?) in
          if !state.frames.isEmpty {
            let frame = state.frames.removeFirst()
            state.bytes -= frame.count
            guard state.bytes < Self.bytesMax else { return (.success(frame), nil) }
            defer { state.resume = nil }
            return (.success(frame), state.resume)
          }
          if state.isClosed { return (state.end.map { .failure($0) } ?? .success(nil), nil) }
          precondition(state.waiter == nil, "two readers of one link")
          state.waiter = continuation
          return (nil, nil)
        }
        resume?()
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      finish(.closed)
    }
    return try result.get()
  }
}

/// Hands frames from the channel to the link, and reads on only while there is room.
final class InboxHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let inbox: Inbox
  private var decoder = FrameDecoder()

  init(_ inbox: Inbox) { self.inbox = inbox }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    do throws(FrameDecoder.TooLong) {
      try decoder.read(unwrapInboundIn(data).readableBytesView) { inbox.put($0) }
    } catch {
      inbox.finish(.broken("frame of \(error.bytes) bytes, \(Limits.frameBytesMax) are allowed"))
      context.close(promise: nil)
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    readOn(context)
    context.fireChannelReadComplete()
  }

  private func readOn(_ context: ChannelHandlerContext) {
    let channel = context.channel
    if inbox.hasRoom({ channel.eventLoop.execute { channel.read() } }) { context.read() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    inbox.finish(nil)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOSSLError.uncleanShutdown:
      inbox.finish(.closed)
    default:
      // TLS 1.3 refuses a key only once the other side takes the link for made.
      let text = "\(error)"
      let isRefused = text.contains("CERTIFICATE_UNKNOWN")
      inbox.finish(
        .broken(
          isRefused
            ? "this site's key is not admitted there: holdfast invite there, holdfast join here"
            : text))
    }
    context.close(promise: nil)
  }
}
