import HoldfastCore
import HoldfastStore

/// Read-only snapshots of the subvolumes that hold the roots, each beside the marker of a root in
/// it, so that none can be leaked unseen.
struct BtrfsProvider {
  let paths: [String]
  let snapshots: any Snapshots

  private static let name = "/.holdfast/capture"

  /// Removes all that there are.
  /// - Returns: what could not be removed.
  func recover() -> [String] {
    paths.compactMap { path in
      do throws(ProviderError) {
        try snapshots.removeSnapshot(path + Self.name)
        return nil
      } catch {
        return "btrfs: \(error.reason)"
      }
    }
  }

  /// - Returns: whether the pictures are of one instant: several snapshots are only where nothing
  ///   changed between the first and the last.
  func take(
    madeAt: WallTime, _ news: Providers.News
  ) throws(ProviderError) -> (pictures: Pictures, isFixed: Bool) {
    do {
      return try attempt(madeAt, news)
    } catch {
      _ = recover()
      throw error
    }
  }

  private func attempt(
    _ madeAt: WallTime, _ news: Providers.News
  ) throws(ProviderError) -> (Pictures, Bool) {
    var subvolumes: [Subvolume] = []
    var mounts: Set<Place> = []
    for (number, path) in paths.enumerated() {
      subvolumes.append(try snapshots.subvolume(of: path))
      for mount in try snapshots.mounts(below: path) {
        mounts.insert(Place(root: RootNumber(rawValue: number), path: mount))
      }
    }
    /// By top, where its snapshot lies.
    var made: [String: String] = [:]
    var isFixed = false
    for _ in 0..<Limits.snapshotTriesMax where !isFixed {
      if let trouble = recover().first { throw ProviderError(trouble) }
      made = [:]
      _ = news.changes()
      for (path, subvolume) in zip(paths, subvolumes) where made[subvolume.top] == nil {
        try snapshots.snapshot(subvolume, as: path + Self.name)
        made[subvolume.top] = path + Self.name
      }
      isFixed = made.count == 1 || news.isUnchanged
      // What cannot be known is not known the next time either.
      guard made.count == 1 || news.isCovered() else {
        isFixed = false
        break
      }
    }
    var trees: [any Tree] = []
    for (path, subvolume) in zip(paths, subvolumes) {
      guard let snapshot = made[subvolume.top] else {
        preconditionFailure("no snapshot of \(subvolume)")
      }
      let inner = subvolume.inner.isEmpty ? "" : "/" + subvolume.inner
      trees.append(try snapshots.picture(snapshot + inner, of: path, named: nil))
    }
    return (Pictures(trees: trees, mounts: mounts, madeAt: madeAt), isFixed)
  }
}
