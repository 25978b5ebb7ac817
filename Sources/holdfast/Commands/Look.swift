import ArgumentParser
import Glibc
import HoldfastAgent
import HoldfastCore

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Shows roles, watermarks and lag.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "Only this pair.") var pair: String?
  @Flag(name: .long, help: "Go on, once a second.") var watch = false
  @Flag(name: .long, help: "One JSON object, or one a line with --watch.") var json = false

  func run() async throws {
    let client = try AgentClient(options)
    repeat {
      var status = try await client.get(StatusAnswer.self, "/status")
      if let pair {
        status.pairs = status.pairs.filter { $0.pair == pair }
        if status.pairs.isEmpty { throw CommandFailure(.usage, "there is no pair \(pair) here") }
      }
      print(json ? String(decoding: JSON.encode(status), as: UTF8.self) : Self.text(status))
      if watch { try await Task.sleep(for: .seconds(1)) }
    } while watch
  }

  static func text(_ status: StatusAnswer) -> String {
    var rows = [
      ["PAIR", "ROLE", "EPOCH", "PEER", "CAPTURED", "DURABLE", "APPLIED", "GRADE", "LAG"]
    ]
    func grade(_ pair: StatusAnswer.Pair) -> String {
      guard let grade = pair.grade else { return "-" }
      return pair.provider.map { "\(grade) (\($0))" } ?? grade
    }
    for pair in status.pairs {
      func point(_ number: UInt64?) -> String { number.map(String.init) ?? "-" }
      rows.append([
        pair.pair, pair.role, String(pair.epoch),
        pair.peer.site + (pair.peer.connected ? "" : " (away)"), point(pair.points.captured),
        point(pair.points.durable), point(pair.points.applied), grade(pair),
        pair.lagSeconds.map(Terminal.seconds) ?? "unknown",
      ])
    }
    var lines = ["site \(status.site)", Terminal.table(rows)]
    for pair in status.pairs {
      if pair.rpoKept == false {
        lines.append("! \(pair.pair): the RPO of \(Terminal.seconds(pair.rpoSeconds)) is not kept")
      }
      if let service = pair.service {
        let lease = pair.leaseSeconds.map { ", lease for \(Terminal.seconds($0)) yet" } ?? ""
        lines.append("  \(pair.pair): service \(service) here\(lease)")
      }
      lines += pair.alarms.map { "! \(pair.pair): \($0)" }
      lines += pair.notes.map { "  \(pair.pair): \($0)" }
    }
    return lines.joined(separator: "\n")
  }
}

struct Points: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Lists the points kept.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    let answer = try await AgentClient(options).get(PointsAnswer.self, "/pairs/\(pair)/points")
    if json { return print(String(decoding: JSON.encode(answer), as: UTF8.self)) }
    var rows = [["POINT", "TIME", "GRADE", "BY", "FILES", "SIZE", "CHANGES", "EPOCH", ""]]
    for point in answer.points {
      let marks = [point.branch ? "branch" : nil, point.pinned ? "pinned" : nil]
      rows.append([
        String(point.point), point.time, point.grade, provider(point), String(point.files),
        Terminal.size(point.bytes), String(point.changes), String(point.epoch),
        marks.compactMap { $0 }.joined(separator: ", "),
      ])
    }
    print(Terminal.table(rows))
  }

  /// With how long the service stood still.
  private func provider(_ point: PointsAnswer.Point) -> String {
    guard point.frozenSeconds > 0 else { return point.provider }
    return "\(point.provider) \(Int((point.frozenSeconds * 1000).rounded(.up))) ms"
  }
}

struct Sync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Captures now all that was written before.")
  enum Goal: String, ExpressibleByArgument, CaseIterable {
    case durable, applied
  }
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Option(name: .long, help: "Wait until the point is durable, or applied, on the standby.")
  var wait: Goal?
  @Option(name: .long, help: "Give up after this long, such as 30s.") var timeout: String?
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    let limit = try timeout.map { text in
      guard let duration = Quantity.duration(text) else {
        throw CommandFailure(.usage, "--timeout \(text): write a duration such as 30s")
      }
      return duration
    }
    let client = try AgentClient(options)
    let clock = ContinuousClock()
    let start = clock.now
    func isOver() -> Bool { limit.map { clock.now - start >= $0 } ?? false }
    func left() -> Duration? { limit.map { max(.milliseconds(1), $0 - (clock.now - start)) } }
    let number = try await capture(client, left, isOver)
    if let wait { try await reach(client, number, wait, isOver) }
    print(json ? "{\"point\":\(number)}" : "\(number)")
  }

  private func capture(
    _ client: AgentClient, _ left: () -> Duration?, _ isOver: () -> Bool
  ) async throws -> UInt64 {
    while true {
      do {
        return try await client.post(SyncAnswer.self, "/pairs/\(pair)/sync", within: left()).point
      } catch let failure as CommandFailure where failure.code == .unreachable {
        if isOver(), (try? await client.get(StatusAnswer.self, "/status")) != nil {
          throw CommandFailure(
            .unreachable,
            """
            nothing was captured in this time: a capture that runs takes longer, or waits for the \
            standby; it goes on: see holdfast status \(pair)
            """)
        }
        guard wait != nil, !isOver() else { throw failure }
        try await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  private func reach(
    _ client: AgentClient, _ number: UInt64, _ goal: Goal, _ isOver: () -> Bool
  ) async throws {
    var heldSince: ContinuousClock.Instant?
    while true {
      let status = try await client.get(StatusAnswer.self, "/status")
      // While its settings are taken anew a pair is away for a moment.
      let row = status.pairs.first { $0.pair == pair }
      let mark = goal == .durable ? row?.points.durable : row?.points.applied
      if let mark, mark >= number { return }
      if goal == .applied, let row, (row.points.durable ?? 0) >= number {
        let isHeld = row.alarms.contains { $0.contains(PairView.appliesNothing) }
        heldSince = isHeld ? heldSince ?? .now : nil
        try await explain(client, number, row, heldSince)
      }
      guard !isOver() else {
        throw CommandFailure(
          .unreachable,
          "point \(number) is captured and not yet \(goal.rawValue): see holdfast status \(pair)")
      }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// - Throws: why a durable point will not reach the replica, if it will not.
  private func explain(
    _ client: AgentClient, _ number: UInt64, _ row: StatusAnswer.Pair,
    _ heldSince: ContinuousClock.Instant?
  ) async throws {
    // What was put right a moment ago is still told for another.
    if let heldSince, heldSince.duration(to: .now) > .seconds(3),
      let reason = row.alarms.first(where: { $0.contains(PairView.appliesNothing) })
    {
      throw CommandFailure(
        .refused, "point \(number) is durable and waits to be applied: \(reason)")
    }
    let answer = try await client.get(PointsAnswer.self, "/pairs/\(pair)/points")
    let point = answer.points.first { $0.point == number }
    // The primary lists what it still has; of the newest it knows the grade.
    let word = point?.grade ?? (row.points.captured == number ? row.grade : nil)
    guard let grade = word.flatMap(Grade.init(word:)),
      let require = client.configuration.pair(pair)?.require, grade < require
    else { return }
    throw CommandFailure(
      .refused,
      """
      point \(number) is durable and will not reach the replica: it is \(grade.word), the pair \
      requires \(require.word)\(point.map { " (\($0.reason))" } ?? "")
      """)
  }
}
