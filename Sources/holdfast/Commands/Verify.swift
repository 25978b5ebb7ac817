import ArgumentParser
import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastLinux
import HoldfastStore

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compares index, journal and replica with what the points say, and mends them.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Option(name: .long, help: "Only this point (default: every point kept).") var point: UInt64?
  @Option(name: .long, help: "Only what matches, as in .gitignore; `/` anchors it at the root.")
  var path: String?
  @Flag(name: .long, help: "Mend what is damaged.") var repair = false
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
    let examination = try Examination(
      configuration, settings, point: point.map(PointNumber.init), glob: path, isQuiet: json)
    try examination.run()
    if repair, !examination.findings.isEmpty {
      try await mend(examination, AgentClient(configuration: configuration))
    }
    let answer = Answer(
      checkedFiles: examination.checkedFiles,
      damaged: examination.findings.map {
        .init(path: $0.path, where: $0.place, repaired: $0.isRepaired)
      })
    show(answer)
    let left = answer.damaged.filter { !$0.repaired }.count
    guard left > 0 else { return }
    throw CommandFailure(
      .damaged,
      repair && examination.isWithoutGround
        ? """
        the index and the records that it is made anew from are both damaged, so that neither is \
        made from the other: see docs/runbook.md, "The journal is damaged"
        """
        : repair
          ? """
          \(left) could not be mended: what only older points hold comes back only with the file \
          itself; those points stay, without it
          """
          : "\(left) damaged: type: holdfast verify \(pair) --repair")
  }

  private func show(_ answer: Answer) {
    if json { return print(String(decoding: JSON.encode(answer), as: UTF8.self)) }
    for damage in answer.damaged {
      print("\(damage.repaired ? "mended" : "damaged"): \(damage.path): \(damage.where)")
    }
    print("\(answer.checkedFiles) file versions checked, \(answer.damaged.count) damaged")
  }

  /// Between two points.
  private func carry(
    _ records: [RecordPosition], isAll: Bool, _ client: AgentClient
  ) async throws {
    let end = SystemClock().now() + Self.contentWithin
    let request = RepairRequest(places: [], chunks: [], index: false, records: records, all: isAll)
    while true {
      do {
        _ = try await client.post(TextAnswer.self, "/pairs/\(pair)/repair", request)
        return
      } catch let failure as CommandFailure where failure.code == .unreachable {
        guard SystemClock().now() < end else { throw failure }
        try await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  /// For a point that says everything.
  private static let contentWithin = Duration.seconds(600)

  /// Asks the agent, a bounded number of places at a time, and looks again.
  private func mend(_ examination: Examination, _ client: AgentClient) async throws {
    let places = examination.findings.compactMap(\.replicaPlace)
    let chunks = Set(examination.findings.flatMap(\.chunks)).sorted { "\($0)" < "\($1)" }
    let isIndexDamaged = examination.findings.contains { $0.isIndex }
    func ask(_ request: RepairRequest) async throws {
      let answer = try await client.post(
        TextAnswer.self, "/pairs/\(pair)/repair", request)
      if !json { print(answer.message) }
    }
    let records = examination.findings.compactMap(\.record)
    let hasRecords = !records.isEmpty
    // Of a journal that lacks records an index is made that lacks points.
    if isIndexDamaged, !hasRecords {
      try await ask(RepairRequest(places: [], chunks: [], index: true))
    }
    let before = try await Moving.row(client, pair).points.durable
    for start in stride(from: 0, to: chunks.count, by: Limits.missingNamesMax / 2) {
      let end = min(chunks.count, start + Limits.missingNamesMax / 2)
      try await ask(
        RepairRequest(
          places: [], chunks: Array(chunks[start..<end]), index: false, more: end < chunks.count))
    }
    // Content comes from the primary in a point of its own, and the replica is mended from it. What
    // only older points hold does not come.
    let deadline = SystemClock().now() + Self.contentWithin
    while try !examination.has(chunks), SystemClock().now() < deadline,
      try await Moving.row(client, pair).points.durable == before
    {
      try await Task.sleep(for: .milliseconds(200))
    }
    for start in stride(from: 0, to: places.count, by: 64) {
      let some = Array(places[start..<min(places.count, start + 64)])
      try await ask(RepairRequest(places: some, chunks: [], index: false))
    }
    let isOfJournal = hasRecords || !chunks.isEmpty
    if isOfJournal, !isIndexDamaged || !hasRecords {
      try await carry(records, isAll: try examination.has(chunks), client)
    }
    try examination.lookAgain()
  }
}
