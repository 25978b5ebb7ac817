/// A file, and a copy of it that is brought up to its content by sharing blocks. Both stay open as
/// long as this is. Not shared between threads.
package protocol BlockSharing: AnyObject {
  /// Of the file that is open, whatever its name leads to by now.
  func status() throws(TreeError) -> Status
  /// Where the file's bytes lie, once all that was written by now is on the disk.
  /// - Returns: `nil` where it lies in more pieces than ``Limits/extentsMax``.
  func layout() throws(TreeError) -> [FileExtent]?
  /// The same of the copy, which nobody else writes.
  func copyLayout() throws(TreeError) -> [FileExtent]?
  /// Has the copy hold in a range what the file holds there, at once (ioctl_ficlonerange(2)). The
  /// file is not written meanwhile: its writers wait.
  /// - Parameter range: begins and ends at whole blocks of the filesystem, or at the file's end.
  func share(_ range: Range<Int64>) throws(TreeError)
  /// Gives the copy a size; what is new of it is a hole.
  func resizeCopy(to size: Int64) throws(TreeError)
}

/// What is known of a file's content without reading it: how it was cut when it was read last, and
/// where it may have changed since. Not shared between threads.
package final class ContentHistory {
  /// How many references may be kept in all.
  package final class Budget {
    package fileprivate(set) var left: Int
    package init(_ count: Int) { left = count }
  }
  private let budget: Budget
  /// Of all its bytes, in order; `nil` where it was not read yet.
  package private(set) var references: [ChunkReference]?
  /// Of what they cover.
  package private(set) var size: Int64 = 0
  /// In order and apart.
  package private(set) var changed: [Range<Int64>] = []
  package init(_ budget: Budget) { self.budget = budget }
  deinit { budget.left += references?.count ?? 0 }

  /// How many references are kept at most.
  package var room: Int { budget.left + (references?.count ?? 0) }

  /// All of it was read just now.
  /// - Parameter references: `nil` where they are not known.
  package func learn(_ references: [ChunkReference]?, size: Int64) {
    let kept = (references?.count ?? 0) <= room ? references : nil
    budget.left = room - (kept?.count ?? 0)
    self.references = kept
    self.size = size
    changed = []
  }

  /// More changed.
  package func touch(_ ranges: [Range<Int64>]) {
    guard references != nil, !ranges.isEmpty else { return }
    var merged: [Range<Int64>] = []
    for range in (changed + ranges).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, range.lowerBound <= last.upperBound {
        merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    changed = merged
  }
}
