import Glibc
package import HoldfastCore

/// Chooses how the roots of a pair are watched.
package enum Watching {
  /// fanotify where it can be had, else inotify, else only scans; the answer says why.
  /// - Parameter roots: absolute paths without symbolic links, by root number.
  package static func begin(
    roots: [String], notify: @escaping @Sendable () -> Void
  ) -> any Watch {
    let reason: String
    do throws(Fanotify.Unavailable) {
      return try Fanotify(roots: roots, notify: notify)
    } catch {
      reason = error.reason
    }
    if let inotify = Inotify(roots: roots, shortfall: reason, notify: notify) { return inotify }
    return ScanOnly(shortfall: reason + "; no inotify instances left")
  }
}

/// Nothing tells of changes; only scans find them.
final class ScanOnly: Watch {
  let kind = WatchKind.scan
  let shortfall: String?
  init(shortfall: String) { self.shortfall = shortfall }
  func drain() -> [WatchEvent] { [] }
  func cover(_ place: Place) -> String? { shortfall }
}
