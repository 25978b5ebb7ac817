/// One extended attribute; ACLs and capabilities travel as such (xattr(7)).
package struct Attribute: Hashable, Sendable {
  package var name: [UInt8]
  package var value: [UInt8]
  package init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }
}

/// A chunk in a file, or in a list of chunks: its name and how many bytes of the file it covers.
package struct ChunkReference: Hashable, Sendable {
  package var name: ChunkName
  package var length: Int64
  package init(name: ChunkName, length: Int64) {
    self.name = name
    self.length = length
  }
}

/// What a regular file holds: references in order. At depth 0 they are data; at depth d > 0 each
/// names a chunk that holds a list of references of depth d − 1, so that the list of a large file
/// is itself cut by content and only its changed parts travel.
package struct Content: Hashable, Sendable {
  package var depth: UInt8
  package var references: [ChunkReference]
  package init(depth: UInt8 = 0, references: [ChunkReference] = []) {
    self.depth = depth
    self.references = references
  }
  package static let empty = Content()
}

/// What kind of object a name stands for.
package enum Kind: UInt8, Hashable, Sendable, CaseIterable {
  case directory = 1
  case regular = 2
  case symlink = 3
  case fifo = 4
  case characterDevice = 5
  case blockDevice = 6
  case socket = 7
}

/// Everything that is replicated of one name. The same value on both sites means the same object.
package struct Entry: Hashable, Sendable {
  package var kind: Kind
  /// Permission bits with setuid, setgid and sticky: `st_mode & 07777`.
  package var mode: UInt16
  package var owner: UInt32
  package var group: UInt32
  /// Nanoseconds since 1970, as `st_mtim`.
  package var modified: WallTime
  /// Bytes; 0 except for regular files.
  package var size: Int64
  /// Whether the source file had fewer blocks than its size needs, so that the copy should too.
  package var sparse: Bool
  /// Not 0 where the object has several names: equal for all of them within a root.
  package var linkGroup: UInt64
  /// `st_rdev` of a device node, else 0.
  package var device: UInt64
  /// Target of a symbolic link, else empty.
  package var target: [UInt8]
  /// Sorted by name.
  package var attributes: [Attribute]
  package var content: Content

  package init(
    kind: Kind, mode: UInt16, owner: UInt32, group: UInt32, modified: WallTime, size: Int64 = 0,
    sparse: Bool = false, linkGroup: UInt64 = 0, device: UInt64 = 0, target: [UInt8] = [],
    attributes: [Attribute] = [], content: Content = .empty
  ) {
    self.kind = kind
    self.mode = mode
    self.owner = owner
    self.group = group
    self.modified = modified
    self.size = size
    self.sparse = sparse
    self.linkGroup = linkGroup
    self.device = device
    self.target = target
    self.attributes = attributes
    self.content = content
  }

  /// The mode of an object that is to be like this one.
  /// - Parameter isOwned: whether it has this one's owner and group. Otherwise it is neither setuid
  ///   nor setgid: these bits lend somebody's powers, and never another's than was meant.
  package func mode(isOwned: Bool) -> UInt16 { isOwned ? mode : mode & ~0o6000 }

  /// Whether the object must be made anew to become `other`; otherwise changing its owner, mode,
  /// times and attributes is enough.
  package func needsNewObject(for other: Entry) -> Bool {
    kind != other.kind || size != other.size || device != other.device || target != other.target
      || content != other.content || linkGroup != other.linkGroup || sparse != other.sparse
  }
}

/// What became of one place between two points.
package struct Change: Hashable, Sendable {
  package var place: Place
  /// `nil`: nothing is there any more.
  package var entry: Entry?
  package init(place: Place, entry: Entry?) {
    self.place = place
    self.entry = entry
  }
}
