import HoldfastCore

/// How a file was cut when it was read last, asked for along the file.
struct EarlierCuts {
  private let references: [ChunkReference]
  private let changed: [Range<Int64>]
  private let oldSize: Int64
  private let size: Int64
  private var index = 0
  /// Where the chunk at `index` begins.
  private var start: Int64 = 0
  private var changedIndex = 0

  /// - Parameter size: of the file now.
  init(_ history: ContentHistory, size: Int64) {
    references = history.references ?? []
    changed = history.changed
    oldSize = history.size
    self.size = size
  }

  /// The chunk that begins at an offset, where it would be cut again as it was. Offsets never
  /// fall.
  mutating func chunk(at offset: Int64) -> ChunkReference? {
    advance(to: offset)
    guard index < references.count, start == offset else { return nil }
    let end = start + references[index].length
    // The last one ends where the file did.
    guard end <= size, end < oldSize || size == oldSize else { return nil }
    while changedIndex < changed.count, changed[changedIndex].upperBound <= start {
      changedIndex += 1
    }
    if changedIndex < changed.count, changed[changedIndex].lowerBound < end { return nil }
    return references[index]
  }

  /// Where the chunk around an offset ended.
  mutating func end(after offset: Int64) -> Int64? {
    advance(to: offset)
    return index < references.count ? start + references[index].length : nil
  }

  private mutating func advance(to offset: Int64) {
    while index < references.count, start + references[index].length <= offset {
      start += references[index].length
      index += 1
    }
  }
}
