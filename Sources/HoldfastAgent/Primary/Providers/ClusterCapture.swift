import HoldfastCore
import HoldfastStore

/// One capture of a live cluster: first all but its WAL, or all but the cluster where its data
/// files stay as they were, and the WAL last.
final class ClusterCapture {
  let layout: ClusterLayout
  let trees: [ClusterTree]
  let statements: PostgresStatements
  /// When the copy of the data files began; `nil` where there is none in it.
  let taken: Instant?
  /// Where the WAL begins that the copy needs.
  var start = ""
  /// Whether what is told is all that changed since the last capture.
  let isTold: Bool
  /// Where the WAL stood when the backup had ended.
  private(set) var position: String?

  init(
    _ layout: ClusterLayout, _ trees: [any Tree], statements: PostgresStatements, base: Instant?,
    isTold: Bool
  ) {
    self.layout = layout
    self.isTold = isTold
    self.statements = statements
    taken = base
    self.trees = Self.show(layout, trees)
    for tree in self.trees { tree.left = base == nil ? .cluster : .end }
  }

  private static func show(_ layout: ClusterLayout, _ trees: [any Tree]) -> [ClusterTree] {
    trees.enumerated().map { number, tree in
      ClusterTree(root: tree, number: RootNumber(rawValue: number), layout: layout)
    }
  }

  private var data: ClusterTree { trees[layout.data.root.rawValue] }

  static func control(
    of layout: ClusterLayout, _ trees: [any Tree]
  ) throws(ProviderError) -> [UInt8] {
    try control(of: layout, in: show(layout, trees)[layout.data.root.rawValue])
  }

  private static func control(
    of layout: ClusterLayout, in tree: ClusterTree
  ) throws(ProviderError) -> [UInt8] {
    let reason: String
    do throws(TreeError) {
      if let bytes = try tree.showWhole(layout.control.path) { return bytes }
      reason = "\(layout.control.path) changes while it is read"
    } catch {
      reason = "\(error)"
    }
    throw ProviderError(reason)
  }

  /// - Parameters:
  ///   - label: for the file that says where recovery begins.
  ///   - map: where tablespaces lie; empty where there are none.
  func finish(label: [UInt8], map: [UInt8], at made: WallTime, _ position: String) throws {
    guard let folder = try data.status(layout.data.path) else {
      throw ProviderError("\(layout.data.path) is gone")
    }
    data.show(layout.label.path, label, like: folder, at: made)
    if !map.isEmpty { data.show(layout.tablespaceMap.path, map, like: folder, at: made) }
    _ = try Self.control(of: layout, in: data)
    self.position = position
  }

  /// To be looked at whatever is told.
  var scans: [Place] { taken == nil || isTold ? [] : layout.tops }

  /// What is read last.
  /// - Parameter told: what may have changed, of all that there is.
  func last(_ told: CaptureWork) -> CaptureWork {
    for tree in trees { tree.left = .nothing }
    var work = CaptureWork()
    if isTold, !told.scans.contains(where: layout.isAround) {
      work.places = Set(told.places.filter(layout.isWAL)).sorted()
    } else {
      // Each place once: a whole point says it each time that it is looked at.
      work.scans = [layout.wal]
    }
    if taken != nil { work.places += [layout.label, layout.tablespaceMap, layout.control] }
    return work
  }

  /// What was left, but for what was read in the end.
  func left(_ work: CaptureWork) -> CaptureWork {
    guard taken == nil else { return CaptureWork() }
    return CaptureWork(
      scans: work.scans.filter { !layout.isWAL($0) },
      places: work.places.filter { !layout.isWAL($0) })
  }
}
