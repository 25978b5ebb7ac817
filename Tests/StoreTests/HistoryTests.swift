import HoldfastCore
import HoldfastStore
import TestKit
import Testing

/// A file in memory that counts what is read of it.
private final class MemoryFile: ReadableFile {
  var bytes: [UInt8]
  var bytesRead = 0
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  func status() throws(TreeError) -> Status { throw .absent(.top) }
  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int {
    let start = min(Int(offset), bytes.count)
    let count = min(range.count, bytes.count - start)
    buffer.replaceSubrange(
      range.lowerBound..<(range.lowerBound + count), with: bytes[start..<(start + count)])
    bytesRead += count
    return count
  }
  func data(from offset: Int64) throws(TreeError) -> Range<Int64>? { nil }
  func attributes() throws(TreeError) -> [Attribute] { [] }
  func close() {}
}

/// Holds all that it was given.
final class MemorySink: ChunkSink {
  private let digests: PairDigests
  var held: Set<ChunkName> = []
  init(_ secret: PairSecret) { digests = PairDigests(secret) }
  func store(_ bytes: [UInt8], _ range: Range<Int>) throws -> ChunkName {
    let name = digests.name(bytes, range)
    held.insert(name)
    return name
  }
  func holds(_ name: ChunkName) throws -> Bool { held.contains(name) }
  func loseOne(_ dice: inout SeededDice) {
    let names = held.sorted { $0.digest.prefix < $1.digest.prefix }
    if let lost = names.randomElement(using: &dice) { held.remove(lost) }
  }
}

@Suite struct `What is known of a file's content` {
  private let secret: PairSecret
  private let cutter: ContentCutter
  private let sink: MemorySink

  init() throws {
    secret = try #require(PairSecret([UInt8](repeating: 5, count: 32)))
    cutter = ContentCutter(secret: secret)
    sink = MemorySink(secret)
  }

  private func noise(_ count: Int, _ dice: inout SeededDice) -> [UInt8] {
    (0..<((count + 7) / 8)).flatMap { _ in
      let word = dice.next()
      return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
    }.prefix(count).map { $0 }
  }

  private func cut(_ file: MemoryFile, _ history: ContentHistory?) throws -> Content {
    let size = Int64(file.bytes.count)
    let (content, end) = try cutter.content(
      of: file, size: size, sparse: false, into: sink, history: history)
    #expect(end == size)
    return content
  }

  /// - Returns: where the file changed.
  private func change(_ file: MemoryFile, _ dice: inout SeededDice) -> [Range<Int64>] {
    let size = file.bytes.count
    switch dice.next() % 8 {
    case 0:
      let added = Int(dice.next() % 300_000)
      file.bytes += noise(added, &dice)
      return [Int64(size)..<Int64(size + added)]
    case 1:
      let kept = size - Int(dice.next() % UInt64(min(size, 300_000)))
      file.bytes.removeLast(size - kept)
      return [Int64(kept)..<Int64(size)]
    default:
      let count = min(1 + Int(dice.next() % 9000), size)
      let start = Int(dice.next() % UInt64(size - count + 1))
      file.bytes.replaceSubrange(start..<(start + count), with: noise(count, &dice))
      return [Int64(start)..<Int64(start + count)]
    }
  }

  @Test(arguments: Seeds.take(8))
  func `spares reading it, and what comes of it is the same`(seed: UInt64) throws {
    var dice = SeededDice(seed: seed)
    let file = MemoryFile(noise(6 << 20, &dice))
    let history = ContentHistory(ContentHistory.Budget(10_000))
    #expect(try cut(file, history) == cut(file, nil), "seed \(seed)")
    for round in 0..<30 {
      for _ in 0..<(dice.next() % 6) { history.touch(change(file, &dice)) }
      // A standby may have lost what it held.
      if round % 5 == 4 { sink.loseOne(&dice) }
      let known = try cut(file, history)
      let lacking = sink.held
      #expect(try cut(file, nil) == known, "seed \(seed), round \(round)")
      #expect(sink.held == lacking, "seed \(seed), round \(round): not all was stored")
    }
  }

  @Test func `has little read where little changed`() throws {
    var dice = SeededDice(seed: 1)
    let file = MemoryFile(noise(16 << 20, &dice))
    let history = ContentHistory(ContentHistory.Budget(10_000))
    _ = try cut(file, history)
    file.bytesRead = 0
    _ = try cut(file, history)
    #expect(file.bytesRead == 0)
    for place in [100, 5_000_000, 12_000_000] {
      file.bytes[place] ^= 1
      history.touch([Int64(place)..<Int64(place + 1)])
    }
    _ = try cut(file, history)
    #expect(file.bytesRead <= 3 * 2 * Limits.chunkBytesMax, "\(file.bytesRead)")
  }

  @Test func `is forgotten where there is no room for it, or the file ended early`() throws {
    var dice = SeededDice(seed: 2)
    let file = MemoryFile(noise(4 << 20, &dice))
    let budget = ContentHistory.Budget(100)
    let history = ContentHistory(budget)
    var other: ContentHistory? = ContentHistory(budget)
    _ = try cut(file, other)
    #expect(other?.references != nil)
    _ = try cut(file, history)
    #expect(history.references == nil)
    other = nil
    _ = try cut(file, history)
    #expect(history.references != nil && budget.left == 100 - (history.references?.count ?? 0))
    let (content, size) = try cutter.content(
      of: file, size: 5 << 20, sparse: false, into: sink, history: history)
    #expect(size == 4 << 20 && ChunkReference.total(content.references) == size)
    #expect(history.references == nil && budget.left == 100)
    _ = try cut(file, history)
    #expect(history.references != nil)
  }
}
