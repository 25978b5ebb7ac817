import Glibc
import HoldfastBytes
import HoldfastCore
import HoldfastIndex
import HoldfastLinux

/// The real machine, handed to the agent.
struct SystemHost: Host {
  let clock: any Timekeeper = SystemClock()
  let dice: any Dice = SystemDice()
  let probe: any Probe
  let state: String
  let control: String
  let cacheBytes: Int
  /// See ``Mappings/look(roots:isAlone:)``.
  let isAlone: Bool

  init(_ configuration: Configuration, probe: any Probe = NoProbe(), isAlone: Bool = false) {
    self.isAlone = isAlone
    state = configuration.state
    control = configuration.control
    self.probe = probe
    // Caches of index and catalog: a share of what the agent may use.
    cacheBytes = Int(min(max(configuration.memoryBytes / 16, 2 << 20), 64 << 20))
  }

  var isPrivileged: Bool { geteuid() == 0 || Capabilities.canSetOwners }

  /// Of random(4).
  var boot: String {
    String(readText("/proc/sys/kernel/random/boot_id")?.split(separator: "\n").first ?? "")
  }
  func volatile() throws(DiskError) -> any Disk { try LinuxDisk(control) }

  func disk(_ folders: [String]) throws(DiskError) -> any Disk {
    try LinuxDisk(([state] + folders).joined(separator: "/"))
  }
  func tree(_ path: String) throws(TreeError) -> any Tree { try LinuxTree(path) }
  func watch(_ roots: [String], notify: @escaping @Sendable () -> Void) -> any Watch {
    Watching.begin(roots: roots.map { Roots.realPath($0) ?? $0 }, notify: notify)
  }
  func mappings(_ roots: [String]) -> MappingReport {
    Mappings.look(roots: roots.map { Roots.realPath($0) ?? $0 }, isAlone: isAlone)
  }
  var snapshots: any Snapshots { LinuxSnapshots(folder: state) }
  func freezer(pair: String) -> any Freezer { LinuxFreezer(control: control, pair: pair) }
  func database(_ connection: String) throws(ProviderError) -> any DatabaseSession {
    try PsqlSession(connection: connection, folder: state, mark: "\(RandomID(dice))")
  }
  func report(_ path: String) -> RootReport { Roots.report(path) }
  func overlaps(_ a: String, _ b: String) -> Bool { Roots.overlaps(a, b) }
  func mark(_ path: String, _ marker: Marker) throws(TreeError) { try Roots.mark(path, marker) }

  private func file(_ pair: String, _ name: String) -> String { "\(state)/pairs/\(pair)/\(name)" }
  private static let suffixes = ["", "-wal", "-shm"]

  func index(
    pair: String, isReader: Bool, digest: @escaping (Place, [UInt8]) -> Digest32
  ) throws(IndexError) -> any Index {
    try SQLiteIndex(
      path: file(pair, "index.sqlite"), cacheBytes: cacheBytes, isReadOnly: isReader,
      digest: digest)
  }
  func removeIndex(pair: String) {
    for suffix in Self.suffixes { _ = unsafe unlink(file(pair, "index.sqlite" + suffix)) }
  }
  func readingJournal(pair: String) throws(DiskError) -> any Sendable {
    try SharedLock(file(pair, "journal.lock"), exclusive: false)
  }
  func movingJournal(pair: String) throws(DiskError) -> (any Sendable)? {
    try SharedLock(ifFree: file(pair, "journal.lock"))
  }
  func lockReplica(pair: String, exclusive: Bool) throws(DiskError) -> any Sendable {
    try SharedLock(file(pair, "replica.lock"), exclusive: exclusive)
  }
  func catalog(pair: String) throws(IndexError) -> any Catalog {
    try SQLiteCatalog(path: file(pair, "catalog.sqlite"), cacheBytes: cacheBytes)
  }
  func removeCatalog(pair: String) {
    for suffix in Self.suffixes {
      _ = unsafe unlink(file(pair, "catalog.sqlite" + suffix))
      _ = unsafe unlink(file(pair, "catalog.sqlite" + SQLiteCatalog.knownSuffix + suffix))
    }
  }
  func executor(_ label: String) -> any SerialExecutor { ThreadExecutor(label: label) }
  func helper(_ label: String) -> any Helper { ThreadHelper(label: label) }
  func secret(_ count: Int) -> [UInt8] { SecureRandom.bytes(count) }
}

/// Which of root's powers this process has (capabilities(7), proc_pid_status(5)).
enum Capabilities {
  static var canSetOwners: Bool {
    guard let disk = try? LinuxDisk("/proc/self"),
      let bytes = try? disk.open("status", writable: false).read(at: 0, count: 8192)
    else { return false }
    let text = String(decoding: bytes, as: UTF8.self)
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let mask = UInt64(line.dropFirst(7).trimmingPrefix { $0 == "\t" || $0 == " " }, radix: 16)
    else { return false }
    let chown: UInt64 = 1 << 0
    let overrideAccess: UInt64 = 1 << 1
    let ownerOnly: UInt64 = 1 << 3
    return mask & (chown | overrideAccess | ownerOnly) == chown | overrideAccess | ownerOnly
  }
}

/// Kills this process at the n-th pass of a named place, for tests of crashes: set by
/// `HOLDFAST_PROBE=place:n`; without it probes do nothing.
final class KillProbe: Probe {
  private let place: ProbePlace
  private let count: Counter

  static func wanted(_ environment: [String: String]) -> any Probe {
    environment["HOLDFAST_PROBE"].flatMap { KillProbe($0) } ?? NoProbe()
  }

  private init?(_ text: String) {
    let parts = text.split(separator: ":")
    guard parts.count == 2, let place = ProbePlace(rawValue: String(parts[0])),
      let number = Int(parts[1])
    else { return nil }
    self.place = place
    count = Counter(number)
  }

  func hit(_ place: ProbePlace) {
    if place == self.place, count.isLast() { _ = kill(getpid(), SIGKILL) }
  }
}

import Synchronization

/// Counts down to one.
final class Counter: Sendable {
  private let left: Mutex<Int>
  init(_ count: Int) { left = Mutex(count) }
  func isLast() -> Bool {
    left.withLock { left in
      left -= 1
      return left == 0
    }
  }
}
