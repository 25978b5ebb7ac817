import CLinux
import Glibc
import HoldfastCore

/// Who has files of roots open for writing (proc_pid_fd(5), proc_pid_fdinfo(5)).
package enum OpenFiles {
  /// A file that a process has open for writing.
  struct File {
    /// As the process names it, which may have mounts of its own.
    var path: [UInt8]
    /// Leads to it.
    var link: String
    /// See ``Mounts``.
    var mount: Int
  }

  /// - Returns: of each process one file, as that process names it; of those that may be looked
  ///   into.
  package static func look(roots: [String]) -> [(process: Int32, path: String)] {
    let places = roots.map(Root.init)
    return numbers("/proc").filter { $0 != getpid() }.compactMap { process in
      let mounts = Mounts("/proc/\(process)")
      let file = written(by: process).first { file in
        let location = mounts?.location(of: file.path, on: file.mount)
        return places.contains { $0.holds(file.path, location) }
      }
      return file.map { (process, String(decoding: $0.path, as: UTF8.self)) }
    }
  }

  private struct Root {
    var path: [UInt8]
    var location: Mounts.Location?

    init(_ name: String) {
      path = Array((Roots.realPath(name) ?? name).utf8)
      let number = unsafe holdfast_openat(
        AT_FDCWD, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
      guard number >= 0 else { return }
      let folder = Descriptor(number)
      let description = Description("/proc/self/fdinfo/\(folder.number)")
      location = description.flatMap { Mounts("/proc/self")?.location(of: path, on: $0.mount) }
    }

    func holds(_ file: [UInt8], _ other: Mounts.Location?) -> Bool {
      guard let location, let other else { return Mounts.rest(of: file, below: path) != nil }
      return other.isWithin(location)
    }
  }

  static func written(by process: Int32) -> some Sequence<File> {
    numbers("/proc/\(process)/fd").lazy.compactMap { file in
      let link = "/proc/\(process)/fd/\(file)"
      guard let path = target(link), path.first == 0x2F,
        let description = Description("/proc/\(process)/fdinfo/\(file)"),
        description.flags & O_ACCMODE != O_RDONLY
      else { return nil }
      return File(path: path, link: link, mount: description.mount)
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

  /// What the kernel says of a descriptor.
  private struct Description {
    var flags: Int32
    var mount: Int

    init?(_ path: String) {
      let lines = readText(path)?.split(separator: "\n") ?? []
      func value(_ key: String) -> Substring? {
        lines.first { $0.hasPrefix(key) }?.dropFirst(key.count)
          .trimmingPrefix { $0 == " " || $0 == "\t" }
      }
      guard let flags = value("flags:").flatMap({ Int32($0, radix: 8) }),
        let mount = value("mnt_id:").flatMap({ Int($0) })
      else { return nil }
      self.flags = flags
      self.mount = mount
    }
  }
}
