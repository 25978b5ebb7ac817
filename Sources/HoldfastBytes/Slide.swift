extension [UInt8] {
  /// Moves what lies in `range` to the start, in place; what lay there is gone. An assignment of a
  /// slice would first copy the whole array, for the slice holds it too.
  package mutating func slide(_ range: Range<Int>) {
    precondition(range.upperBound <= count, "\(range) of \(count) bytes")
    unsafe withUnsafeMutableBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return }
      unsafe base.update(from: base + range.lowerBound, count: range.count)
    }
  }
}
