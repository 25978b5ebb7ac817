import HoldfastCore
import NIOCore

/// Cuts the byte stream into frames: four bytes of length, big-endian, then the frame.
struct FrameDecoder: ByteToMessageDecoder {
  typealias InboundOut = ByteBuffer

  struct TooLong: Error { let bytes: Int }

  mutating func decode(
    context: ChannelHandlerContext, buffer: inout ByteBuffer
  ) throws -> DecodingState {
    guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else {
      return .needMoreData
    }
    // Before a byte of it is kept.
    guard length <= Limits.frameBytesMax else { throw TooLong(bytes: Int(length)) }
    guard buffer.readableBytes >= 4 + Int(length) else { return .needMoreData }
    buffer.moveReaderIndex(forwardBy: 4)
    guard let frame = buffer.readSlice(length: Int(length)) else { return .needMoreData }
    context.fireChannelRead(wrapInboundOut(frame))
    return .continue
  }

  mutating func decodeLast(
    context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool
  ) throws -> DecodingState {
    try decode(context: context, buffer: &buffer)
  }
}
