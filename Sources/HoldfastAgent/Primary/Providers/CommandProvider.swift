import HoldfastCore
import HoldfastStore

/// The administrator's commands. What was begun is written down before it begins, with the command
/// that ends it, so that its end comes also after a crash, and after another configuration.
struct CommandProvider {
  let pair: String
  let paths: [String]
  let snapshots: any Snapshots
  let disk: any Disk
  let dice: any Dice

  /// Files that say that something was begun, and under which name.
  private static let snapshotFile = "snapshot"
  private static let quiesceFile = "quiesce"

  /// - Returns: what could not be ended.
  func recover(_ snapshot: SnapshotCommands?, _ quiesce: QuiesceCommands?) -> [String] {
    // A service waits for the one.
    release(quiesce) + remove(snapshot)
  }

  // MARK: Snapshots

  /// - Returns: whether the pictures are of one instant: of roots on several filesystems where
  ///   nothing changed meanwhile, or the administrator says that they are made together.
  func take(
    _ commands: SnapshotCommands, madeAt: WallTime, _ news: Providers.News
  ) throws(ProviderError) -> (pictures: Pictures, isFixed: Bool) {
    // One at a time: what could not be removed is not made a second time.
    if let trouble = remove(commands).first { throw ProviderError(trouble) }
    let name = try begin(Self.snapshotFile, commands.end)
    do throws(ProviderError) {
      var mounts: Set<Place> = []
      for (number, path) in paths.enumerated() {
        for mount in try snapshots.mounts(below: path) {
          mounts.insert(Place(root: RootNumber(rawValue: number), path: mount))
        }
      }
      defer { for path in paths { try? snapshots.label(path, with: nil) } }
      // A root that takes none, full or read-only, is told by its marker alone.
      let isLabelled = paths.allSatisfy { (try? snapshots.label($0, with: name)) != nil }
      let isOne = commands.isTogether || snapshots.areTogether(paths)
      _ = news.changes()
      try run(commands.create, name, commands.within)
      let isFixed = isOne || (news.isCovered() && news.isUnchanged)
      var trees: [any Tree] = []
      for path in paths {
        let picture = paths.count == 1 ? commands.path : commands.path + path
        trees.append(try snapshots.picture(picture, of: path, named: isLabelled ? name : nil))
      }
      return (Pictures(trees: trees, mounts: mounts, madeAt: madeAt), isFixed)
    } catch {
      let troubles = remove(commands)
      throw ProviderError(([error.reason] + troubles).joined(separator: "; "))
    }
  }

  /// - Returns: why a snapshot that was begun could not be removed; it is tried again.
  func remove(_ commands: SnapshotCommands?) -> [String] {
    end(Self.snapshotFile, commands?.end)
  }

  // MARK: Before and after

  func prepare(_ commands: QuiesceCommands) throws(ProviderError) {
    if let trouble = release(commands).first { throw ProviderError(trouble) }
    let name = try begin(Self.quiesceFile, commands.end)
    try run(commands.before, name, commands.within)
  }

  /// - Returns: why `after` did not end well, if it was due.
  func release(_ commands: QuiesceCommands?) -> [String] {
    end(Self.quiesceFile, commands?.end)
  }

  // MARK: What was begun

  private func begin(_ file: String, _ end: EndCommand) throws(ProviderError) -> String {
    let name = "holdfast-\(pair)-\(RandomID(dice))"
    do throws(DiskError) {
      try disk.replace(file, with: OwedCommand(name: name, end: end).encoded)
    } catch {
      throw ProviderError("\(error)")
    }
    return name
  }

  /// - Parameter configured: where the command that was configured when it was begun fails, maybe
  ///   this one is right.
  private func end(_ file: String, _ configured: EndCommand?) -> [String] {
    do {
      guard let owed = try disk.contents(of: file).map(OwedCommand.init(decoding:)) else {
        return []
      }
      guard let first = owed.end ?? configured else {
        return ["what \(file) began was not ended: its commands are no longer configured"]
      }
      do throws(ProviderError) {
        try run(first.text, owed.name, first.within)
      } catch {
        guard let configured, configured != first else { throw error }
        try run(configured.text, owed.name, configured.within)
      }
      try disk.remove(file)
      try disk.flushNames()
      return []
    } catch let error as ProviderError {
      return ["\(file): \(error.reason)"]
    } catch {
      return ["\(file): \(error)"]
    }
  }

  private func run(_ command: String, _ name: String, _ within: Duration) throws(ProviderError) {
    try snapshots.run(
      command, environment: ["HOLDFAST_PAIR": pair, "HOLDFAST_SNAPSHOT": name], within: within)
  }
}

extension SnapshotCommands {
  fileprivate var end: EndCommand { EndCommand(text: remove, within: within) }
}

extension QuiesceCommands {
  fileprivate var end: EndCommand { EndCommand(text: after, within: within) }
}
