import CLinux
import Glibc
import HoldfastCore

/// The groups of processes that stand still for a pair, on record where a crash of the agent and
/// its helpers leaves it: `frozen-PAIR` in the control folder, one path a line.
package struct FrozenUnits {
  private let record: String
  private let fence: String
  /// What stands still by this process's doing.
  private var units: [String] = []
  private var folders: [String] = []

  package init(control: String, pair: String) {
    record = "\(control)/\(Self.prefix)\(pair)"
    fence = "\(control)/fence-\(pair)"
  }

  private static let prefix = "frozen-"

  /// Pairs that something is on record for.
  package static func recorded(control: String) -> [String] { names(in: control, behind: prefix) }

  /// What the names of files in a folder have behind a prefix, sorted.
  static func names(in folder: String, behind prefix: String) -> [String] {
    let number = unsafe holdfast_openat(
      AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard number >= 0 else { return [] }
    return listNames(number).names.map { String(decoding: $0, as: UTF8.self) }
      .filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }.sorted()
  }

  /// - Parameter deadline: by `now`, in nanoseconds.
  /// - Returns: why not all stands still; then nothing does.
  mutating func freeze(
    _ units: [String], until deadline: Int64, _ now: () -> Int64
  ) -> String? {
    guard let cgroups = Cgroups() else { return "this host has no cgroup hierarchy of version 2" }
    let folders = units.flatMap { cgroups.folders(of: $0) }
    if folders.isEmpty { return "none of \(units.joined(separator: ", ")) runs here" }
    let own = Cgroups.group(of: getpid()).map { cgroups.top + $0 + "/" } ?? cgroups.top
    if let around = folders.first(where: { own.hasPrefix($0 + "/") }) {
      return "\(around) holds the agent itself: it cannot stand still"
    }
    (self.units, self.folders) = (units, folders)
    return held { isFenced in
      if isFenced() { return Self.fenced }
      for folder in folders where !isTold(folder, "0") {
        return "\(folder) cannot be frozen, or somebody else froze it"
      }
      guard store(folders) else { return "cannot write \(record): \(errnoText(errno))" }
      for folder in folders where !set(folder, "1") {
        let reason = "cannot freeze \(folder): \(errnoText(errno))"
        return isFenced() ? Self.fenced : thawAll(folders) ?? reason
      }
      while let slow = folders.first(where: { !isFrozen($0) }) {
        guard now() < deadline else {
          return isFenced()
            ? Self.fenced : thawAll(folders) ?? "\(slow) did not stand still in time"
        }
        usleep(100)
      }
      return nil
    }
  }

  /// Whether all still stands still that was frozen, and nothing of the units runs beside it.
  var isIntact: Bool {
    Set(units.flatMap { Cgroups()?.folders(of: $0) ?? [] }) == Set(folders)
      && folders.allSatisfy { isTold($0, "1") && isFrozen($0) }
  }

  private func isTold(_ folder: String, _ value: Character) -> Bool {
    readText("\(folder)/cgroup.freeze")?.first == value
  }

  /// What is on record, and what stands still by this process's doing.
  /// - Returns: why that was not thawed.
  package mutating func thaw() -> String? {
    let recorded = readText(record)?.split(separator: "\n").map(String.init) ?? []
    let all = Set(recorded + folders).sorted()
    guard !all.isEmpty else { return nil }
    let trouble = held { isFenced in isFenced() ? Self.fenced : thawAll(all) }
    if trouble == nil { (units, folders) = ([], []) }
    return trouble
  }

  static let fenced = "this site is fenced: nothing is thawed here"

  private func thawAll(_ folders: [String]) -> String? {
    // What is gone meanwhile does not stand still.
    let left = folders.filter { folder in !set(folder, "0") && errno != ENOENT && errno != ENODEV }
    guard left.isEmpty else { return "cannot thaw \(left.joined(separator: ", "))" }
    _ = unsafe unlink(record)
    return nil
  }

  private func store(_ folders: [String]) -> Bool {
    let number = unsafe holdfast_openat(
      AT_FDCWD, record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard number >= 0 else { return false }
    // A crash of this host thaws everything: no flush.
    let file = Descriptor(number)
    let bytes = Array((folders.joined(separator: "\n") + "\n").utf8)
    return file.write(bytes, 0..<bytes.count, at: 0) == 0
  }

  /// Whoever fences this site writes a 1 into the file, under its lock (flock(2)), before anything
  /// is frozen for good: from then on nothing thaws. It waits for the lock only for a moment: who
  /// has it looks again before thawing.
  private func held(_ body: (_ isFenced: () -> Bool) -> String?) -> String? {
    let number = unsafe holdfast_openat(AT_FDCWD, fence, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard number >= 0 else { return "cannot open \(fence): \(errnoText(errno))" }
    let file = Descriptor(number)
    guard retried({ Int(flock(file.number, LOCK_EX)) }) == 0 else {
      return "cannot lock \(fence): \(errnoText(errno))"
    }
    return body {
      var byte: UInt8 = 0
      let count = unsafe pread(file.number, &byte, 1, 0)
      return count == 1 && byte == UInt8(ascii: "1")
    }
  }

  private func set(_ folder: String, _ value: String) -> Bool {
    let number = unsafe holdfast_openat(
      AT_FDCWD, "\(folder)/cgroup.freeze", O_WRONLY | O_CLOEXEC, 0)
    guard number >= 0 else { return false }
    let file = Descriptor(number)
    return unsafe write(file.number, value, 1) == 1
  }

  private func isFrozen(_ folder: String) -> Bool {
    guard let events = readText("\(folder)/cgroup.events") else { return true }
    return events.split(separator: "\n").contains("frozen 1")
  }
}
