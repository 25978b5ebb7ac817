import CLinux
import Glibc
import HoldfastCore

/// The control groups that systemd runs units in (cgroups(7), version 2).
struct Cgroups {
  /// Where the hierarchy is mounted.
  let top: String

  /// - Returns: `nil` where there is none.
  init?() {
    guard let table = readText("/proc/self/mounts") else { return nil }
    let lines = table.split(separator: "\n").map { $0.split(separator: " ") }
    guard let line = lines.first(where: { $0.count > 2 && $0[2] == "cgroup2" }) else { return nil }
    top = String(line[1])
  }

  /// Where a unit's processes are. Only slices are looked into: a container's units are not this
  /// host's.
  func folders(of unit: String) -> [String] {
    var found: [String] = []
    var work = [top]
    while let folder = work.popLast() {
      for name in Self.subfolders(folder) {
        if name == unit { found.append("\(folder)/\(name)") }
        if name.hasSuffix(".slice") { work.append("\(folder)/\(name)") }
      }
    }
    return found
  }

  /// All groups inside of one.
  static func below(_ folder: String) -> [String] {
    subfolders(folder).map { "\(folder)/\($0)" }.flatMap { [$0] + below($0) }
  }

  private static func subfolders(_ folder: String) -> [String] {
    let number = unsafe holdfast_openat(
      AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return [] }
    // Files of a group have a point in the names of their controllers, and no other suffix.
    return listNames(number).names.map { String(decoding: $0, as: UTF8.self) }
      .filter { name in
        var status = stat()
        return unsafe lstat("\(folder)/\(name)", &status) == 0
          && status.st_mode & S_IFMT == S_IFDIR
      }
  }

  /// Which group a process is in, below ``top``.
  static func group(of process: Int32) -> String? {
    let lines = readText("/proc/\(process)/cgroup")?.split(separator: "\n") ?? []
    return lines.first { $0.hasPrefix("0::") }.map { String($0.dropFirst(3)) }
  }
}

/// A small file of the kernel's; `nil` where it cannot be read.
package func readText(_ path: String) -> String? {
  guard let bytes = readAll(path) else { return nil }
  return String(decoding: bytes, as: UTF8.self)
}

/// All of a file whose size is not known before; the error is left in `errno`.
func readAll(_ path: String) -> [UInt8]? {
  let number = unsafe holdfast_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)
  guard number >= 0 else { return nil }
  let file = Descriptor(number)
  var all: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 64 << 10)
  while true {
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      retried { unsafe Glibc.read(file.number, bytes.baseAddress, bytes.count) }
    }
    guard count >= 0 else {
      errno = Int32(-count)
      return nil
    }
    if count == 0 { return all }
    all += buffer[..<count]
  }
}
