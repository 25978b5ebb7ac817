/// What would go wrong with a plan on this host, from what it would find here and there: the facts
/// that `PlanFacts` gathers.
package enum PlanLint {
  /// - Parameters:
  ///   - theirs: of the other host; empty where it has said nothing.
  ///   - other: its name.
  /// - Returns: a line for each, with what to do.
  package static func findings(
    _ pair: PairConfiguration, here: [String: String], there theirs: [String: String],
    other: String
  ) -> [String] {
    var found = absences(pair, here, on: nil) + absences(pair, theirs, on: other)
    found += space(pair, here, theirs, other)
    for (name, value) in here.sorted(by: { $0.key < $1.key }) {
      let words = name.split(separator: " ").map(String.init)
      guard words.count == 2 else { continue }
      let (kind, what) = (words[0], words[1])
      switch kind {
      case "user" where value == "missing":
        found.append(
          """
          pairs.\(pair.name): user \(what), whom a unit of the plan runs as, is missing here: add \
          it, with the number that it has on \(other)
          """)
      case "owner" where value == "missing", "group" where value == "missing":
        found.append(
          """
          pairs.\(pair.name): \(kind) \(what), which files on \(other) or units of the plan name, \
          is missing here: add it
          """)
      case "user", "owner", "group":
        if theirs[name] == "missing" {
          found.append(
            """
            pairs.\(pair.name): \(kind) \(what), which files here or units of the plan name, is \
            missing on \(other): add it there, with the number \(value)
            """)
        } else if let their = theirs[name], their != value {
          found.append(
            """
            pairs.\(pair.name): \(kind) \(what) is \(value) here and \(their) on \(other), and \
            files carry the number: give both the same, or the service may not read them
            """)
        }
      case "package":
        guard let their = theirs[name], their != value else { continue }
        found.append(
          value == "missing"
            ? """
            pairs.\(pair.name): package \(what), which the service runs on \(other), is missing \
            here: install \(their)
            """
            : "pairs.\(pair.name): \(what) is \(value) here and \(their) on \(other): make them equal"
        )
      default: break
      }
    }
    return found
  }

  /// What a plan would not find on a host.
  /// - Parameter host: `nil` for this one.
  private static func absences(
    _ pair: PairConfiguration, _ facts: [String: String], on host: String?
  ) -> [String] {
    let place = host.map { "on \($0)" } ?? "here"
    var found: [String] = []
    if facts["hierarchy cgroup2"] == "missing" {
      found.append(
        """
        pairs.\(pair.name): there is no cgroup hierarchy of version 2 \(place), by which a service \
        is ended with its lease: with an arbiter nothing is started there; boot with \
        systemd.unified_cgroup_hierarchy=1
        """)
    }
    if facts["watchdog systemd"] == "off", pair.failover.fence?.isRequired != true {
      found.append(
        """
        pairs.\(pair.name): there is a hardware watchdog \(place), and systemd does not feed it: \
        where systemd itself hangs, nobody ends what no lease covers any more; set \
        RuntimeWatchdogSec= (systemd-system.conf(5)) to less than ttl
        """)
    }
    for (index, step) in pair.plan.enumerated() {
      let at = "pairs.\(pair.name).plan, step \(index + 1)"
      switch step.kind {
      case .unit(let unit):
        if facts["unit \(unit)"] == "missing" {
          found.append("\(at): \(unit) is not installed \(place) and cannot be started: install it")
        }
        if let enabled = facts["enabled \(unit)"] {
          found.append(
            """
            \(at): \(unit) is started at each boot \(place), whoever serves: type: systemctl \
            disable \(enabled)
            """)
        }
      case .address(_, let device):
        if facts["interface \(device)"] == "missing" {
          found.append("\(at): there is no interface \(device) \(place): ip link")
        }
      case .check(let check):
        if let port = check.localPort(in: pair.plan), facts["port \(port)"] == "taken" {
          found.append(
            """
            \(at): something listens on port \(port) \(place) already, and the service does not \
            run: see ss -ltnp, and stop it
            """)
        }
      case .exec: break
      }
    }
    return found
  }

  /// Roots whose filesystem here would fill up sooner than the other's, once the service runs here.
  private static func space(
    _ pair: PairConfiguration, _ here: [String: String], _ theirs: [String: String],
    _ other: String
  ) -> [String] {
    var found: [String] = []
    for (index, root) in pair.roots.enumerated() {
      func bytes(_ facts: [String: String], _ kind: String) -> Int64? {
        facts["\(kind) \(index + 1)"].flatMap(Int64.init)
      }
      guard let free = bytes(here, "free"), let theirFree = bytes(theirs, "free"),
        let size = bytes(here, "size"), let theirSize = bytes(theirs, "size")
      else { continue }
      let place = "pairs.\(pair.name).roots: the filesystem of \(root.path)"
      func show(_ bytes: Int64) -> String { "\(bytes >> 20) MiB" }
      for (free, host) in [(free, "here"), (theirFree, "on \(other)")]
      where free < Limits.freeBytesReserve {
        found.append("\(place) has \(show(free)) free \(host): enlarge it")
      }
      if free < Limits.freeBytesReserve { continue }
      if size < theirSize, free < theirFree / 2 {
        found.append(
          """
          \(place) has \(show(free)) free here and \(show(theirFree)) on \(other): the service \
          would fill it sooner here: enlarge it
          """)
      }
    }
    return found
  }
}
