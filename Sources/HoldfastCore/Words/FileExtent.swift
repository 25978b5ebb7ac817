/// A run of a file's bytes, and where its filesystem keeps them (ioctl_fiemap(2)). A file's layout
/// is a list of such runs in order; what no run covers is a hole, or was never written.
package struct FileExtent: Hashable, Sendable {
  package var bytes: Range<Int64>
  /// Of the first byte on the disk; of no meaning where it is not fixed.
  package var location: UInt64
  /// Whether the location tells the content from any other: not of what is compressed, is kept
  /// beside the file's status, or has no place yet.
  package var isFixed: Bool
  package init(_ bytes: Range<Int64>, at location: UInt64, isFixed: Bool = true) {
    self.bytes = bytes
    self.location = location
    self.isFixed = isFixed
  }

  /// Where a file lies elsewhere than a copy that shares its blocks: everywhere else both hold the
  /// same bytes, for what two files share neither can write in place.
  /// - Parameter size: of the file.
  /// - Returns: ranges in order that do not touch, all below `size`.
  package static func differences(
    _ file: [FileExtent], _ copy: [FileExtent], size: Int64
  ) -> [Range<Int64>] {
    var ranges: [Range<Int64>] = []
    var file = Cursor(file)
    var copy = Cursor(copy)
    var offset: Int64 = 0
    while offset < size {
      let (mine, myEnd) = file.look(offset)
      let (other, otherEnd) = copy.look(offset)
      let end = min(myEnd, otherEnd, size)
      if mine != other || mine == .unknown {
        if let last = ranges.last, last.upperBound == offset {
          ranges[ranges.count - 1] = last.lowerBound..<end
        } else {
          ranges.append(offset..<end)
        }
      }
      offset = end
    }
    return ranges
  }

  private struct Cursor {
    enum Found: Equatable {
      case hole
      case unknown
      case at(UInt64)
    }
    let extents: [FileExtent]
    var index = 0
    init(_ extents: [FileExtent]) { self.extents = extents }

    /// What lies at an offset that is no lower than the one before, and up to where it does.
    mutating func look(_ offset: Int64) -> (Found, Int64) {
      while index < extents.count, extents[index].bytes.upperBound <= offset { index += 1 }
      guard index < extents.count else { return (.hole, .max) }
      let extent = extents[index]
      guard extent.bytes.lowerBound <= offset else { return (.hole, extent.bytes.lowerBound) }
      guard extent.isFixed else { return (.unknown, extent.bytes.upperBound) }
      let into = UInt64(offset - extent.bytes.lowerBound)
      return (.at(extent.location &+ into), extent.bytes.upperBound)
    }
  }
}
