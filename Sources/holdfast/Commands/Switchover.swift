import ArgumentParser
import HoldfastAgent
import HoldfastCore

struct Switchover: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Moves the service to the other site, with nothing lost.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(name: .long, help: "Do not ask.") var yes = false
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    try await Self.move(try AgentClient(options), pair, yes: yes, json: json)
  }

  /// - Parameter before: the phases that led here, of a move of another kind.
  static func move(
    _ client: AgentClient, _ pair: String, yes: Bool, json: Bool,
    after before: [MoveReport.Phase] = []
  ) async throws {
    let row = try await Moving.row(client, pair)
    let hasPlan = client.configuration.pair(pair)?.plan.isEmpty == false
    let target = row.role == "standby" ? client.configuration.site : row.peer.site
    if !json {
      print("\(pair): \(row.role) here, epoch \(row.epoch), the service moves to \(target)")
      if !hasPlan {
        print("There is no plan: nobody ends the service. Stop it where it runs, then answer.")
      }
    }
    guard yes || (!json && Terminal.agree("Move it now?")) else {
      throw CommandFailure(.refused, "nothing was changed: add --yes to answer in a script")
    }
    var answer = try await Moving.following(client, pair) {
      try await client.post(FailoverAnswer.self, "/pairs/\(pair)/switchover")
    }
    answer.phases.insert(contentsOf: before, at: 0)
    if json { return print(String(decoding: JSON.encode(answer), as: UTF8.self)) }
    print("\(pair) is primary on \(target): point \(answer.point), epoch \(answer.epoch)")
    if !hasPlan { print("Its tree is writable. Start the service on \(target).") }
  }
}

struct Failback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Brings the service home to this site, which was promoted past.",
    discussion: """
      Typed on the old primary. What it wrote and never shipped is kept as a branch; only what \
      differs travels. Once this site is in step, the service moves here. On a standby it is the \
      same as switchover.
      """)
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(name: .long, help: "Only become the standby; move later, by holdfast switchover.")
  var asStandby = false
  @Flag(name: .long, help: "Do not ask.") var yes = false
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    let client = try AgentClient(options)
    let row = try await Moving.row(client, pair)
    var way: MoveReport?
    if row.role != "standby" {
      if !json {
        print(
          """
          \(pair): \(row.role) here, epoch \(row.epoch). This site becomes the standby of \
          \(row.peer.site): its tree is kept as a branch, and then follows.
          """)
      }
      guard yes || (!json && Terminal.agree("Bring this site back?")) else {
        throw CommandFailure(.refused, "nothing was changed: add --yes to answer in a script")
      }
      let pair = pair
      try await Moving.following(client, pair) {
        let answer = try await client.post(TextAnswer.self, "/pairs/\(pair)/failback")
        Terminal.complain(answer.message)
        try await Self.inStep(client, pair)
      }
      way = try await Moving.last(client, pair)
    } else {
      try await Self.inStep(client, pair)
    }
    if asStandby {
      if json {
        // It was standby already.
        guard let way else { return try await Moving.printStatus(client) }
        return print(String(decoding: JSON.encode(way), as: UTF8.self))
      }
      return print("\(pair): this site follows; to serve here, type: holdfast switchover \(pair)")
    }
    try await Switchover.move(client, pair, yes: yes, json: json, after: way?.phases ?? [])
  }

  /// Returns once the replica here is what the other site captured last.
  private static func inStep(_ client: AgentClient, _ pair: String) async throws {
    let progress = MoveProgress()
    var told: String?
    while true {
      let row = try await Moving.row(client, pair)
      let points = row.points
      if row.role == "standby", row.peer.connected, row.lagSeconds != nil, row.backlogBytes == 0,
        points.applied == points.captured
      {
        return progress.clear()
      }
      // Where nothing can be overwritten on, a line says why it takes long.
      if let held = row.held, held != told {
        progress.tell("waits: \(held)")
        told = held
      }
      // Until then it is a phase of the move.
      if row.role == "standby" {
        progress.show(
          row.held.map { "waits: \($0)" }
            ?? "follows: point \(points.applied ?? 0) of \(points.captured ?? 0)")
      }
      try await Task.sleep(for: .milliseconds(200))
    }
  }
}

/// What commands that move a pair have in common.
enum Moving {
  static func row(_ client: AgentClient, _ pair: String) async throws -> StatusAnswer.Pair {
    let status = try await client.get(StatusAnswer.self, "/status")
    guard let row = status.pairs.first(where: { $0.pair == pair }) else {
      throw CommandFailure(.usage, "there is no pair \(pair) here")
    }
    return row
  }

  /// The move on record that began last.
  static func last(_ client: AgentClient, _ pair: String) async throws -> MoveReport {
    let moves = try await client.get(MovesAnswer.self, "/pairs/\(pair)/moves").moves
    if let last = moves.first { return last }
    throw CommandFailure(.failed, "no move of \(pair) is on record: see holdfast status \(pair)")
  }

  static func printStatus(_ client: AgentClient) async throws {
    let status = try await client.get(StatusAnswer.self, "/status")
    print(String(decoding: JSON.encode(status), as: UTF8.self))
  }

  /// Tells each phase with its time while the order is carried out.
  static func following<T: Sendable>(
    _ client: AgentClient, _ pair: String, _ order: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    let known = try? await client.get(MovesAnswer.self, "/pairs/\(pair)/moves").moves.first?.begun
    let telling = Task {
      let progress = MoveProgress()
      var told = 0
      while true {
        let isLast = Task.isCancelled
        let moves = try? await client.get(MovesAnswer.self, "/pairs/\(pair)/moves").moves
        if let move = moves?.first, move.begun != known {
          for phase in move.phases.dropFirst(told) {
            progress.tell("\(phase.name): \(Terminal.seconds(phase.seconds))")
          }
          told = max(told, move.phases.count)
          if let phase = move.phase, !isLast {
            progress.show("\(phase.name): \(Terminal.seconds(phase.seconds)) …")
          }
        }
        if isLast { return progress.clear() }
        try? await Task.sleep(for: .milliseconds(100))
      }
    }
    do {
      let answer = try await order()
      telling.cancel()
      await telling.value
      return answer
    } catch {
      telling.cancel()
      await telling.value
      throw error
    }
  }
}
