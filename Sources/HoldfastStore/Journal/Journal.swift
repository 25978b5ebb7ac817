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
  let secret: PairSecret
  package private(set) var segments: [UInt64: SegmentInfo] = [:]
  private var files: [UInt64: any DiskFile] = [:]
  /// Up to where the disk was told to begin: see ``beginFlush(_:)``.
  private var begun: (number: UInt64, upTo: Int64)?
  var ciphers: [UInt64: RecordCipher] = [:]
  let decompressor = Decompressor()
  /// What was read last, for records that lie behind one another.
  var window: (segment: UInt64, offset: Int64, bytes: [UInt8])?
  static let filesMax = 64
  private static let tailSegments = 4
  var names: [UInt64: String] = [:]
  /// A second view, for another thread, on files that somebody else appends to.
  private let isReader: Bool

  /// Segments in which a record is wrong that was durable: nothing is appended to them.
  package private(set) var damaged: Set<UInt64> = []
  /// Segments whose head is not what was written.
  package private(set) var unreadable: Set<UInt64> = []

  /// Opens the folder and cuts off what a crash left unfinished at the end of the last segments.
  /// Segments that cannot be read at all are reported and left alone.
  /// - Parameters:
  ///   - durable: up to where all is known to have survived a flush: what is wrong before it is
  ///     damage, which is reported and left alone; what is wrong behind it a crash cut short.
  ///     `nil` where nobody knows: then what whole records follow is damage.
  ///   - isTruth: whether all that is found is durable when this returns. What is not known to have
  ///     survived a flush is written once more first: where a flush failed it may be taken for
  ///     clean, and would never be written (docs/decisions/0008-what-is-found-is-written-again.md).
  ///   - damage: told where a durable record is wrong.
  package init(
    disk: any Disk, secret: PairSecret, durable: RecordPosition? = .start, isTruth: Bool = false,
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
      guard isTail, segments[number] != nil else { continue }
      try cutTail(number, durable, damage)
      if isTruth { try writeAgain(number, from: durable ?? .start) }
    }
  }

  /// Makes durable what of a segment is not known to be.
  private func writeAgain(_ number: UInt64, from durable: RecordPosition) throws(JournalError) {
    guard let size = segments[number]?.size, number >= durable.segment else { return }
    let file = try self.file(number)
    var offset = number == durable.segment ? min(durable.offset, size) : 0
    try Self.asking { () throws(DiskError) in
      guard offset < size else { return }
      while offset < size {
        let count = min(Limits.dataBytes, Int(size - offset))
        var end = offset
        try Self.readInPieces(file, at: offset, count: count) { bytes, start throws(DiskError) in
          end = start + Int64(bytes.count)
          try file.write(bytes, 0..<bytes.count, at: start)
        }
        // What cannot be read was found damaged, and stays as it is.
        offset = max(end, offset + Int64(count))
      }
      try file.flush()
    }
  }

  /// A view that only reads, and finds new segments as they come.
  package init(reading disk: any Disk, secret: PairSecret) {
    self.disk = disk
    self.secret = secret
    isReader = true
  }

  func loadNames() throws(JournalError) {
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

  static func asking<T>(_ body: () throws(DiskError) -> T) throws(JournalError) -> T {
    do throws(DiskError) { return try body() } catch { throw .disk(error) }
  }

  private func open(
    _ number: UInt64, isLast: Bool, unreadable: (String, CodingError) -> Void
  ) throws(JournalError) {
    let name = try self.name(number)
    let file = try Self.asking { () throws(DiskError) in try disk.open(name, writable: isLast) }
    let size = try Self.asking { () throws(DiskError) in try file.size() }
    let start = try Self.head(file)
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
        self.unreadable.insert(number)
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
      do throws(DiskError) {
        try file.write(bytes, 0..<bytes.count, at: 0)
        try file.flush()
        try disk.flushNames()
      } catch {
        // Nothing is in it, and its name would stand in the way of the next try.
        try? disk.remove(name)
        throw error
      }
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

  /// Has the disk begin with what was appended to a segment, in portions: then less is left for
  /// ``flush(_:)``, which stands still for it.
  package func beginFlush(_ number: UInt64) {
    guard let info = segments[number], let file = files[number] else { return }
    let from = begun.map { $0.number == number ? max($0.upTo, info.flushed) : info.flushed }
    let first = from ?? info.flushed
    // What is yet to be added to would go to the disk twice.
    let end = info.size & ~4095
    guard end - first >= Limits.flushPortionBytes else { return }
    file.begin(first..<end)
    begun = (number, end)
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

  func file(_ number: UInt64) throws(JournalError) -> any DiskFile {
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
    let start = try Self.head(file)
    do throws(CodingError) {
      segments[number] = SegmentInfo(
        header: try SegmentHeader(decoding: start), base: Self.base(ofName: names[number] ?? ""),
        size: size, flushed: 0)
    } catch {
      throw .damaged(RecordPosition(segment: number, offset: 0), "\(error)")
    }
  }
}
