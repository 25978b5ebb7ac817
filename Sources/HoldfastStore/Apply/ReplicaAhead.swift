package import HoldfastCore

/// The very first point, made while it is received:
/// docs/decisions/0006-the-first-point-is-made-ahead.md.
extension Replica {
  struct Ahead {
    var attempt: RandomID
    var number: PointNumber
    /// Objects that were not there before.
    var made = 0
    /// The directory that was last seen to be there.
    var parent: Place?
  }

  /// Makes what is known of the very first point while the rest is still being received. Only where
  /// nothing stands yet; after a crash all is made again.
  /// - Parameter end: up to where the index knows the journal.
  package func fillAhead(_ journal: Journal, upTo end: RecordPosition) throws(ApplyError) {
    do {
      guard record.applied == .none, record.intents.isEmpty || ahead != nil else { return }
      changed = nil
      try journal.forEach(.changes, from: lookedUpTo, upTo: end) { plain in
        var reader = Reader(plain)
        let head = try ChangesHead(from: &reader)
        if ahead == nil, !(try beginAhead(head)) { return }
        // Another attempt than this one's: what was made is looked at as a whole in the end.
        guard ahead?.attempt == head.attempt else { return }
        while !reader.isAtEnd { try fillAhead(try Change(from: &reader), head.number) }
      }
      lookedUpTo = end
    } catch {
      ahead = nil
      touched = []
      linked = []
      try? catalog.rollback()
      throw error as? ApplyError ?? .store(error)
    }
  }

  /// - Returns: whether this attempt may be made ahead.
  func beginAhead(_ head: ChangesHead) throws -> Bool {
    guard try isVacant() else { return false }
    for tree in trees { try clearStaging(tree) }
    try open(intentTo: head.number)
    try catalog.erase()
    ahead = Ahead(attempt: head.attempt, number: head.number)
    return true
  }

  func fillAhead(_ change: Change, _ number: PointNumber) throws {
    let place = change.place
    // All names of a linked object must be known before the first is made.
    guard let entry = change.entry, entry.linkGroup == 0, !isExcluded(place, entry) else { return }
    let tree = tree(place)
    let parent = Place(root: place.root, path: place.path.parent)
    if !place.path.isTop, parent != ahead?.parent {
      // One that is not there yet comes with what follows, and its children in the end.
      guard try tree.status(parent.path)?.kind == .directory else { return }
      ahead?.parent = parent
    }
    let isThere = try entry.kind != .regular && tree.status(place.path) != nil
    if isThere, entry.kind != .directory { return }
    probe.hit(.applying)
    let action: Action =
      switch entry.kind {
      case .directory: .directory
      case .regular: .build
      default: .make
      }
    do {
      try self.place(place, entry, action, at: number, staged: nil)
      if !isThere { ahead?.made += 1 }
    } catch TreeError.exists {
      // The attempt says it twice: what is true is looked at in the end.
    }
  }

  /// The rest of what was made ahead, now that the point is sealed.
  func finishAhead(_ point: Point) throws {
    var kept = 0
    try index.forEachEntry(at: point.number) { place, entry in
      if isExcluded(place, entry) { return }
      if entry.kind == .directory {
        if !place.path.isTop, try tree(place).status(place.path)?.kind == .directory { kept += 1 }
        return try self.place(place, entry, .directory, at: point.number, staged: nil)
      }
      if try catalog.row(place)?.entry == entry {
        kept += 1
        return
      }
      probe.hit(.applying)
      if try tree(place).status(place.path) != nil {
        try tree(place).remove(place.path, directory: false)
      }
      try self.place(
        place, entry, try action(place, nil, entry, .none, point.number, isForced: false),
        at: point.number, staged: nil)
    }
    if kept != ahead?.made {
      // What was made and is not in the point after all.
      for place in try strangers(at: point.number).sorted().reversed() {
        try tree(place).removeAll(place.path)
        touch(place)
      }
    }
    try finish(point)
  }
}
