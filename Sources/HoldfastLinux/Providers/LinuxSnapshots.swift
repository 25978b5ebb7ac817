import CLinux
import Glibc
package import HoldfastCore
import Synchronization

package struct LinuxSnapshots: Snapshots {
  private let folder: String
  private static let runs = Atomic(0)

  /// - Parameter folder: takes what commands print.
  package init(folder: String) { self.folder = folder }

  // MARK: btrfs

  /// Of the top directory of each subvolume: BTRFS_FIRST_FREE_OBJECTID.
  private static let topInode: UInt64 = 256

  package func subvolume(of path: String) throws(ProviderError) -> Subvolume {
    guard let real = Roots.realPath(path) else { throw ProviderError("\(path) does not exist") }
    let folder = try directory(real)
    guard holdfast_is_btrfs(folder.number) != 0 else {
      throw ProviderError("\(path) does not lie on btrfs")
    }
    var top = real
    var device: dev_t?
    while true {
      var status = stat()
      guard unsafe stat(top, &status) == 0 else {
        throw ProviderError("\(top): \(errnoText(errno))")
      }
      guard device ?? status.st_dev == status.st_dev else {
        throw ProviderError("\(path) is mounted from within a subvolume: mount that as a whole")
      }
      device = status.st_dev
      if UInt64(status.st_ino) == Self.topInode { break }
      guard let slash = top.lastIndex(of: "/"), top != "/" else {
        throw ProviderError("no subvolume holds \(path) that can be reached by its path")
      }
      top = slash == top.startIndex ? "/" : String(top[..<slash])
    }
    let inner = top == "/" ? real.dropFirst() : real.dropFirst(top.count).drop { $0 == "/" }
    return Subvolume(top: top, inner: String(inner))
  }

  package func snapshot(_ subvolume: Subvolume, as path: String) throws(ProviderError) {
    let (folder, name) = split(path)
    let source = try directory(subvolume.top)
    let target = try directory(folder)
    guard unsafe holdfast_btrfs_snapshot(target.number, name, source.number) == 0 else {
      throw ProviderError("snapshot of \(subvolume.top) as \(path): \(errnoText(errno))")
    }
  }

  package func removeSnapshot(_ path: String) throws(ProviderError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return }
      throw ProviderError("\(path): \(errnoText(errno))")
    }
    let (folder, name) = split(path)
    let target = try directory(folder)
    guard unsafe holdfast_btrfs_destroy(target.number, name) == 0 else {
      throw ProviderError("removing the snapshot \(path): \(errnoText(errno))")
    }
  }

  private func split(_ path: String) -> (folder: String, name: String) {
    let slash = path.lastIndex(of: "/") ?? path.startIndex
    return (String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  private func directory(_ path: String) throws(ProviderError) -> Descriptor {
    let number = unsafe holdfast_openat(
      AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
    guard number >= 0 else { throw ProviderError("\(path): \(errnoText(errno))") }
    return Descriptor(number)
  }

  // MARK: Pictures

  private static let label = "snapshot"

  package func label(_ root: String, with name: String?) throws(ProviderError) {
    let folder = try directory(root + "/.holdfast")
    guard let name else {
      _ = unsafe unlinkat(folder.number, Self.label, 0)
      return
    }
    let number = unsafe holdfast_openat(
      folder.number, Self.label, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
      0o600)
    guard number >= 0 else { throw ProviderError("\(root)/.holdfast: \(errnoText(errno))") }
    let file = Descriptor(number)
    let bytes = Array(name.utf8)
    var error = file.write(bytes, 0..<bytes.count, at: 0)
    // Some pictures show only what is on the disk.
    if error == 0, fsync(file.number) != 0 || fsync(folder.number) != 0 { error = errno }
    guard error == 0 else { throw ProviderError("\(root)/.holdfast: \(errnoText(error))") }
  }

  private func readLabel(_ path: String) -> String? {
    let number = unsafe holdfast_openat(
      AT_FDCWD, "\(path)/.holdfast/\(Self.label)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
      0)
    guard number >= 0 else { return nil }
    let file = Descriptor(number)
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe read(file.number, $0.baseAddress, $0.count)
    }
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  package func areTogether(_ roots: [String]) -> Bool {
    Set(roots.map { Roots.report($0).identity?.device }).count == 1
  }

  package func picture(
    _ path: String, of root: String, named name: String?
  ) throws(ProviderError) -> any Tree {
    guard let marker = Roots.readMarker(root), Roots.readMarker(path) == marker else {
      throw ProviderError("\(path) does not show \(root): its marker is not there")
    }
    let identity = Roots.report(root).identity
    guard identity == nil || Roots.report(path).identity != identity else {
      throw ProviderError("\(path) is \(root) itself, and no snapshot of it")
    }
    if let name, readLabel(path) != name {
      throw ProviderError("\(path) shows \(root) as it was before `create` was run")
    }
    do throws(TreeError) {
      return try LinuxTree.picture(path, of: root)
    } catch {
      throw ProviderError("\(path) cannot be read: \(error)")
    }
  }

  package func mounts(below root: String) throws(ProviderError) -> [TreePath] {
    guard let real = Roots.realPath(root), let mounts = Mounts("/proc/self") else {
      throw ProviderError("the mounts below \(root) cannot be read")
    }
    let folder = Array(real.utf8)
    return mounts.all.compactMap { mount in
      Mounts.rest(of: mount.point, below: folder).flatMap { TreePath(Array($0)) }
    }
  }

  // MARK: Commands

  package func run(
    _ command: String, environment: [String: String], within: Duration
  ) throws(ProviderError) {
    // Of its own: commands of several pairs run at once.
    let output = "\(folder)/command-\(Self.runs.add(1, ordering: .relaxed).newValue).log"
    _ = unsafe unlink(output)
    defer { _ = unsafe unlink(output) }
    let child: ChildProcess
    do {
      child = try ChildProcess(
        "/bin/sh", ["-c", command], environment: environment, output: .file(output), ownGroup: true)
    } catch {
      throw ProviderError("`\(command)` cannot be run: \(error)")
    }
    guard let code = child.wait(within: within) else {
      child.killGroup()
      throw ProviderError("`\(command)` took longer than \(within) and was killed")
    }
    guard code != 0 else { return }
    let said = tail(of: output)
    throw ProviderError("`\(command)` ended with \(code)\(said.isEmpty ? "" : ": \(said)")")
  }

  private func tail(of path: String) -> String {
    let (folder, name) = split(path)
    guard let disk = try? LinuxDisk(folder), let file = try? disk.open(name, writable: false),
      let size = try? file.size()
    else { return "" }
    let count = min(size, Int64(Limits.commandOutputBytes))
    let bytes = (try? file.read(at: size - count, count: Int(count))) ?? []
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").joined(separator: " / ")
  }
}
