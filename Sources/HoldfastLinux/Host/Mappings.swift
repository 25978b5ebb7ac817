import CLinux
import Glibc
package import HoldfastCore

/// Which files some process could change with no event: through a shared mapping, or by
/// asynchronous I/O (io_submit(2)).
package enum Mappings {
  /// Looks for shared writable mappings (proc_pid_maps(5)). A file's name there may be a hard
  /// link's, a bind mount's or a namespace's: what does not lie below a root by its path is told as
  /// an object, each once for each process.
  /// - Parameter isAlone: whether nobody has files of the roots open but the processes that can be
  ///   seen here: those of a namespace of their own, such as a container's, are told of no others.
  package static func look(roots: [String], isAlone: Bool) -> MappingReport {
    var report = MappingReport()
    // Where some are hidden (proc(5), `hidepid`), the first one is too.
    var isFirstSeen = false
    let number = unsafe holdfast_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else {
      report.isComplete = false
      return report
    }
    let prefixes = roots.map { Array(($0 == "/" ? "" : $0).utf8) + [0x2F] }
    for name in listNames(number).names {
      guard let process = Int32(String(decoding: name, as: UTF8.self)) else { continue }
      guard let maps = readAll("/proc/\(process)/maps") else {
        // A process that ended meanwhile has no mappings.
        if errno != ENOENT, errno != ESRCH { report.isComplete = false }
        continue
      }
      if process == 1 { isFirstSeen = true }
      var seen: Set<MappedFile.Name> = []
      var isAsynchronous = false
      for line in maps.split(separator: 0x0A) {
        guard let (range, path) = shared(line) else { continue }
        // The ring of a context of asynchronous I/O (io_setup(2)).
        isAsynchronous = isAsynchronous || path.starts(with: ring)
        guard
          let file = Self.name(of: path, prefixes, "/proc/\(process)/map_files/\(range)")
        else { continue }
        seen.insert(file)
      }
      if isAsynchronous {
        for file in OpenFiles.written(by: process) {
          seen.formUnion(Self.name(of: file.path[...], prefixes, file.link).map { [$0] } ?? [])
        }
      }
      report.files += seen.map { MappedFile(process: process, name: $0) }
    }
    if !isFirstSeen || !(isAlone || Namespace.isFirstOfProcesses) { report.isComplete = false }
    return report
  }

  private static let ring = Array("/[aio]".utf8)

  private static func name(
    of path: ArraySlice<UInt8>, _ prefixes: [[UInt8]], _ link: String
  ) -> MappedFile.Name? {
    // A file that was removed has no name in a root any more, unless another.
    let isRemoved = path.suffix(10).elementsEqual(" (deleted)".utf8)
    if !isRemoved, let root = prefixes.firstIndex(where: { path.starts(with: $0) }) {
      return .path(root: root, Array(path.dropFirst(prefixes[root].count)))
    }
    return identity(link).map { .object($0) }
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

  private static func identity(_ path: String) -> FileIdentity? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }
}
