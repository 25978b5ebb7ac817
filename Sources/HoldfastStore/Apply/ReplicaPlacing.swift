import HoldfastCore

/// One object of a point: what is to be done for it, and doing it.
extension Replica {
  enum Action {
    case build
    case make
    case directory
    case link(to: TreePath)
    case dress
  }

  func action(
    _ place: Place, _ old: Entry?, _ new: Entry, _ from: PointNumber, _ target: PointNumber,
    isForced: Bool
  ) throws -> Action {
    if new.kind == .directory { return .directory }
    if let first = try firstName(of: place, new, from, target, isForced), first != place {
      return .link(to: first.path)
    }
    let isRegular = new.kind == .regular
    guard !isForced, let old, old.kind == new.kind else { return isRegular ? .build : .make }
    var same = new
    same.linkGroup = old.linkGroup
    if old.needsNewObject(for: same) { return isRegular ? .build : .make }
    if old.linkGroup != 0, old.linkGroup != new.linkGroup {
      // The object may only be kept where no other name of it stays.
      let others = try index.members(root: place.root, linkGroup: old.linkGroup, at: from)
      for other in others where other != place {
        if try index.entry(other, at: target) != nil { return isRegular ? .build : .make }
      }
    }
    return .dress
  }

  /// The name that the others of a linked object are linked to: one that this move leaves alone,
  /// else the first.
  func firstName(
    of place: Place, _ new: Entry, _ from: PointNumber, _ target: PointNumber, _ isForced: Bool
  ) throws -> Place? {
    guard new.linkGroup != 0 else { return nil }
    let key = LinkKey(root: place.root, linkGroup: new.linkGroup)
    if let known = firstNames[key], known.entry == new { return known.place }
    let members = try index.members(
      root: place.root, linkGroup: new.linkGroup, at: target
    ).filter { try index.entry($0, at: target) == new }
    let kept = try members.first { member in
      guard from != .none, try index.entry(member, at: from) == new else { return false }
      return try unknown.allSatisfy { try index.entry(member, at: $0) == new }
    }
    let found = kept ?? members.first
    if firstNames.count >= Self.firstNamesMax { firstNames.removeAll(keepingCapacity: true) }
    firstNames[key] = (new, found)
    return found
  }

  func staged(_ number: Int) -> TreePath {
    guard let path = Self.staging.appending(Array(String(number).utf8)) else {
      preconditionFailure("staging name \(number)")
    }
    return path
  }

  /// Takes away what stands where nothing, or another kind of object, is to be.
  func clear(_ place: Place, _ new: Entry?) throws {
    let tree = tree(place)
    guard let status = try tree.status(place.path) else {
      // Never made, and not to be any more.
      if new?.isDevice != true, try catalog.row(place)?.stamp == Stamp.none {
        try catalog.remove(place)
      }
      return
    }
    if let new, (new.kind == .directory) == (status.kind == .directory) { return }
    if place.path.isTop { return }
    if status.kind == .directory {
      // What exclusion matches is never deleted, so its directory stays.
      if try !tree.list(place.path).isEmpty { return }
    }
    try tree.remove(place.path, directory: status.kind == .directory)
    try catalog.remove(place)
    touch(place)
  }

  func note(_ place: Place) {
    changed?.insert(place)
    if let count = changed?.count, count > Limits.flushedSinglyMax { changed = nil }
  }

  func touch(_ place: Place) {
    touched.insert(Place(root: place.root, path: place.path.parent))
  }

  func place(
    _ place: Place, _ entry: Entry, _ action: Action, at target: PointNumber, staged: TreePath?
  ) throws {
    let tree = tree(place)
    var status: Status?
    var isKnown = true
    switch action {
    case .directory:
      if try tree.status(place.path)?.kind != .directory {
        _ = try materials.make(tree, place.path, entry)
        touch(place)
      }
      touched.insert(place)
    case .build:
      if let staged {
        try tree.rename(staged, to: place.path)
        status = try tree.status(place.path)
      } else {
        status = try materials.build(tree, place.path, entry)
      }
      touch(place)
    case .make:
      if try tree.status(place.path) != nil { try tree.remove(place.path, directory: false) }
      if try materials.make(tree, place.path, entry) {
        status = try materials.dress(tree, place.path, entry)
      } else {
        try catalog.put(place, CatalogRow(stamp: .none, entry: entry, isSettled: true))
      }
      touch(place)
    case .link(let first):
      if entry.isDevice, try tree.status(first) == nil || entry.lends(materials.refused) {
        // Not made, as the first name was not.
        return try self.place(place, entry, .make, at: target, staged: nil)
      }
      try link(tree, first, place)
      status = try tree.status(place.path)
      touch(place)
    case .dress where entry.isDevice && entry.lends(materials.refused):
      return try self.place(place, entry, .make, at: target, staged: nil)
    case .dress:
      isKnown = try entry.linkGroup != 0 || knows(place)
      status = try materials.dress(tree, place.path, entry)
    }
    wrote(entry.size + 4096, in: tree)
    try record(place, entry, status, isKnown: isKnown, at: target)
  }

  /// Whether what stands there is what was made there last. Of an object with several names it
  /// cannot be told: whatever is done to one moves the stamps of all.
  func knows(_ place: Place) throws -> Bool {
    guard let row = try catalog.row(place), row.isSettled, row.entry.linkGroup == 0,
      let status = try tree(place).status(place.path)
    else { return false }
    return row.stamp == status.stamp
  }

  /// Has the disk begin to write where much was made.
  func wrote(_ bytes: Int64, in tree: any Tree) {
    unwritten += bytes
    guard unwritten >= Limits.writeOutBytes else { return }
    unwritten = 0
    tree.beginWriteOut()
  }

  /// Takes down what was made of a place.
  /// - Parameter isKnown: whether all of it was made, or known to be what was.
  func record(
    _ place: Place, _ entry: Entry, _ status: Status?, isKnown: Bool = true,
    at target: PointNumber
  ) throws {
    note(place)
    // A node or symbolic link cannot be flushed by itself.
    if entry.kind != .regular, entry.kind != .directory { changed = nil }
    if let status {
      let isHarmless = entry.lendingNone(of: materials.refused) != entry
      try catalog.put(
        place,
        CatalogRow(
          stamp: status.stamp, entry: entry, isSettled: isKnown, isHarmless: isHarmless))
    }
    if entry.linkGroup != 0 { linked.insert(place) }
    try settleIfMany(at: target)
  }

  func link(_ tree: any Tree, _ first: TreePath, _ place: Place) throws {
    if let there = try tree.status(place.path) {
      if there.inode == (try tree.status(first)?.inode) { return }
      try tree.remove(place.path, directory: false)
    }
    try tree.link(first, as: place.path)
  }

  struct LinkKey: Hashable {
    var root: RootNumber
    var linkGroup: UInt64
  }
  private static let firstNamesMax = 10_000
}
