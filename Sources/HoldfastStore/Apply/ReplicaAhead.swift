package import HoldfastCore

/// A large file that is made while it is still being received.
struct GrowingFile {
  let place: Place
  let file: any TreeFile
  /// Up to where its content is there.
  var end: Int64 = 0
  /// See ``PairDigests/chain(_:_:_:)``.
  var chain = Digest32.zero

  init(place: Place, file: any TreeFile) {
    self.place = place
    self.file = file
  }
}

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
    /// A large file whose end is not there yet.
    var growing: GrowingFile?
    /// Of all entries so far.
    var tree = TreeDigest()
    /// See ``Journal/release(from:upTo:)``.
    var releasedUpTo = RecordPosition.start
    /// What is left for the end; `nil` where all is to be looked at then.
    var deferred: [Place]? = []
  }

  /// Leaves a place for the end.
  func leave(_ place: Place) {
    ahead?.deferred?.append(place)
    if let count = ahead?.deferred?.count, count > Limits.deferredMax { ahead?.deferred = nil }
  }

  /// What stands where a file was begun that did not come to its end belongs to nobody.
  func abandon(_ growing: GrowingFile) {
    growing.file.close()
    ahead?.deferred = nil
  }

  /// Whether the very first point is being made.
  package var isAhead: Bool { ahead != nil }

  /// Makes what is known of the very first point while the rest is still being received. Only where
  /// nothing stands yet; after a crash all is made again.
  /// - Parameter end: up to where the index knows the journal.
  package func fillAhead(_ journal: Journal, upTo end: RecordPosition) throws(ApplyError) {
    do {
      guard record.applied == .none, record.intents.isEmpty || ahead != nil else { return }
      changed = nil
      try journal.forEach([.changes, .part], from: lookedUpTo, upTo: end) {
        position, kind, plain in
        if kind == .part {
          let part = try FilePart(decoding: plain)
          if isKnown(part.place) { try grow(part) }
          made(position, journal)
          return
        }
        var reader = Reader(plain)
        let head = try ChangesHead(from: &reader)
        if ahead == nil, !(try beginAhead(head)) { return }
        // Another attempt than this one's: what was made is looked at as a whole in the end.
        guard ahead?.attempt == head.attempt else { return }
        var changes: [Change] = []
        while !reader.isAtEnd {
          let change = try Change(from: &reader)
          if isKnown(change.place) { changes.append(change) }
        }
        try forEach(changes) { try fillAhead($0, head.number) }
        made(position, journal)
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

  /// What a record and those before it name is made, so that the journal before it is read no more;
  /// but for what is left for the end.
  private func made(_ position: RecordPosition, _ journal: Journal) {
    guard let ahead else { return }
    journal.release(from: ahead.releasedUpTo, upTo: position)
    self.ahead?.releasedUpTo = position
  }

  /// What names a root that the pair has not was refused, and lies in the journal all the same.
  func isKnown(_ place: Place) -> Bool { trees.indices.contains(place.root.rawValue) }

  /// - Returns: whether this attempt may be made ahead.
  func beginAhead(_ head: ChangesHead) throws -> Bool {
    guard try isVacant() else { return false }
    for tree in trees { try clearStaging(tree) }
    try open(intentTo: head.number)
    try catalog.erase()
    ahead = Ahead(attempt: head.attempt, number: head.number)
    return true
  }

  /// Whether the directory is there that an object is to be made in. One that is not there yet
  /// comes with what follows, and its children in the end.
  func hasParent(_ place: Place) throws -> Bool {
    let parent = Place(root: place.root, path: place.path.parent)
    if place.path.isTop || parent == ahead?.parent { return true }
    guard try tree(place).status(parent.path)?.kind == .directory else { return false }
    ahead?.parent = parent
    return true
  }

  /// Makes a large file longer by what was received of it.
  func grow(_ part: FilePart) throws {
    guard let ahead, ahead.attempt == part.attempt else { return }
    let place = part.place
    var growing = ahead.growing
    self.ahead?.growing = nil
    if part.offset == 0 {
      growing.map(abandon)
      guard !isExcluded(place, isDirectory: false), try hasParent(place),
        try tree(place).status(place.path) == nil
      else { return }
      growing = GrowingFile(place: place, file: try tree(place).create(place.path))
      self.ahead?.made += 1
      touch(place)
    }
    guard var file = growing else { return }
    guard file.place == place, file.end == part.offset else { return abandon(file) }
    probe.hit(.applying)
    try materials.extend(&file, part, digests)
    wrote(file.end - part.offset, in: tree(place))
    self.ahead?.growing = file
  }

  func fillAhead(_ change: Change, _ number: PointNumber) throws {
    let place = change.place
    guard let entry = change.entry, !isExcluded(place, entry) else { return }
    ahead?.tree.add(digests.entry(place, entry.encoded))
    // All names of a linked object must be known before the first is made.
    guard entry.linkGroup == 0 else { return leave(place) }
    let tree = tree(place)
    if let growing = ahead?.growing, growing.place == place {
      ahead?.growing = nil
      defer { growing.file.close() }
      // What is not the beginning of it is made anew in the end.
      guard entry.kind == .regular, let status = try materials.finish(growing, entry, digests)
      else { return leave(place) }
      return try record(place, entry, status, at: number)
    }
    guard try hasParent(place) else { return leave(place) }
    let isThere = try entry.kind != .regular && tree.status(place.path) != nil
    if isThere, entry.kind != .directory { return leave(place) }
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
      leave(place)
    }
  }

  private func remake(_ place: Place, _ entry: Entry, _ number: PointNumber) throws {
    probe.hit(.applying)
    if entry.kind != .directory, try tree(place).status(place.path) != nil {
      try tree(place).remove(place.path, directory: false)
    }
    try self.place(
      place, entry, try action(place, nil, entry, .none, number, isForced: false), at: number,
      staged: nil)
  }

  /// The rest of what was made ahead, now that the point is sealed.
  func finishAhead(_ point: Point) throws {
    // What was made before the seal was not taken down: all is flushed.
    changed = nil
    ahead?.growing.map(abandon)
    if ahead?.tree == point.tree, let deferred = ahead?.deferred {
      // What was made is what was sealed, but for what was left.
      for place in deferred.sorted() {
        guard let entry = try index.entry(place, at: point.number) else { continue }
        try remake(place, entry, point.number)
      }
      return try finish(point)
    }
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
      try remake(place, entry, point.number)
    }
    if kept != ahead?.made {
      // What was made and is not in the point after all.
      try sweep(try strangers(at: point.number))
    }
    try finish(point)
  }
}
