package import FoundationEssentials
package import HoldfastCore
import SwiftProtobuf

/// Frames as bytes, and back.
package enum Frames {
  package static let version: UInt32 = 1

  package static func encode(_ body: Holdfast_Frame.OneOf_Body) -> [UInt8] {
    var frame = Holdfast_Frame()
    frame.body = body
    return encode(frame)
  }

  private static func encode(_ frame: Holdfast_Frame) -> [UInt8] {
    do {
      return try frame.serializedBytes()
    } catch {
      // Only messages beyond 2 GiB or with missing proto2 fields can fail.
      preconditionFailure("frame that does not serialise: \(error)")
    }
  }

  /// - Throws: what is wrong with bytes that a peer sent.
  package static func decode(_ bytes: [UInt8]) throws(CodingError) -> Holdfast_Frame.OneOf_Body {
    let frame: Holdfast_Frame
    do {
      frame = try Holdfast_Frame(serializedBytes: bytes)
    } catch {
      throw .invalid("frame: \(error)")
    }
    guard let body = frame.body else { throw .invalid("frame of an unknown kind") }
    return body
  }

  package static func segmentBegin(pair: String, header: [UInt8]) -> [UInt8] {
    var message = Holdfast_SegmentBegin()
    message.pair = pair
    message.header = Data(header)
    return encode(.segmentBegin(message))
  }

  /// Padded, so that lengths tell little: to a multiple of 1/32 of the next power of two, at least
  /// of 512 bytes and never by more than 5 % plus 4 KiB.
  package static func segmentData(
    pair: String, segment: RandomID, offset: Int64, records: [UInt8]
  ) -> [UInt8] {
    var message = Holdfast_SegmentData()
    message.pair = pair
    message.segment = Data(segment.bytes)
    message.offset = offset
    message.records = Data(records)
    var frame = Holdfast_Frame()
    frame.body = .segmentData(message)
    let step = max(512, nextPowerOfTwo(records.count) / 32)
    frame.padding = Data(count: (step - records.count % step) % step)
    return encode(frame)
  }

  private static func nextPowerOfTwo(_ count: Int) -> Int {
    count <= 1 ? 1 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
  }
}

extension RandomID {
  package init?(_ data: Data) { self.init(Array(data)) }
}

extension Holdfast_PairHello {
  /// The durable record, if the message holds a valid one.
  package var record: RoleRecord? {
    guard let id = RandomID(Array(reign)),
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
