import CLinux
import Glibc
package import HoldfastCore

/// Whether some process could change a file through a shared mapping, which no event tells.
package enum Mappings {
  /// Looks for shared writable mappings of files below one of `roots`, by whatever name
  /// (proc_pid_maps(5)).
  /// - Parameter isProtected: whether the object with this device and inode is known in a root: its
  ///   name here may be a hard link's, a bind mount's or a namespace's.
  package static func look(
    roots: [String], isProtected: (_ device: UInt64, _ inode: UInt64) -> Bool
  ) -> MappingReport {
    let number = unsafe holdfast_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return .unknown }
    var answer = MappingReport.none
    for name in listNames(number).names {
      guard let process = Int32(String(decoding: name, as: UTF8.self)) else { continue }
      guard let maps = contents("/proc/\(process)/maps") else {
        // A process that ended meanwhile has no mappings.
        if errno != ENOENT, errno != ESRCH { answer = .unknown }
        continue
      }
      for line in maps.split(separator: 0x0A) {
        guard let (range, path) = shared(line) else { continue }
        if roots.contains(where: { path.starts(with: Array($0.utf8) + [0x2F]) }) {
          return .mapped(process: process)
        }
        if let object = identity("/proc/\(process)/map_files/\(range)"),
          isProtected(object.device, object.inode)
        {
          return .mapped(process: process)
        }
      }
    }
    return answer
  }

  /// Range and path of a mapping that is shared and writable.
  private static func shared(
    _ line: ArraySlice<UInt8>
  ) -> (range: String, path: ArraySlice<UInt8>)? {
    let fields = line.split(separator: 0x20, maxSplits: 5, omittingEmptySubsequences: true)
    guard fields.count == 6 else { return nil }
    let access = Array(fields[1])
    guard access.count == 4, access[1] == UInt8(ascii: "w"), access[3] == UInt8(ascii: "s") else {
      return nil
    }
    // The names in map_files are not padded with zeros.
    let range = String(decoding: fields[0], as: UTF8.self).split(separator: "-").map {
      $0.drop { $0 == "0" }
    }
    return (range.joined(separator: "-"), fields[5].drop { $0 == 0x20 })
  }

  private static func identity(_ path: String) -> (device: UInt64, inode: UInt64)? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return (UInt64(status.st_dev), UInt64(status.st_ino))
  }

  private static func contents(_ path: String) -> [UInt8]? {
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
}
