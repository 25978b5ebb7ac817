package import HoldfastCore

/// Reads what may have changed in a pair's roots and tells how it differs from the catalog. Not
/// shared between threads.
package final class Capture {
  private let trees: [any Tree]
  let exclusions: [Exclusion]
  let catalog: any Catalog
  let writer: PointWriter
  let cutter: ContentCutter
  private let watch: any Watch
  private let clock: any Timekeeper
  let probe: any Probe
  private let devices: [UInt64]

  /// What is read just now: the roots or pictures of them.
  var sources: [any ReadableTree] = []
  private var extent: Set<Place>?
  private var mounts: Set<Place> = []
  private var picturedAt: WallTime?
  private var forced: Set<Place> = []
  var isWhole = false
  /// Whether all that the other side holds was known when this began.
  var isInformed = false
  /// Nothing is known yet, so every file will be read.
  private var readsAll = false
  var outcome = CaptureOutcome()
  var head = CatalogHead.none
  private var linked: Set<Place> = []
  /// The directory that was last found to be in the catalog.
  private var known: Place?
  /// Objects whose names are in `linked`.
  private var noted: Set<Stamp> = []
  private var keptAbsent: Set<Place> = []

  package init(
    trees: [any Tree], exclusions: [Exclusion], catalog: any Catalog, writer: PointWriter,
    cutter: ContentCutter, watch: any Watch, clock: any Timekeeper, probe: any Probe
  ) throws {
    self.trees = trees
    self.exclusions = exclusions
    self.catalog = catalog
    self.writer = writer
    self.cutter = cutter
    self.watch = watch
    self.clock = clock
    self.probe = probe
    devices = try trees.map { try $0.status(.top)?.device ?? 0 }
  }

  /// Reads and puts changes into the writer's open attempt; the caller seals it or gives it up.
  /// - Parameters:
  ///   - isWhole: everything that exists is put, changed or not.
  ///   - isInformed: whether the catalog knows all that the other side holds.
  ///   - pictures: read in place of the roots, where there are any.
  ///   - late: asked for more work when all else was read; ends the attempt by throwing.
  /// - Returns: what was met, and the catalog's head with new digest and totals.
  package func read(
    _ work: CaptureWork, isWhole: Bool, isInformed: Bool = false,
    from pictures: Pictures? = nil,
    late: () throws -> CaptureWork = { CaptureWork() }
  ) throws(CaptureError) -> (CaptureOutcome, CatalogHead) {
    self.isWhole = isWhole
    self.isInformed = isInformed
    sources = pictures?.trees ?? trees
    mounts = pictures?.mounts ?? []
    extent = pictures?.extent
    picturedAt = pictures?.madeAt
    forced = work.forced
    defer { sources = [] }
    outcome = CaptureOutcome()
    linked = []
    known = nil
    noted = []
    keptAbsent = []
    do {
      head = try catalog.head()
      readsAll = head.number == .none
      for tree in sources { tree.forgetDirectories() }
      if isWhole {
        head.tree = TreeDigest()
        head.totals = Totals()
        for root in trees.indices {
          try visit(Place(root: RootNumber(rawValue: root), path: .top), deep: true)
        }
      } else {
        try visit(work)
      }
      try visitLinked()
      try visit(try late())
      try visitLinked()
    } catch let error as CaptureError {
      throw error
    } catch {
      throw .store(error)
    }
    return (outcome, head)
  }

  /// Other names of objects that changed by one of theirs.
  private func visitLinked() throws {
    let places = linked.sorted()
    linked = []
    for place in places { try visit(place) }
  }

  private func visit(_ work: CaptureWork) throws {
    for place in work.scans { try visit(place, deep: true) }
    for place in work.places { try visit(place) }
    for place in work.forced.sorted() { try visit(place) }
  }

  private struct Visit {
    var place: Place
    var deep: Bool
    /// Whether the tree was told that it will be read.
    var isExpected = false
  }
  /// How many places the tree is told of ahead.
  private static let expectedMax = 64

  private func visit(_ first: Place, deep: Bool = false) throws {
    if let mount = mount(above: first) {
      // What was captured below it before stays as it was.
      if !outcome.mounts.contains(mount) { outcome.mounts.append(mount) }
      return
    }
    var work = [Visit(place: first, deep: deep)]
    while let visit = work.popLast() {
      try writer.checkpoint()
      if readsAll { expect(visit, &work) }
      let place = visit.place
      if sources[root(place)].isLeft(place.path) {
        if visit.deep {
          outcome.left.scans.append(place)
        } else {
          outcome.left.places.append(place)
        }
        continue
      }
      if let extent, !extent.contains(place) {
        // How it was then nobody knows.
        outcome.torn.append(place)
        continue
      }
      guard let status = try look(place) else { continue }
      if status.kind == .directory, !place.path.isTop,
        status.device != devices[root(place)] || mounts.contains(place)
      {
        outcome.mounts.append(place)
        // What was captured here before stays as it was, in a whole point too.
        guard let row = try catalog.row(place), row.entry.kind == .directory else {
          try record(place, status)
          continue
        }
        if isWhole {
          try putWhole(place, row.entry)
          try keepBelow(place)
        }
        continue
      }
      let isNew = try record(place, status)
      guard status.kind == .directory, visit.deep || isNew else { continue }
      work += try list(place).map { Visit(place: $0, deep: true) }
    }
  }

  /// The highest directory on the way to a place that is on another filesystem.
  private func mount(above place: Place) -> Place? {
    var path = place.path.parent
    var found: Place?
    while !path.isTop {
      let directory = Place(root: place.root, path: path)
      let status = try? sources[root(place)].status(path)
      let isOther = status.map { $0.device != devices[root(place)] } ?? false
      if isOther || mounts.contains(directory) { found = directory }
      path = path.parent
    }
    return found
  }

  /// Tells the tree what comes next, before all that it was told of is used up.
  private func expect(_ next: Visit, _ work: inout [Visit]) {
    let half = Self.expectedMax / 2
    guard !next.isExpected || (work.count > half && !work[work.count - half].isExpected)
    else { return }
    var paths: [TreePath] = []
    for index in work.indices.suffix(Self.expectedMax).reversed()
    where !work[index].isExpected && work[index].place.root == next.place.root {
      work[index].isExpected = true
      paths.append(work[index].place.path)
    }
    if !paths.isEmpty { sources[root(next.place)].expect(paths) }
  }

  func root(_ place: Place) -> Int { place.root.rawValue }
  func exclusion(_ place: Place) -> Exclusion { exclusions[root(place)] }

  /// The status of what is to be read; absence is recorded here.
  private func look(_ place: Place) throws -> Status? {
    let status: Status?
    do throws(TreeError) {
      status = try sources[root(place)].status(place.path)
    } catch {
      try deny(place, error)
      return nil
    }
    guard let status else {
      if place.path.isTop { throw CaptureError.unreadable(place.root, .absent(.top)) }
      try recordAbsent(place)
      return nil
    }
    if isReserved(place) { return nil }
    if exclusion(place).excludesWithParents(place.path, isDirectory: status.kind == .directory) {
      if sources[root(place)].isNeeded(place.path) { outcome.lacking = outcome.lacking ?? place }
      // Excluded since it was captured: no point has it any more, and the standby's own exclusion
      // keeps it from deleting its copy.
      if try catalog.row(place) != nil { try forgetAll(place) }
      return nil
    }
    return status
  }

  private func isReserved(_ place: Place) -> Bool {
    place.path.isWithin(.reserved)
  }

  /// Children to visit; what is gone is recorded here.
  private func list(_ directory: Place) throws -> [Place] {
    if let reason = watch.cover(directory) { outcome.unwatched = reason }
    let names: [[UInt8]]
    do throws(TreeError) {
      names = try sources[root(directory)].list(directory.path)
    } catch {
      if case .absent = error { return [] }
      try deny(directory, error, isListed: false)
      return []
    }
    let present = Set(names)
    for name in try catalog.children(directory) where !present.contains(name) {
      guard let path = directory.path.appending(name) else { continue }
      try recordAbsent(Place(root: directory.root, path: path))
    }
    return names.sorted { $1.lexicographicallyPrecedes($0) }.compactMap { name in
      guard let path = directory.path.appending(name) else {
        // ENAMETOOLONG: no path of Linux leads there either, only steps do.
        outcome.denied.append(
          (directory, .failed(directory.path, call: "path of what is in it", errno: 36)))
        return nil
      }
      return Place(root: directory.root, path: path)
    }
  }

  private func recordAbsent(_ place: Place) throws {
    if exclusion(place).excludesWithParents(place.path, isDirectory: false) {
      // As what is excluded since it was captured.
      if try catalog.row(place)?.stamp == Stamp.none { try forgetAll(place) }
      return
    }
    guard let row = try catalog.row(place) else { return }
    if row.stamp == .none {
      // Never made here: the other site's, and to go back to it.
      if isWhole, keptAbsent.insert(place).inserted { try putWhole(place, row.entry) }
      return
    }
    try forgetAll(place)
    // The names that are left of a removed hard link may be one less.
    if row.entry.linkGroup != 0 { try noteLinks(place, row.stamp) }
  }

  private func forgetAll(_ place: Place) throws {
    for child in try catalog.below(place).reversed() { try forget(child) }
    try forget(place)
  }

  private func forget(_ place: Place) throws {
    known = nil
    guard let row = try catalog.row(place) else { return }
    try catalog.remove(place)
    // In a whole point what is not mentioned is gone.
    guard !isWhole else { return }
    head.tree.remove(writer.digest(place, row.entry))
    head.totals.remove(row.entry)
    try writer.put(Change(place: place, entry: nil))
  }

  private func noteLinks(_ place: Place, _ stamp: Stamp) throws {
    // Once for an object: each other name is looked at once in the end.
    guard !isWhole, noted.insert(stamp).inserted else { return }
    let others = try catalog.places(
      root: place.root, device: stamp.device, inode: stamp.inode)
    linked.formUnion(others.filter { $0 != place })
  }

  /// - Returns: whether a directory was not known before, so that all in it is to be read.
  @discardableResult
  private func record(_ place: Place, _ status: Status) throws -> Bool {
    let row = try catalog.row(place)
    guard try row != nil || hasParent(place) else {
      // Its directory was not there when that was looked at, and is now: no point has one without
      // the other.
      outcome.torn += [Place(root: place.root, path: place.path.parent), place]
      return false
    }
    if let row, !forced.contains(place), row.isUnchanged(status),
      try !isWhole || writer.holds(row.entry.content)
    {
      if isWhole { try putWhole(place, row.entry) }
      return false
    }
    let began = picturedAt ?? clock.wall()
    let start = clock.now()
    defer { if forced.contains(place) { outcome.forcedTime += clock.now() - start } }
    guard let (found, stamp) = try readEntry(place, status) else {
      return status.kind == .directory && row == nil
    }
    // What the other site's points say of it that was refused here is so until it is changed.
    let harmless = row.flatMap { $0.isHarmless ? $0.entry : nil }
    let entry = harmless.map { found.withPowers(of: $0) } ?? found
    let settled = isSettled(stamp, entry.kind, readAt: began)
    try catalog.put(
      place,
      CatalogRow(stamp: stamp, entry: entry, isSettled: settled, isHarmless: entry != found))
    if isWhole {
      try putWhole(place, entry)
    } else if row?.entry != entry {
      if let old = row {
        head.tree.remove(writer.digest(place, old.entry))
        head.totals.remove(old.entry)
        if old.entry.linkGroup != entry.linkGroup { try noteLinks(place, old.stamp) }
      }
      head.tree.add(writer.digest(place, entry))
      head.totals.add(entry)
      try writer.put(Change(place: place, entry: entry))
    }
    if entry.linkGroup != 0, row?.stamp != stamp { try noteLinks(place, stamp) }
    if let row, row.entry.kind == .directory, entry.kind != .directory {
      known = nil
      for child in try catalog.below(place).reversed() { try forget(child) }
    } else if let row, row.entry.kind == .directory, !row.isSameDirectory(status) {
      try forgetUnmade(in: place)
    }
    return entry.kind == .directory && row.map { !$0.isSameDirectory(status) } ?? true
  }

  /// Another directory stands there: what was never made in the one before is not in it.
  private func forgetUnmade(in directory: Place) throws {
    for name in try catalog.children(directory) {
      guard let path = directory.path.appending(name) else { continue }
      let place = Place(root: directory.root, path: path)
      if try catalog.row(place)?.stamp == Stamp.none { try forget(place) }
    }
  }

  private func hasParent(_ place: Place) throws -> Bool {
    if place.path.isTop { return true }
    let parent = Place(root: place.root, path: place.path.parent)
    if parent == known { return true }
    guard try catalog.row(parent)?.entry.kind == .directory else { return false }
    known = parent
    return true
  }

  /// Whether a later equal stamp will prove equal content: neither so new that a change within
  /// one tick of the clock could hide, nor young (``Limits/youngFor``).
  private func isSettled(_ stamp: Stamp, _ kind: Kind, readAt: WallTime) -> Bool {
    let newest = max(stamp.modified, stamp.changed)
    if newest + Limits.clockTick >= readAt { return false }
    return kind != .regular || stamp.modified + Limits.youngFor < readAt
  }
}

/// What Holdfast keeps for itself in a tree.
package enum Reserved {
  /// The one name at the top of each root and replica.
  package static let name = TreePath.reserved.bytes
  private static let label = Array("security.selinux".utf8)

  /// Labels belong to the host's policy until a key of the configuration says otherwise.
  static func isIgnored(_ attribute: [UInt8]) -> Bool { attribute == label }
}

extension Status {
  /// See ``Entry/linkGroup``.
  var linkGroup: UInt64 { kind != .directory && links > 1 ? inode : 0 }
}

extension CatalogRow {
  /// Whether an object is known to be what it was when it was captured.
  func isUnchanged(_ status: Status) -> Bool {
    isSettled && stamp == status.stamp && entry.kind == status.kind
      && entry.linkGroup == status.linkGroup
  }

  /// Whether what is in a directory was captured before.
  func isSameDirectory(_ status: Status) -> Bool {
    entry.kind == .directory && stamp.inode == status.inode
  }
}
