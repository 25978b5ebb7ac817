import CLinux
import Glibc
package import HoldfastCore

/// Looks at roots and replicas as a whole, and marks them.
package enum Roots {
  private static let folder = "/.holdfast"
  private static let markerName = "/.holdfast/marker"

  package static func report(_ path: String) -> RootReport {
    let real = realPath(path) ?? path
    // Elsewhere it could be made to lead anywhere meanwhile.
    var named = stat()
    let isLink = unsafe lstat(path, &named) == 0 && named.st_mode & S_IFMT == S_IFLNK
    func answer(_ state: RootReport.State) -> RootReport {
      RootReport(state: state, realPath: real, filesystem: "", isEmpty: true, marker: nil)
    }
    var status = stat()
    guard unsafe lstat(real, &status) == 0 else {
      return errno == ENOENT ? answer(.absent) : answer(.unreadable(errnoText(errno)))
    }
    guard status.st_mode & S_IFMT == S_IFDIR, !isLink else { return answer(.notDirectory) }
    let number = unsafe holdfast_openat(AT_FDCWD, real, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return answer(.unreadable(errnoText(errno))) }
    let filesystem = filesystemID(number)
    let (names, error) = listNames(number)
    guard error == 0 else { return answer(.unreadable(errnoText(error))) }
    return RootReport(
      state: .directory,
      identity: FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)),
      realPath: real, filesystem: filesystem,
      isEmpty: !names.contains { $0 != Array(".holdfast".utf8) }, marker: readMarker(real))
  }

  /// f_fsid, which filesystems on disk derive from their UUID (statfs(2)).
  private static func filesystemID(_ number: Int32) -> String {
    var answer = statfs()
    guard unsafe fstatfs(number, &answer) == 0 else { return "" }
    return Hex.encode(unsafe withUnsafeBytes(of: answer.f_fsid) { unsafe Array($0) })
  }

  /// - Returns: `nil` where it cannot be opened.
  package static func isOnBtrfs(_ path: String) -> Bool? {
    let number = unsafe holdfast_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return nil }
    let directory = Descriptor(number)
    return holdfast_is_btrfs(directory.number) != 0
  }

  /// The directory that holds `path`, where every user of this host may enter it.
  package static func openParent(of path: String) -> String? {
    guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
    let parent = String(path[..<slash])
    var status = stat()
    guard unsafe stat(parent, &status) == 0, status.st_mode & S_IXOTH != 0 else { return nil }
    return parent
  }

  package static func realPath(_ path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  /// See ``Host/overlaps(_:_:)``.
  package static func overlaps(_ a: String, _ b: String) -> Bool {
    let left = realPath(a) ?? a
    let right = realPath(b) ?? b
    return left == right || left.hasPrefix(right + "/") || right.hasPrefix(left + "/")
      || isInside(left, right) || isInside(right, left)
  }

  /// Whether `inner` or a directory above it is `outer`, by device and inode, as bind mounts make
  /// them.
  private static func isInside(_ inner: String, _ outer: String) -> Bool {
    guard let wanted = identity(outer) else { return false }
    var path = inner
    while true {
      if identity(path) == wanted { return true }
      guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return false }
      path = String(path[..<slash])
    }
  }

  private static func identity(_ path: String) -> [UInt64]? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return [UInt64(status.st_dev), UInt64(status.st_ino)]
  }

  static func readMarker(_ root: String) -> Marker? {
    let number = unsafe holdfast_openat(
      AT_FDCWD, root + markerName, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0)
    guard number >= 0 else { return nil }
    let file = Descriptor(number)
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe read(file.number, $0.baseAddress, 256)
    }
    let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    guard let pair = lines.first(where: { $0.first == "pair" })?.last.flatMap({ Hex.decode($0) }),
      let id = RandomID(pair),
      let filesystem = lines.first(where: { $0.first == "filesystem" }), filesystem.count == 2,
      let site = lines.first(where: { $0.first == "site" })?.last.flatMap({ Hex.decode($0) }),
      let key = Digest32(site)
    else { return nil }
    return Marker(pair: id, filesystem: String(filesystem[1]), site: Fingerprint(key))
  }

  /// Durable when it returns.
  package static func mark(_ path: String, _ marker: Marker) throws(TreeError) {
    makeDirectories(path)
    let number = unsafe holdfast_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { throw LinuxTree.error(.top, "open", errno) }
    let top = Descriptor(number)
    let isNew = unsafe mkdirat(number, ".holdfast", 0o700) == 0
    if !isNew, errno != EEXIST { throw LinuxTree.error(.top, "mkdir .holdfast", errno) }
    // Somebody's own: nothing in it would be replicated, and some of it overwritten.
    guard isNew || isOurs(path) else { throw .exists(.reserved) }
    let inner = unsafe holdfast_openat(
      top.number, ".holdfast", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
    guard inner >= 0 else { throw LinuxTree.error(.top, "open .holdfast", errno) }
    let directory = Descriptor(inner)
    let filesystem = marker.filesystem.isEmpty ? filesystemID(number) : marker.filesystem
    let text = "pair \(marker.pair)\nfilesystem \(filesystem)\nsite \(marker.site)\n"
    let file = unsafe holdfast_openat(
      inner, "marker.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw LinuxTree.error(.top, "create marker", errno) }
    let open = Descriptor(file)
    let bytes = Array(text.utf8)
    guard unsafe write(open.number, bytes, bytes.count) == bytes.count, fsync(open.number) == 0,
      unsafe renameat(directory.number, "marker.new", directory.number, "marker") == 0,
      fsync(directory.number) == 0, fsync(top.number) == 0
    else { throw LinuxTree.error(.top, "write marker", errno) }
  }

  /// Whether `.holdfast` holds nothing but what Holdfast puts there.
  private static func isOurs(_ root: String) -> Bool {
    if readMarker(root) != nil { return true }
    let number = unsafe holdfast_openat(
      AT_FDCWD, root + folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
    guard number >= 0 else { return false }
    let own = ["marker.new", "staging", "frozen", "bases"].map { Array($0.utf8) }
    return listNames(number).names.allSatisfy { own.contains($0) }
  }

  private static func makeDirectories(_ path: String) {
    var prefix = ""
    for part in path.split(separator: "/") {
      prefix += "/" + part
      _ = unsafe mkdir(prefix, 0o755)
    }
  }
}
