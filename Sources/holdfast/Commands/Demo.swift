import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastBytes
import HoldfastCore
import HoldfastLinux
import HoldfastStore
import Synchronization

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the whole story on this machine: replicate, kill, promote, go on.")
  @Argument(help: "Protect a copy of this directory too.") var directory: String?

  func run() async throws {
    let folder = "/tmp/holdfast-demo-\(getpid())"
    let actors = DemoActors()
    @Sendable func clear() {
      actors.end()
      try? FileManager.default.removeItem(atPath: folder)
    }
    defer { clear() }
    // Whoever has seen enough leaves nothing behind either.
    Task {
      await Signals.untilStopped {}
      clear()
      Glibc.exit(128 + SIGINT)
    }
    try StateFiles.makeDirectory(folder, mode: 0o700)
    var story = try DemoStory(folder: folder, copied: directory, actors: actors)
    do {
      try await story.run()
    } catch {
      for site in ["east", "west"] {
        let log = FileManager.default.contents(atPath: "\(folder)/\(site).log") ?? Data()
        Terminal.complain("\(site) said:\n\(String(decoding: log.suffix(2000), as: UTF8.self))")
      }
      throw error
    }
  }
}

/// The processes that the demo has started.
final class DemoActors: Sendable {
  private let numbers = Mutex<[Int32]?>([])

  /// - Returns: whether it may be there; not once all were ended.
  func add(_ number: Int32) -> Bool {
    numbers.withLock { $0?.append(number) } != nil
  }

  func end() {
    numbers.withLock { numbers in
      // Those that were waited for are not this process's any more.
      for number in numbers ?? [] where waitpid(number, nil, WNOHANG) == 0 {
        _ = kill(number, SIGKILL)
        _ = waitpid(number, nil, 0)
      }
      numbers = nil
    }
  }
}

/// The demo's actors and what they saw.
struct DemoStory {
  private let actors: DemoActors
  private let folder: String
  private let copied: String?
  private let executable: String
  private let clock = ContinuousClock()
  private var phases: [(String, Duration)] = []
  private var receipts: [Int] = []

  init(folder: String, copied: String?, actors: DemoActors) throws {
    self.actors = actors
    self.folder = folder
    self.copied = copied
    guard let path = Roots.realPath("/proc/self/exe") else {
      throw CommandFailure(.failed, "/proc is not mounted")
    }
    executable = path
  }

  private func configuration(_ site: String) -> String { "\(folder)/\(site).yaml" }

  private func start(_ arguments: [String], log: String) throws -> ChildProcess {
    do {
      let child = try ChildProcess(
        executable, arguments, environment: [:], output: .file("\(folder)/\(log).log"))
      if !actors.add(child.number) { child.send(SIGKILL) }
      return child
    } catch {
      throw CommandFailure(.failed, "cannot start \(executable): \(error)")
    }
  }

  private func client(_ site: String) throws -> AgentClient {
    var options = CommonOptions()
    options.config = configuration(site)
    return try AgentClient(options)
  }

  mutating func run() async throws {
    print("Two sites on this machine, east and west; east serves, west stands by.")
    try prepare()
    let east = try start(["agent", "--config", configuration("east")], log: "east")
    let west = try start(["agent", "--config", configuration("west")], log: "west")
    defer {
      west.send(SIGTERM)
      west.wait()
    }
    try await pair()
    let service = try start(["demo-service", "\(folder)/service", "east"], log: "service")
    try await file(100, through: "east", isPaced: false)
    _ = try await waitApplied(try await sync())
    print("A service files receipts on east; its tree is replicated. Now more of them, and …")
    try await file(100, through: "east", isPaced: true)
    print("… kill -9: east's agent and its service are gone.")
    let killed = clock.now
    east.send(SIGKILL)
    service.send(SIGKILL)
    east.wait()
    service.wait()
    let answer = try await client("west").post(
      FailoverAnswer.self, "/pairs/demo/failover",
      FailoverRequest(point: nil, acceptLoss: true, otherSiteIsDown: true, preview: false))
    let promoted = clock.now - killed
    phases.append(("failover", promoted))
    let digests = try compare(answer.point)
    let restart = clock.now
    let second = try start(["demo-service", "\(folder)/replica", "west"], log: "service")
    defer { second.send(SIGKILL) }
    let lost = try await missing(through: "west")
    phases.append(("service start and check of receipts", clock.now - restart))
    let rto = promoted + (clock.now - restart)
    try await file(1, through: "west", isPaced: false)
    report(answer, lost, digests, rto: rto)
  }

  /// With all that it is, pipes and links too; what marks it as another pair's does not come along.
  private func copy(_ directory: String, to copy: String) throws {
    let child: ChildProcess
    do {
      child = try ChildProcess(
        "/bin/cp", ["-a", "--", directory, copy], environment: [:], output: .file("\(folder)/cp"))
    } catch {
      throw CommandFailure(.failed, "cannot start cp: \(error)")
    }
    guard child.wait() == 0 else {
      let why = readText("\(folder)/cp") ?? ""
      throw CommandFailure(.failed, "\(directory) cannot be copied: \(why)")
    }
    try? FileManager.default.removeItem(atPath: "\(copy)/\(Reserved.name)")
  }

  private func prepare() throws {
    let tree = "\(folder)/service"
    try StateFiles.makeDirectory(tree, mode: 0o755)
    if let copied {
      guard Roots.report(copied).state == .directory else {
        throw CommandFailure(.usage, "\(copied) is not a directory that can be read")
      }
      try copy(copied, to: "\(tree)/copy")
    }
    let ports = [try Ports.free(), try Ports.free()]
    for (site, other, own, theirs) in [
      ("east", "west", ports[0], ports[1]), ("west", "east", ports[1], ports[0]),
    ] {
      let text = """
        site: \(site)
        listen: 127.0.0.1:\(own)
        state: \(folder)/\(site)/state
        control: \(folder)/\(site)/control
        peers:
          \(other): { address: "127.0.0.1:\(theirs)" }
        pairs:
          demo:
            rpo: 1s
            primary: east
            standby: west
            roots:
              - path: \(tree)
                replica: \(folder)/replica

        """
      try Data(text.utf8).write(to: URL(filePath: configuration(site)))
      _ = try StateFiles.makeKey(site: site, state: "\(folder)/\(site)/state")
    }
  }

  private func patiently<T>(_ what: String, _ body: () async throws -> T?) async throws -> T {
    let deadline = clock.now + .seconds(30)
    var last = "no answer"
    while clock.now < deadline {
      do {
        if let value = try await body() { return value }
      } catch {
        last = (error as? CommandFailure)?.message ?? "\(error)"
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw CommandFailure(.failed, "\(what) took too long: \(last)")
  }

  private mutating func pair() async throws {
    let begin = clock.now
    let (east, west) = (try client("east"), try client("west"))
    let token = try await patiently("east's agent") {
      try await east.post(TokenAnswer.self, "/invite", InviteRequest(address: nil)).token
    }
    _ = try await patiently("joining") {
      try await west.post(TextAnswer.self, "/join", JoinRequest(token: token)).message
    }
    _ = try await east.post(TextAnswer.self, "/pairs/demo/adopt")
    _ = try await patiently("the first session") {
      try await east.get(StatusAnswer.self, "/status").pairs.first { $0.role == "primary" }
    }
    phases.append(("pairing", clock.now - begin))
  }

  private func sync() async throws -> UInt64 {
    try await patiently("a point") {
      try await client("east").post(SyncAnswer.self, "/pairs/demo/sync").point
    }
  }

  private mutating func waitApplied(_ point: UInt64) async throws -> Bool {
    let begin = clock.now
    let isThere = try await patiently("the first replica") {
      try await client("west").get(StatusAnswer.self, "/status").pairs
        .first { ($0.points.applied ?? 0) >= point }.map { _ in true }
    }
    phases.append(("first replica", clock.now - begin))
    return isThere
  }

  /// A client files receipts and keeps the number of each that was acknowledged.
  private mutating func file(_ count: Int, through site: String, isPaced: Bool) async throws {
    for _ in 0..<count {
      let number = (receipts.last ?? 0) + 1
      _ = try await patiently("receipt \(number)") {
        let answer = try await ControlClient.ask(
          socket: "\(folder)/\(site).service", method: "POST", path: "/receipts/\(number)",
          body: Array("amount: \(number * 17)\n".utf8))
        return answer.status == 200 ? true : nil
      }
      receipts.append(number)
      // People file one after another.
      if isPaced { try await Task.sleep(for: .milliseconds(10)) }
    }
  }

  /// Receipts that the client holds and the promoted service does not know.
  private func missing(through site: String) async throws -> Int {
    var lost = 0
    for number in receipts {
      let isKnown = try await patiently("asking for receipt \(number)") {
        let answer = try await ControlClient.ask(
          socket: "\(folder)/\(site).service", method: "GET", path: "/receipts/\(number)")
        return answer.status == 200 ? true : answer.status == 404 ? false : nil
      }
      if !isKnown { lost += 1 }
    }
    return lost
  }

  /// Restores the promoted point from the journal and compares it with the replica.
  private func compare(_ number: UInt64) throws -> String {
    var options = CommonOptions()
    options.config = configuration("west")
    let settings = try options.load()
    guard let pair = settings.pair("demo") else { preconditionFailure("the demo's own pair") }
    let store = try PairStore(settings, pair)
    guard let row = try store.index.points().first(where: { $0.point.number.rawValue == number })
    else { throw CommandFailure(.damaged, "the promoted point \(number) is not kept") }
    guard try store.index.treeDigest(at: row.point.number) == row.point.tree else {
      throw CommandFailure(.damaged, "the index differs from the seal of point \(number)")
    }
    let restored = "\(folder)/restored"
    try StateFiles.makeDirectory(restored, mode: 0o755)
    _ = try store.restore(row.point, root: RootNumber(rawValue: 0), to: restored, only: nil)
    guard try sum(restored) == sum("\(folder)/replica") else {
      throw CommandFailure(.damaged, "the replica differs from point \(number) of the journal")
    }
    return "replica, journal and seal are equal"
  }

  /// Over names, kinds, modes, times and contents of a tree.
  private func sum(_ path: String) throws -> TreeDigest {
    let tree = try LinuxTree(path)
    var total = TreeDigest()
    var work = [TreePath.top]
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while let place = work.popLast() {
      guard let status = try tree.status(place) else { continue }
      var text = Array("\(place) \(status.kind) \(status.mode) \(status.size)".utf8)
      text += Array("\(status.kind == .symlink ? 0 : status.modified.nanos)".utf8)
      if status.kind == .regular {
        let file = try tree.open(place)
        var offset: Int64 = 0
        while true {
          let count = try file.read(at: offset, into: &buffer, buffer.indices)
          if count == 0 { break }
          text += Sha256.hash(Array(buffer[..<count]))
          offset += Int64(count)
        }
      }
      if let digest = Digest32(Sha256.hash(text)) { total.add(digest) }
      guard status.kind == .directory else { continue }
      for name in try tree.list(place) where name != Reserved.name {
        if let child = place.appending(name) { work.append(child) }
      }
    }
    return total
  }

  private func report(
    _ answer: FailoverAnswer, _ lost: Int, _ digests: String, rto: Duration
  ) {
    print("")
    var rows = [
      ["promoted point", "\(answer.point), grade \(answer.grade), epoch \(answer.epoch)"],
      ["receipts", "\(receipts.count - 1) filed before the kill, \(lost) lost"],
      ["lag at the kill (RPO)", answer.lossSeconds.map(Terminal.seconds) ?? "unknown"],
      ["serving again after (RTO)", Terminal.seconds(rto.seconds)],
      ["digests", digests],
    ]
    rows += phases.map { ["  " + $0.0, Terminal.seconds($0.1.seconds)] }
    rows += answer.phases.map { ["    " + $0.name, Terminal.seconds($0.seconds)] }
    print(Terminal.table(rows))
  }
}

/// The service that the demo protects: files receipts, each durable before it is acknowledged.
struct DemoService: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo-service", abstract: "The demo's own service.", shouldDisplay: false)
  @Argument var tree: String
  @Argument var site: String

  func run() async throws {
    let socket =
      tree.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/\(site).service"
    try StateFiles.makeDirectory("\(tree)/receipts", mode: 0o755)
    let disk = try LinuxDisk("\(tree)/receipts")
    let server = try await ControlServer(path: socket, groupName: "") { request in
      let name = request.path.split(separator: "/").last.map(String.init) ?? ""
      do {
        if request.method == "POST" {
          try disk.replace(name, with: request.body)
          return ControlResponse(status: 200, body: [])
        }
        let found = try disk.contents(of: name)
        return ControlResponse(status: found == nil ? 404 : 200, body: found ?? [])
      } catch {
        return ControlResponse(status: 500, body: [])
      }
    }
    await Signals.untilStopped {}
    await server.shutdown()
  }
}

/// Ports that nobody listens on just now.
enum Ports {
  static func free() throws -> Int {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { _ = close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let port = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic -> Bool in
        guard unsafe bind(number, generic, length) == 0 else { return false }
        return unsafe getsockname(number, generic, &length) == 0
      }
    }
    guard port else { throw CommandFailure(.failed, "no free port on loopback") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
