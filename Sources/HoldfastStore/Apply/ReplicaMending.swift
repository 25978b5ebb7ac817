package import HoldfastCore

/// Making a replica right again that is not what its record says.
extension Replica {
  /// Makes the replica exactly `point`, whatever stands there now.
  package func rebuild(_ point: Point) throws(ApplyError) {
    do {
      unknown = []
      bases.removeAll()
      changed = nil
      try change(from: .none, to: point, isForced: true)
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
      bases.removeAll()
      for tree in trees { try clearStaging(tree) }
      // All names of one object are damaged with it.
      var places = Set(damaged)
      for place in damaged {
        guard let entry = try index.entry(place, at: point.number) else { continue }
        places.formUnion(
          try index.members(root: place.root, linkGroup: entry.linkGroup, at: point.number))
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

  /// What stands in the roots and belongs neither to the point nor to an exclusion, directories
  /// before what is in them. A directory that holds something excluded is none of them.
  func strangers(at target: PointNumber) throws -> [Place] {
    var found: [Place] = []
    for root in trees.indices {
      _ = try strangers(
        in: Place(root: RootNumber(rawValue: root), path: .top), isWanted: true, target, &found)
    }
    return found
  }

  /// - Parameter isWanted: whether the directory itself stays.
  /// - Returns: whether all that is in it may go.
  private func strangers(
    in directory: Place, isWanted: Bool, _ target: PointNumber, _ found: inout [Place]
  ) throws -> Bool {
    let tree = tree(directory)
    var mayGo = true
    for name in try tree.list(directory.path) {
      guard let path = directory.path.appending(name), !path.isWithin(.reserved),
        let status = try tree.status(path)
      else { continue }
      let place = Place(root: directory.root, path: path)
      let isDirectory = status.kind == .directory
      if exclusions[place.root.rawValue].excludesWithParents(path, isDirectory: isDirectory) {
        mayGo = false
        continue
      }
      let wanted = isWanted ? try index.entry(place, at: target) : nil
      let stays = wanted.map { ($0.kind == .directory) == isDirectory } ?? false
      let before = found.count
      let isEmptied =
        isDirectory ? try strangers(in: place, isWanted: stays, target, &found) : true
      if stays { continue }
      if isEmptied {
        // Gone with all that is in it.
        found.removeLast(found.count - before)
        found.append(place)
      } else {
        mayGo = false
      }
    }
    return mayGo
  }
}
