import ArgumentParser
import Glibc
import HoldfastLinux

@main
struct Holdfast: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holdfast",
    abstract: "Keeps a second site ready to take over.",
    version: "0.1.0",
    subcommands: [
      Init.self, Invite.self, Join.self, Adopt.self, Check.self, Agent.self, ControllerCommand.self,
      WitnessCommand.self, StatusCommand.self,
      Sync.self, Points.self, Restore.self, Verify.self, Failover.self,
      Switchover.self, Failback.self, Resume.self, Approve.self, Release.self, Start.self,
      Demo.self, DemoService.self, FreezerCommand.self,
    ])

  static func main() async {
    signal(SIGPIPE, SIG_IGN)
    if CommandLine.arguments.dropFirst().first == ControllerCommand.configuration.commandName {
      AbortThread.block()
    }
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let failure as CommandFailure {
      Terminal.complain(failure.message)
      Glibc.exit(failure.code.rawValue)
    } catch {
      let code = exitCode(for: error)
      let text = fullMessage(for: error)
      if code == .success { print(text) } else { Terminal.complain(text) }
      // The parser's own code for wrong usage is another.
      Glibc.exit(code == .success ? 0 : code == .validationFailure ? 2 : code.rawValue)
    }
  }
}
