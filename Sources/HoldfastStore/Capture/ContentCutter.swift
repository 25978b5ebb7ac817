import HoldfastBytes
package import HoldfastCore

/// Takes chunks and says what they are called; sends on what the other side does not hold.
package protocol ChunkSink: AnyObject {
  func store(_ bytes: [UInt8], _ range: Range<Int>) throws -> ChunkName
  /// Whether a chunk is known to be held by the other side.
  func holds(_ name: ChunkName) throws -> Bool
}

/// Cuts a file's bytes into chunks, and long lists of chunks into chunks of their own.
package final class ContentCutter {
  private let cutter: Cutter
  private var buffer = [UInt8](repeating: 0, count: ContentCutter.bufferBytes)
  /// Of everything read: several chunks, so that little is moved about between reads.
  private static let bufferBytes = 1 << 20
  /// A list is cut where a name's low bits are zero: about every 128 references.
  private static let listMask: UInt64 = 127
  private static let listMin = 32
  private static let listMax = 512

  package init(secret: PairSecret) {
    cutter = Cutter(
      key: secret.gearKey,
      bounds: CutBounds(
        min: Limits.chunkBytesMin, mean: Limits.chunkBytesMean, max: Limits.chunkBytesMax))
  }

  /// Reads a whole file.
  /// - Parameters:
  ///   - size: what its status said; where the file turns out to have another size, the content
  ///     covers what was read.
  ///   - history: what is not told there to have changed is not read; told of what was read.
  ///   - part: told of runs of references while more are still to come.
  package func content(
    of file: any ReadableFile, size: Int64, sparse: Bool, into sink: any ChunkSink,
    history: ContentHistory? = nil,
    part: ((_ offset: Int64, _ references: [ChunkReference]) throws -> Void)? = nil
  ) throws -> (content: Content, size: Int64) {
    var lists = ListCutter(sink: sink, part: part)
    var offset: Int64 = 0
    var learned: [ChunkReference]?
    if sparse {
      while offset < size, let data = try file.data(from: offset) {
        if data.lowerBound > offset {
          try lists.next(ChunkReference(name: .hole, length: data.lowerBound - offset))
        }
        let end = min(data.upperBound, size)
        offset = try cut(file, data.lowerBound..<end, &lists, sink)
        if offset < end { break }
      }
      if offset < size {
        try lists.next(ChunkReference(name: .hole, length: size - offset))
        offset = size
      }
    } else if let history {
      var earlier = EarlierCuts(history, size: size)
      lists.collected = []
      lists.collectedMax = history.room
      offset = try cut(file, size, &earlier, &lists, sink)
      // Otherwise the file is another than its status said.
      if offset == size { learned = lists.collected }
    } else {
      offset = try cut(file, 0..<size, &lists, sink)
    }
    history?.learn(learned, size: size)
    return (try lists.finish(), offset)
  }

  /// - Returns: where reading ended; before the range's end only where the file did.
  private func cut(
    _ file: any ReadableFile, _ range: Range<Int64>, _ lists: inout ListCutter,
    _ sink: any ChunkSink
  ) throws -> Int64 {
    var readTo = range.lowerBound
    var start = 0
    var end = 0
    var isLast = false
    while true {
      if !isLast, end - start < Limits.chunkBytesMax {
        if start > 0 {
          buffer.slide(start..<end)
          end -= start
          start = 0
        }
        let got = try refill(file, &readTo, range.upperBound, at: end)
        end += got
        isLast = readTo == range.upperBound || got == 0
      }
      if start == end { return readTo }
      let length = cutter.firstCut(buffer, start..<end, isLast: isLast)
      let name = try sink.store(buffer, start..<(start + length))
      try lists.next(ChunkReference(name: name, length: Int64(length)))
      start += length
    }
  }

  private func refill(
    _ file: any ReadableFile, _ readTo: inout Int64, _ limit: Int64, at end: Int
  ) throws -> Int {
    let wanted = Int(min(Int64(buffer.count - end), limit - readTo))
    guard wanted > 0 else { return 0 }
    let got = try file.read(at: readTo, into: &buffer, end..<(end + wanted))
    readTo += Int64(got)
    return got
  }

  /// Reads only where the earlier cuts do not hold. A cut depends on the bytes from the one before
  /// it alone, so that what comes of it is what reading everything would give.
  private func cut(
    _ file: any ReadableFile, _ size: Int64, _ earlier: inout EarlierCuts,
    _ lists: inout ListCutter, _ sink: any ChunkSink
  ) throws -> Int64 {
    var offset: Int64 = 0
    // Less where it ends before its status said.
    var size = size
    // `buffer[range]` holds what the file has from `offset` on.
    var range = 0..<0
    while offset < size {
      if let reference = earlier.chunk(at: offset), try sink.holds(reference.name) {
        try lists.next(reference)
        offset += reference.length
        range = 0..<0
        continue
      }
      // As many bytes as the chunk had before: most changes leave it its length.
      var wanted = Int(min(earlier.end(after: offset) ?? size, size) - offset)
      while true {
        wanted = min(max(wanted, range.count), Limits.chunkBytesMax)
        if range.count < wanted {
          if range.lowerBound > 0 { buffer.slide(range) }
          range = 0..<range.count
          var readTo = offset + Int64(range.count)
          while range.count < wanted {
            let end = offset + Int64(wanted)
            let got = try refill(file, &readTo, end, at: range.upperBound)
            if got == 0 {
              size = readTo
              break
            }
            range = 0..<(range.upperBound + got)
          }
        }
        if range.isEmpty { break }
        let isLast = offset + Int64(range.count) == size
        if let length = cutter.cut(buffer, range, isLast: isLast) {
          let chunk = range.lowerBound..<(range.lowerBound + length)
          let name = try sink.store(buffer, chunk)
          try lists.next(ChunkReference(name: name, length: Int64(length)))
          offset += Int64(length)
          range = chunk.upperBound..<range.upperBound
          break
        }
        wanted = Int(min(Int64(range.count + Limits.chunkBytesMean), size - offset))
      }
    }
    return offset
  }

  /// Collects references, level by level.
  private struct ListCutter {
    let sink: any ChunkSink
    let part: ((Int64, [ChunkReference]) throws -> Void)?
    var levels: [[ChunkReference]] = [[]]
    /// All of the lowest level, where they are wanted and no more than so.
    var collected: [ChunkReference]?
    var collectedMax = 0
    /// What was not yet told of as a part, and where it begins.
    var untold: [ChunkReference] = []
    var untoldFrom: Int64 = 0

    mutating func next(_ reference: ChunkReference) throws {
      try add(reference)
      collected?.append(reference)
      if (collected?.count ?? 0) > collectedMax { collected = nil }
      guard let part else { return }
      untold.append(reference)
      guard untold.count >= Limits.partReferences else { return }
      try part(untoldFrom, untold)
      untoldFrom = untold.reduce(untoldFrom) { $0 + $1.length }
      untold.removeAll(keepingCapacity: true)
    }

    mutating func add(_ reference: ChunkReference, at level: Int = 0) throws {
      levels[level].append(reference)
      let count = levels[level].count
      let isCut =
        count >= ContentCutter.listMax
        || (count >= ContentCutter.listMin
          && reference.name.digest.prefix & ContentCutter.listMask == 0)
      // Short files keep their references in the entry.
      if isCut, level > 0 || levels.count > 1 || count > Limits.referencesInEntry {
        try close(level)
      }
    }

    private mutating func close(_ level: Int) throws {
      let references = levels[level]
      levels[level] = []
      var out = Writer()
      out.variable(UInt64(references.count))
      ChunkReference.encode(references, into: &out)
      let name = try sink.store(out.bytes, 0..<out.bytes.count)
      guard let length = ChunkReference.total(references) else {
        throw CodingError.invalid("file of more than 2^63 bytes")
      }
      if levels.count == level + 1 { levels.append([]) }
      try add(ChunkReference(name: name, length: length), at: level + 1)
    }

    mutating func finish() throws -> Content {
      var level = 0
      while true {
        let isTop = level == levels.count - 1
        if isTop, levels[level].count <= Limits.referencesInEntry {
          return Content(depth: UInt8(level), references: levels[level])
        }
        if !levels[level].isEmpty { try close(level) }
        level += 1
      }
    }
  }
}
