import CLinux
import Glibc
package import HoldfastCore

/// A directory tree on a real filesystem, reached by descriptors alone.
package final class LinuxTree: Tree {
  private let top: Descriptor
  private let guise: Guise?
  private let writeOut = WriteOut()
  private let readAhead = ReadAhead()
  /// Directories opened for their path alone, so that most calls take one step.
  private var directories: [TreePath: Descriptor] = [:]
  private static let directoriesMax = 256

  /// Opens the tree's top directory; the last component of `path` may not be a symbolic link.
  package convenience init(_ path: String) throws(TreeError) { try self.init(path, as: nil) }

  private init(_ path: String, as guise: Guise?) throws(TreeError) {
    self.guise = guise
    let number = unsafe holdfast_openat(
      AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
    guard number >= 0 else { throw Self.error(.top, "open", errno) }
    top = Descriptor(number)
  }

  /// Opens a picture of a root: what lies on the picture's own filesystem is shown with the root's
  /// device, so that it compares with what was captured of the root.
  package static func picture(_ path: String, of root: String) throws(TreeError) -> LinuxTree {
    let tree = try LinuxTree(path)
    guard let shown = try LinuxTree(root).status(.top)?.device,
      let own = try tree.status(.top)?.device
    else { throw .absent(.top) }
    let holdsSubvolumes = holdfast_is_btrfs(tree.top.number) != 0
    return try LinuxTree(
      path, as: Guise(own: own, shown: shown, holdsSubvolumes: holdsSubvolumes))
  }

  static func error(_ path: TreePath, _ call: String, _ errno: Int32) -> TreeError {
    switch errno {
    case ENOENT: .absent(path)
    case EEXIST: .exists(path)
    case EACCES, EPERM: .refused(path, call: call, errno: errno)
    case ELOOP, EXDEV: .escapes(path)
    case ENOSPC, EDQUOT: .full(path)
    default: .failed(path, call: call, errno: errno)
    }
  }

  package func forgetDirectories() { directories.removeAll(keepingCapacity: true) }

  private func open(_ path: TreePath, flags: Int32, mode: UInt64 = 0) -> Int32 {
    let number = unsafe withCString(path.isTop ? [0x2E] : path.bytes) { name in
      unsafe holdfast_openat2(
        top.number, name, UInt64(flags | O_CLOEXEC | O_NOFOLLOW), mode, holdfast_resolve)
    }
    return number >= 0 ? number : -errno
  }

  /// The directory at `path`.
  private func directory(_ path: TreePath) throws(TreeError) -> Descriptor {
    if path.isTop { return top }
    if let known = directories[path] { return known }
    let number = open(path, flags: holdfast_o_path | O_DIRECTORY)
    guard number >= 0 else {
      // A file where a directory was is the same as nothing there.
      throw number == -ENOTDIR ? .absent(path) : Self.error(path, "open", -number)
    }
    if directories.count >= Self.directoriesMax { directories.removeAll(keepingCapacity: true) }
    let descriptor = Descriptor(number)
    directories[path] = descriptor
    return descriptor
  }

  private func leaf(_ path: TreePath) -> [UInt8] { path.isTop ? [0x2E] : path.name }

  /// Calls `body` with the parent's descriptor and the last name; a negative answer is an error.
  private func at(
    _ path: TreePath, _ call: String, _ body: (Int32, UnsafePointer<CChar>) -> Int32
  ) throws(TreeError) {
    let parent = try directory(path.parent)
    let error = unsafe withCString(leaf(path)) { name -> Int32 in
      unsafe body(parent.number, name) < 0 ? errno : 0
    }
    if error != 0 { throw Self.error(path, call, error) }
  }

  /// A path through /proc for calls that take no directory descriptor; the last name is not
  /// followed where the call says so.
  private func procPath(_ path: TreePath) throws(TreeError) -> [UInt8] {
    let parent = try directory(path.parent)
    return Array("/proc/self/fd/\(parent.number)/".utf8) + leaf(path)
  }

  package func status(_ path: TreePath) throws(TreeError) -> Status? {
    do {
      var answer = stat()
      unsafe try at(path, "stat") { unsafe fstatat($0, $1, &answer, AT_SYMLINK_NOFOLLOW) }
      return guise?.show(Status(answer)) ?? Status(answer)
    } catch .absent {
      return nil
    }
  }

  package func list(_ path: TreePath) throws(TreeError) -> [[UInt8]] {
    let number = open(path, flags: O_RDONLY | O_DIRECTORY | O_NONBLOCK)
    guard number >= 0 else { throw Self.error(path, "open", -number) }
    let (names, error) = listNames(number)
    guard error == 0 else { throw Self.error(path, "readdir", error) }
    return names
  }

  package func attributes(_ path: TreePath) throws(TreeError) -> [Attribute] {
    let proc = try procPath(path)
    return try AttributeSource.name(proc).attributes(of: path)
  }

  package func target(_ path: TreePath) throws(TreeError) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: Limits.pathBytesMax + 1)
    var count = 0
    unsafe try at(path, "readlink") { parent, name in
      count = unsafe buffer.withUnsafeMutableBytes { bytes in
        guard let base = bytes.baseAddress else { return 0 }
        return unsafe readlinkat(
          parent, name, base.assumingMemoryBound(to: CChar.self), bytes.count)
      }
      return Int32(count)
    }
    return Array(buffer[..<count])
  }

  package func open(_ path: TreePath) throws(TreeError) -> any ReadableFile {
    LinuxTreeFile(try openForReading(path), path: path, as: guise)
  }

  private func openForReading(_ path: TreePath) throws(TreeError) -> Descriptor {
    let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    var number: Int32 = -1
    unsafe try at(path, "open") { parent, name in
      number = unsafe holdfast_openat(parent, name, flags | holdfast_o_noatime, 0)
      // Only the owner may leave access times alone (open(2), O_NOATIME).
      if number < 0, errno == EPERM { number = unsafe holdfast_openat(parent, name, flags, 0) }
      return number
    }
    return Descriptor(number)
  }

  package func clone(
    _ path: TreePath, as copy: TreePath
  ) throws(TreeError) -> (any TreeFile)? {
    let source = try openForReading(path)
    let target = try make(copy)
    guard holdfast_clone(target.number, source.number) != 0 else {
      return LinuxTreeFile(target, path: copy)
    }
    let error = errno
    try remove(copy, directory: false)
    if [EOPNOTSUPP, ENOTTY, EINVAL, EXDEV].contains(error) { return nil }
    throw Self.error(path, "clone", error)
  }

  package func sharing(
    _ path: TreePath, with copy: TreePath
  ) throws(TreeError) -> (any BlockSharing)? {
    // btrfs looks for all who share an extent before it says where that lies, which takes longer
    // than a clone.
    guard holdfast_is_xfs(top.number) != 0 else { return nil }
    let source = try openForReading(path)
    let number = open(copy, flags: O_RDWR)
    guard number >= 0 || number == -ENOENT else { throw Self.error(copy, "open", -number) }
    let target = try number >= 0 ? Descriptor(number) : make(copy)
    // Who may write into the root could have put another file there.
    var answer = stat()
    guard unsafe fstat(target.number, &answer) == 0, answer.st_nlink == 1,
      answer.st_uid == geteuid()
    else {
      if number < 0 { try remove(copy, directory: false) }
      throw Self.error(copy, "open", EPERM)
    }
    return LinuxBlockSharing(file: source, copy: target, path: path)
  }

  package func create(_ path: TreePath) throws(TreeError) -> any TreeFile {
    LinuxTreeFile(try make(path), path: path)
  }

  private func make(_ path: TreePath) throws(TreeError) -> Descriptor {
    var number: Int32 = -1
    unsafe try at(path, "create") { parent, name in
      number = unsafe holdfast_openat(
        parent, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      return number
    }
    return Descriptor(number)
  }

  package func make(
    _ path: TreePath, kind: Kind, target: [UInt8], device: UInt64
  ) throws(TreeError) {
    unsafe try at(path, "make \(kind)") { parent, name in
      switch kind {
      case .directory: unsafe mkdirat(parent, name, 0o700)
      case .symlink: unsafe withCString(target) { unsafe symlinkat($0, parent, name) }
      case .fifo: unsafe mknodat(parent, name, S_IFIFO | 0o600, 0)
      case .socket: unsafe mknodat(parent, name, S_IFSOCK | 0o600, 0)
      case .characterDevice: unsafe mknodat(parent, name, S_IFCHR | 0o600, dev_t(device))
      case .blockDevice: unsafe mknodat(parent, name, S_IFBLK | 0o600, dev_t(device))
      case .regular: preconditionFailure("regular files are made by create()")
      }
    }
  }

  package func link(_ existing: TreePath, as path: TreePath) throws(TreeError) {
    let from = try directory(existing.parent)
    unsafe try at(path, "link") { parent, name in
      unsafe withCString(leaf(existing)) { unsafe linkat(from.number, $0, parent, name, 0) }
    }
  }

  package func rename(_ old: TreePath, to new: TreePath) throws(TreeError) {
    let from = try directory(old.parent)
    unsafe try at(new, "rename") { parent, name in
      unsafe withCString(leaf(old)) { unsafe renameat(from.number, $0, parent, name) }
    }
    forget(old)
    forget(new)
  }

  package func remove(_ path: TreePath, directory isDirectory: Bool) throws(TreeError) {
    unsafe try at(path, "remove") { unsafe unlinkat($0, $1, isDirectory ? AT_REMOVEDIR : 0) }
    if isDirectory { forget(path) }
  }

  private func forget(_ path: TreePath) {
    guard !directories.isEmpty else { return }
    for known in directories.keys where known.isWithin(path) { directories[known] = nil }
  }

  package func setOwner(_ path: TreePath, owner: UInt32, group: UInt32) throws(TreeError) {
    unsafe try at(path, "chown") { unsafe fchownat($0, $1, owner, group, AT_SYMLINK_NOFOLLOW) }
  }

  package func setMode(_ path: TreePath, mode: UInt16) throws(TreeError) {
    // fchmodat(2) follows symbolic links; through /proc the object itself is changed.
    let number = open(path, flags: holdfast_o_path)
    guard number >= 0 else { throw Self.error(path, "open", -number) }
    let object = Descriptor(number)
    let proc = "/proc/self/fd/\(object.number)"
    guard unsafe chmod(proc, mode_t(mode)) == 0 else { throw Self.error(path, "chmod", errno) }
  }

  package func setAttribute(_ path: TreePath, _ attribute: Attribute) throws(TreeError) {
    let proc = try procPath(path)
    let error = unsafe withCString(proc) { file in
      unsafe withCString(attribute.name) { name -> Int32 in
        unsafe lsetxattr(file, name, attribute.value, attribute.value.count, 0) == 0 ? 0 : errno
      }
    }
    if error != 0 { throw Self.error(path, "setxattr", error) }
  }

  package func removeAttribute(_ path: TreePath, name: [UInt8]) throws(TreeError) {
    let proc = try procPath(path)
    let error = unsafe withCString(proc) { file in
      unsafe withCString(name) { name -> Int32 in unsafe lremovexattr(file, name) == 0 ? 0 : errno }
    }
    if error != 0, error != ENODATA { throw Self.error(path, "removexattr", error) }
  }

  package func setModified(_ path: TreePath, to time: WallTime) throws(TreeError) {
    let times = [timespec(tv_sec: 0, tv_nsec: Int(UTIME_OMIT)), time.timespec]
    unsafe try at(path, "utimensat") { unsafe utimensat($0, $1, times, AT_SYMLINK_NOFOLLOW) }
  }

  package func flush(_ path: TreePath) throws(TreeError) {
    let number = open(path, flags: O_RDONLY | O_NONBLOCK)
    guard number >= 0 else { throw Self.error(path, "open", -number) }
    let object = Descriptor(number)
    guard fsync(object.number) == 0 else { throw .flushFailed(errno: errno) }
  }

  package func expect(_ paths: [TreePath]) { readAhead.begin(top, paths) }

  package func beginWriteOut() { writeOut.begin(top) }

  package func flush() throws(TreeError) {
    guard holdfast_syncfs(top.number) == 0 else { throw .flushFailed(errno: errno) }
  }

  package func freeBytes() throws(TreeError) -> Int64 {
    guard let free = freeBytesOf(top.number) else { throw Self.error(.top, "fstatfs", errno) }
    return free
  }
}

/// utimensat(2): leave this time alone.
let UTIME_OMIT = (1 << 30) - 2

/// How a picture of a root passes for the root.
struct Guise {
  let own: UInt64
  let shown: UInt64
  let holdsSubvolumes: Bool
  /// What stands in a btrfs snapshot where another subvolume is: BTRFS_EMPTY_SUBVOL_DIR_OBJECTID.
  private static let emptySubvolume: UInt64 = 2

  func show(_ status: Status) -> Status {
    var status = status
    let isSubvolume =
      holdsSubvolumes && status.kind == .directory && status.inode == Self.emptySubvolume
    if status.device == own, !isSubvolume { status.device = shown }
    return status
  }
}

extension Status {
  init(_ answer: stat) {
    let kind: Kind =
      switch answer.st_mode & S_IFMT {
      case S_IFDIR: .directory
      case S_IFLNK: .symlink
      case S_IFIFO: .fifo
      case S_IFCHR: .characterDevice
      case S_IFBLK: .blockDevice
      case S_IFSOCK: .socket
      default: .regular
      }
    self.init(
      kind: kind, mode: UInt16(answer.st_mode & 0o7777), owner: answer.st_uid,
      group: answer.st_gid, size: kind == .regular ? Int64(answer.st_size) : 0,
      modified: WallTime(answer.st_mtim), changed: WallTime(answer.st_ctim),
      device: UInt64(answer.st_dev), inode: UInt64(answer.st_ino),
      links: UInt32(truncatingIfNeeded: answer.st_nlink), special: UInt64(answer.st_rdev),
      allocated: Int64(answer.st_blocks) * 512)
  }
}
