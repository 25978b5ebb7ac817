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
    guard let length = cut(bytes, range, isLast: isLast) else {
      preconditionFailure("\(range.count) bytes are too few to cut")
    }
    return length
  }

  /// The length of the first chunk of `bytes[range]`; `nil` where the range ends before that can
  /// be told.
  /// - Parameter isLast: whether the data ends with the range.
  package func cut(_ bytes: [UInt8], _ range: Range<Int>, isLast: Bool) -> Int? {
    let least = isLast ? range.count : range.count >= bounds.max ? bounds.max : nil
    guard range.count > bounds.min else { return least }
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "\(range)")
    return unsafe bytes.withUnsafeBytes { bytes in
      unsafe table.withUnsafeBufferPointer { table in
        guard let start = bytes.baseAddress, let table = table.baseAddress else { return nil }
        var search = unsafe CutSearch(bytes: start + range.lowerBound, table: table)
        let mean = min(bounds.mean, range.count)
        let max = min(bounds.max, range.count)
        return unsafe search.find(bounds.strictMask, in: bounds.min..<mean)
          ?? search.find(bounds.easyMask, in: mean..<max) ?? least.map { min($0, max) }
      }
    }
  }
}

/// The hottest loop of the primary.
@unsafe private struct CutSearch {
  let bytes: UnsafeRawPointer
  /// Of 256 words.
  let table: UnsafePointer<UInt64>
  var hash: UInt64 = 0

  /// - Returns: the end of the first byte behind which the hash has none of the mask's bits.
  @inline(__always)
  mutating func find(_ mask: UInt64, in range: Range<Int>) -> Int? {
    var hash = unsafe hash
    var index = range.lowerBound
    // Four bytes a step: what they add does not wait for the hash before them, which makes it 1.4
    // times as fast as one by one.
    while index &+ 4 <= range.upperBound {
      let word = unsafe UInt32(
        littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self))
      let first = unsafe table[Int(word & 0xFF)]
      let second = unsafe first &<< 1 &+ table[Int(word >> 8 & 0xFF)]
      let third = unsafe second &<< 1 &+ table[Int(word >> 16 & 0xFF)]
      let fourth = unsafe third &<< 1 &+ table[Int(word >> 24)]
      if (hash &<< 1 &+ first) & mask == 0 { return index &+ 1 }
      if (hash &<< 2 &+ second) & mask == 0 { return index &+ 2 }
      if (hash &<< 3 &+ third) & mask == 0 { return index &+ 3 }
      hash = hash &<< 4 &+ fourth
      index &+= 4
      if hash & mask == 0 { return index }
    }
    while index < range.upperBound {
      let byte = unsafe bytes.load(fromByteOffset: index, as: UInt8.self)
      hash = unsafe hash &<< 1 &+ table[Int(byte)]
      index &+= 1
      if hash & mask == 0 { return index }
    }
    unsafe self.hash = hash
    return nil
  }
}
