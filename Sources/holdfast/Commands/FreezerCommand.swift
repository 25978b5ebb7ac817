import ArgumentParser
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
  @Flag(help: "Thaw what a crash left frozen, and end.") var thaw = false

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
      if let trouble = FrozenUnits(control: control, pair: name).thaw() {
        Terminal.complain("\(name): \(trouble)")
      }
    }
  }
}
