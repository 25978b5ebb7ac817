import HoldfastBytes
package import HoldfastCore

/// Why the journal could not do what was asked.
package enum JournalError: Error, Hashable, Sendable {
  case disk(DiskError)
  /// A record is not what was written: where, and what is wrong.
  case damaged(RecordPosition, String)
  case absent(RecordPosition)
}

/// One file of the journal.
package struct SegmentInfo: Sendable {
  package var header: SegmentHeader
  /// Where in its writer's segment the records of this file begin: a segment that was interrupted
  /// by another continues in a file of its own.
  package var base: Int64
  /// Bytes of header and whole records.
  package var size: Int64
  /// Bytes known to have survived a flush.
  package var flushed: Int64

  /// Where in its writer's segment this file ends.
  package var writerSize: Int64 { base + size - Int64(SegmentHeader.encodedBytes) }
  package var writerFlushed: Int64 { base + flushed - Int64(SegmentHeader.encodedBytes) }
}

/// Append-only segment files in one folder: the standby's journal, and the primary's spool. Holds
/// bytes and order; knows nothing of trees. Not shared between threads.
package final class Journal {
  private let disk: any Disk
  private let secret: PairSecret
  package private(set) var segments: [UInt64: SegmentInfo] = [:]
  private var files: [UInt64: any DiskFile] = [:]
  private var ciphers: [UInt64: RecordCipher] = [:]
  private let decompressor = Decompressor()
  /// What was read last, for records that lie behind one another.
  private var window: (segment: UInt64, offset: Int64, bytes: [UInt8])?
  private static let filesMax = 64
  private static let tailSegments = 4
  private static let scanBytes = 4 << 20
  private static let headBytes = RecordHeader.prefixBytes + RecordHeader.encodedBytes
  /// Of headers that are stepped over: several of small records, and little more of large ones.
  private static let headsBytes = 4 << 10
  private var names: [UInt64: String] = [:]
  /// A second view, for another thread, on files that somebody else appends to.
  private let isReader: Bool

  /// Segments in which a record is wrong that was durable: nothing is appended to them.
  package private(set) var damaged: Set<UInt64> = []

  /// Opens the folder and cuts off what a crash left unfinished at the end of the last segments.
  /// Segments that cannot be read at all are reported and left alone.
  /// - Parameters:
  ///   - durable: up to where all is known to have survived a flush: what is wrong before it is
  ///     damage, which is reported and left alone; what is wrong behind it a crash cut short.
  ///     `nil` where nobody knows: then what whole records follow is damage.
  ///   - damage: told where a durable record is wrong.
  package init(
    disk: any Disk, secret: PairSecret, durable: RecordPosition? = .start,
    damage: (RecordPosition) -> Void = { _ in }, unreadable: (String, CodingError) -> Void
  ) throws(JournalError) {
    self.disk = disk
    self.secret = secret
    isReader = false
    try loadNames()
    let numbers = names.keys
    for number in numbers.sorted() {
      // A few segments may be open for appending at one time.
      let isTail = numbers.filter { $0 > number }.count < Self.tailSegments
      try open(number, isLast: isTail, unreadable: unreadable)
      if isTail, segments[number] != nil { try cutTail(number, durable, damage) }
    }
  }

  /// A view that only reads, and finds new segments as they come.
  package init(reading disk: any Disk, secret: PairSecret) {
    self.disk = disk
    self.secret = secret
    isReader = true
  }

  private func loadNames() throws(JournalError) {
    names = [:]
    for name in try Self.asking({ () throws(DiskError) in try disk.list() }) {
      guard name.hasSuffix(".seg") else { continue }
      let parts = name.dropLast(4).split(separator: "-")
      guard let first = parts.first, let number = UInt64(first, radix: 16) else { continue }
      names[number] = name
    }
  }

  private static func makeName(_ number: UInt64, base: Int64) -> String {
    let digits = String(number, radix: 16)
    let start = String(repeating: "0", count: 16 - digits.count) + digits
    let isFirst = base == Int64(SegmentHeader.encodedBytes)
    return isFirst ? start + ".seg" : "\(start)-\(String(base, radix: 16)).seg"
  }

  private static func base(ofName name: String) -> Int64 {
    let parts = name.dropLast(4).split(separator: "-")
    guard parts.count == 2, let base = Int64(parts[1], radix: 16) else {
      return Int64(SegmentHeader.encodedBytes)
    }
    return base
  }

  private func name(_ number: UInt64) throws(JournalError) -> String {
    if let name = names[number] { return name }
    if isReader { try loadNames() }
    guard let name = names[number] else {
      throw .absent(RecordPosition(segment: number, offset: 0))
    }
    return name
  }

  private static func asking<T>(_ body: () throws(DiskError) -> T) throws(JournalError) -> T {
    do throws(DiskError) { return try body() } catch { throw .disk(error) }
  }

  private func open(
    _ number: UInt64, isLast: Bool, unreadable: (String, CodingError) -> Void
  ) throws(JournalError) {
    let name = try self.name(number)
    let file = try Self.asking { () throws(DiskError) in try disk.open(name, writable: isLast) }
    let size = try Self.asking { () throws(DiskError) in try file.size() }
    let start = try Self.asking { () throws(DiskError) in
      try file.read(at: 0, count: SegmentHeader.encodedBytes)
    }
    do throws(CodingError) {
      let header = try SegmentHeader(decoding: start)
      segments[number] = SegmentInfo(
        header: header, base: Self.base(ofName: name), size: size, flushed: size)
    } catch {
      if isLast, size < Int64(SegmentHeader.encodedBytes) {
        // The crash came before the header was whole: nothing was ever acknowledged from it.
        try Self.asking { () throws(DiskError) in try disk.remove(name) }
        names[number] = nil
      } else {
        unreadable(name, error)
      }
      return
    }
    files[number] = file
  }

  /// Ends a segment where what can be trusted of it ends.
  private func cutTail(
    _ number: UInt64, _ durable: RecordPosition?, _ damage: (RecordPosition) -> Void
  ) throws(JournalError) {
    guard let size = segments[number]?.size else { return }
    var whole = Int64(SegmentHeader.encodedBytes)
    var wrong: [RecordPosition] = []
    do {
      try scan(number, from: whole, damaged: { position, _ in wrong.append(position) }) {
        position, _, record in
        whole = position.offset + Int64(record.range.count)
      }
    } catch JournalError.disk(let error) {
      throw .disk(error)
    } catch {}
    let known =
      durable.map { $0.segment == number ? $0.offset : $0.segment > number ? size : 0 } ?? whole
    for position in wrong where position.offset < known {
      damaged.insert(number)
      damage(position)
    }
    let end = wrong.first { $0.offset >= known }?.offset ?? max(whole, min(known, size))
    if end < size { try cut(number, to: end) }
  }

  /// Drops all of a segment from `size` on, durably.
  package func cut(_ number: UInt64, to size: Int64) throws(JournalError) {
    let file = try self.file(number)
    try Self.asking { () throws(DiskError) in
      try file.truncate(to: size)
      try file.flush()
    }
    window = nil
    segments[number]?.size = size
    segments[number]?.flushed = size
  }

  package var lastNumber: UInt64? { segments.keys.max() }
  package var sizeBytes: Int64 { segments.values.reduce(0) { $0 + $1.size } }

  /// The file that holds the end of the segment with this id.
  package func number(of id: RandomID) -> UInt64? {
    segments.filter { $0.value.header.id == id }.keys.max()
  }

  /// Begins a segment file, durable as a name.
  /// - Parameters:
  ///   - base: see ``SegmentInfo/base``.
  ///   - ordered: flush all earlier ones, so that what this one holds never outlives what came
  ///     before it; otherwise the caller sees to it before that matters.
  package func begin(
    _ header: SegmentHeader, base: Int64 = Int64(SegmentHeader.encodedBytes),
    ordered: Bool = true
  ) throws(JournalError) -> UInt64 {
    if ordered { try flush() }
    let number = max(lastNumber ?? 0, names.keys.max() ?? 0) + 1
    let name = Self.makeName(number, base: base)
    let bytes = header.encoded
    let file = try Self.asking { () throws(DiskError) in
      let file = try disk.create(name)
      try file.write(bytes, 0..<bytes.count, at: 0)
      try file.flush()
      try disk.flushNames()
      return file
    }
    trimFiles()
    names[number] = name
    files[number] = file
    let size = Int64(bytes.count)
    segments[number] = SegmentInfo(header: header, base: base, size: size, flushed: size)
    return number
  }

  /// Appends whole records. After a throw the segment's size is what it was.
  package func append(
    _ number: UInt64, _ bytes: [UInt8], _ range: Range<Int>
  ) throws(JournalError) {
    guard let info = segments[number] else {
      throw .absent(RecordPosition(segment: number, offset: 0))
    }
    let file = try self.file(number)
    try Self.asking { () throws(DiskError) in try file.write(bytes, range, at: info.size) }
    segments[number]?.size = info.size + Int64(range.count)
  }

  /// Returns once all of the segment is durable. After a throw, what was appended since the last
  /// success is cut off, for nothing more can be said about it.
  package func flush(_ number: UInt64) throws(JournalError) {
    guard let info = segments[number], info.flushed < info.size else { return }
    let file = try self.file(number)
    do throws(DiskError) {
      try file.flush()
    } catch {
      files[number] = nil
      segments[number]?.size = info.flushed
      // Best effort: the next start cuts the tail by its checksums anyway.
      try? cut(number, to: info.flushed)
      throw .disk(error)
    }
    segments[number]?.flushed = info.size
  }

  /// Flushes every segment that needs it.
  package func flush() throws(JournalError) {
    for number in segments.keys.sorted() { try flush(number) }
  }

  package func remove(_ number: UInt64) throws(JournalError) {
    files[number] = nil
    ciphers[number] = nil
    segments[number] = nil
    window = nil
    guard let name = names.removeValue(forKey: number) else { return }
    try Self.asking { () throws(DiskError) in
      try disk.remove(name)
      try disk.flushNames()
    }
  }

  package func freeBytes() throws(JournalError) -> Int64 {
    try Self.asking { () throws(DiskError) in try disk.freeBytes() }
  }

  private func trimFiles() {
    guard files.count >= Self.filesMax else { return }
    for file in files.values { file.close() }
    files.removeAll()
    ciphers.removeAll()
  }

  private func file(_ number: UInt64) throws(JournalError) -> any DiskFile {
    if let known = files[number] { return known }
    trimFiles()
    let name = try self.name(number)
    let file = try Self.asking { () throws(DiskError) in
      try disk.open(name, writable: !isReader)
    }
    files[number] = file
    return file
  }

  /// Raw bytes of a segment.
  package func bytes(
    _ number: UInt64, at offset: Int64, count: Int
  ) throws(JournalError) -> [UInt8] {
    let file = try self.file(number)
    if isReader { try refresh(number, file) }
    guard let info = segments[number], offset <= info.size else {
      throw .absent(RecordPosition(segment: number, offset: offset))
    }
    let wanted = min(count, Int(info.size - offset))
    return try Self.asking { () throws(DiskError) in try file.read(at: offset, count: wanted) }
  }

  private func refresh(_ number: UInt64, _ file: any DiskFile) throws(JournalError) {
    let size = try Self.asking { () throws(DiskError) in try file.size() }
    if segments[number] != nil {
      segments[number]?.size = size
      return
    }
    let start = try Self.asking { () throws(DiskError) in
      try file.read(at: 0, count: SegmentHeader.encodedBytes)
    }
    do throws(CodingError) {
      segments[number] = SegmentInfo(
        header: try SegmentHeader(decoding: start), base: Self.base(ofName: names[number] ?? ""),
        size: size, flushed: 0)
    } catch {
      throw .damaged(RecordPosition(segment: number, offset: 0), "\(error)")
    }
  }

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
      let bytes = try self.bytes(number, at: offset, count: Self.scanBytes)
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

  /// For a reader: calls `body` with what records of one kind hold, between two positions, whatever
  /// their files; the others are stepped over unread.
  package func forEach(
    _ kind: RecordKind, from start: RecordPosition, upTo end: RecordPosition,
    _ body: (_ plain: [UInt8]) throws -> Void
  ) throws {
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
          seen = (offset, try bytes(number, at: offset, count: Self.headsBytes))
        }
        var reader = Reader(seen.bytes, Int(offset - seen.offset)..<seen.bytes.count)
        let length = Int64(try reader.fixed(UInt32.self))
        _ = try reader.fixed(UInt32.self)
        if try RecordHeader(from: &reader).kind == kind { try body(try record(at: position).plain) }
        offset += Int64(RecordHeader.prefixBytes) + length
      }
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
    let read = try bytes(
      position.segment, at: position.offset,
      count: max(count, isNext ? Limits.journalAheadBytes : Limits.journalReadBytes))
    window = (position.segment, position.offset, read)
    return (read, 0)
  }

  private func parse(
    _ bytes: [UInt8], _ start: Int, _ position: RecordPosition
  ) throws(JournalError) -> RawRecord? {
    do throws(CodingError) {
      return try RawRecord.parse(bytes, at: start, end: bytes.count, checking: true)
    } catch {
      throw .damaged(position, "\(error)")
    }
  }
}
