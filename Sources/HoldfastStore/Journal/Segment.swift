package import HoldfastBytes
package import HoldfastCore

/// What a record of a segment holds; docs/format.md has the bytes.
package enum RecordKind: UInt8, Sendable {
  /// Content of files, or a list of references.
  case chunk = 1
  /// Changed places of one attempt at a point.
  case changes = 2
  /// Makes an attempt a point.
  case seal = 3
  /// What the standby itself decided: points dropped, pinned, promoted.
  case note = 4
  /// Rows of the index that retention carried over into a new segment.
  case carried = 5
  /// Part of a large file that is still being read: see ``FilePart``.
  case part = 6
}

/// The start of a segment's file.
package struct SegmentHeader: Hashable, Sendable {
  package static let encodedBytes = 144
  private static let magic = Array("HOLDFAST".utf8)
  private static let version: UInt16 = 1

  package var pair: RandomID
  package var id: RandomID
  package var salt: Digest32
  package var reign: Reign
  package var writer: Fingerprint
  package var suite: Suite

  package init(
    pair: RandomID, id: RandomID, salt: Digest32, reign: Reign, writer: Fingerprint,
    suite: Suite = .aes256gcm
  ) {
    self.pair = pair
    self.id = id
    self.salt = salt
    self.reign = reign
    self.writer = writer
    self.suite = suite
  }

  package var encoded: [UInt8] {
    var out = Writer()
    out.raw(Self.magic)
    out.fixed(Self.version)
    out.fixed(suite.rawValue)
    out.fixed(UInt8(0))
    out.fixed(UInt32(Self.encodedBytes))
    out.raw(pair.bytes)
    out.raw(id.bytes)
    out.digest(salt)
    out.fixed(reign.epoch.rawValue)
    out.raw(reign.id.bytes)
    out.digest(writer.digest)
    out.fixed(UInt32(0))
    out.fixed(Crc32c.checksum(out.bytes, 0..<out.bytes.count))
    return out.bytes
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    guard bytes.count >= Self.encodedBytes else { throw .short }
    var reader = Reader(bytes, 0..<Self.encodedBytes)
    guard try reader.raw(8) == Self.magic else { throw .invalid("not a segment") }
    let version = try reader.fixed(UInt16.self)
    guard version == Self.version else { throw .invalid("segment version \(version)") }
    guard let suite = Suite(rawValue: try reader.fixed(UInt8.self)) else {
      throw .invalid("segment suite")
    }
    _ = try reader.fixed(UInt8.self)
    guard try reader.fixed(UInt32.self) == UInt32(Self.encodedBytes) else {
      throw .invalid("segment header length")
    }
    let sum = Crc32c.checksum(bytes, 0..<(Self.encodedBytes - 4))
    self.init(
      pair: try reader.random(), id: try reader.random(), salt: try reader.digest(),
      reign: Reign(
        epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random()),
      writer: Fingerprint(try reader.digest()), suite: suite)
    _ = try reader.fixed(UInt32.self)
    guard try reader.fixed(UInt32.self) == sum else { throw .invalid("segment header checksum") }
  }

  /// The key that encrypts this segment's records and no other's.
  func key(_ secret: PairSecret) -> [UInt8] {
    Derivation.derive(
      secret.bytes, salt: salt.bytes, info: Array("holdfast segment".utf8) + encoded, count: 32)
  }
}

/// The secret of a pair: 256 bits made by its first primary.
package struct PairSecret: Sendable {
  package let bytes: [UInt8]
  /// - Returns: `nil` unless there are 32 bytes.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    self.bytes = bytes
  }
  package var gearKey: [UInt8] { Derivation.expand(bytes, info: "holdfast gear", count: 32) }
  package var nameKey: [UInt8] { Derivation.expand(bytes, info: "holdfast names", count: 32) }
  package var treeKey: [UInt8] { Derivation.expand(bytes, info: "holdfast tree", count: 32) }
  package var sealKey: [UInt8] { Derivation.expand(bytes, info: "holdfast seal", count: 32) }
}

/// The clear part of a record. The length and checksum stand before it.
package struct RecordHeader: Hashable, Sendable {
  /// Length and checksum: four bytes each.
  package static let prefixBytes = 8
  package static let encodedBytes = 44
  /// What a record takes beside its content.
  static let overheadBytes = prefixBytes + encodedBytes + RecordCipher.tagBytes

  package var kind: RecordKind
  package var codec: Codec
  package var plainBytes: Int
  package var counter: UInt32
  package var name: ChunkName

  func encode(into out: inout Writer) {
    out.fixed(kind.rawValue)
    out.fixed(codec.rawValue)
    out.fixed(UInt16(0))
    out.fixed(UInt32(plainBytes))
    out.fixed(counter)
    out.digest(name.digest)
  }

  init(kind: RecordKind, codec: Codec, plainBytes: Int, counter: UInt32, name: ChunkName) {
    self.kind = kind
    self.codec = codec
    self.plainBytes = plainBytes
    self.counter = counter
    self.name = name
  }

  init(from reader: inout Reader) throws(CodingError) {
    guard let kind = RecordKind(rawValue: try reader.fixed(UInt8.self)),
      let codec = Codec(rawValue: try reader.fixed(UInt8.self))
    else { throw .invalid("kind or codec of a record") }
    guard try reader.fixed(UInt16.self) == 0 else { throw .invalid("flags of a record") }
    let plainBytes = Int(try reader.fixed(UInt32.self))
    guard plainBytes <= Limits.recordPlainBytesMax else { throw .invalid("record too long") }
    self.init(
      kind: kind, codec: codec, plainBytes: plainBytes, counter: try reader.fixed(),
      name: ChunkName(try reader.digest()))
  }

  /// What is authenticated beside the record's own bytes.
  func additional(_ segment: SegmentHeader) -> [UInt8] {
    var out = Writer()
    out.fixed(UInt16(1))
    out.fixed(segment.suite.rawValue)
    out.raw(segment.pair.bytes)
    out.fixed(segment.reign.epoch.rawValue)
    out.raw(segment.reign.id.bytes)
    encode(into: &out)
    return out.bytes
  }
}

/// Makes the bytes of one segment's records. Never used again once its segment is closed, so no
/// counter is ever used twice with one key.
package final class SegmentEncoder {
  package let header: SegmentHeader
  private let cipher: RecordCipher
  private var counter: UInt32 = 0

  package init(header: SegmentHeader, secret: PairSecret) {
    self.header = header
    cipher = RecordCipher(key: header.key(secret))
  }

  /// Appends one record to `out`.
  package func append(
    _ kind: RecordKind, name: ChunkName, _ plain: [UInt8], _ range: Range<Int>,
    compressor: Compressor, codec: Codec, into out: inout [UInt8]
  ) {
    precondition(range.count <= Limits.recordPlainBytesMax, "record of \(range.count) bytes")
    let smaller = compressor.compress(plain, range)
    let record = RecordHeader(
      kind: kind, codec: smaller == nil ? .none : codec, plainBytes: range.count,
      counter: counter, name: name)
    let body = smaller ?? plain[range]
    let start = out.count
    var head = Writer()
    head.fixed(UInt32(RecordHeader.encodedBytes + body.count + RecordCipher.tagBytes))
    head.fixed(UInt32(0))
    record.encode(into: &head)
    out.append(contentsOf: head.bytes)
    cipher.encrypt(
      body, counter: UInt64(counter), authenticating: record.additional(header), into: &out)
    let sum = Crc32c.checksum(out, (start + RecordHeader.prefixBytes)..<out.count)
    for index in 0..<4 {
      out[start + 4 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index))
    }
    let (next, overflow) = counter.addingReportingOverflow(1)
    precondition(!overflow, "segment with 2^32 records")
    counter = next
  }
}

/// A record as it lies in a segment.
package struct RawRecord: Sendable {
  package var header: RecordHeader
  /// The whole record in `bytes`, from its length to its tag.
  package var range: Range<Int>

  /// Finds the record that begins at `start`.
  /// - Returns: `nil` where the bytes end before the record does.
  /// - Throws: where the bytes cannot be a record.
  package static func parse(
    _ bytes: [UInt8], at start: Int, end: Int, checking: Bool
  ) throws(CodingError) -> RawRecord? {
    guard end - start >= RecordHeader.prefixBytes + RecordHeader.encodedBytes else { return nil }
    var reader = Reader(bytes, start..<end)
    let length = Int(try reader.fixed(UInt32.self))
    let sum = try reader.fixed(UInt32.self)
    let least = RecordHeader.encodedBytes + RecordCipher.tagBytes
    guard length >= least, length <= least + Limits.recordPlainBytesMax else {
      throw .invalid("length of a record")
    }
    let header = try RecordHeader(from: &reader)
    let whole = RecordHeader.prefixBytes + length
    guard end - start >= whole else { return nil }
    if checking {
      let body = (start + RecordHeader.prefixBytes)..<(start + whole)
      guard Crc32c.checksum(bytes, body) == sum else { throw .invalid("checksum of a record") }
    }
    return RawRecord(header: header, range: start..<(start + whole))
  }
}
