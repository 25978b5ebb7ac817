import CLinux
import Glibc
package import HoldfastCore

/// Chooses how the roots of a pair are watched.
package enum Watching {
  /// fanotify where it can be had, else inotify, else only scans; the answer says why.
  /// - Parameter roots: absolute paths without symbolic links, by root number.
  package static func begin(
    roots: [String], notify: @escaping @Sendable () -> Void
  ) -> any Watch {
    for root in roots {
      if let name = sharedFilesystem(root) {
        return ScanOnly(shortfall: "\(root) lies on \(name): what others change there is not told")
      }
    }
    let reason: String
    do throws(Fanotify.Unavailable) {
      return try Fanotify(roots: roots, notify: notify)
    } catch {
      reason = error.reason
    }
    if let inotify = Inotify(roots: roots, shortfall: reason, notify: notify) { return inotify }
    return ScanOnly(shortfall: reason + "; no inotify instances left")
  }

  /// Filesystems that may change without this kernel doing it, by their magic numbers (statfs(2)).
  private static let shared: [UInt32: String] = [
    0x6969: "NFS", 0xFF53_4D42: "CIFS", 0xFE53_4D42: "SMB", 0x6573_5546: "FUSE",
    0x0102_1997: "9P", 0x00C3_6400: "Ceph", 0x5346_414F: "AFS", 0x0BD0_0BD0: "Lustre",
    0x0116_1970: "GFS2", 0x7461_636F: "OCFS2",
  ]

  private static func sharedFilesystem(_ root: String) -> String? {
    var answer = statfs()
    guard unsafe statfs(root, &answer) == 0 else { return nil }
    return shared[UInt32(truncatingIfNeeded: answer.f_type)]
  }
}

/// Nothing tells of changes; only scans find them.
final class ScanOnly: Watch {
  let kind = WatchKind.scan
  let shortfall: String?
  init(shortfall: String) { self.shortfall = shortfall }
  func drain() -> [WatchEvent] { [] }
  var newestProcess: Int32? { nil }
  func cover(_ place: Place) -> String? { shortfall }
  func takeCovered() -> [Place] { [] }
}
