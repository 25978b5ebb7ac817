import ArgumentParser
import FoundationEssentials
import HoldfastAgent
import HoldfastCore
import HoldfastLinux

struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks configuration, roots and peers before they matter.")
  @OptionGroup var options: CommonOptions
  @Flag(name: .long, help: "Only what the agent cannot start without.") var start = false

  private struct Finding {
    enum Weight { case warning, missing, unsafe }
    var weight: Weight
    var text: String
  }

  func run() async throws {
    let configuration = try options.load()
    _ = try StateFiles.key(configuration)
    var findings: [Finding] = []
    for pair in configuration.pairs {
      findings += Self.overlaps(pair, configuration).map { Finding(weight: .unsafe, text: $0) }
    }
    if start {
      if let first = findings.first { throw CommandFailure(.refused, first.text) }
      if UnitPaths.isStale(configuration) {
        Terminal.complain(
          """
          the unit may write where an earlier configuration said; to bring that up to date, type: \
          holdfast check
          """)
      }
      return
    }
    let status = try? await AgentClient(configuration: configuration)
      .get(StatusAnswer.self, "/status")
    for pair in configuration.pairs {
      // Not by the configuration alone: it may have moved.
      let role = status?.pairs.first { $0.pair == pair.name }?.role
      let isPrimary =
        role == Role.primary.rawValue
        || (role != Role.standby.rawValue && pair.primary == configuration.site)
      findings += roots(pair, configuration, isPrimary: isPrimary)
    }
    if let hint = try UnitPaths.update(configuration) {
      findings.append(Finding(weight: .warning, text: hint))
    }
    for pair in configuration.pairs where !pair.plan.isEmpty {
      findings += await plan(pair, configuration)
    }
    findings += peers(status)
    for finding in findings {
      let mark =
        finding.weight == .warning ? "warning" : finding.weight == .missing ? "missing" : "refused"
      print("\(mark): \(finding.text)")
    }
    if let first = findings.first(where: { $0.weight == .unsafe }) {
      throw CommandFailure(.refused, first.text)
    }
    if findings.contains(where: { $0.weight == .missing }) {
      throw CommandFailure(.unreachable, "peers are missing: see above")
    }
    print("\(options.path) is in order")
  }

  /// Trees that may not lie inside one another, whatever they hold: also through bind mounts and
  /// symbolic links.
  static func overlaps(_ pair: PairConfiguration, _ configuration: Configuration) -> [String] {
    let here = pair.paths(on: configuration.site)
    var found: [String] = []
    for path in here {
      if Roots.overlaps(path, configuration.state) {
        found.append(
          """
          pairs.\(pair.name).roots: \(path) and the state directory \(configuration.state) lie \
          inside one another: move `state` elsewhere
          """)
      }
    }
    for (index, path) in here.enumerated() {
      for other in here.dropFirst(index + 1) where Roots.overlaps(path, other) {
        found.append("pairs.\(pair.name).roots: \(path) and \(other) lie inside one another")
      }
    }
    for other in configuration.pairs where other.name > pair.name {
      for path in here {
        for theirs in other.paths(on: configuration.site)
        where Roots.overlaps(path, theirs) {
          found.append("roots of \(pair.name) and \(other.name) lie inside one another: \(theirs)")
        }
      }
    }
    return found
  }

  private func roots(
    _ pair: PairConfiguration, _ configuration: Configuration, isPrimary: Bool
  ) -> [Finding] {
    var findings: [Finding] = []
    for path in pair.paths(on: configuration.site) {
      let report = Roots.report(path)
      switch report.state {
      case .absent where isPrimary:
        findings.append(
          Finding(weight: .unsafe, text: "root \(path) does not exist: create or mount it"))
      case .notDirectory:
        findings.append(
          Finding(weight: .unsafe, text: "\(path) is not a directory (links are not followed)"))
      case .unreadable(let why):
        findings.append(Finding(weight: .unsafe, text: "\(path) cannot be read: \(why)"))
      case .directory where report.marker == nil && (isPrimary || !report.isEmpty):
        findings.append(
          Finding(weight: .warning, text: "\(path) is not marked: type holdfast adopt \(pair.name)")
        )
      case .absent, .directory: break
      }
    }
    if !isPrimary {
      for path in pair.paths(on: configuration.site) {
        guard let parent = Roots.openParent(of: path) else { continue }
        findings.append(
          Finding(
            weight: .warning,
            text: """
              whoever may log in here may read the replica \(path) before it is promoted: if \
              nobody else needs that directory, type: chmod 700 \(parent)
              """))
      }
    }
    if isPrimary { findings += outsiders(pair, configuration) }
    if pair.capture.contains(.btrfs) {
      for path in pair.paths(on: configuration.site)
      where isPrimary && Roots.isOnBtrfs(path) == false {
        findings.append(
          Finding(
            weight: .warning,
            text: """
              pairs.\(pair.name).capture: btrfs makes no snapshots of \(path), which lies on \
              another filesystem: put freeze, postgres or snapshot in its place \
              (docs/consistency.md)
              """))
      }
    }
    for advice in [pair.captureAdvice, pair.failoverAdvice] {
      guard let advice else { continue }
      findings.append(Finding(weight: .warning, text: "pairs.\(pair.name): \(advice)"))
    }
    if !pair.dormantKeys.isEmpty {
      findings.append(
        Finding(
          weight: .warning,
          text: "pairs.\(pair.name): not yet at work: \(pair.dormantKeys.joined(separator: ", "))"))
    }
    return findings
  }

  /// What the plan would meet on this host, and how it differs from the other.
  private func plan(_ pair: PairConfiguration, _ configuration: Configuration) async -> [Finding] {
    let other = pair.peer(of: configuration.site)
    let known = try? await AgentClient(configuration: configuration)
      .get(FactsAnswer.self, "/pairs/\(pair.name)/facts")
    let theirs = known?.peer ?? [:]
    let here = PlanFacts.completed(
      PlanFacts.look(pair, roots: pair.paths(on: configuration.site)), with: theirs)
    var lines = PlanLint.findings(pair, here: here, there: theirs, other: other)
    if theirs.isEmpty {
      lines.append(
        """
        pairs.\(pair.name): what the plan would find on \(other) is not known, so the two are not \
        compared: is its controller running (systemctl status holdfast-controller)?
        """)
    }
    return lines.map { Finding(weight: .warning, text: $0) }
  }

  /// The agent writes into its replica.
  private func isOurs(_ process: Int32) -> Bool {
    readText("/proc/\(process)/comm") == readText("/proc/self/comm")
  }

  /// Who writes to roots and will not stand still with the plan's units.
  private func outsiders(_ pair: PairConfiguration, _ configuration: Configuration) -> [Finding] {
    guard pair.freezes else { return [] }
    let freezer = LinuxFreezer(control: configuration.control, pair: pair.name)
    let roots = pair.paths(on: configuration.site).map { Roots.realPath($0) ?? $0 }
    // Of those outside a container `status` tells.
    let mappings = Mappings.look(roots: roots, isAlone: true)
    let mapped = mappings.files.compactMap { file -> (process: Int32, what: String)? in
      guard case .path(let root, let path) = file.name else { return nil }
      let name = String(decoding: path, as: UTF8.self)
      return (file.process, "\(roots[root])/\(name) mapped for writing")
    }
    let open = OpenFiles.look(roots: roots).map { ($0.process, "\($0.path) open for writing") }
    let writers = Dictionary(open + mapped) { first, _ in first }
      .filter { !freezer.holds($0.key, of: pair.units) && !isOurs($0.key) }
    let unknown =
      mappings.isComplete
      ? [] : ["not all processes may be looked into: type sudo holdfast check to see all writers"]
    let lines =
      writers.sorted { $0.key < $1.key }.map { process, what in
        """
        \(freezer.describe(process)) has \(what) and does not stand still with the plan's units: \
        put its unit into the plan, or points are fuzzy
        """
      } + unknown
    return lines.map { Finding(weight: .warning, text: "pairs.\(pair.name): \($0)") }
  }

  private func peers(_ status: StatusAnswer?) -> [Finding] {
    guard let status else {
      return [
        Finding(
          weight: .missing,
          text: "this site's agent does not answer: systemctl start holdfast-agent")
      ]
    }
    return status.pairs.flatMap { pair in
      let missing =
        pair.peer.connected
        ? []
        : [
          Finding(weight: .missing, text: "\(pair.peer.site) is not connected (pair \(pair.pair))")
        ]
      // What its agent has found that it may, and may not.
      var words = pair.alarms + pair.notes
      if pair.role == "primary", let watch = pair.watch, watch != "fanotify" {
        words.append("changes are found by \(watch): fanotify wants the capabilities of the unit")
      }
      return missing + words.map { Finding(weight: .warning, text: "\(pair.pair): \($0)") }
    }
  }
}
