import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastLinux

struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes this site's key and, where there is none, a commented configuration.")
  @OptionGroup var options: CommonOptions
  @Option(name: .long, help: "This site's name.") var site: String
  @Option(name: .long, help: "The state directory.") var state: String?

  func run() async throws {
    let path = options.path
    var directory = state ?? "/var/lib/holdfast"
    if FileManager.default.fileExists(atPath: path) {
      let configuration = try options.load()
      guard configuration.site == site else {
        throw CommandFailure(
          .refused, "\(path) is of site \(configuration.site): use that name, or another --config")
      }
      directory = configuration.state
      guard state == nil || state == directory else {
        throw CommandFailure(
          .refused, "\(path) has `state: \(directory)`: change it there, or leave --state out")
      }
    } else {
      let text = SampleConfiguration.text(site: site, state: directory)
      let folder = path.split(separator: "/").dropLast().joined(separator: "/")
      if path.hasPrefix("/"), !folder.isEmpty {
        try StateFiles.makeDirectory("/" + folder, mode: 0o755)
      }
      guard FileManager.default.createFile(atPath: path, contents: Data(text.utf8)) else {
        throw CommandFailure(.failed, "cannot write \(path)")
      }
      print("wrote \(path): name the peer and the pair there")
    }
    if try StateFiles.makeKey(site: site, state: directory) {
      print("made the key of \(site) in \(directory)")
    } else {
      print("the key of \(site) is in \(directory) already")
    }
    if let hint = try UnitPaths.update(try options.load()) { print(hint) }
  }
}

struct Invite: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints a token with which the other site joins.")
  @OptionGroup var options: CommonOptions
  @Option(name: .long, help: "host:port at which the other site reaches this one.")
  var address: String?
  @Option(name: .long, help: "A site that was made anew: its key may be another than before.")
  var replace: String?
  @Flag(name: .long, help: "Mark this site's roots without asking.") var yes = false

  func run() async throws {
    let client = try AgentClient(options)
    let answer = try await client.post(
      TokenAnswer.self, "/invite", InviteRequest(address: address, replace: replace))
    try await Marking.markRoots(client, yes: yes)
    print("On the other site, within 15 minutes, type: holdfast join TOKEN")
    print(answer.token)
  }
}

struct Join: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Pairs this site with the one that printed the token.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The token, a file that holds it, or - for standard input.") var token: String
  @Flag(name: .long, help: "The other site was made anew: its key may be another than before.")
  var replace = false
  @Flag(name: .long, help: "Mark this site's roots without asking.") var yes = false

  func run() async throws {
    let client = try AgentClient(options)
    var text = token
    if token == "-" {
      text = readLine() ?? ""
    } else if let data = FileManager.default.contents(atPath: token) {
      text = String(decoding: data, as: UTF8.self)
    }
    let line = text.split(separator: "\n").last.map(String.init) ?? ""
    let answer = try await client.post(
      TextAnswer.self, "/join", JoinRequest(token: line, replace: replace))
    print("joined with \(answer.message)")
    try await Marking.markRoots(client, yes: yes)
  }
}

/// Marks the roots of the pairs that are served here at first.
enum Marking {
  static func markRoots(_ client: AgentClient, yes: Bool) async throws {
    let configuration = client.configuration
    for pair in configuration.pairs where pair.primary == configuration.site {
      let paths = pair.roots.map(\.path)
      if paths.allSatisfy({ Roots.report($0).marker != nil }) { continue }
      let question = "Mark \(paths.joined(separator: ", ")) as the roots of \(pair.name)?"
      guard yes || Terminal.agree(question) else {
        print("not marked: to do it later, type: holdfast adopt \(pair.name)")
        continue
      }
      let answer = try await client.post(TextAnswer.self, "/pairs/\(pair.name)/adopt")
      print(answer.message)
    }
  }
}

struct Adopt: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Marks this site's trees as a pair's.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String

  func run() async throws {
    let answer = try await AgentClient(options).post(TextAnswer.self, "/pairs/\(pair)/adopt")
    print(answer.message)
  }
}

struct Resume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lets this site go on as what it was, without asking the other.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(
    name: .long,
    help: "You have made sure that the other site is down: serve here, though no arbiter answers.")
  var otherSiteIsDown = false
  @Flag(name: .long, help: "Do not ask.") var yes = false
  @Flag(name: .long, help: "One JSON object: the move on record.") var json = false

  func run() async throws {
    let client = try AgentClient(options)
    let row = try await Moving.row(client, pair)
    if !json {
      print("\(pair): \(row.role) here, epoch \(row.epoch), \(row.peer.site) ", terminator: "")
      print(row.peer.connected ? "is connected" : "cannot be asked")
    }
    guard
      yes
        || (!json
          && Terminal.agree(
            otherSiteIsDown
              ? "Is \(row.peer.site) off, and stays off? What it wrote meanwhile is not in this tree."
              : "Was \(row.peer.site) not promoted meanwhile, so that \(pair) may go on here?"))
    else { throw CommandFailure(.refused, "not resumed: add --yes once you are sure") }
    let request = ResumeRequest(otherSiteIsDown: otherSiteIsDown)
    let answer = try await Moving.following(client, pair) {
      try await client.post(TextAnswer.self, "/pairs/\(pair)/resume", request)
    }
    guard json else { return print(answer.message) }
    print(String(decoding: JSON.encode(try await Moving.last(client, pair)), as: UTF8.self))
  }
}

struct Approve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Takes what is held: changed roots, exclusions or standby.")
  @OptionGroup var options: CommonOptions
  @Argument(help: "The pair.") var pair: String
  @Flag(name: .long, help: "Do not ask.") var yes = false

  func run() async throws {
    let client = try AgentClient(options)
    let status = try await client.get(StatusAnswer.self, "/status")
    guard let row = status.pairs.first(where: { $0.pair == pair }) else {
      throw CommandFailure(.usage, "there is no pair \(pair) here")
    }
    for alarm in row.alarms { print(alarm) }
    guard yes || Terminal.agree("Take the new settings of \(pair)?") else {
      throw CommandFailure(.refused, "not approved: add --yes once you are sure")
    }
    print(try await client.post(TextAnswer.self, "/pairs/\(pair)/approve").message)
  }
}
