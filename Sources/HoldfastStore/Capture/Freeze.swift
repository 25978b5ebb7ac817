package import HoldfastCore

/// Takes down what a capture will read, while the writers stand still: status and attributes as
/// they are, content by clones that share its blocks, or read where it is small. Not shared between
/// threads.
package final class Freeze {
  private let trees: [any Tree]
  private let exclusions: [Exclusion]
  private let catalog: any Catalog
  private let clock: any Timekeeper
  private let bases: Bases
  private var frozen: [FrozenTree] = []
  /// Places that were looked at, and whether with all below them.
  private var seen: [Place: Bool] = [:]
  private var clones = 0
  /// The file whose blocks took longest to be shared, and for how long.
  private var slowest: (path: TreePath, took: Duration)?
  private var bytesRead = 0
  private var forced: Set<Place> = []
  /// Of the filesystems that the roots lie on.
  private var devices: [UInt64] = []

  private static let folder: TreePath = {
    guard let path = TreePath.reserved.appending(Array("frozen".utf8)) else {
      preconditionFailure("no path below \(TreePath.reserved)")
    }
    return path
  }()

  package init(
    trees: [any Tree], exclusions: [Exclusion], catalog: any Catalog, bases: Bases,
    clock: any Timekeeper
  ) {
    self.trees = trees
    self.exclusions = exclusions
    self.catalog = catalog
    self.bases = bases
    self.clock = clock
  }

  /// Removes all clones that there are.
  package static func clear(_ tree: any Tree) throws(TreeError) { try tree.removeAll(folder) }

  /// Before the writers stand still: makes room for clones.
  package func prepare() throws(TreeError) {
    bases.prune(trees)
    for tree in trees {
      try Self.clear(tree)
      try tree.make(Self.folder, kind: .directory, target: [], device: 0)
    }
  }

  /// After that, maybe more than once: has the copies of large files share with them what they are
  /// by now.
  package func renew(_ work: CaptureWork) {
    for place in Set(work.places).union(work.forced) { bases.renew(place, trees) }
  }

  /// After that, maybe more than once: has the content of files written to their disk, so that
  /// little is left to be written when they are cloned. What goes wrong there is for their writers
  /// to hear.
  package func flush(_ work: CaptureWork) {
    for place in Set(work.places).union(work.forced) {
      let tree = trees[place.root.rawValue]
      if let status = try? tree.status(place.path), status.kind == .regular {
        try? tree.flush(place.path)
      }
    }
  }

  /// Whether so much may be looked at while writers stand still.
  package static func isFeasible(_ work: CaptureWork) -> Bool {
    work.scans.count + work.places.count + work.forced.count <= Limits.frozenPlacesMax
      && !work.scans.contains { $0.path.isTop }
  }

  /// While they do.
  /// - Parameter deadline: when the writers go on.
  /// - Throws: where it is too much, or takes too long.
  package func take(
    _ work: CaptureWork, madeAt: WallTime, until deadline: Instant
  ) throws -> Pictures {
    frozen = trees.map { FrozenTree(root: $0) }
    guard Self.isFeasible(work) else {
      throw ProviderError("too much changed before the units stood still")
    }
    seen = [:]
    forced = work.forced
    for tree in trees { tree.forgetDirectories() }
    devices = try trees.map { try $0.status(.top)?.device ?? 0 }
    var stack = (work.places + work.forced.sorted()).map { ($0, false) }
    stack += work.scans.map { ($0, true) }
    while let (place, isDeep) = stack.popLast() {
      guard clock.now() < deadline else {
        throw ProviderError(
          "what changed could not be taken down while units may stand still\(slowness)")
      }
      if let wasDeep = seen[place], wasDeep || !isDeep { continue }
      seen[place] = isDeep
      guard seen.count <= Limits.frozenPlacesMax else {
        throw ProviderError("more than \(Limits.frozenPlacesMax) places changed at once")
      }
      stack += try look(place, isDeep: isDeep, until: deadline)
    }
    defer { frozen = [] }
    return Pictures(trees: frozen, mounts: [], madeAt: madeAt, extent: Set(seen.keys))
  }

  /// Whether one file alone takes longer than units may stand still.
  package func isTooSlow(for limit: Duration) -> Bool { slowest.map { $0.took >= limit } ?? false }

  /// What took longest while units stood still, for people, where it took long.
  package var slowness: String {
    guard let slowest, slowest.took >= Limits.slowClone else { return "" }
    let tenths = slowest.took.nanos / 100_000_000
    return """
       (sharing the blocks of \(slowest.path) took \(tenths / 10).\(tenths % 10) s): raise \
      max-freeze, or capture it by btrfs, snapshot or postgres
      """
  }

  /// - Returns: what is to be looked at besides.
  private func look(
    _ place: Place, isDeep: Bool, until deadline: Instant
  ) throws -> [(Place, Bool)] {
    let root = place.root.rawValue
    if place.path.isWithin(.reserved) {
      frozen[root].set(place.path, .success(nil))
      return []
    }
    let row = try catalog.row(place)
    var more = try row.map { try others(place, $0.stamp, isLinked: $0.entry.linkGroup != 0) } ?? []
    do {
      guard let status = try trees[root].status(place.path) else {
        frozen[root].set(place.path, .success(nil))
        return more
      }
      var object = FrozenTree.Object(status: status)
      defer { frozen[root].set(place.path, .success(object)) }
      let isDirectory = status.kind == .directory
      if status.device != devices[root] {
        // Where what is mounted there begins, the capture finds out.
        if !place.path.isTop {
          more.append((Place(root: place.root, path: place.path.parent), false))
        }
        if isDirectory { return more }
      }
      if exclusions[root].excludesWithParents(place.path, isDirectory: isDirectory) { return more }
      let isNew = row.map { !$0.isSameDirectory(status) } ?? true
      if isDirectory, isDeep || isNew {
        let names = try trees[root].list(place.path)
        object.names = names
        more += names.compactMap { name in
          place.path.appending(name).map { (Place(root: place.root, path: $0), true) }
        }
      }
      if let row, !forced.contains(place), row.isUnchanged(status) { return more }
      object.attributes = try trees[root].attributes(place.path)
      switch status.kind {
      case .symlink: object.target = try trees[root].target(place.path)
      case .regular: object.content = try content(place, status, until: deadline)
      default: break
      }
      if !isDirectory, status.links > 1 {
        more += try others(place, status.stamp, isLinked: true)
      }
    } catch let error as TreeError {
      // Gone since it was looked at, though the writers stand still: somebody else's event tells.
      frozen[root].set(place.path, .failure(error))
    }
    return more
  }

  /// Other names of one object.
  private func others(
    _ place: Place, _ stamp: Stamp, isLinked: Bool
  ) throws -> [(Place, Bool)] {
    guard isLinked else { return [] }
    return try catalog.places(root: place.root, device: stamp.device, inode: stamp.inode)
      .filter { $0 != place }.map { ($0, false) }
  }

  private func content(
    _ place: Place, _ status: Status, until deadline: Instant
  ) throws -> FrozenTree.Content {
    let tree = trees[place.root.rawValue]
    if status.size == 0 { return .bytes([]) }
    let began = clock.now()
    defer {
      let took = clock.now() - began
      if took > slowest?.took ?? .zero { slowest = (place.path, took) }
    }
    if let base = try bases.settle(place, status, trees, until: deadline) {
      return .clone(base.copy, base.history)
    }
    clones += 1
    let name = Array("\(clones)".utf8)
    if let copy = Self.folder.appending(name), try tree.clone(place.path, as: copy) != nil {
      return .clone(copy, nil)
    }
    bytesRead += Int(clamping: status.size)
    guard bytesRead <= Limits.frozenBytesMax else {
      throw ProviderError(
        """
        \(place.path) is too large to be read while units stand still, and its filesystem does not \
        share blocks between files (XFS and btrfs do)
        """)
    }
    let file = try tree.open(place.path)
    defer { file.close() }
    var bytes = [UInt8](repeating: 0, count: Int(status.size))
    let count = try file.read(at: 0, into: &bytes, bytes.indices)
    return .bytes(Array(bytes[..<count]))
  }
}
