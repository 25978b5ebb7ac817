import HoldfastCore

/// What stays in a point as it was captured before, because it cannot be seen now.
extension Capture {
  /// What may not be read stays as it was known. Where nothing is known of it, a whole point would
  /// delete it on the other side, so there is none.
  func deny(_ place: Place, _ error: TreeError, isListed: Bool = true) throws {
    outcome.denied.append((place, error))
    guard isWhole else { return }
    if isListed {
      guard let row = try catalog.row(place) else {
        throw CaptureError.unreadable(place.root, error)
      }
      try putHeld(place, row.entry, error)
    }
    let below = try catalog.below(place)
    if !isListed, below.isEmpty { throw CaptureError.unreadable(place.root, error) }
    for child in below {
      if let row = try catalog.row(child) { try putHeld(child, row.entry, error) }
    }
  }

  /// - Throws: what cannot be read and is not held on the other side would be asked for again and
  ///   again.
  private func putHeld(_ place: Place, _ entry: Entry, _ error: TreeError) throws {
    if try isInformed && !writer.mayHold(entry.content) {
      throw CaptureError.unreadable(place.root, error)
    }
    try putWhole(place, entry)
  }

  /// Where something is mounted: what is excluded by now, or not held on the other side, is
  /// forgotten, and read when it can be seen again.
  func keepBelow(_ place: Place) throws {
    for child in try catalog.below(place) {
      try writer.checkpoint()
      guard let row = try catalog.row(child) else { continue }
      let isExcluded = exclusion(child).excludesWithParents(
        child.path, isDirectory: row.entry.kind == .directory)
      if try isExcluded || (isInformed && !writer.mayHold(row.entry.content)) {
        try catalog.remove(child)
      } else {
        try putWhole(child, row.entry)
      }
    }
  }

  func putWhole(_ place: Place, _ entry: Entry) throws {
    head.tree.add(writer.digest(place, entry))
    head.totals.add(entry)
    try writer.put(Change(place: place, entry: entry))
  }
}
