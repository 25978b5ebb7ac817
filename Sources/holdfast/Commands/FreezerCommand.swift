import ArgumentParser
import FoundationEssentials
import HoldfastAgent
import HoldfastCore
import HoldfastLinux

/// Started by the agent, and by systemd once the agent is gone.
struct FreezerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "freezer",
    abstract: "Stops a pair's units for moments at the agent's word.",
    shouldDisplay: false)
  @OptionGroup var options: CommonOptions
  @Option(help: "The folder of the control sockets; else the configuration's.")
  var control: String?
  @Option(help: "The pair; of `--thaw` all of them.") var pair: String?
  @Flag(help: "Thaw what a crash left frozen, let services go on, and end.") var thaw = false

  func validate() throws {
    if !thaw, pair == nil { throw ValidationError("--pair or --thaw is missing") }
  }

  func run() throws {
    // Whatever is wrong with the configuration, what stands still is to run again.
    let control = control ?? (try? options.load().control) ?? Configuration.defaultControl
    if let pair, !thaw {
      var freezer = FreezerProcess(control: control, pair: pair)
      return freezer.run()
    }
    for name in FrozenUnits.recorded(control: control) {
      var units = FrozenUnits(control: control, pair: name)
      if let trouble = units.thaw() {
        Terminal.complain("\(name): \(trouble)")
      }
    }
    endOwed()
  }

  /// No service rests until somebody starts the agent.
  private func endOwed() {
    let environment = ProcessInfo.processInfo.environment
    let state = (try? options.load())?.state ?? environment["STATE_DIRECTORY"]
    // An agent that lives ends its own.
    guard let state, let lock = try? StateLock(path: "\(state)/lock") else { return }
    defer { withExtendedLifetime(lock) {} }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "\(state)/pairs")) ?? [] {
      guard let disk = try? LinuxDisk("\(state)/pairs/\(name)") else { continue }
      let troubles = OwedCommands.release(
        pair: name, disk: disk, snapshots: LinuxSnapshots(folder: state), dice: SystemDice())
      for trouble in troubles { Terminal.complain("\(name): \(trouble)") }
    }
  }
}
