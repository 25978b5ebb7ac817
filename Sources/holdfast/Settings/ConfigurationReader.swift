import HoldfastCore
import Yams

/// A mistake in the configuration: where, and what to write instead.
struct ConfigurationError: Error, Equatable, CustomStringConvertible {
  var file: String
  var line: Int
  var column: Int
  var message: String
  var description: String { "\(file):\(line):\(column): \(message)" }
}

/// Reads the configuration file: docs/configuration.md lists every key.
struct ConfigurationReader {
  private let file: String

  static func read(_ text: String, file: String) throws -> Configuration {
    let reader = ConfigurationReader(file: file)
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch let error as YamlError {
      throw ConfigurationError(file: file, line: 1, column: 1, message: "\(error)")
    }
    guard let node else {
      throw ConfigurationError(
        file: file, line: 1, column: 1, message: "the file is empty: type holdfast init")
    }
    return try reader.configuration(Keys(reader, node, "", KnownKeys.top))
  }

  private init(file: String) { self.file = file }

  // MiB: two segments, and the caches with what is in flight.
  private static let spoolMin: Int64 = 128
  private static let memoryMin: Int64 = 64
  // Four segments of PostgreSQL's WAL.
  private static let walMin: Int64 = 64
  private static let connection = "dbname=postgres"

  func error(_ node: Node, _ message: String) -> ConfigurationError {
    ConfigurationError(
      file: file, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1, message: message)
  }

  private func configuration(_ keys: Keys) throws -> Configuration {
    let site = try keys.name("site")
    var peers: [String: PeerConfiguration] = [:]
    for (name, node) in try keys.named("peers") {
      let peer = try Keys(self, node, "peers.\(name)", KnownKeys.peer)
      peers[name] = PeerConfiguration(address: try peer.address("address"))
    }
    var arbiters: [String: EtcdSettings] = [:]
    for (name, node) in try keys.named("arbiters") {
      arbiters[name] = try etcd(Keys(self, node, "arbiters.\(name)", KnownKeys.arbiter))
    }
    var pairs: [PairConfiguration] = []
    for (name, node) in try keys.named("pairs") {
      let known = try Keys(self, node, "pairs.\(name)", KnownKeys.pair)
      pairs.append(try pair(name, known, site, peers, Set(arbiters.keys)))
    }
    let spool = try keys.size("spool", min: Self.spoolMin) ?? 10 << 30
    // One pair would end what the other serves by, and start it where that may not run.
    var owners: [String: String] = [:]
    for pair in pairs {
      for unit in Set(pair.units) {
        if let other = owners.updateValue(pair.name, forKey: unit) {
          throw error(
            keys.node,
            """
            \(unit) is in the plans of \(other) and \(pair.name): what runs by it moves with one \
            pair alone; make one pair of both, with all their roots, or two units
            """)
        }
      }
    }
    for index in pairs.indices where pairs[index].spoolBytes == 0 {
      pairs[index].spoolBytes = spool
    }
    return Configuration(
      site: site, listen: try keys.address("listen") ?? HostPort(host: "0.0.0.0", port: 7433),
      state: try keys.path("state") ?? "/var/lib/holdfast",
      control: try keys.path("control") ?? Configuration.defaultControl,
      memoryBytes: try keys.size("memory", min: Self.memoryMin) ?? 150 << 20, peers: peers,
      pairs: pairs, arbiters: arbiters)
  }

  private func etcd(_ keys: Keys) throws -> EtcdSettings {
    let urls = try keys.words("etcd") ?? []
    let isSecure = urls.allSatisfy { $0.hasPrefix("https://") }
    let endpoints = urls.compactMap { url -> HostPort? in
      let scheme = isSecure ? "https://" : "http://"
      return url.hasPrefix(scheme) ? HostPort(String(url.dropFirst(scheme.count))) : nil
    }
    guard !urls.isEmpty, endpoints.count == urls.count else {
      throw error(
        keys.node,
        "\(keys.place).etcd: write members such as [https://192.0.2.1:2379], all by one scheme")
    }
    guard isSecure else { return EtcdSettings(endpoints: endpoints, tls: nil) }
    return EtcdSettings(
      endpoints: endpoints,
      tls: .init(
        authority: try keys.requiredPath("ca"), certificate: try keys.requiredPath("cert"),
        key: try keys.requiredPath("key")))
  }

  private func pair(
    _ name: String, _ keys: Keys, _ site: String, _ peers: [String: PeerConfiguration],
    _ arbiters: Set<String>
  ) throws -> PairConfiguration {
    let primary = try keys.name("primary")
    let standby = try keys.name("standby")
    if primary == standby {
      throw error(keys.node, "pairs.\(name): primary and standby are both \(primary)")
    }
    guard site == primary || site == standby else {
      throw error(keys.node, "pairs.\(name): neither primary nor standby is this site, \(site)")
    }
    let other = site == primary ? standby : primary
    guard peers[other] != nil else {
      throw error(keys.node, "pairs.\(name): \(other) is not under `peers`: add it")
    }
    var dormant: [String] = []
    for key in ["owners", "selinux"] where keys.has(key) { dormant.append(key) }
    let capture = try providers(keys)
    _ = try keys.word("owners", ["ids", "names"])
    let plan = try PlanReader(self, keys).steps()
    let hasUnit = plan.contains { if case .unit = $0.kind { true } else { false } }
    let failover = try self.failover(keys, peers, arbiters)
    return PairConfiguration(
      name: name, primary: primary, standby: standby, roots: try roots(keys),
      rpo: try keys.duration("rpo", min: .milliseconds(100)) ?? .seconds(5),
      require: try keys.grade("require") ?? (hasUnit ? .crash : .fuzzy), capture: capture,
      retention: try retention(keys), bandwidth: try bandwidth(keys, &dormant),
      spoolBytes: try keys.size("spool", min: Self.spoolMin) ?? 0, failover: failover,
      plan: plan, refused: try refused(keys), dormantKeys: dormant)
  }

  private func refused(_ keys: Keys) throws -> Powers {
    try (keys.words("refuse") ?? []).reduce(into: []) { refused, word in
      guard let powers = Powers(word: word) else {
        throw error(keys.node, "\(keys.place).refuse: `\(word)` is none of setuid, devices")
      }
      refused.insert(powers)
    }
  }

  private func providers(_ keys: Keys) throws -> [ProviderSettings] {
    guard keys.has("capture") else { return [.none] }
    var settings: [ProviderSettings] = []
    for node in try keys.list("capture") {
      let setting = try provider(node, "\(keys.place).capture")
      if settings.contains(where: { $0.word == setting.word }) {
        throw error(node, "\(keys.place).capture: `\(setting.word)` stands twice")
      }
      settings.append(setting)
    }
    guard !settings.isEmpty else {
      throw error(keys.node, "\(keys.place).capture: name one, or leave the key out")
    }
    return settings
  }

  private func provider(_ node: Node, _ place: String) throws -> ProviderSettings {
    if let word = node.string {
      switch word {
      case "none": return .none
      case "btrfs": return .btrfs
      case "freeze": return .freeze(atMost: Limits.freezeAtMost)
      case "postgres":
        return .postgres(
          PostgresSettings(
            connection: Self.connection, every: Limits.clusterEvery,
            walBytes: Limits.clusterWALBytes))
      case "snapshot", "quiesce":
        throw error(node, "\(place): `\(word)` needs values of its own: docs/configuration.md")
      default: break
      }
      let known = KnownKeys.capture.joined(separator: ", ")
      throw error(node, "\(place): `\(word)` is none of \(known)")
    }
    let outer = try Keys(self, node, place, KnownKeys.capture)
    if let inner = try outer.map("snapshot", KnownKeys.snapshot) {
      return .snapshot(
        SnapshotCommands(
          create: try inner.command("create"), path: try inner.requiredPath("path"),
          remove: try inner.command("remove"), within: try inner.within(),
          isTogether: try inner.word("together", ["true", "false"]) == "true"))
    }
    if let inner = try outer.map("quiesce", KnownKeys.quiesce) {
      return .quiesce(
        QuiesceCommands(
          before: try inner.command("before"), after: try inner.command("after"),
          within: try inner.within()))
    }
    if let inner = try outer.map("freeze", KnownKeys.freeze) {
      let limit = try inner.duration("max-freeze", min: .milliseconds(10), max: .seconds(10))
      return .freeze(atMost: limit ?? Limits.freezeAtMost)
    }
    if let inner = try outer.map("postgres", KnownKeys.postgres) {
      if let text = try inner.text("connect"), Self.holdsPassword(text) {
        throw error(
          node, "\(place).postgres.connect: no passwords here, they show in ps: use passfile=")
      }
      return .postgres(
        PostgresSettings(
          connection: try inner.text("connect") ?? Self.connection,
          every: try inner.duration("every", min: .seconds(1), max: .seconds(86_400))
            ?? Limits.clusterEvery,
          walBytes: try inner.size("keep-wal", min: Self.walMin) ?? Limits.clusterWALBytes))
    }
    throw error(node, "\(place): only snapshot, quiesce, freeze and postgres have values")
  }

  /// By key or in a URI (the manual of libpq, "Connection Strings").
  private static func holdsPassword(_ connection: String) -> Bool {
    guard let scheme = connection.firstRange(of: "://") else {
      return connection.contains("password")
    }
    let authority = connection[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
    let user = authority.split(separator: "@", omittingEmptySubsequences: false)
    return (user.count > 1 && user[0].contains(":")) || connection.contains("password=")
  }

  private func roots(_ keys: Keys) throws -> [RootConfiguration] {
    let list = try keys.list("roots")
    guard !list.isEmpty, list.count <= Limits.rootsMax else {
      throw error(keys.node, "\(keys.place).roots: give 1 to \(Limits.rootsMax) roots")
    }
    return try list.map { node in
      let root = try Keys(self, node, "\(keys.place).roots", KnownKeys.root)
      guard let path = try root.path("path") else {
        throw error(node, "\(keys.place).roots: a root needs `path`")
      }
      return RootConfiguration(
        path: path, replica: try root.path("replica") ?? path,
        exclude: try root.words("exclude") ?? [])
    }
  }

  private func retention(_ keys: Keys) throws -> RetentionRule {
    guard let rule = try keys.map("retention", KnownKeys.retention) else {
      return RetentionRule(
        all: .seconds(3600), hourly: .seconds(86400), daily: .seconds(30 * 86400))
    }
    return RetentionRule(
      all: try rule.duration("all") ?? .seconds(3600),
      hourly: try rule.duration("hourly") ?? .zero, daily: try rule.duration("daily") ?? .zero)
  }

  private func bandwidth(_ keys: Keys, _ dormant: inout [String]) throws -> Int64? {
    guard let link = try keys.map("link", KnownKeys.link) else { return nil }
    if link.has("hours") { dormant.append("link.hours") }
    return try link.rate("bandwidth")
  }

  private func failover(
    _ keys: Keys, _ peers: [String: PeerConfiguration], _ arbiters: Set<String>
  ) throws -> FailoverConfiguration {
    guard let map = try keys.map("failover", KnownKeys.failover) else {
      return FailoverConfiguration()
    }
    let mode = try map.word("mode", ["manual", "automatic"]) ?? "manual"
    let arbiter = try map.text("arbiter") ?? "none"
    if arbiter != "none" {
      guard peers[arbiter]?.address != nil || arbiters.contains(arbiter) else {
        throw error(
          map.node,
          """
          \(map.place).arbiter: \(arbiter) is neither under `peers` with an address nor under \
          `arbiters`: add it
          """)
      }
    }
    if mode == "automatic", arbiter == "none" {
      throw error(
        map.node, "\(map.place): automatic failover needs an arbiter: two sites alone never decide")
    }
    let boot = try map.word("on-boot", BootPolicy.allCases.map(\.rawValue)) ?? "wait"
    return FailoverConfiguration(
      mode: mode, arbiter: arbiter, terms: try terms(map),
      maxLoss: try map.duration("max-loss") ?? .zero, onBoot: BootPolicy(rawValue: boot) ?? .wait,
      onUnhealthy: try map.word("on-unhealthy", UnhealthyPolicy.allCases.map(\.rawValue))
        .flatMap(UnhealthyPolicy.init) ?? .alarm,
      fence: try map.map("fence", KnownKeys.fence).map { fence in
        FenceCommand(
          command: try fence.command("command"), within: try fence.within(),
          isRequired: try fence.word("required", ["true", "false"]) == "true")
      },
      lastResort: try map.word("last-resort", LastResortPolicy.allCases.map(\.rawValue))
        .flatMap(LastResortPolicy.init) ?? .reboot)
  }

  private func terms(_ map: Keys) throws -> LeaseTerms {
    let terms = LeaseTerms(
      ttl: try map.duration("ttl", min: Limits.ttlMin, max: Limits.ttlMax) ?? .seconds(10),
      margin: try map.duration("margin"),
      stopBudget: try map.duration("stop-budget", min: .milliseconds(100)),
      watchdog: try map.duration("watchdog", min: .milliseconds(500)))
    if let violation = terms.violations.first {
      throw error(map.node, "\(map.place): \(violation)")
    }
    return terms
  }
}

/// Every key that the parser knows; a test holds docs/configuration.md against it.
enum KnownKeys {
  static let top = [
    "site", "listen", "state", "control", "memory", "spool", "peers", "arbiters", "pairs",
  ]
  static let arbiter = ["etcd", "ca", "cert", "key"]
  static let peer = ["address"]
  static let pair = [
    "primary", "standby", "roots", "rpo", "require", "capture", "retention", "link", "failover",
    "plan", "spool", "refuse", "owners", "selinux",
  ]
  static let capture = ["none", "btrfs", "snapshot", "freeze", "postgres", "quiesce"]
  static let freeze = ["max-freeze"]
  static let postgres = ["connect", "every", "keep-wal"]
  static let snapshot = ["create", "path", "remove", "within", "together"]
  static let quiesce = ["before", "after", "within"]
  static let root = ["path", "replica", "exclude"]
  static let retention = ["all", "hourly", "daily"]
  static let link = ["bandwidth", "hours"]
  static let step = ["address", "unit", "exec", "check", "within", "on-failure"]
  static let check = ["tcp", "http", "exec", "within", "on-failure"]
  static let fence = ["command", "within", "required"]
  static let failover = [
    "mode", "arbiter", "ttl", "margin", "stop-budget", "watchdog", "max-loss", "on-boot",
    "on-unhealthy", "fence", "last-resort",
  ]
}
