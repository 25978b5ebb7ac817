package import HoldfastCore

/// Which names of trees are one object, as far as they were looked at, held against one point.
package struct LinkedNames {
  /// How a name belongs together with others in another way than the point says.
  package struct Difference {
    package var words: String
    package var other: Place
  }
  private struct Key: Hashable {
    var root: RootNumber
    var number: UInt64
  }
  private struct Object {
    var inode: UInt64
    var group: UInt64
    var first: Place
  }
  /// What was looked at: the first ``Limits/linkedNamesMax`` objects.
  private var byInode: [Key: Object] = [:]
  private var byGroup: [Key: Object] = [:]

  package init() {}

  /// - Returns: `nil` where there is none, as far as the names were looked at.
  package mutating func difference(
    _ place: Place, _ entry: Entry, _ status: Status
  ) -> Difference? {
    guard entry.kind != .directory, entry.linkGroup != 0 || status.links > 1 else { return nil }
    let group = Key(root: place.root, number: entry.linkGroup)
    if entry.linkGroup != 0, let other = byGroup[group], other.inode != status.inode {
      return Difference(
        words: "is no longer one file with \(other.first.path)", other: other.first)
    }
    let inode = Key(root: place.root, number: status.inode)
    if let other = byInode[inode], other.group != entry.linkGroup || entry.linkGroup == 0 {
      return Difference(words: "is one file with \(other.first.path)", other: other.first)
    }
    guard byInode[inode] == nil, byInode.count < Limits.linkedNamesMax else { return nil }
    let object = Object(inode: status.inode, group: entry.linkGroup, first: place)
    byInode[inode] = object
    if entry.linkGroup != 0 { byGroup[group] = object }
    return nil
  }
}
