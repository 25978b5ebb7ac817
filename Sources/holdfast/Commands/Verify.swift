import ArgumentParser
import HoldfastAgent
import HoldfastCore
import HoldfastStore

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares journal and index of every kept point with their digests.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(name: .long, help: "One JSON object.") var json = false

  struct Answer: Codable {
    struct Damage: Codable {
      var path: String
      var `where`: String
      var repaired: Bool
    }
    var checkedFiles: Int64
    var damaged: [Damage]
  }

  func run() async throws {
    let configuration = try options.load()
    guard let settings = configuration.pair(pair) else {
      throw CommandFailure(.usage, "there is no pair \(pair) in \(options.path)")
    }
    let store = try PairStore(configuration, settings)
    var answer = Answer(checkedFiles: 0, damaged: [])
    var seen: Set<ChunkName> = []
    for row in try store.index.points() {
      let point = row.point
      if try store.index.treeDigest(at: point.number) != point.tree {
        answer.damaged.append(
          .init(path: "point \(point.number)", where: "index", repaired: false))
      }
      try store.index.forEachEntry(at: point.number) { place, entry in
        guard entry.kind == .regular else { return }
        // A file that another point shares was looked at there.
        let fresh = entry.content.references.filter { !seen.contains($0.name) }
        guard !fresh.isEmpty else { return }
        answer.checkedFiles += 1
        do {
          try store.reader.forEachRun(
            Content(depth: entry.content.depth, references: fresh)
          ) { _, _ in }
          if seen.count < 1_000_000 { seen.formUnion(fresh.map(\.name)) }
        } catch {
          answer.damaged.append(
            .init(
              path: "\(place.path) at point \(point.number)", where: "journal: \(error)",
              repaired: false))
        }
      }
    }
    if json {
      print(String(decoding: JSON.encode(answer), as: UTF8.self))
    } else {
      for damage in answer.damaged { print("damaged: \(damage.path): \(damage.where)") }
      print("\(answer.checkedFiles) file versions checked, \(answer.damaged.count) damaged")
    }
    if !answer.damaged.isEmpty {
      throw CommandFailure(
        .damaged,
        "damage found: files damaged in the journal come again with the next change, or after touch on the primary"
      )
    }
  }
}
