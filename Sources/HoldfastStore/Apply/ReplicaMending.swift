package import HoldfastCore

/// Making a replica right again that is not what its record says.
extension Replica {
  /// Makes the replica exactly `point`, whatever stands there now.
  package func rebuild(_ point: Point) throws(ApplyError) {
    do {
      unknown = []
      firstNames.removeAll()
      changed = nil
      try change(from: .none, to: point, isForced: true)
    } catch {
      touched = []
      linked = []
      try? catalog.rollback()
      throw error as? ApplyError ?? .store(error)
    }
  }

  /// Takes from what stands here the powers that were refused since it was made. Cut short it is
  /// done again.
  package func refuseAnew() throws(ApplyError) {
    let refused = materials.refused
    guard !refused.isSubset(of: record.refused), record.intents.isEmpty else { return }
    do {
      guard let point = try index.point(record.applied)?.point.number else { return }
      changed = []
      var places: [(Place, Entry)] = []
      try index.forEachEntry(at: point) { place, entry in
        if entry.lends(refused), !isExcluded(place, entry) { places.append((place, entry)) }
      }
      for (place, entry) in places {
        let tree = tree(place)
        guard let status = try tree.status(place.path), status.kind == entry.kind else { continue }
        if entry.isDevice {
          try self.place(place, entry, .make, at: point, staged: nil)
        } else {
          let row = try catalog.row(place)
          let dressed = try materials.dress(tree, place.path, entry)
          try record(place, entry, dressed, isKnown: row?.isSettled ?? false, at: point)
        }
      }
      try settle(at: point)
      try flushChanged()
      try catalog.commit()
      var done = record
      done.refused = refused
      try done.store(disk)
      record = done
    } catch {
      touched = []
      linked = []
      try? catalog.rollback()
      throw error as? ApplyError ?? .store(error)
    }
  }

  /// Makes places that are no longer what the applied point says so again. After a crash in
  /// between they are as damaged as they were, or mended.
  package func mend(_ damaged: [Place]) throws(ApplyError) {
    guard record.intents.isEmpty, record.applied != .none else { return }
    do {
      guard let point = try index.point(record.applied)?.point else { return }
      changed = []
      firstNames.removeAll()
      for tree in trees { try clearStaging(tree) }
      // All names of one object are damaged with it.
      var places = Set(damaged)
      for place in damaged {
        guard let entry = try index.entry(place, at: point.number) else { continue }
        places.formUnion(
          try index.members(root: place.root, linkGroup: entry.linkGroup, at: point.number))
      }
      let foreign = try places.contains { try index.entry($0, at: point.number) == nil }
      for place in try foreign ? strangers(at: point.number) : [] where places.contains(place) {
        try tree(place).removeAll(place.path)
        touch(place)
      }
      for place in places.sorted().reversed() {
        let entry = try index.entry(place, at: point.number)
        if try !isExcludedHere(place, entry) { try clear(place, entry) }
      }
      for (number, place) in places.sorted().enumerated() {
        guard let entry = try index.entry(place, at: point.number), !isExcluded(place, entry)
        else { continue }
        let action = try action(place, nil, entry, .none, point.number, isForced: true)
        var staged: TreePath?
        if case .build = action {
          staged = self.staged(number)
          _ = try materials.build(tree(place), self.staged(number), entry)
        }
        touch(place)
        try self.place(place, entry, action, at: point.number, staged: staged)
      }
      try finish(point)
    } catch {
      touched = []
      linked = []
      try? catalog.rollback()
      throw error as? ApplyError ?? .store(error)
    }
  }

  func isExcludedHere(_ place: Place, _ entry: Entry?) throws -> Bool {
    if let entry { return isExcluded(place, entry) }
    let isDirectory = try tree(place).status(place.path)?.kind == .directory
    return exclusions[place.root.rawValue].excludesWithParents(
      place.path, isDirectory: isDirectory)
  }

  func strangers(at target: PointNumber) throws -> [Place] {
    try Strangers(trees: trees, exclusions: exclusions, index: index).find(at: target)
  }
}
