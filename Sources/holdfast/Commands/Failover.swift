import ArgumentParser
import HoldfastAgent
import HoldfastCore

struct Failover: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Promotes this standby after the primary was lost.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Option(name: .long, help: "An older point than the newest durable one.") var point: UInt64?
  @Flag(name: .long, help: "Accept that the writes named are lost.") var acceptLoss = false
  @Flag(name: .long, help: "You have made sure that the other site is down.")
  var otherSiteIsDown = false
  @Flag(name: .long, help: "Take back a failover that is under way here.")
  var withdraw = false
  @Flag(name: .long, help: "Do not ask.") var yes = false
  @Flag(name: .long, help: "One JSON object.") var json = false

  func run() async throws {
    let client = try AgentClient(options)
    if withdraw {
      // Whether or not the agent lives.
      let body = try await client.orderController("/pairs/\(pair)/withdraw", [])
      let answer = try JSON.decode(TextAnswer.self, body)
      return print(json ? String(decoding: body, as: UTF8.self) : answer.message)
    }
    var request = FailoverRequest(
      point: point, acceptLoss: acceptLoss, otherSiteIsDown: otherSiteIsDown, preview: true)
    let preview = try await client.post(
      FailoverAnswer.self, "/pairs/\(pair)/failover", request)
    if !json { print(statement(preview)) }
    if let refusal = preview.refusal { throw CommandFailure(.refused, refusal) }
    if !yes {
      guard !json, Terminal.agree("Promote this site to epoch \(preview.epoch)?") else {
        throw CommandFailure(.refused, "nothing was changed: add --yes to answer in a script")
      }
    }
    request.preview = false
    let order = request
    let answer = try await Moving.following(client, pair) {
      try await client.post(FailoverAnswer.self, "/pairs/\(pair)/failover", order)
    }
    if json { return print(String(decoding: JSON.encode(answer), as: UTF8.self)) }
    print("\(pair) is primary here: point \(answer.point), epoch \(answer.epoch)")
    let isServed = answer.phases.contains { $0.name == "plan" }
    let plan = client.configuration.pair(pair)?.plan ?? []
    print(
      plan.isEmpty
        ? "The tree is writable. Start the service, and keep the old primary's stopped."
        : isServed
          ? "The service runs. Keep the old primary's stopped."
          : """
          The tree is writable; the controller runs the plan, once it is there: systemctl start \
          holdfast-controller. Keep the old primary's service stopped.
          """)
  }

  private func statement(_ preview: FailoverAnswer) -> String {
    let time = preview.lossSeconds.map { "the last \(Terminal.seconds($0))" } ?? "an unknown time"
    let seconds = "\(time) before \(preview.lossBefore ?? "the other site writes no more")"
    let files = preview.lossFiles.map { ", \($0) \($0 == 1 ? "place" : "places")" } ?? ""
    return """
      \(pair): point \(preview.point) (\(preview.grade)) would be promoted.
      Not in it: what was written in \(seconds)\(files).
      """
  }
}
