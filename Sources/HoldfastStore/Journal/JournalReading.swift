import HoldfastBytes
package import HoldfastCore

/// Reading records, one where the index says it lies, or all in their order.
extension Journal {
  private static let scanBytes = 4 << 20
  private static let headBytes = RecordHeader.prefixBytes + RecordHeader.encodedBytes
  /// Of headers that are stepped over: several of small records, and little more of large ones.
  private static let headsBytes = 4 << 10

  /// Calls `body` with every whole record of a segment from `offset` on, in order.
  /// - Parameter damaged: told of what is not a record any more, which is stepped over as far as
  ///   its length can be believed; otherwise the scan ends with an error there.
  package func scan(
    _ number: UInt64, from offset: Int64,
    damaged: (RecordPosition, String) throws -> Void = { throw JournalError.damaged($0, $1) },
    _ body: (RecordPosition, [UInt8], RawRecord) throws -> Void
  ) throws {
    var offset = max(offset, Int64(SegmentHeader.encodedBytes))
    guard let info = segments[number] else { return }
    while offset < info.size {
      let bytes = try readableBytes(number, at: offset, count: Self.scanBytes)
      var start = 0
      while start < bytes.count {
        let position = RecordPosition(segment: number, offset: offset + Int64(start))
        let record: RawRecord?
        do throws(CodingError) {
          record = try RawRecord.parse(bytes, at: start, end: bytes.count, checking: true)
        } catch {
          try damaged(position, "\(error)")
          guard let next = Self.end(ofDamaged: bytes, at: start) else { return }
          start = next
          continue
        }
        guard let record else { break }
        try body(position, bytes, record)
        start = record.range.upperBound
      }
      if start == 0 {
        return try damaged(RecordPosition(segment: number, offset: offset), "record cut short")
      }
      offset += Int64(start)
    }
  }

  /// Where a record ends whose checksum is wrong, if its length still makes sense.
  private static func end(ofDamaged bytes: [UInt8], at start: Int) -> Int? {
    do throws(CodingError) {
      let record = try RawRecord.parse(bytes, at: start, end: bytes.count, checking: false)
      return record?.range.upperBound
    } catch {
      return nil
    }
  }

  /// For a reader: calls `body` with what records of some kinds hold, between two positions,
  /// whatever their files; the others are stepped over unread.
  package func forEach(
    _ kinds: Set<RecordKind>, from start: RecordPosition, upTo end: RecordPosition,
    _ body: (_ position: RecordPosition, _ kind: RecordKind, _ plain: [UInt8]) throws -> Void
  ) throws {
    guard start < end else { return }
    try loadNames()
    // What was read before it was durable may have been cut off since.
    window = nil
    for number in names.keys.sorted() where (start.segment...end.segment).contains(number) {
      // Takes down how long the file is by now.
      _ = try bytes(number, at: 0, count: 0)
      var offset = max(
        number == start.segment ? start.offset : 0, Int64(SegmentHeader.encodedBytes))
      let last = number == end.segment ? end.offset : segments[number]?.size ?? 0
      var seen: (offset: Int64, bytes: [UInt8]) = (0, [])
      while offset < last {
        let position = RecordPosition(segment: number, offset: offset)
        if offset + Int64(Self.headBytes) > seen.offset + Int64(seen.bytes.count) {
          seen = (offset, try readableBytes(number, at: offset, count: Self.headsBytes))
        }
        var reader = Reader(seen.bytes, Int(offset - seen.offset)..<seen.bytes.count)
        let length = Int64(try reader.fixed(UInt32.self))
        _ = try reader.fixed(UInt32.self)
        let kind = try RecordHeader(from: &reader).kind
        if kinds.contains(kind) { try body(position, kind, try record(at: position).plain) }
        offset += Int64(RecordHeader.prefixBytes) + length
      }
    }
  }

  /// For a reader that will hardly come back to what lies between two positions, which is durable:
  /// the page cache need not hold it.
  package func release(from start: RecordPosition, upTo end: RecordPosition) {
    guard start < end else { return }
    for number in start.segment...end.segment {
      guard let info = segments[number] else { continue }
      let from = number == start.segment ? start.offset : 0
      let to = number == end.segment ? end.offset : info.size
      if from < to { (try? file(number))?.release(from..<to) }
    }
  }

  /// The decrypted, decompressed bytes of a record.
  package func plain(
    _ number: UInt64, _ bytes: [UInt8], _ record: RawRecord, at position: RecordPosition
  ) throws(JournalError) -> [UInt8] {
    guard let info = segments[number] else { throw .absent(position) }
    let cipher: RecordCipher
    if let known = ciphers[number] {
      cipher = known
    } else {
      if ciphers.count >= Self.filesMax { ciphers.removeAll() }
      cipher = RecordCipher(key: info.header.key(secret))
      ciphers[number] = cipher
    }
    let start = record.range.lowerBound + RecordHeader.prefixBytes + RecordHeader.encodedBytes
    let header = record.header
    do {
      let body = try cipher.decrypt(
        bytes[start..<record.range.upperBound], counter: UInt64(header.counter),
        authenticating: header.additional(info.header))
      return try decompressor.decompress(header.codec, body, plainCount: header.plainBytes)
    } catch {
      throw .damaged(position, "record does not decrypt")
    }
  }

  /// Reads one record where the index says it lies.
  package func record(
    at position: RecordPosition
  ) throws(JournalError) -> (header: RecordHeader, plain: [UInt8]) {
    var (bytes, start) = try window(position, count: Self.headBytes)
    var raw = try parse(bytes, start, position)
    if raw == nil, bytes.count - start >= RecordHeader.prefixBytes {
      let length = (0..<4).reduce(0) { $0 | Int(bytes[start + $1]) << (8 * $1) }
      (bytes, start) = try window(
        position, count: min(RecordHeader.prefixBytes + length, Limits.recordBytesMax))
      raw = try parse(bytes, start, position)
    }
    guard let raw else { throw .damaged(position, "record cut short") }
    return (raw.header, try plain(position.segment, bytes, raw, at: position))
  }

  /// Bytes that hold what begins at `position`, and where in them that is. Where it lies behind
  /// what was read last, more is read at once.
  private func window(
    _ position: RecordPosition, count: Int
  ) throws(JournalError) -> (bytes: [UInt8], start: Int) {
    var isNext = false
    if let window, window.segment == position.segment, position.offset >= window.offset {
      let start = position.offset - window.offset
      if start + Int64(count) <= Int64(window.bytes.count) { return (window.bytes, Int(start)) }
      isNext = start <= Int64(window.bytes.count)
    }
    let read = try readableBytes(
      position.segment, at: position.offset,
      count: max(count, isNext ? Limits.journalAheadBytes : Limits.journalReadBytes))
    window = (position.segment, position.offset, read)
    return (read, 0)
  }

  private func parse(
    _ bytes: [UInt8], _ start: Int, _ position: RecordPosition
  ) throws(JournalError) -> RawRecord? {
    do throws(CodingError) {
      // The tag that comes with decrypting says more than the checksum.
      return try RawRecord.parse(bytes, at: start, end: bytes.count, checking: false)
    } catch {
      throw .damaged(position, "\(error)")
    }
  }
}
