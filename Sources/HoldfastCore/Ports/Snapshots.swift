/// Why something that a provider needs did not happen, for people.
package struct ProviderError: Error, Hashable, Sendable, CustomStringConvertible {
  package let reason: String
  package init(_ reason: String) { self.reason = reason }
  package var description: String { reason }
}

/// The part of a filesystem that is snapshotted as one.
package struct Subvolume: Hashable, Sendable {
  /// Path of its own top directory.
  package var top: String
  /// From there to the directory that was asked for; empty where that is the top itself.
  package var inner: String
  package init(top: String, inner: String) {
    self.top = top
    self.inner = inner
  }
}

/// What providers ask of the machine. All calls may block.
package protocol Snapshots: Sendable {
  /// The btrfs subvolume that holds a directory.
  func subvolume(of path: String) throws(ProviderError) -> Subvolume
  /// Makes a read-only snapshot at a path on the same filesystem where nothing is. Returns once
  /// it is there; its moment lies within the call.
  func snapshot(_ subvolume: Subvolume, as path: String) throws(ProviderError)
  /// Removes a snapshot, if one is there.
  func removeSnapshot(_ path: String) throws(ProviderError)
  /// A directory that shows how a root was, as if it were the root: see ``Pictures``.
  /// - Parameter name: what it has to show of ``label(_:with:)``; `nil` where that is not asked.
  /// - Throws: also where it does not carry the root's marker: an empty mount point is no picture.
  func picture(
    _ path: String, of root: String, named name: String?
  ) throws(ProviderError) -> any Tree
  /// Has a root show a name, in what is not replicated, durably: who sees it there looks at the
  /// root as it was since.
  /// - Parameter name: `nil`: none any more; that it cannot be removed is no error.
  func label(_ root: String, with name: String?) throws(ProviderError)
  /// Whether all lie on one filesystem.
  func areTogether(_ roots: [String]) -> Bool
  /// Places below a root where other filesystems are mounted.
  func mounts(below root: String) throws(ProviderError) -> [TreePath]
  /// Runs a command of the administrator's by `/bin/sh -c`, killed with all that it started once
  /// it takes too long.
  /// - Parameter environment: added to this process's own.
  /// - Throws: how it ended, with what it printed last, unless it ended with 0.
  func run(
    _ command: String, environment: [String: String], within: Duration
  ) throws(ProviderError)
}
