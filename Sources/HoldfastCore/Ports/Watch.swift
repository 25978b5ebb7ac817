/// One thing that the kernel told of a root.
package enum WatchEvent: Hashable, Sendable {
  /// Something about this name, or what it names, may have changed.
  case touched(Place)
  /// Events were lost below this place.
  case lost(Place)
  /// An object changed by a name outside of the roots; it may have others inside.
  case linked(FileIdentity)
}

/// How changes are found.
package enum WatchKind: String, Sendable {
  case fanotify, inotify, scan
}

/// Events of all roots of a pair. Calls may come from any thread.
package protocol Watch: AnyObject, Sendable {
  var kind: WatchKind { get }
  /// Why a better kind is not in use; `nil` where nothing better exists.
  var shortfall: String? { get }
  /// All events whose system calls had returned before this call, none twice; bounded, since too
  /// many become ``WatchEvent/lost(_:)``. A directory that appears is told as `lost`: it is to be
  /// scanned whole.
  func drain() -> [WatchEvent]
  /// Whose the newest event was of those that ``drain()`` gave last; `nil` where that is not known.
  var newestProcess: Int32? { get }
  /// Makes sure that events in this directory will be told from now on.
  /// - Returns: a reason where that is impossible: then only a scan sees changes there.
  func cover(_ place: Place) -> String?
  /// Directories that are watched since this was last asked, and were not before: what changed in
  /// them until then was not told.
  func takeCovered() -> [Place]
}
