package import HoldfastCore

/// Moves the replica from one point to another, forward or back, so that a crash at any moment
/// leaves it at one of them or under an open intent that the next start finishes. The journal
/// holds the content of both, so what is displaced need not be kept: going back is going forward
/// to the older point. Not shared between threads.
package final class Replica {
  let trees: [any Tree]
  let exclusions: [Exclusion]
  let index: any Index
  let catalog: any Catalog
  let materials: Materials
  /// Reads ahead where much is made at once.
  let fetcher: ContentFetcher?
  let digests: PairDigests
  let disk: any Disk
  let probe: any Probe
  package internal(set) var record: ReplicaRecord
  /// See ``ReplicaRecord/tops``.
  let tops: [UInt64]

  /// Where intents led that were open when this move began.
  var unknown: [PointNumber] = []
  /// What this move has changed, while that is little; `nil` once it is much.
  var changed: Set<Place>? = []
  /// Directories whose times changes below them have moved.
  var touched: Set<Place> = []
  /// Names of linked objects, whose stamps the next link may move.
  var linked: Set<Place> = []
  /// Of linked objects: looked up once in a move, not for each name.
  var firstNames: [LinkKey: (entry: Entry, place: Place?)] = [:]
  /// Made since the disk was last asked to write.
  var unwritten: Int64 = 0
  /// The point that is being made while it is still received.
  var ahead: Ahead?
  /// How far the journal was looked through for it.
  var lookedUpTo = RecordPosition.start
  static let touchedMax = 20_000
  static let staging: TreePath = {
    guard let path = TreePath.reserved.appending(Array("staging".utf8)) else {
      preconditionFailure("staging path")
    }
    return path
  }()

  package init(
    trees: [any Tree], exclusions: [Exclusion], index: any Index, catalog: any Catalog,
    materials: Materials, fetcher: ContentFetcher? = nil, digests: PairDigests, disk: any Disk,
    probe: any Probe
  ) throws {
    self.trees = trees
    self.exclusions = exclusions
    self.index = index
    self.catalog = catalog
    self.materials = materials
    self.fetcher = fetcher
    self.digests = digests
    self.disk = disk
    self.probe = probe
    tops = try trees.map { try $0.status(.top)?.inode ?? 0 }
    let known = try ReplicaRecord.load(disk)
    // What stands there is not what points were applied to: it is compared as a whole.
    record = known.tops.isEmpty || known.tops == tops ? known : ReplicaRecord()
  }

  package var shortfalls: Shortfalls { materials.shortfalls }

  /// Makes the replica exactly `point`.
  package func move(to point: Point) throws(ApplyError) {
    do {
      if record.intents.isEmpty, record.applied == point.number { return }
      firstNames.removeAll()
      unknown = record.intents
      changed = []
      let isFirst = record.applied == .none
      if let ahead, isFirst, unknown == [ahead.number] {
        if ahead.number != point.number {
          // The point that was made ahead failed, or is not of the grade that is required.
          try open(intentTo: point.number)
          self.ahead?.deferred = nil
        }
        try finishAhead(point)
      } else if isFirst, unknown.isEmpty, try isVacant() {
        try fill(point)
      } else if try isFirst || index.point(record.applied) == nil {
        // What the replica is no kept point says any more: all of it is looked at.
        unknown = []
        let isHalfMade = isFirst && !record.intents.isEmpty
        do {
          try change(from: .none, to: point, isForced: true)
        } catch ApplyError.full where isHalfMade {
          // What was made of the first point that never came to be takes the room of what is to be.
          try sweep(try strangers(at: .none))
          try fill(point)
        }
      } else {
        try change(from: record.applied, to: point, isForced: !unknown.isEmpty)
      }
      ahead = nil
    } catch {
      ahead = nil
      touched = []
      linked = []
      // What was not finished is put again by the next move.
      try? catalog.rollback()
      throw error as? ApplyError ?? .store(error)
    }
  }

  func isVacant() throws -> Bool {
    for tree in trees {
      if try tree.list(.top).contains(where: { $0 != Reserved.name }) { return false }
    }
    return true
  }

  func tree(_ place: Place) -> any Tree { trees[place.root.rawValue] }

  /// The first point, into empty roots: nothing needs to be kept, so objects are made in place.
  func fill(_ point: Point) throws {
    try reserve(point.totals.bytes) {
      var needed: Int64 = 0
      try index.forEachEntry(at: point.number) { place, entry in
        guard entry.kind == .regular, !isExcluded(place, entry),
          try firstName(of: place, entry, .none, point.number, false) ?? place == place
        else { return }
        needed += try materials.need(tree(place), staged(0), entry, from: nil)
      }
      return needed
    }
    // Now, since making its directory moves the time of the top, which is set at the end.
    for tree in trees { try clearStaging(tree) }
    try open(intentTo: point.number)
    try catalog.erase()
    try index.forEachEntry(at: point.number) { place, entry in
      if isExcluded(place, entry) { return }
      probe.hit(.applying)
      try self.place(
        place, entry, try action(place, nil, entry, .none, point.number, isForced: false),
        at: point.number, staged: nil)
    }
    try finish(point)
  }

  func change(from: PointNumber, to point: Point, isForced: Bool) throws {
    let target = point.number
    for index in trees.indices { try clearStaging(trees[index]) }
    let swept = from == .none ? try strangers(at: target) : []
    // New contents first, durable, so that a full disk changes nothing.
    var needed: Int64 = 0
    try forEachDifference(from, target, isForced) { place, old, new in
      if let new, case .build = try action(place, old, new, from, target, isForced: isForced) {
        needed += new.size
      }
    }
    try reserve(needed) {
      var needed: Int64 = 0
      try forEachDifference(from, target, isForced) { place, old, new in
        guard let new, case .build = try action(place, old, new, from, target, isForced: isForced)
        else { return }
        needed += try materials.need(tree(place), staged(0), new, from: try earlier(place, old))
      }
      return needed
    }
    var number = 0
    try forEachDifference(from, target, isForced) { place, old, new in
      guard let new else { return }
      if case .build = try action(place, old, new, from, target, isForced: isForced) {
        number += 1
        probe.hit(.applying)
        _ = try materials.build(
          tree(place), staged(number), new, from: try earlier(place, old))
      }
    }
    // Only to meet errors before anything is displaced: a crash from here on rebuilds it all.
    if number > Limits.flushedSinglyMax { try flush() }
    try open(intentTo: target)
    try sweep(swept)
    try forEachDifference(from, target, isForced, descending: true) { place, _, new in
      try clear(place, new)
      try settleIfMany(at: target)
    }
    number = 0
    // What is excluded now no catalog has, as on the other side, though it stays where it is.
    try forEachDifference(from, target, isForced, excluded: catalog.remove) { place, old, new in
      // What failed before may have moved the time of any directory on its way.
      if isForced { touch(place) }
      guard let new else { return }
      let action = try action(place, old, new, from, target, isForced: isForced)
      var staged: TreePath?
      if case .build = action {
        number += 1
        staged = self.staged(number)
      }
      probe.hit(.applying)
      try self.place(place, new, action, at: target, staged: staged)
    }
    if isForced { try forgetUnmade(at: target) }
    try finish(point)
  }

  /// The places to change. Under force what stands there is unknown, also where only an intent
  /// that was never closed meant to change it.
  func forEachDifference(
    _ old: PointNumber, _ new: PointNumber, _ isForced: Bool, descending: Bool = false,
    excluded: (Place) throws -> Void = { _ in }, _ body: (Place, Entry?, Entry?) throws -> Void
  ) throws {
    if old == .none {
      // What is there and does not belong is removed apart.
      if !descending {
        try index.forEachEntry(at: new) { place, entry in
          if !isExcluded(place, entry) { try body(place, nil, entry) }
        }
      }
      return
    }
    try index.forEachDifference(among: [old, new] + unknown, descending: descending) {
      place, entries in
      if entries.contains(where: { $0.map { isExcluded(place, $0) } ?? false }) {
        return try excluded(place)
      }
      try body(place, isForced ? nil : entries[0], entries[1])
    }
  }

  /// What exclusion matches is never made, changed or deleted here, whatever the other side sends.
  func isExcluded(_ place: Place, _ entry: Entry) -> Bool {
    isExcluded(place, isDirectory: entry.kind == .directory)
  }

  func isExcluded(_ place: Place, isDirectory: Bool) -> Bool {
    exclusions[place.root.rawValue].excludesWithParents(place.path, isDirectory: isDirectory)
  }

  /// Takes away what does not belong, and what the catalog knew of it.
  func sweep(_ places: [Place]) throws {
    for place in places.sorted().reversed() {
      try tree(place).removeAll(place.path)
      for child in try catalog.below(place) { try catalog.remove(child) }
      try catalog.remove(place)
      touch(place)
    }
  }

  private static let probePath = TreePath.reserved.appending(Array("probe".utf8))

  /// What is being applied meanwhile is left alone.
  /// - Throws: why nothing may be written below a root. That there is no room is none: a replica
  ///   that is in step wants none.
  package static func tryToWrite(_ trees: [any Tree]) throws {
    guard let path = probePath else { preconditionFailure("no path of a probe") }
    for tree in trees {
      do throws(TreeError) {
        if try tree.status(.reserved) == nil {
          try tree.make(.reserved, kind: .directory, target: [], device: 0)
        }
        if try tree.status(path) != nil { try tree.remove(path, directory: false) }
        _ = try tree.create(path)
        try tree.remove(path, directory: false)
      } catch {
        if case .full = error { continue }
        guard case .refused = error else { throw error }
        throw ApplyError.store(error)
      }
    }
  }

  func clearStaging(_ tree: any Tree) throws {
    tree.forgetDirectories()
    guard try tree.status(Self.staging.parent) != nil else {
      try tree.make(Self.staging.parent, kind: .directory, target: [], device: 0)
      try tree.make(Self.staging, kind: .directory, target: [], device: 0)
      return
    }
    if try tree.status(Self.staging) == nil {
      try tree.make(Self.staging, kind: .directory, target: [], device: 0)
      return
    }
    for name in try tree.list(Self.staging) {
      guard let path = Self.staging.appending(name) else { continue }
      try tree.removeAll(path)
    }
  }

  /// What stands there, where it is what was made there last.
  private func earlier(_ place: Place, _ old: Entry?) throws -> Materials.Earlier? {
    guard let old, try knows(place), try catalog.row(place)?.entry == old else { return nil }
    return Materials.Earlier(path: place.path, entry: old)
  }

  /// - Parameters:
  ///   - most: bytes that are needed at most.
  ///   - exactly: what is really needed; asked only where there is not room for all.
  func reserve(_ most: Int64, exactly: () throws -> Int64) throws {
    guard let free = try trees.map({ try $0.freeBytes() }).min(),
      most > 0, free < most + Limits.freeBytesReserve
    else { return }
    let needed = try exactly()
    if free < needed + Limits.freeBytesReserve, needed > 0 {
      throw ApplyError.full(needed: needed, free: free)
    }
  }
}
