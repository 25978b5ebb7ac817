package import FoundationEssentials
package import HoldfastCore
import SwiftProtobuf

/// Frames as bytes, and back.
package enum Frames {
  package static let version: UInt32 = 1

  package static func encode(_ body: Holdfast_Frame.OneOf_Body) -> [UInt8] {
    var frame = Holdfast_Frame()
    frame.body = body
    return serialized(frame)
  }

  private static func serialized(_ message: some SwiftProtobuf.Message) -> [UInt8] {
    do {
      return try message.serializedBytes()
    } catch {
      // Only messages beyond 2 GiB or with missing proto2 fields can fail.
      preconditionFailure("frame that does not serialise: \(error)")
    }
  }

  /// - Throws: what is wrong with bytes that a peer sent.
  package static func decode(_ bytes: [UInt8]) throws(CodingError) -> Message {
    if bytes.first == dataMark { return .data(try SegmentBytes(decoding: bytes)) }
    let frame: Holdfast_Frame
    do {
      frame = try Holdfast_Frame(serializedBytes: bytes)
    } catch {
      throw .invalid("frame: \(error)")
    }
    guard let body = frame.body else { throw .invalid("frame of an unknown kind") }
    return .control(body)
  }

  package static func segmentBegin(pair: String, header: [UInt8]) -> [UInt8] {
    var message = Holdfast_SegmentBegin()
    message.pair = pair
    message.header = Data(header)
    return encode(.segmentBegin(message))
  }

  /// No protobuf message begins with it: there is no field with the number 0.
  static let dataMark: UInt8 = 0

  /// What stands before and behind the records of one data frame. Padded, so that lengths tell
  /// little: to a multiple of 1/32 of the power of two below, at least of 512 bytes; so by less
  /// than 1/32 or 512 bytes.
  /// - Parameter count: bytes of records.
  package static func segmentData(
    pair: String, segment: RandomID, offset: Int64, count: Int
  ) -> (head: [UInt8], padding: Int) {
    var message = Holdfast_SegmentData()
    message.pair = pair
    message.segment = Data(segment.bytes)
    message.offset = offset
    message.count = UInt32(count)
    let encoded = serialized(message)
    var head = Writer()
    head.fixed(dataMark)
    head.fixed(UInt16(encoded.count))
    head.raw(encoded)
    let step = max(512, powerOfTwo(below: count) / 32)
    return (head.bytes, (step - count % step) % step)
  }

  /// The largest that is not above `count`.
  private static func powerOfTwo(below count: Int) -> Int {
    count <= 1 ? 1 : 1 << (Int.bitWidth - 1 - count.leadingZeroBitCount)
  }
}

/// One frame, read.
package enum Message: Sendable {
  case control(Holdfast_Frame.OneOf_Body)
  case data(SegmentBytes)
}

/// Whole records of a segment, where they lie in the frame that brought them.
package struct SegmentBytes: Sendable {
  package let pair: String
  package let segment: RandomID
  /// Of the first record, in its writer's segment.
  package let offset: Int64
  package let bytes: [UInt8]
  package let records: Range<Int>

  init(decoding frame: [UInt8]) throws(CodingError) {
    var reader = Reader(frame)
    _ = try reader.fixed(UInt8.self)
    let count = Int(try reader.fixed(UInt16.self))
    let encoded = try reader.raw(count)
    let head: Holdfast_SegmentData
    do {
      head = try Holdfast_SegmentData(serializedBytes: encoded)
    } catch {
      throw .invalid("head of a data frame: \(error)")
    }
    guard let segment = RandomID(head.segment), Int(head.count) <= reader.remaining else {
      throw .invalid("head of a data frame")
    }
    pair = head.pair
    self.segment = segment
    offset = head.offset
    bytes = frame
    records = reader.position..<(reader.position + Int(head.count))
  }
}

extension RandomID {
  package init?(_ data: Data) { self.init(Array(data)) }
}

extension Holdfast_PairHello {
  /// The durable record, if the message holds a valid one.
  package var record: RoleRecord? {
    guard let id = RandomID(Array(reign)), epoch <= Limits.epochMax,
      let part = RoleRecord.Part(rawValue: UInt8(clamping: part))
    else { return nil }
    return RoleRecord(reign: Reign(epoch: Epoch(rawValue: epoch), id: id), part: part)
  }

  package mutating func set(_ record: RoleRecord) {
    epoch = record.reign.epoch.rawValue
    reign = Data(record.reign.id.bytes)
    part = UInt32(record.part.rawValue)
  }
}
