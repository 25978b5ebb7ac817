import CLinux
import Glibc
import HoldfastCore
import Synchronization

/// Ends all processes of units by descriptors that were opened before: freeze, kill while frozen,
/// never thaw (cgroups(7)).
final class UnitFence: Sendable {
  private struct Group: Sendable {
    let path: String
    let freeze: Descriptor?
    /// Since Linux 5.14.
    let kill: Descriptor?
    /// Of the group and all below it, where `kill` is not there.
    let processes: [Descriptor]
    let events: Descriptor?

    init(_ path: String) {
      func open(_ name: String, _ flags: Int32, in path: String) -> Descriptor? {
        let number = unsafe holdfast_openat(AT_FDCWD, "\(path)/\(name)", flags | O_CLOEXEC, 0)
        return number >= 0 ? Descriptor(number) : nil
      }
      self.path = path
      freeze = open("cgroup.freeze", O_WRONLY, in: path)
      kill = open("cgroup.kill", O_WRONLY, in: path)
      events = open("cgroup.events", O_RDONLY, in: path)
      let groups = kill == nil ? [path] + Cgroups.below(path) : []
      processes = groups.compactMap { open("cgroup.procs", O_RDONLY, in: $0) }
    }

    func set(_ file: Descriptor?, _ value: String = "1") {
      if let file { unsafe _ = write(file.number, value, 1) }
    }

    func thaw() { set(freeze, "0") }

    private func text(_ file: Descriptor?) -> String {
      guard let file else { return "" }
      var room = [UInt8](repeating: 0, count: 64 << 10)
      let count = unsafe pread(file.number, &room, room.count, 0)
      return count > 0 ? String(decoding: room[..<count], as: UTF8.self) : ""
    }

    func killAll() {
      if kill != nil { return set(kill) }
      for line in processes.flatMap({ text($0).split(separator: "\n") }) {
        if let number = Int32(line) { _ = Glibc.kill(number, SIGKILL) }
      }
    }

    /// A group that was removed has no text; one that could not be opened is not known to be empty.
    var isPopulated: Bool {
      guard events != nil else { return unsafe access(path, F_OK) == 0 }
      return text(events).split(separator: "\n").contains("populated 1")
    }

    /// systemd removes the group of a unit that has ended.
    var isThere: Bool { !text(events).isEmpty }
  }

  private let units: [String]
  private let cgroups: Cgroups?
  private let groups = Mutex<[Group]>([])
  /// Whether what comes into a group that was fenced is to be killed.
  private let isSweeping = Mutex(false)

  init(units: [String]) {
    self.units = units
    cgroups = Cgroups()
  }

  /// Whether this host has what it takes.
  var isPossible: Bool { units.isEmpty || cgroups != nil }

  func prepare() {
    guard let cgroups else { return }
    let found = units.flatMap { cgroups.folders(of: $0) }.map { Group($0) }
    groups.withLock { known in
      // What cannot be looked for just now is not gone.
      let paths = Set(found.map(\.path))
      known = found + known.filter { !paths.contains($0.path) && $0.isPopulated }
    }
  }

  /// - Parameter limit: microseconds.
  /// - Returns: what still runs.
  func fence(within limit: Int) -> [String] {
    // By now nothing of what was known before writes.
    let clock = SystemClock()
    let end = clock.now() + .microseconds(limit)
    var empty = 0
    while true {
      // What was started since.
      prepare()
      strike()
      let left = groups.withLock { $0.filter(\.isPopulated).map(\.path) }
      // systemd may have looked whether it may start a unit before that was forbidden, and make
      // its group only now.
      empty = left.isEmpty ? empty + 1 : 0
      if empty == Self.looks || clock.now() >= end {
        return left.map { "\($0) still has processes" }
      }
      usleep(1000)
    }
  }

  /// So many times in a row nothing is found.
  private static let looks = 5

  /// Whether systemd runs processes under just this name.
  func holds(_ unit: String) -> Bool { cgroups?.folders(of: unit).isEmpty == false }

  /// Whether a unit has processes.
  func runs(_ unit: String) -> Bool {
    prepare()
    return groups.withLock { $0.contains { $0.path.hasSuffix("/\(unit)") && $0.isPopulated } }
  }

  /// What was known before neither runs nor writes once this returns.
  func strike() {
    freeze()
    for group in groups.withLock({ $0 }) { group.killAll() }
  }

  /// What was known before stands still.
  func freeze() { for group in groups.withLock({ $0 }) { group.set(group.freeze) } }

  func thaw() {
    isSweeping.withLock { $0 = false }
    for group in groups.withLock({ $0 }) { group.thaw() }
  }

  /// To end a unit whose processes were killed systemd starts others in its group (`ExecStop=`,
  /// `ExecStopPost=`). There they stand still, and the unit with them for as long as it is given to
  /// stop: they are killed, until systemd has removed the group or ``thaw()`` is called.
  /// - Returns: what does it, once.
  func sweeper() -> (_ time: Duration) -> Void {
    isSweeping.withLock { $0 = true }
    return { [self] time in
      let clock = SystemClock()
      let (begun, end) = (clock.now(), clock.now() + Limits.sweptWithin)
      while clock.now() < end {
        let isDone = isSweeping.withLock { isSweeping in
          guard isSweeping else { return true }
          // Also what a start that was under way has made by now.
          prepare()
          let found = groups.withLock { $0 }
          for group in found where group.isPopulated { group.killAll() }
          return clock.now() - begun >= time && !found.contains(where: \.isThere)
        }
        if isDone { return }
        usleep(5000)
      }
    }
  }
}
