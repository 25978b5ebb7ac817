/// What lstat(2) says of an object.
package struct Status: Hashable, Sendable {
  package var kind: Kind
  package var mode: UInt16
  package var owner: UInt32
  package var group: UInt32
  package var size: Int64
  package var modified: WallTime
  package var changed: WallTime
  package var device: UInt64
  package var inode: UInt64
  package var links: UInt32
  /// `st_rdev`.
  package var special: UInt64
  /// Bytes allocated.
  package var allocated: Int64
  package init(
    kind: Kind, mode: UInt16, owner: UInt32, group: UInt32, size: Int64, modified: WallTime,
    changed: WallTime, device: UInt64, inode: UInt64, links: UInt32, special: UInt64,
    allocated: Int64
  ) {
    self.kind = kind
    self.mode = mode
    self.owner = owner
    self.group = group
    self.size = size
    self.modified = modified
    self.changed = changed
    self.device = device
    self.inode = inode
    self.links = links
    self.special = special
    self.allocated = allocated
  }

  /// What tells an unchanged object from a changed one without reading it.
  package var stamp: Stamp {
    Stamp(device: device, inode: inode, size: size, modified: modified, changed: changed)
  }
}

/// See ``Status/stamp``.
package struct Stamp: Hashable, Sendable {
  /// Of what was never made here.
  package static let none = Self(
    device: 0, inode: 0, size: 0, modified: WallTime(nanos: 0), changed: WallTime(nanos: 0))
  package var device: UInt64
  package var inode: UInt64
  package var size: Int64
  package var modified: WallTime
  package var changed: WallTime
  package init(device: UInt64, inode: UInt64, size: Int64, modified: WallTime, changed: WallTime) {
    self.device = device
    self.inode = inode
    self.size = size
    self.modified = modified
    self.changed = changed
  }
}

/// Why an operation on a protected tree or a replica did not happen.
package enum TreeError: Error, Hashable, Sendable {
  case absent(TreePath)
  case exists(TreePath)
  /// EACCES or EPERM: never to be taken for "absent".
  case refused(TreePath, call: String, errno: Int32)
  /// A component is a symbolic link or leads out of the tree (openat2(2), RESOLVE_BENEATH and
  /// RESOLVE_NO_SYMLINKS).
  case escapes(TreePath)
  /// ENOSPC or EDQUOT.
  case full(TreePath)
  case flushFailed(errno: Int32)
  case failed(TreePath, call: String, errno: Int32)
}

extension TreeError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .absent(let path): "\(path) does not exist"
    case .exists(let path): "\(path) exists already"
    case .refused(let path, let call, let errno):
      "\(call) of \(path) is not permitted (errno \(errno))"
    case .escapes(let path): "\(path) leads through a symbolic link or out of the tree"
    case .full(let path): "no space left for \(path)"
    case .flushFailed(let errno): "flushing the tree failed (errno \(errno))"
    case .failed(let path, let call, let errno): "\(call) of \(path) failed (errno \(errno))"
    }
  }
}

/// One regular file, open for reading. Not shared between threads.
package protocol ReadableFile: AnyObject {
  func status() throws(TreeError) -> Status
  /// Reads what lies at `offset` into `buffer[range]`, as much as fits.
  /// - Returns: how many bytes were read; 0 at the end.
  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int
  /// The first run of data at or after `offset` (lseek(2), SEEK_DATA and SEEK_HOLE).
  /// - Returns: `nil` where only a hole follows.
  func data(from offset: Int64) throws(TreeError) -> Range<Int64>?
  /// See ``Tree/attributes(_:)``.
  func attributes() throws(TreeError) -> [Attribute]
  func close()
}

/// One that may be written too.
package protocol TreeFile: ReadableFile {
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(TreeError)
  func truncate(to size: Int64) throws(TreeError)
  func setOwner(_ owner: UInt32, group: UInt32) throws(TreeError)
  func setMode(_ mode: UInt16) throws(TreeError)
  func setAttribute(_ attribute: Attribute) throws(TreeError)
  func removeAttribute(_ name: [UInt8]) throws(TreeError)
  func setModified(_ time: WallTime) throws(TreeError)
}

/// A directory tree to be read. Not shared between threads.
package protocol ReadableTree: AnyObject {
  /// - Returns: `nil` where nothing is there.
  func status(_ path: TreePath) throws(TreeError) -> Status?
  /// Names in a directory in no order, `.` and `..` left out.
  func list(_ path: TreePath) throws(TreeError) -> [[UInt8]]
  /// Sorted by name. Empty where the filesystem has none.
  func attributes(_ path: TreePath) throws(TreeError) -> [Attribute]
  func target(_ path: TreePath) throws(TreeError) -> [UInt8]
  /// Opens a regular file for reading, without moving its access time where that is allowed.
  func open(_ path: TreePath) throws(TreeError) -> any ReadableFile

  /// Has what will soon be read brought from the disk meanwhile. Returns at once; what does not
  /// exist or may not be read is passed over.
  func expect(_ paths: [TreePath])
  /// Whether what lies there, with all below, is for now left as it was captured last.
  func isLeft(_ path: TreePath) -> Bool
  /// Whether a service could not start from a copy that lacks what lies there.
  func isNeeded(_ path: TreePath) -> Bool
  /// What is known of a regular file's content beforehand, and to be told of it when it was read;
  /// `nil` where that is nothing.
  func history(_ path: TreePath) -> ContentHistory?

  /// Forgets directories kept open between calls: their names may lead elsewhere by now.
  func forgetDirectories()
}

extension ReadableTree {
  package func isLeft(_ path: TreePath) -> Bool { false }
  package func isNeeded(_ path: TreePath) -> Bool { false }
  package func history(_ path: TreePath) -> ContentHistory? { nil }
}

/// A directory tree, reached only through descriptors: no path given here can leave it, and no
/// symbolic link inside it is ever followed.
package protocol Tree: ReadableTree {
  /// Makes a new empty file of mode 0600 that must not exist yet.
  func create(_ path: TreePath) throws(TreeError) -> any TreeFile
  /// Makes an object that is not a regular file, with mode 0600 or 0700, its parent being there.
  func make(_ path: TreePath, kind: Kind, target: [UInt8], device: UInt64) throws(TreeError)
  func link(_ existing: TreePath, as path: TreePath) throws(TreeError)
  /// Replaces what is at `new`, unless that is a directory that is not empty.
  func rename(_ old: TreePath, to new: TreePath) throws(TreeError)
  func remove(_ path: TreePath, directory: Bool) throws(TreeError)
  func setOwner(_ path: TreePath, owner: UInt32, group: UInt32) throws(TreeError)
  func setMode(_ path: TreePath, mode: UInt16) throws(TreeError)
  func setAttribute(_ path: TreePath, _ attribute: Attribute) throws(TreeError)
  func removeAttribute(_ path: TreePath, name: [UInt8]) throws(TreeError)
  func setModified(_ path: TreePath, to time: WallTime) throws(TreeError)
  /// Returns once a regular file or directory is durable (fsync(2)).
  func flush(_ path: TreePath) throws(TreeError)
  /// Has what was changed written out by and by, so that ``flush()`` will find less to do. Returns
  /// at once and says nothing of success: errors are still ``flush()``'s to tell.
  func beginWriteOut()
  /// Returns once all changes to the tree's filesystem are durable (syncfs(2)).
  func flush() throws(TreeError)
  func freeBytes() throws(TreeError) -> Int64
  /// Makes a new file with another's content, sharing its blocks (ioctl_ficlone(2)): at once,
  /// whatever its size, but for what of it is not yet written to the disk.
  /// - Returns: the new file; `nil` where the filesystem cannot: then nothing was made.
  func clone(_ path: TreePath, as copy: TreePath) throws(TreeError) -> (any TreeFile)?
  /// Opens a file and its copy, which is made empty where it is not there.
  /// - Returns: `nil` where the filesystem does not share blocks, or takes long to say where they
  ///   lie; then nothing was made.
  func sharing(_ path: TreePath, with copy: TreePath) throws(TreeError) -> (any BlockSharing)?
}

extension Tree {
  /// Removes `path` and all below it, if anything is there.
  package func removeAll(_ path: TreePath) throws(TreeError) {
    guard let status = try status(path) else { return }
    if status.kind == .directory {
      for name in try list(path) {
        guard let child = path.appending(name) else {
          throw .failed(path, call: "list", errno: 36)
        }
        try removeAll(child)
      }
    }
    try remove(path, directory: status.kind == .directory)
  }
}
