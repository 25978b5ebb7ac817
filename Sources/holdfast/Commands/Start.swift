import ArgumentParser
import HoldfastAgent

struct Start: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a plan again that failed, once you have put right what it failed at.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String

  func run() async throws {
    let client = try AgentClient(options)
    print(try await client.post(TextAnswer.self, "/pairs/\(pair)/start").message)
  }
}
