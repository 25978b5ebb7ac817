import CLinux
import Glibc

/// Where mounts show what of their filesystems, as one process sees them (proc_pid_mountinfo(5)).
struct Mounts {
  struct Mount {
    /// Of the filesystem: major and minor number.
    var device: [UInt8]
    /// The part of the filesystem that is shown.
    var root: [UInt8]
    /// Where that is.
    var point: [UInt8]
  }

  /// A place on a filesystem, whatever it is mounted as.
  struct Location {
    var device: [UInt8]
    var path: [UInt8]

    func isWithin(_ outer: Location) -> Bool {
      device == outer.device
        && (path == outer.path || Mounts.rest(of: path, below: outer.path) != nil)
    }
  }

  private var byNumber: [Int: Mount] = [:]
  var all: some Sequence<Mount> { byNumber.values }

  /// - Parameter process: its folder in `/proc`.
  init?(_ process: String) {
    guard let table = readAll("\(process)/mountinfo") else { return nil }
    for line in table.split(separator: 0x0A) {
      let fields = line.split(separator: 0x20, maxSplits: 5)
      guard fields.count > 4, let number = Int(String(decoding: fields[0], as: UTF8.self)) else {
        continue
      }
      byNumber[number] = Mount(
        device: Array(fields[2]), root: Self.unescaped(fields[3]),
        point: Self.unescaped(fields[4]))
    }
  }

  /// - Parameters:
  ///   - path: as the process names it.
  ///   - mount: the number of the mount that it lies on.
  func location(of path: [UInt8], on mount: Int) -> Location? {
    guard let mount = byNumber[mount] else { return nil }
    if path == mount.point { return Location(device: mount.device, path: mount.root) }
    guard let rest = Self.rest(of: path, below: mount.point) else { return nil }
    let top = mount.root == [0x2F] ? [] : mount.root
    return Location(device: mount.device, path: top + [0x2F] + rest)
  }

  /// What follows a folder and a slash in a path.
  static func rest(of path: [UInt8], below folder: [UInt8]) -> ArraySlice<UInt8>? {
    let prefix = folder == [0x2F] ? folder : folder + [0x2F]
    return path.starts(with: prefix) ? path.dropFirst(prefix.count) : nil
  }

  /// Undoes `\040` and the like.
  private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    var rest = field
    while let first = rest.popFirst() {
      let digits = rest.prefix(3)
      if first == UInt8(ascii: "\\"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        out.append(value)
        rest = rest.dropFirst(3)
      } else {
        out.append(first)
      }
    }
    return out
  }
}
