import HoldfastCore

/// Times of directories, flushes, and the record of where the replica is.
extension Replica {
  func settleIfMany(at target: PointNumber) throws {
    if touched.count + linked.count > Self.touchedMax { try settle(at: target) }
  }

  /// Gives touched directories their times again and takes down stamps that others moved. One that
  /// is not made yet is touched again when it is.
  func settle(at target: PointNumber) throws {
    for place in touched.sorted().reversed() {
      guard let entry = try index.entry(place, at: target), entry.kind == .directory,
        try tree(place).status(place.path)?.kind == .directory
      else { continue }
      note(place)
      if let status = try materials.dress(tree(place), place.path, entry) {
        try catalog.put(place, CatalogRow(stamp: status.stamp, entry: entry, isSettled: true))
      }
    }
    for place in linked.sorted() {
      guard var row = try catalog.row(place), let status = try tree(place).status(place.path)
      else { continue }
      row.stamp = status.stamp
      try catalog.put(place, row)
    }
    touched.removeAll(keepingCapacity: true)
    linked.removeAll(keepingCapacity: true)
  }

  func flush() throws(ApplyError) {
    for (index, tree) in trees.enumerated() {
      do throws(TreeError) {
        try tree.flush()
      } catch {
        throw .tree(RootNumber(rawValue: index), error)
      }
    }
  }

  func flushChanged() throws {
    guard let changed else { return try flush() }
    for place in changed.sorted() where try tree(place).status(place.path) != nil {
      do throws(TreeError) {
        try tree(place).flush(place.path)
      } catch {
        // Without privileges a file that its owner may not read cannot be opened.
        guard case .refused = error else { throw ApplyError.tree(place.root, error) }
        return try flush()
      }
    }
  }

  func open(intentTo target: PointNumber) throws(DiskError) {
    var next = record
    if !next.intents.contains(target) { next.intents.append(target) }
    next.tops = tops
    try next.store(disk)
    record = next
  }

  func finish(_ point: Point) throws {
    try settle(at: point.number)
    for tree in trees { try clearStaging(tree) }
    try flushChanged()
    try catalog.setHead(
      CatalogHead(
        number: point.number, seal: point.seal, tree: point.tree, totals: point.totals,
        grade: point.grade))
    try catalog.commit()
    let isFirst = record.applied == .none
    let done = ReplicaRecord(
      applied: point.number, tops: tops,
      refused: isFirst ? materials.refused : record.refused.intersection(materials.refused))
    try done.store(disk)
    record = done
  }

  /// What was never made, and the point does not have, no catalog has.
  func forgetUnmade(at target: PointNumber) throws {
    for root in trees.indices {
      let places = try catalog.places(
        root: RootNumber(rawValue: root), device: Stamp.none.device, inode: Stamp.none.inode)
      for place in places where try index.entry(place, at: target)?.isDevice != true {
        try catalog.remove(place)
      }
    }
  }
}
