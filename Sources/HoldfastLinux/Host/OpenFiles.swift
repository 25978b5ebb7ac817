import CLinux
import Glibc
import HoldfastCore

/// Who has files of roots open for writing (proc_pid_fd(5), proc_pid_fdinfo(5)).
package enum OpenFiles {
  /// - Returns: of each process one file; of those that may be looked into.
  package static func look(roots: [String]) -> [(process: Int32, path: String)] {
    let prefixes = roots.map { Array((Roots.realPath($0) ?? $0).utf8) + [0x2F] }
    return numbers("/proc").filter { $0 != getpid() }.compactMap { process in
      let file = written(by: process).first { file in
        prefixes.contains { file.path.starts(with: $0) }
      }
      return file.map { (process, String(decoding: $0.path, as: UTF8.self)) }
    }
  }

  /// What a process has open for writing, by its name and by the link that leads to it.
  static func written(by process: Int32) -> some Sequence<(path: [UInt8], link: String)> {
    numbers("/proc/\(process)/fd").lazy.compactMap { file in
      let link = "/proc/\(process)/fd/\(file)"
      guard let path = target(link), path.first == 0x2F,
        isWritable("/proc/\(process)/fdinfo/\(file)")
      else { return nil }
      return (path, link)
    }
  }

  private static func numbers(_ folder: String) -> [Int32] {
    let number = unsafe holdfast_openat(
      AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return [] }
    return listNames(number).names.compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
  }

  private static func target(_ link: String) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: Limits.pathBytesMax + 1)
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return -1 }
      return unsafe readlink(link, base.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    return count > 0 ? Array(buffer[..<count]) : nil
  }

  private static func isWritable(_ info: String) -> Bool {
    let lines = readText(info)?.split(separator: "\n") ?? []
    guard let line = lines.first(where: { $0.hasPrefix("flags:") }),
      let flags = Int32(line.dropFirst(6).trimmingPrefix { $0 == " " || $0 == "\t" }, radix: 8)
    else { return false }
    return flags & O_ACCMODE != O_RDONLY
  }
}
