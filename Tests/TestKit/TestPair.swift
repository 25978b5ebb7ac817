import FoundationEssentials
import Glibc
import HoldfastLinux
import HoldfastStore
import Synchronization

/// Ports that nobody listens on, below those that the kernel gives to clients.
package enum Ports {
  private static let taken = Mutex<Set<Int>>([])

  package static func take() -> Int {
    while true {
      let port = Int.random(in: 10_000..<32_000)
      if isFree(port), taken.withLock({ $0.insert(port).inserted }) { return port }
    }
  }

  private static func isFree(_ port: Int) -> Bool {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { _ = close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe bind(number, generic, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}

/// A line that can be cut.
package final class Relay {
  private let process: ChildProcess
  fileprivate init(from: Int, to: Int, log: String) throws {
    process = try ChildProcess(
      "/usr/bin/socat",
      ["TCP-LISTEN:\(from),bind=127.0.0.1,fork,reuseaddr", "TCP:127.0.0.1:\(to)"],
      environment: [:], output: .file(log))
  }
  /// All that went over the line, both ways, and over those that were cut: what its processes read
  /// (proc(5), `rchar`, which takes over that of children).
  package var bytes: Int64 {
    let answer = Shell.run(
      """
      for p in \(process.number) $(pgrep -P \(process.number)); do cat /proc/$p/io; done \
        | awk '/^rchar/ { n += $2 } END { printf "%d", n }'
      """)
    return Int64(answer.output) ?? .max
  }
  /// Passes nothing on: what comes within a second, before `body`, waits for so many more.
  package func stand(for seconds: Int, _ body: () -> Void) {
    Shell.run("pkill -STOP -P \(process.number); sleep 1")
    body()
    Shell.run("sleep \(seconds); pkill -CONT -P \(process.number)")
  }
  /// Ends every connection, at once; new ones are taken.
  package func cut() { Shell.run("pkill -9 -P \(process.number)") }
}

/// Two sites on loopback, each a real agent in a process of its own.
package final class TestPair {
  package let scratch = Scratch()
  package let source: String
  package let replica: String
  private var agents: [String: ChildProcess] = [:]
  private let ports: [String: Int]
  private let disk: LoopDisk?
  private let replicaDisk: LoopDisk?

  package static let binary: String = {
    let file = #filePath.split(separator: "/").dropLast(3)
    return "/" + file.joined(separator: "/") + "/.build/release/holdfast"
  }()

  /// - Parameters:
  ///   - extra: lines of the pair's configuration, such as `rpo: 1s`; `UNIT` stands for the unit of
  ///     its ``ServiceGroup``, `SCRATCH` for the folder of the test.
  ///   - hasSecond: whether it has a second root, `second` in the test's folder, with its replica
  ///     `second-replica`.
  ///   - disk: makes the filesystem that the source lies on, where that matters; `replicaDisk` the
  ///     replica's.
  package init(
    extra: [String] = [], hasSecond: Bool = false, disk: ((Scratch) -> LoopDisk)? = nil,
    replicaDisk: ((Scratch) -> LoopDisk)? = nil
  ) {
    self.disk = disk?(scratch)
    self.replicaDisk = replicaDisk?(scratch)
    let unit = ServiceGroup.unit(scratch)
    let path = scratch.path
    let extra = extra.map { $0.replacing("UNIT", with: unit).replacing("SCRATCH", with: path) }
    source = (self.disk?.path ?? scratch.path) + "/source"
    replica = (self.replicaDisk?.path ?? scratch.path) + "/replica"
    _ = unsafe mkdir(source, 0o755)
    var second = ""
    if hasSecond {
      _ = unsafe mkdir(scratch("second"), 0o755)
      second =
        "      - path: \(scratch("second"))\n"
        + "        replica: \(scratch("second-replica"))\n"
    }
    ports = ["a": Ports.take(), "b": Ports.take()]
    for (site, other) in [("a", "b"), ("b", "a")] {
      let pair = (["primary: a", "standby: b"] + extra).map { "    \($0)\n" }.joined()
      let text = """
        site: \(site)
        listen: 127.0.0.1:\(ports[site] ?? 0)
        state: \(scratch("state-" + site))
        control: \(scratch("run-" + site))
        peers:
          \(other): { address: "127.0.0.1:\(ports[other] ?? 0)" }
        pairs:
          p:
        \(pair)    roots:
              - path: \(source)
                replica: \(replica)

        """
      write(text + second, to: configuration(site))
      run("init --site \(site)", on: site)
    }
  }

  package func configuration(_ site: String) -> String { scratch("\(site).yaml") }
  package func state(_ site: String) -> String { scratch("state-" + site) }
  package func log(_ site: String) -> String { scratch("\(site).log") }
  package func port(_ site: String) -> Int { ports[site] ?? 0 }

  package func write(_ text: String, to path: String) {
    guard FileManager.default.createFile(atPath: path, contents: Data(text.utf8)) else {
      preconditionFailure("cannot write \(path)")
    }
  }

  /// Types a command on a site.
  @discardableResult
  package func run(_ command: String, on site: String) -> Shell.Answer {
    Shell.run("HOLDFAST_CONFIG='\(configuration(site))' '\(Self.binary)' \(command)")
  }

  /// Whether agents see no other processes: then they can tell that nobody has a file mapped, and
  /// points are of grade `crash` also where the system's own processes cannot be looked into.
  package var isAlone = false

  /// What an agent is started through, by site: a command that ends in running the rest.
  package var wrappers: [String: [String]] = [:]

  /// Starts a command without what fanotify needs.
  package static let withoutFanotify = ["/usr/bin/setpriv", "--bounding-set", "-sys_admin"]

  /// Starts a command under a clock that the text in a file moves, such as `+3y`.
  /// - Parameter isMonotonic: whether also the clocks that never jump by themselves are moved.
  package static func withClock(_ file: String, isMonotonic: Bool) -> [String] {
    [
      "/usr/bin/env", "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
      "FAKETIME_TIMESTAMP_FILE=\(file)", "FAKETIME_NO_CACHE=1", "NO_FAKE_STAT=1",
      "FAKETIME_DONT_FAKE_MONOTONIC=\(isMonotonic ? 0 : 1)",
      // The library moves the environment of the first process that it meets, and with it what
      // Swift takes for its arguments.
      "sh", "-c", "exec \"$@\"", "sh",
    ]
  }

  /// - Parameter probe: see `HOLDFAST_PROBE`.
  package func start(_ site: String, probe: String? = nil) {
    // The first process of a namespace is deaf to its own signals, so a shell is.
    let alone = [
      "/usr/bin/unshare", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c",
      "\"$@\"; exit $?", "sh",
    ]
    let command =
      (isAlone ? alone : []) + (wrappers[site] ?? [])
      + [Self.binary, "agent", "--config", configuration(site)]
    do {
      agents[site] = try ChildProcess(
        command[0], Array(command.dropFirst()),
        environment: (probe.map { ["HOLDFAST_PROBE": $0] } ?? [:])
          .merging(isAlone ? ["HOLDFAST_ALONE": "1"] : [:]) { first, _ in first },
        output: .file(log(site)))
    } catch {
      preconditionFailure("\(error)")
    }
    _ = wait { self.run("status --json", on: site).code == 0 || !self.isAlive(site) }
  }

  package func isAlive(_ site: String) -> Bool { agents[site]?.isRunning ?? false }

  /// The most memory that an agent ever had, in MiB (proc(5), VmHWM); `Int.max` where it is gone.
  package func peakMemory(_ site: String) -> Int {
    let process = agents[site]?.number ?? 0
    let answer = Shell.run("awk '/VmHWM/ { print int($2 / 1024) }' /proc/\(process)/status")
    return Int(answer.output.filter(\.isNumber)) ?? .max
  }

  /// The agent's own process, also where it is alone in a namespace.
  package func number(_ site: String) -> String {
    let number = "\(agents[site]?.number ?? 0)"
    // Below what made its namespace, and a shell.
    return isAlone
      ? Shell.run("pgrep -P $(pgrep -P \(number))").output.filter(\.isNumber) : number
  }

  /// What an agent read of anything so far (proc(5), rchar).
  package func bytesRead(_ site: String) -> Int64 {
    let read = Shell.run("awk '/^rchar/ { print $2 }' /proc/\(number(site))/io").output
    return Int64(read.filter(\.isNumber)) ?? 0
  }

  /// Has calls of an agent fail for as long as `body` runs (strace(1), "Tampering").
  /// - Parameters:
  ///   - fault: such as `fdatasync:error=EIO`.
  ///   - path: of the calls that are to fail, as they name it; `nil` for all.
  ///   - log: takes down each call that was made to fail.
  package func hurt(
    _ site: String, with fault: String, on path: String? = nil, log: String, _ body: () -> Void
  ) throws {
    let name = fault.prefix { $0 != ":" }
    let tracer = try ChildProcess(
      "/usr/bin/strace",
      [
        "-f", "-y", "-e", "signal=none", "-e", "trace=\(name)", "-e", "inject=\(fault)", "-o", log,
        "-p", number(site),
      ] + (path.map { ["-P", $0] } ?? []), environment: [:], output: .file(log + ".strace"))
    let isAttached = wait { Shell.run("grep attached '\(log).strace'").code == 0 }
    precondition(isAttached, Shell.run("cat '\(log).strace'").output)
    body()
    tracer.send(SIGINT)
    tracer.wait()
  }

  package func signal(_ site: String, _ signal: Int32) { agents[site]?.send(signal) }

  package func kill(_ site: String, _ signal: Int32 = SIGKILL) {
    guard let agent = agents.removeValue(forKey: site) else { return }
    agent.send(signal)
    agent.wait()
    // In a namespace of its own it ends a little after the process that made that.
    if isAlone { Shell.run("flock -w 30 '\(state(site))/lock' true") }
  }

  /// - Returns: the signal or code with which the agent ended by itself.
  package func end(_ site: String) -> Int32? { agents.removeValue(forKey: site)?.wait() }

  /// Starts both, pairs them, and marks the roots.
  package func begin() -> Bool {
    start("a")
    start("b")
    return pair()
  }

  /// Gives a running pair's replica another path, as an administrator would.
  package func putReplica(at path: String) {
    Shell.run("sed -i 's|replica: .*|replica: \(path)|' '\(scratch.path)'/[ab].yaml")
    for site in ["a", "b"] {
      kill(site, SIGTERM)
      start(site)
      run("approve p --yes", on: site)
    }
    run("adopt p", on: "b")
  }

  /// - Parameter options: of `invite`.
  package func pair(_ options: String = "") -> Bool {
    let token = run("invite --yes \(options)", on: "a").output.split(separator: "\n").last ?? ""
    guard run("join '\(token)'", on: "b").code == 0 else { return false }
    return wait { self.run("status --json", on: "a").output.contains("\"role\":\"primary\"") }
  }

  /// Asks again until it is so, for half a minute at most unless said otherwise.
  package func wait(_ seconds: Int = 30, _ isSo: () -> Bool) -> Bool {
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(seconds)
    while clock.now < deadline {
      if isSo() { return true }
      // Not for luck: between two questions.
      usleep(20_000)
    }
    return false
  }

  /// A third site: what the standby had on its disks at this moment, with no peer in reach.
  /// Its configuration may name another replica at once, as if it had always been so.
  /// - Returns: its name.
  package func copyStandby(_ number: Int) -> String {
    let name = "copy\(number)"
    Shell.run(
      """
      cd '\(scratch.path)'; cp -a state-b state-\(name); cp -a replica replica-\(name)
      rm -f state-\(name)/pairs/p/guarded
      sed -e 's|state-b|state-\(name)|; s|run-b|run-\(name)|; s|/replica$|/replica-\(name)|' \
        -e 's|listen: .*|listen: 127.0.0.1:0|; s|  a: {.*|  a: {}|' b.yaml > \(name).yaml
      """)
    keepReplica(of: name)
    return name
  }

  /// Has a copy's record of its replica be of the copied directory, as a site has it that was not
  /// moved: one in another place is compared as a whole.
  private func keepReplica(of name: String) {
    guard let disk = try? LinuxDisk(state(name) + "/pairs/p"),
      var record = try? ReplicaRecord.load(disk), record.tops.count == 1
    else { return }
    var status = stat()
    guard unsafe stat(scratch("replica-\(name)"), &status) == 0 else { return }
    record.tops = [UInt64(status.st_ino)]
    try? record.store(disk)
  }

  /// Ends a site that ``copyStandby(_:)`` made, and removes what it had.
  package func discard(_ copy: String) {
    kill(copy)
    Shell.run("cd '\(scratch.path)'; rm -rf state-\(copy) run-\(copy) replica-\(copy)")
  }

  /// Captures now and waits until the replica has it.
  /// - Returns: the point's number; 0 where it did not come through.
  package func sync(_ goal: String = "applied", timeout: String = "60s") -> UInt64 {
    let answer = run("sync p --wait \(goal) --timeout \(timeout)", on: "a")
    return answer.code == 0 ? UInt64(answer.output.filter(\.isNumber)) ?? 0 : 0
  }

  /// What `points --json` says, newest first.
  package struct KeptPoint: Decodable {
    package var point: UInt64
    package var time: String
    package var grade: String
    package var provider: String
    package var reason: String
    package var frozenSeconds: Double
    package var branch: Bool
    package var epoch: UInt64
  }
  private struct KeptPoints: Decodable { var points: [KeptPoint] }
  package func kept(_ site: String) -> [KeptPoint] {
    let answer = run("points p --json", on: site).output
    return (try? JSONDecoder().decode(KeptPoints.self, from: Data(answer.utf8)))?.points ?? []
  }

  /// The watermarks that a site shows.
  package struct Marks: Decodable {
    package var captured: UInt64?
    package var durable: UInt64?
    package var applied: UInt64?
  }
  private struct PairStatus: Decodable {
    var lagSeconds: Double?
    var points: Marks
    var sentBytes: Int64
  }
  private struct SiteStatus: Decodable { var pairs: [PairStatus] }
  package func points(_ site: String) -> Marks? {
    try? JSONDecoder().decode(SiteStatus.self, from: Data(status(site).utf8)).pairs.first?.points
  }

  /// `nil` where it is not known.
  package func lag(_ site: String) -> Double? {
    let answer = try? JSONDecoder().decode(SiteStatus.self, from: Data(status(site).utf8))
    return answer?.pairs.first?.lagSeconds
  }

  /// Record bytes that a site's agent has sent since it started; 0 where it does not answer.
  package func sentBytes(_ site: String) -> Int64 {
    let answer = try? JSONDecoder().decode(SiteStatus.self, from: Data(status(site).utf8))
    return answer?.pairs.first?.sentBytes ?? 0
  }

  /// Puts a relay between the sites: the standby dials through it, the primary does not dial.
  package func relay() throws -> Relay {
    let port = Ports.take()
    Shell.run(
      """
      sed -i 's|b: {.*|b: {}|' '\(configuration("a"))'
      sed -i 's|a: { address.*|a: { address: "127.0.0.1:\(port)" }|' '\(configuration("b"))'
      """)
    return try Relay(from: port, to: self.port("a"), log: scratch("relay.log"))
  }

  package func status(_ site: String) -> String { run("status --json", on: site).output }

  /// All that the agents said: printed where a test fails.
  package var story: String {
    ["a", "b"].map { site in
      "\(site): " + Shell.run("tail -n 20 '\(log(site))'").output + status(site)
    }.joined(separator: "\n")
  }

  deinit { for agent in agents.values { agent.send(SIGKILL) } }
}
