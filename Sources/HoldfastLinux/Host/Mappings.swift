import CLinux
import Glibc
package import HoldfastCore

/// Whether some process could change a file through a shared mapping, which no event tells.
package enum Mappings {
  /// Looks for shared writable mappings of files on one of `devices` below one of `roots`
  /// (proc_pid_maps(5)).
  package static func look(roots: [String]) -> MappingReport {
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
      for line in maps.split(separator: 0x0A) where mapsRoot(line, roots) {
        return .mapped(process: process)
      }
    }
    return answer
  }

  private static func mapsRoot(_ line: ArraySlice<UInt8>, _ roots: [String]) -> Bool {
    let fields = line.split(separator: 0x20, maxSplits: 5, omittingEmptySubsequences: true)
    guard fields.count == 6 else { return false }
    let access = Array(fields[1])
    guard access.count == 4, access[1] == UInt8(ascii: "w"), access[3] == UInt8(ascii: "s") else {
      return false
    }
    let path = fields[5].drop { $0 == 0x20 }
    return roots.contains { path.starts(with: Array($0.utf8) + [0x2F]) }
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
