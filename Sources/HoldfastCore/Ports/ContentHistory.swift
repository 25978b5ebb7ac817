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
