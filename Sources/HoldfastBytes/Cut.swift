/// Where a chunk may be cut: bounds and mean in bytes.
package struct CutBounds: Sendable {
  package let min: Int
  package let max: Int
  /// Before the mean a cut is four times as rare as one in `mean` bytes, after it four times as
  /// frequent.
  package let mean: Int
  let strictMask: UInt64
  let easyMask: UInt64

  /// - Parameter mean: a power of two between `min` and `max`.
  package init(min: Int, mean: Int, max: Int) {
    precondition(min < mean && mean < max && mean.nonzeroBitCount == 1, "\(min) \(mean) \(max)")
    self.min = min
    self.max = max
    self.mean = mean
    let bits = mean.trailingZeroBitCount
    // The upper bits of a gear hash depend on the most bytes.
    strictMask = ~UInt64.zero << UInt64(64 - (bits + 2))
    easyMask = ~UInt64.zero << UInt64(64 - (bits - 2))
  }
}

/// Cuts bytes by content: a gear hash with normalised chunking (Xia et al., "FastCDC", USENIX ATC
/// 2016). The table comes from a key, so that cut lengths tell an onlooker nothing.
package struct Cutter: Sendable {
  private let table: [UInt64]
  private let bounds: CutBounds

  /// - Parameter key: 32 secret bytes of the pair.
  package init(key: [UInt8], bounds: CutBounds) {
    let stream = Derivation.expand(key, info: "holdfast gear table", count: 256 * 8)
    table = (0..<256).map { index in
      (0..<8).reduce(UInt64.zero) { $0 << 8 | UInt64(stream[index * 8 + $1]) }
    }
    self.bounds = bounds
  }

  /// The length of the first chunk of `bytes[range]`.
  /// - Parameter isLast: whether the data ends with the range; otherwise the range must hold at
  ///   least `bounds.max` bytes.
  package func firstCut(_ bytes: [UInt8], _ range: Range<Int>, isLast: Bool) -> Int {
    precondition(isLast || range.count >= bounds.max, "\(range.count) bytes are too few to cut")
    guard range.count > bounds.min else { return range.count }
    return cutLength(
      bytes.span, range, table.span, bounds.min, min(bounds.mean, range.count),
      min(bounds.max, range.count), bounds.strictMask, bounds.easyMask)
  }
}

/// A free function of primitives: the hottest loop of the primary.
private func cutLength(
  _ bytes: Span<UInt8>, _ range: Range<Int>, _ table: Span<UInt64>, _ min: Int, _ mean: Int,
  _ max: Int, _ strictMask: UInt64, _ easyMask: UInt64
) -> Int {
  let start = range.lowerBound
  var hash: UInt64 = 0
  var index = start + min
  while index < start + mean {
    hash = (hash << 1) &+ table[Int(bytes[index])]
    index += 1
    if hash & strictMask == 0 { return index - start }
  }
  while index < start + max {
    hash = (hash << 1) &+ table[Int(bytes[index])]
    index += 1
    if hash & easyMask == 0 { return index - start }
  }
  return max
}
