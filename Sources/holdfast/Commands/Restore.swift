import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastIndex
import HoldfastLinux
import HoldfastStore

struct Restore: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Brings files of a point back, into a new directory.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Option(name: .long, help: "A point's number, or a time: the newest point not after it.")
  var point: String
  @Option(name: .long, help: "Only what matches, as in .gitignore; `/` anchors it at the root.")
  var path: String?
  @Option(name: .long, help: "Where to: a directory that is missing or empty.") var to: String

  func run() async throws {
    let configuration = try options.load()
    guard let settings = configuration.pair(pair) else {
      throw CommandFailure(.usage, "there is no pair \(pair) in \(options.path)")
    }
    let store = try PairStore(configuration, settings)
    let chosen = try choose(try store.index.points())
    let report = Roots.report(to)
    if case .notDirectory = report.state { throw CommandFailure(.refused, "\(to) is no directory") }
    if report.state == .directory, !report.isEmpty {
      throw CommandFailure(.refused, "\(to) is not empty: give another directory")
    }
    let trees = settings.roots.flatMap { [$0.path, $0.replica] } + [configuration.state]
    if let taken = trees.first(where: { Roots.overlaps(to, $0) }) {
      throw CommandFailure(
        .refused, "\(to) and \(taken) lie inside one another: give a directory of its own")
    }
    guard try store.index.treeDigest(at: chosen.number) == chosen.tree else {
      throw CommandFailure(
        .damaged,
        """
        the index does not give the tree that point \(chosen.number) sealed: type holdfast verify \
        \(pair) --repair, which rebuilds it from the journal
        """)
    }
    try StateFiles.makeDirectory(to, mode: 0o755)
    var restored: Int64 = 0
    var refused: Int64 = 0
    for (number, root) in settings.roots.enumerated() {
      let target = settings.roots.count == 1 ? to : to + root.path
      try StateFiles.makeDirectory(target, mode: 0o755)
      let done = try store.restore(
        chosen, root: RootNumber(rawValue: number), to: target, only: path)
      restored += done.made
      refused += done.refused
    }
    guard restored > 0 || path == nil else {
      throw CommandFailure(
        .usage, "nothing of point \(chosen.number) matches --path \(path ?? "")")
    }
    print(
      "restored \(restored) entries of point \(chosen.number) (\(chosen.time.rfc3339)) to \(to)")
    if refused > 0 {
      print(
        "\(refused) of the point's lend no powers there, or were not made: `refuse`, as configured")
    }
  }

  private func choose(_ rows: [PointRow]) throws -> Point {
    if let number = UInt64(point) {
      guard let row = rows.first(where: { $0.point.number.rawValue == number }) else {
        throw CommandFailure(
          .usage,
          """
          point \(number) is not kept on this site: holdfast points \(pair) lists what is; what \
          the primary captured itself its standby keeps
          """)
      }
      return row.point
    }
    guard let time = WallTime(rfc3339: point) else {
      throw CommandFailure(
        .usage, "--point \(point): write a number or a time such as 2026-01-31T12:00:00Z")
    }
    // Times are shown in whole milliseconds: one that is typed as shown means that very point.
    let end = time + .milliseconds(1)
    guard let row = rows.first(where: { !$0.isBranch && $0.point.time < end }) else {
      throw CommandFailure(.usage, "no point is as old as \(point): type holdfast points \(pair)")
    }
    return row.point
  }
}

/// Journal and index of a pair, read beside a running agent or without one.
struct PairStore {
  let index: any Index
  let journal: Journal
  let reader: ContentReader
  let digests: PairDigests
  private let host: SystemHost
  private let refused: Powers
  /// While it is held, retention moves and drops nothing.
  private let reading: any Sendable

  init(_ configuration: Configuration, _ pair: PairConfiguration) throws {
    host = SystemHost(configuration)
    refused = pair.refused
    let files = try PairFiles(host, pair: pair.name)
    guard let identity = try files.identity() else {
      throw CommandFailure(.refused, "\(pair.name) has no journal here: join the sites first")
    }
    reading = try host.readingJournal(pair: pair.name)
    let digests = PairDigests(identity.secret)
    self.digests = digests
    do {
      index = try host.index(pair: pair.name, isReader: true) { digests.entry($0, $1) }
    } catch {
      throw CommandFailure(
        .refused, "\(pair.name) has no index here (\(error)): points are kept on the standby")
    }
    journal = Journal(
      reading: try host.disk(["pairs", pair.name, "journal"]), secret: identity.secret)
    reader = ContentReader(journal: journal, index: index, digests: digests, verifying: true)
  }

  /// - Returns: how many entries were made, and how many lend no powers for having been refused.
  func restore(_ point: Point, root: RootNumber, to path: String, only pattern: String?) throws
    -> (made: Int64, refused: Int64)
  {
    let tree = try LinuxTree(path)
    let materials = Materials(
      reader: reader, isPrivileged: host.isPrivileged, refusing: refused)
    let filter = pattern.map { Exclusion([$0]) }
    var count: Int64 = 0
    var made: [(TreePath, Entry)] = []
    var links: [UInt64: (TreePath, Entry)] = [:]
    /// What leads to what is wanted is as it was, too.
    func makeParents(_ path: TreePath) throws {
      let parent = path.parent
      if try parent.isTop || tree.status(parent) != nil { return }
      try makeParents(parent)
      try tree.make(parent, kind: .directory, target: [], device: 0)
      let entry = try index.entry(Place(root: root, path: parent), at: point.number)
      if let entry { made.append((parent, entry)) }
    }
    try index.forEachEntry(at: point.number) { place, entry in
      guard place.root == root else { return }
      let path = place.path
      let isWanted =
        filter?.excludesWithParents(path, isDirectory: entry.kind == .directory) ?? true
      if entry.kind == .directory {
        if path.isTop {
          if filter == nil { made.append((path, entry)) }
        } else if isWanted {
          try makeParents(path)
          _ = try materials.make(tree, path, entry)
          made.append((path, entry))
          count += 1
        }
        return
      }
      guard isWanted else { return }
      try makeParents(path)
      if entry.linkGroup != 0, let (first, same) = links[entry.linkGroup], same == entry {
        try tree.link(first, as: path)
        count += 1
        return
      }
      if entry.kind == .regular {
        _ = try materials.build(tree, path, entry)
      } else {
        guard try materials.make(tree, path, entry) else { return }
        _ = try materials.dress(tree, path, entry)
      }
      count += 1
      if entry.linkGroup != 0 { links[entry.linkGroup] = (path, entry) }
    }
    for (path, entry) in made.reversed() { _ = try materials.dress(tree, path, entry) }
    try tree.flush()
    return (count, materials.shortfalls.powers)
  }
}
