import ArgumentParser
import HoldfastAgent
import HoldfastCore

struct Release: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lets a branch go, or a pinned point: retention kept them for ever.",
    discussion: """
      Typed on the site whose `holdfast points` shows the point. The whole branch that the point \
      is on is dropped at once; bring back what is still wanted first, by holdfast restore. A \
      point that is only pinned stays as long as the retention rule keeps it.
      """)
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Option(help: "A point of the branch, or the pinned point.") var point: UInt64
  @Flag(name: .long, help: "Do not ask.") var yes = false
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    let client = try AgentClient(options)
    let path = "/pairs/\(pair)/release"
    let preview = try await client.post(
      ReleaseAnswer.self, path, ReleaseRequest(point: point, preview: true))
    if !json {
      let count = preview.points.count
      print(
        preview.kind == "pin"
          ? "\(pair): point \(point) is pinned: from now on it is kept as the rule says"
          : """
          \(pair): a branch of \(count) \(count == 1 ? "point" : "points"), \
          \(preview.points.first ?? 0) to \(preview.points.last ?? 0): nothing brings it back
          """)
    }
    guard yes || (!json && Terminal.agree("Release it?")) else {
      throw CommandFailure(.refused, "nothing was changed: add --yes to answer in a script")
    }
    let answer = try await client.post(
      ReleaseAnswer.self, path, ReleaseRequest(point: point, preview: false))
    print(json ? String(decoding: JSON.encode(answer), as: UTF8.self) : "released")
  }
}
