package import HoldfastCore

/// The very first point, made while it is received:
/// docs/decisions/0006-the-first-point-is-made-ahead.md.
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
      try journal.forEach([.changes, .part], from: lookedUpTo, upTo: end) { kind, plain in
        if kind == .part { return try grow(try FilePart(decoding: plain)) }
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
      growing?.file.close()
      guard !isExcluded(place, isDirectory: false), try hasParent(place),
        try tree(place).status(place.path) == nil
      else { return }
      growing = GrowingFile(place: place, file: try tree(place).create(place.path))
      self.ahead?.made += 1
      touch(place)
    }
    guard var file = growing else { return }
    guard file.place == place, file.end == part.offset else { return file.file.close() }
    probe.hit(.applying)
    try materials.extend(&file, part, digests)
    wrote(file.end - part.offset, in: tree(place))
    self.ahead?.growing = file
  }

  func fillAhead(_ change: Change, _ number: PointNumber) throws {
    let place = change.place
    // All names of a linked object must be known before the first is made.
    guard let entry = change.entry, entry.linkGroup == 0, !isExcluded(place, entry) else { return }
    let tree = tree(place)
    if let growing = ahead?.growing, growing.place == place {
      ahead?.growing = nil
      defer { growing.file.close() }
      // What is not the beginning of it is made anew in the end.
      guard entry.kind == .regular, let status = try materials.finish(growing, entry, digests)
      else { return }
      return try record(place, entry, status, at: number)
    }
    guard try hasParent(place) else { return }
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
