import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastLinux
import HoldfastStore

/// Looks whether index, journal and replica of a pair hold what its points say.
final class Examination {
  struct Finding {
    var path: String
    /// What is damaged.
    var place: String
    var isRepaired = false
    var isIndex = false
    /// Of a record that is no chunk, or of a segment's head.
    var record: RecordPosition?
    var replicaPlace: Place?
    /// What it should be one file with, or should not.
    var partner: Place?
    var point = PointNumber.none
    var content: Content?
    var chunks: [ChunkName] = []
  }

  private let pair: PairConfiguration
  private let configuration: Configuration
  private var store: PairStore
  private let host: SystemHost
  private let only: PointNumber?
  private let glob: Exclusion?
  private let isQuiet: Bool
  private(set) var findings: [Finding] = []
  private(set) var checkedFiles: Int64 = 0
  private var seen: Set<ChunkName> = []
  /// Names remembered as sound: beyond it some are read twice.
  private static let seenMax = 500_000
  private static let batch = 64

  /// - Parameter isQuiet: no progress on the terminal.
  init(
    _ configuration: Configuration, _ pair: PairConfiguration, point: PointNumber?,
    glob: String?, isQuiet: Bool
  ) throws {
    self.pair = pair
    self.configuration = configuration
    self.isQuiet = isQuiet || isatty(STDERR_FILENO) == 0
    only = point
    self.glob = glob.map { Exclusion([$0]) }
    store = try PairStore(configuration, pair)
    host = SystemHost(configuration)
  }

  func run() throws {
    let rows = try store.index.points().filter { only == nil || $0.point.number == only }
    if let only, rows.isEmpty {
      throw CommandFailure(.usage, "there is no point \(only): type holdfast points \(pair.name)")
    }
    var newer: Point?
    for row in rows {
      try examine(row.point, after: newer)
      newer = row.point
    }
    if only == nil, glob == nil { try examineJournal() }
    try examineReplica()
    if !isQuiet { progress("") }
  }

  /// Records that an index is made anew from; chunks were looked at with their files.
  private func examineJournal() throws {
    guard let covered = try store.index.covered() else { return }
    let condition = try store.journal.examine(upTo: covered.upTo) { bytes in
      if !isQuiet { progress("\(bytes >> 20) MiB of the journal checked") }
    }
    for position in try condition.records(isHeld: { try store.index.chunk($0) != nil }) {
      findings.append(
        Finding(
          path: "segment \(position.segment) at \(position.offset)", place: "journal: a record",
          record: position))
    }
  }

  /// The digest of the tree that was looked at last.
  private var tree = TreeDigest()

  /// - Parameter newer: a point that was looked at already; only what differs from it is read.
  private func examine(_ point: Point, after newer: Point?) throws {
    if let newer {
      try store.index.forEachDifference(
        among: [newer.number, point.number], descending: false
      ) { place, entries in
        if let old = entries[0] { tree.remove(store.digests.entry(place, old.encoded)) }
        guard let entry = entries[1] else { return }
        tree.add(store.digests.entry(place, entry.encoded))
        try examine(place, entry, point)
      }
    } else {
      tree = TreeDigest()
      try store.index.forEachEntry(at: point.number) { place, entry in
        tree.add(store.digests.entry(place, entry.encoded))
        try examine(place, entry, point)
      }
    }
    if tree != point.tree {
      findings.append(
        Finding(path: "point \(point.number)", place: "index", isIndex: true, point: point.number))
      tree = point.tree
    }
  }

  private func examine(_ place: Place, _ entry: Entry, _ point: Point) throws {
    guard entry.kind == .regular, isWanted(place, entry) else { return }
    guard let damaged = try damagedChunks(entry.content) else { return }
    checkedFiles += 1
    if !isQuiet, checkedFiles % 1000 == 0 { progress("\(checkedFiles) file versions checked") }
    guard !damaged.isEmpty else { return }
    findings.append(
      Finding(
        path: "\(place.path) at point \(point.number)", place: "journal",
        point: point.number, content: entry.content, chunks: damaged))
  }

  private func isWanted(_ place: Place, _ entry: Entry) -> Bool {
    isWanted(place, isDirectory: entry.kind == .directory)
  }

  private func isWanted(_ place: Place, isDirectory: Bool) -> Bool {
    glob?.excludesWithParents(place.path, isDirectory: isDirectory) ?? true
  }

  /// - Returns: the chunks that cannot be read; `nil` where all were looked at before.
  private func damagedChunks(_ content: Content) throws -> [ChunkName]? {
    if content.references.allSatisfy({ seen.contains($0.name) || $0.name == .hole }),
      !content.references.isEmpty
    {
      return nil
    }
    var damaged: [ChunkName] = []
    for reference in content.references where reference.name != .hole {
      do {
        try store.reader.forEachReference(
          Content(depth: content.depth, references: [reference])
        ) { _, chunk in
          if seen.contains(chunk.name) { return }
          if try isSound(chunk.name) { remember(chunk.name) } else { damaged.append(chunk.name) }
        }
        if damaged.isEmpty { remember(reference.name) }
      } catch {
        // The list itself.
        damaged.append(reference.name)
      }
    }
    return damaged
  }

  private func isSound(_ name: ChunkName) throws -> Bool {
    do {
      _ = try store.reader.chunk(name)
      return true
    } catch is JournalError {
      return false
    }
  }

  private func remember(_ name: ChunkName) {
    if seen.count < Self.seenMax { seen.insert(name) }
  }

  // MARK: The replica

  /// A few places at a time, so that nobody who has to change the replica waits for long.
  private func examineReplica() throws {
    let files = try PairFiles(host, pair: pair.name)
    guard try files.role()?.record.part == .standby else { return }
    var record = try ReplicaRecord.load(files.disk)
    guard record.applied != .none, only == nil || only == record.applied else { return }
    let trees = try pair.paths(on: configuration.site).map { try LinuxTree($0) }
    var places: [Place] = []
    var isOnItsWay = false
    func look() throws {
      let lock = try host.lockReplica(pair: pair.name, exclusive: false)
      defer { withExtendedLifetime(lock) {} }
      record = try ReplicaRecord.load(files.disk)
      if let intent = record.intents.last, !isOnItsWay {
        // Whoever moves it holds the lock: this move was given up.
        isOnItsWay = true
        findings.append(
          Finding(
            path: "the replica", place: "replica: on its way to point \(intent)",
            replicaPlace: Place(root: RootNumber(rawValue: 0), path: .top), point: intent))
      }
      for place in places where record.intents.isEmpty {
        try compare(place, at: record.applied, trees[place.root.rawValue])
      }
      places.removeAll(keepingCapacity: true)
    }
    try store.index.forEachEntry(at: record.applied) { place, entry in
      guard isWanted(place, entry) else { return }
      places.append(place)
      if places.count == Self.batch {
        try look()
        // A moment for who waits to apply.
        usleep(1000)
      }
    }
    try look()
    try findStrangers(trees, files, record.applied)
  }

  private func findStrangers(
    _ trees: [any Tree], _ files: PairFiles, _ point: PointNumber
  ) throws {
    let lock = try host.lockReplica(pair: pair.name, exclusive: false)
    defer { withExtendedLifetime(lock) {} }
    let record = try ReplicaRecord.load(files.disk)
    guard record.applied == point, record.intents.isEmpty else { return }
    let strangers = Strangers(
      trees: trees, exclusions: pair.roots.map { Exclusion($0.exclude) }, index: store.index)
    for place in try strangers.find(at: point) where isWanted(place, isDirectory: false) {
      // One of another kind than the point says was met before.
      if try store.index.entry(place, at: point) != nil { continue }
      findings.append(Self.stranger(place, point))
    }
  }

  private static func stranger(_ place: Place, _ point: PointNumber) -> Finding {
    Finding(
      path: "\(place.path)", place: "replica: is not in the point", replicaPlace: place,
      point: point)
  }

  /// What was found of the names at one point.
  private var links = (point: PointNumber.none, names: LinkedNames())

  private func compare(_ place: Place, at point: PointNumber, _ tree: any Tree) throws {
    if links.point != point { links = (point, LinkedNames()) }
    let exclusion = Exclusion(pair.roots[place.root.rawValue].exclude)
    guard let entry = try store.index.entry(place, at: point) else {
      if try tree.status(place.path) != nil { findings.append(Self.stranger(place, point)) }
      return
    }
    if exclusion.excludesWithParents(place.path, isDirectory: entry.kind == .directory) { return }
    checkedFiles += 1
    let comparison = Comparison(
      reader: store.reader, digests: store.digests, isPrivileged: host.isPrivileged,
      refusing: pair.refused)
    var difference: String?
    var partner: Place?
    do {
      difference = try comparison.difference(tree, place.path, entry)
      if difference == nil, let status = try tree.status(place.path),
        let found = links.names.difference(place, entry, status)
      {
        difference = found.words
        partner = found.other
      }
    } catch let error as TreeError {
      difference = "\(error)"
    } catch is JournalError {
      return
    }
    if let difference {
      findings.append(
        Finding(
          path: "\(place.path)", place: "replica: \(difference)", replicaPlace: place,
          partner: partner, point: point))
    }
  }

  // MARK: After mending

  /// Neither index nor journal can be made from the other.
  var isWithoutGround: Bool {
    findings.contains(where: \.isIndex) && findings.contains { $0.record != nil }
  }

  /// Whether chunks that were damaged can be read again.
  func has(_ chunks: [ChunkName]) throws -> Bool {
    store = try PairStore(configuration, pair)
    return try chunks.allSatisfy { try isSound($0) }
  }

  /// Says of each finding whether it is mended.
  func lookAgain() throws {
    store = try PairStore(configuration, pair)
    let before = findings
    findings = []
    let trees = try pair.paths(on: configuration.site).map { try LinuxTree($0) }
    var after: [Finding] = []
    var lookedAt: Set<Place> = []
    links = (.none, LinkedNames())
    // Once for all: it reads the whole journal.
    let hasRecords = before.contains { $0.record != nil }
    let end = try store.index.covered()?.upTo ?? .start
    let snapshot = hasRecords ? try store.journal.examine(upTo: end) { _ in }.snapshot : nil
    for var finding in before {
      if let record = finding.record {
        finding.isRepaired = snapshot.map { record < $0 } ?? false
      } else if finding.isIndex {
        let row = try store.index.point(finding.point)
        finding.isRepaired =
          try row.map {
            try store.index.treeDigest(at: $0.point.number) == $0.point.tree
          } ?? false
      } else if let place = finding.replicaPlace {
        let files = try PairFiles(host, pair: pair.name)
        let lock = try host.lockReplica(pair: pair.name, exclusive: false)
        defer { withExtendedLifetime(lock) {} }
        let record = try ReplicaRecord.load(files.disk)
        if links.point != record.applied {
          lookedAt = []
          links = (record.applied, LinkedNames())
        }
        let places = [place] + (finding.partner.map { [$0] } ?? [])
        let group = Set(try places.flatMap { try names(with: $0, at: record.applied) })
        for name in group where lookedAt.insert(name).inserted {
          try compare(name, at: record.applied, trees[name.root.rawValue])
        }
        finding.isRepaired = !findings.contains { $0.replicaPlace.map(group.contains) ?? false }
      } else {
        finding.isRepaired = try finding.chunks.allSatisfy { try isSound($0) }
      }
      after.append(finding)
    }
    findings = after
  }

  /// All names of what has this one.
  private func names(with place: Place, at point: PointNumber) throws -> [Place] {
    guard let entry = try store.index.entry(place, at: point), entry.linkGroup != 0 else {
      return [place]
    }
    return try store.index.members(root: place.root, linkGroup: entry.linkGroup, at: point)
  }

  private func progress(_ text: String) {
    let bytes = Array("\r\u{1B}[K\(text)".utf8)
    unsafe _ = write(STDERR_FILENO, bytes, bytes.count)
  }
}
