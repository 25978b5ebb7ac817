package import HoldfastCore

/// Reads the content of files out of the journal. Not shared between threads.
package final class ContentReader {
  private let journal: Journal
  private let index: any Index
  private let digests: PairDigests
  private let isVerifying: Bool
  /// Chunks of data that were read already.
  var fetched: [ChunkName: [UInt8]] = [:]

  /// - Parameter verifying: recompute every name, for data that has lain on a disk; otherwise the
  ///   authentication tag, which covers the name, is what vouches.
  package init(journal: Journal, index: any Index, digests: PairDigests, verifying: Bool) {
    self.journal = journal
    self.index = index
    self.digests = digests
    isVerifying = verifying
  }

  package func chunk(_ name: ChunkName) throws -> [UInt8] {
    guard let position = try index.chunk(name) else {
      throw JournalError.damaged(.start, "chunk \(name) is not in the index")
    }
    let (header, plain) = try journal.record(at: position)
    guard header.kind == .chunk, header.name == name else {
      throw JournalError.damaged(position, "another record than chunk \(name)")
    }
    if isVerifying, digests.name(plain, 0..<plain.count) != name {
      throw JournalError.damaged(position, "content of chunk \(name)")
    }
    return plain
  }

  /// The bytes of one chunk of data.
  func run(_ reference: ChunkReference) throws -> [UInt8] {
    let bytes = try fetched[reference.name] ?? chunk(reference.name)
    guard Int64(bytes.count) == reference.length else {
      throw JournalError.damaged(.start, "length of chunk \(reference.name)")
    }
    return bytes
  }

  /// Calls `body` with every chunk of data, in order, reading only the lists that name them.
  package func forEachReference(
    _ content: Content, _ body: (_ offset: Int64, _ reference: ChunkReference) throws -> Void
  ) throws {
    _ = try walk(content.references, content.depth, 0, body)
  }

  private func walk(
    _ references: [ChunkReference], _ depth: UInt8, _ start: Int64,
    _ body: (Int64, ChunkReference) throws -> Void
  ) throws -> Int64 {
    var offset = start
    for reference in references {
      if reference.name == .hole {
        offset += reference.length
      } else if depth > 0 {
        let list = try ChunkReference.list(
          try chunk(reference.name), covering: reference.length)
        offset = try walk(list, depth - 1, offset, body)
      } else {
        try body(offset, reference)
        offset += reference.length
      }
    }
    return offset
  }
}
