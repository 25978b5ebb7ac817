/// What the administrator wrote, read and checked: docs/configuration.md.
package struct Configuration: Hashable, Sendable {
  package static let defaultControl = "/run/holdfast"

  package var site: String
  package var listen: HostPort
  package var state: String
  package var control: String
  package var memoryBytes: Int64
  package var peers: [String: PeerConfiguration]
  package var pairs: [PairConfiguration]
  /// Arbiters that are no site of ours, by the names that `failover.arbiter` uses.
  package var arbiters: [String: EtcdSettings]

  package init(
    site: String, listen: HostPort, state: String, control: String, memoryBytes: Int64,
    peers: [String: PeerConfiguration], pairs: [PairConfiguration],
    arbiters: [String: EtcdSettings] = [:]
  ) {
    self.arbiters = arbiters
    self.site = site
    self.listen = listen
    self.state = state
    self.control = control
    self.memoryBytes = memoryBytes
    self.peers = peers
    self.pairs = pairs
  }

  /// The sites that something is replicated with; others, such as a witness, the agent does not
  /// dial.
  package var partners: Set<String> { Set(pairs.map { $0.peer(of: site) }) }

  package func pair(_ name: String) -> PairConfiguration? { pairs.first { $0.name == name } }
}

/// How a cluster of etcd is reached.
package struct EtcdSettings: Hashable, Sendable {
  /// Files in PEM.
  package struct TLS: Hashable, Sendable {
    package var authority: String
    package var certificate: String
    package var key: String
    package init(authority: String, certificate: String, key: String) {
      self.authority = authority
      self.certificate = certificate
      self.key = key
    }
  }
  package var endpoints: [HostPort]
  /// `nil`: in the clear.
  package var tls: TLS?
  package init(endpoints: [HostPort], tls: TLS?) {
    self.endpoints = endpoints
    self.tls = tls
  }
}

/// Where something listens.
package struct HostPort: Hashable, Sendable, CustomStringConvertible {
  package var host: String
  package var port: Int
  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Reads `host:port` or `[address]:port`.
  package init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65535).contains(port)
    else { return nil }
    var host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    guard !host.isEmpty else { return nil }
    self.init(host: host, port: port)
  }

  package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

package struct PeerConfiguration: Hashable, Sendable {
  /// `nil`: the other side dials.
  package var address: HostPort?
  package init(address: HostPort?) { self.address = address }
}

package struct RootConfiguration: Hashable, Sendable {
  /// Absolute path on the primary.
  package var path: String
  /// Absolute path on the standby.
  package var replica: String
  package var exclude: [String]
  package init(path: String, replica: String, exclude: [String]) {
    self.path = path
    self.replica = replica
    self.exclude = exclude
  }
}

/// What a site does for its part after a start.
package enum BootPolicy: String, Hashable, Sendable, CaseIterable {
  /// Wait for the peer, the arbiter or a person.
  case wait
  /// Go on as before without asking.
  case resume
}

/// What is done where the plan's checks fail while the service runs.
package enum UnhealthyPolicy: String, Hashable, Sendable, CaseIterable {
  /// Say so.
  case alarm
  /// Move the service to the other site as well, once an hour at most.
  case release
}

/// What is done where something of the service cannot be ended in its time.
package enum LastResortPolicy: String, Hashable, Sendable, CaseIterable {
  /// The whole host is restarted.
  case reboot
  /// Say so.
  case alarm
}

/// A command that makes sure that the other host is off: a switch, a hypervisor, a cloud.
package struct FenceCommand: Hashable, Sendable {
  package var command: String
  package var within: Duration
  /// Whether nothing starts here before it has ended with 0.
  package var isRequired: Bool
  package init(command: String, within: Duration, isRequired: Bool) {
    self.command = command
    self.within = within
    self.isRequired = isRequired
  }
}

package struct FailoverConfiguration: Hashable, Sendable {
  package var mode: String
  package var arbiter: String
  package var terms: LeaseTerms
  package var maxLoss: Duration
  package var onBoot: BootPolicy
  package var onUnhealthy: UnhealthyPolicy
  package var fence: FenceCommand?
  package var lastResort: LastResortPolicy

  /// Whether a third party decides who serves.
  package var hasArbiter: Bool { arbiter != "none" }
  package var isAutomatic: Bool { mode == "automatic" }
  package var ttl: Duration { terms.ttl }

  package init(
    mode: String = "manual", arbiter: String = "none",
    terms: LeaseTerms = LeaseTerms(ttl: .seconds(10)), maxLoss: Duration = .zero,
    onBoot: BootPolicy = .wait, onUnhealthy: UnhealthyPolicy = .alarm, fence: FenceCommand? = nil,
    lastResort: LastResortPolicy = .reboot
  ) {
    self.lastResort = lastResort
    self.onUnhealthy = onUnhealthy
    self.fence = fence
    self.mode = mode
    self.arbiter = arbiter
    self.terms = terms
    self.maxLoss = maxLoss
    self.onBoot = onBoot
  }
}

package struct PairConfiguration: Hashable, Sendable {
  package var name: String
  package var primary: String
  package var standby: String
  package var roots: [RootConfiguration]
  package var rpo: Duration
  package var require: Grade
  /// In the order in which they are tried.
  package var capture: [ProviderSettings]
  package var retention: RetentionRule
  /// Bytes a second; `nil` for no limit.
  package var bandwidth: Int64?
  package var spoolBytes: Int64
  package var failover: FailoverConfiguration
  /// What starts the service, in order.
  package var plan: [PlanStep]
  /// Powers that no file of the other site lends to anybody here.
  package var refused: Powers
  /// Keys that are accepted and not yet at work.
  package var dormantKeys: [String]

  package init(
    name: String, primary: String, standby: String, roots: [RootConfiguration], rpo: Duration,
    require: Grade, capture: [ProviderSettings], retention: RetentionRule, bandwidth: Int64?,
    spoolBytes: Int64, failover: FailoverConfiguration, plan: [PlanStep],
    refused: Powers = [], dormantKeys: [String]
  ) {
    self.name = name
    self.primary = primary
    self.standby = standby
    self.roots = roots
    self.rpo = rpo
    self.require = require
    self.capture = capture
    self.retention = retention
    self.bandwidth = bandwidth
    self.spoolBytes = spoolBytes
    self.failover = failover
    self.plan = plan
    self.refused = refused
    self.dormantKeys = dormantKeys
  }

  /// The units that the plan starts.
  package var units: [String] {
    plan.compactMap { step in
      if case .unit(let unit) = step.kind { unit } else { nil }
    }
  }

  /// What to configure where a failover that is to come by itself never does.
  package var failoverAdvice: String? {
    guard failover.isAutomatic, failover.maxLoss < failover.ttl else { return nil }
    return """
      mode is automatic, and max-loss (\(failover.maxLoss)) is less than ttl (\(failover.ttl)), \
      for which nothing was heard of a primary whose lease is over: no standby would be promoted \
      by itself: raise max-loss, or write mode: manual
      """
  }

  /// What to configure where nothing makes points what they are to be.
  package var captureAdvice: String? {
    let asksApplication = capture.contains { setting in
      switch setting {
      case .quiesce, .postgres: true
      case .none, .btrfs, .snapshot, .freeze: false
      }
    }
    if require == .application, !asksApplication {
      return """
        the pair requires application, and no provider has the service make its files whole: put \
        quiesce or postgres under `capture` (docs/consistency.md), or nothing will ever be applied
        """
    }
    // It always gives something to read.
    let tried = capture.prefix { $0 != .none }
    let behind = capture.dropFirst(tried.count + 1)
    if !behind.allSatisfy({ if case .quiesce = $0 { true } else { false } }) {
      return "what stands behind none under `capture` is never tried: put none last"
    }
    if freezes, units.isEmpty {
      return """
        freeze stands under `capture`, and the plan has no unit that it could stop: put that of \
        the service into `plan`, or another provider in its place (docs/consistency.md)
        """
    }
    guard !units.isEmpty, !tried.contains(where: \.isInstant) else { return nil }
    return """
      the plan starts \(units.joined(separator: ", ")), and no provider makes points one instant \
      while it writes: put btrfs, freeze, postgres or snapshot under `capture` (docs/consistency.md)
      """
  }

  /// Whether the plan's units are stopped for moments.
  package var freezes: Bool {
    capture.contains { if case .freeze = $0 { true } else { false } }
  }

  package func peer(of site: String) -> String { site == primary ? standby : primary }

  /// The same, with no bound on what is sent a second.
  package var unlimited: Self {
    var copy = self
    copy.bandwidth = nil
    return copy
  }

  /// Where each root lies on a site: the configuration says who served first, whatever the epoch.
  package func paths(on site: String) -> [String] {
    roots.map { site == primary ? $0.path : $0.replica }
  }

  /// The part that a slip of the pen must not change: a new value waits for `holdfast approve`.
  package var guarded: GuardedSettings {
    get { GuardedSettings(standby: standby, roots: roots) }
    set {
      standby = newValue.standby
      roots = newValue.roots
    }
  }

  /// What both sites must agree on, by key.
  package var agreement: [(key: String, value: String)] {
    [
      ("primary", primary), ("standby", standby),
      ("roots", roots.map(\.path).joined(separator: "\n")),
      ("replica", roots.map(\.replica).joined(separator: "\n")),
      ("exclude", roots.map { $0.exclude.joined(separator: "\n") }.joined(separator: "\u{0}")),
      ("require", require.word), ("failover.arbiter", failover.arbiter),
      ("failover.ttl", "\(failover.ttl.nanos)"),
    ]
  }
}

/// See ``PairConfiguration/guarded``.
package struct GuardedSettings: Hashable, Sendable {
  package var standby: String
  package var roots: [RootConfiguration]
  package init(standby: String, roots: [RootConfiguration]) {
    self.standby = standby
    self.roots = roots
  }

  /// Whether a root that these settings have would be another one by its place in the list, by
  /// which points know it: one is left out, or its path stands elsewhere.
  package func isRenumbered(by next: GuardedSettings) -> Bool {
    let (old, new) = (roots.map(\.path), next.roots.map(\.path))
    guard new.count >= old.count else { return true }
    return old.indices.contains { index in
      old[index] != new[index] && (new.contains(old[index]) || old.contains(new[index]))
    }
  }

  /// Whether all that other settings say differently is that more is excluded.
  package func isOnlyExcludedMore(by next: GuardedSettings) -> Bool {
    guard differences(from: next) == ["exclude"] else { return false }
    return zip(roots, next.roots).allSatisfy { old, new in
      new.exclude.starts(with: old.exclude)
        && !new.exclude.dropFirst(old.exclude.count).contains { $0.hasPrefix("!") }
    }
  }

  /// The keys whose values differ.
  package func differences(from other: GuardedSettings) -> [String] {
    var keys: [String] = []
    if standby != other.standby { keys.append("standby") }
    if roots.map(\.path) != other.roots.map(\.path)
      || roots.map(\.replica) != other.roots.map(\.replica)
    {
      keys.append("roots")
    }
    if roots.map(\.exclude) != other.roots.map(\.exclude) { keys.append("exclude") }
    return keys
  }
}
