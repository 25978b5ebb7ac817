import CLinux
import Glibc
import HoldfastCore

/// A process that this one started and must end.
package final class ChildProcess {
  package let number: Int32
  /// The exit code, or 128 and the signal, once it has ended and was waited for.
  private var ended: Int32?

  /// Where what it prints goes.
  package enum Output {
    /// Behind what is in a file.
    case file(String)
    /// And where it reads from; errors go to a place of their own, or where this process's go.
    case descriptor(Int32, errors: Int32? = nil)
  }

  package enum Failure: Error { case spawn(String, errno: Int32) }

  /// - Parameters:
  ///   - environment: added to this process's own.
  ///   - ownGroup: whether it leads a process group of its own, for ``killGroup()``.
  package init(
    _ path: String, _ arguments: [String], environment: [String: String], output: Output,
    ownGroup: Bool = false
  ) throws(Failure) {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
    switch output {
    case .file(let output):
      unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
      unsafe posix_spawn_file_actions_addopen(
        &actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
      unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
    case .descriptor(let number, let errors):
      unsafe posix_spawn_file_actions_adddup2(&actions, number, 0)
      unsafe posix_spawn_file_actions_adddup2(&actions, number, 1)
      if let errors { unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2) }
    }
    // Not all that libraries open is closed in who is started: a command that lives on would hold
    // links to other sites open, which then seem to live.
    unsafe holdfast_close_from(&actions, 3)
    let own = Self.ownEnvironment.filter { line in
      !environment.keys.contains { line.hasPrefix($0 + "=") }
    }
    let variables = own + environment.map { "\($0.key)=\($0.value)" }
    var arguments = unsafe ([path] + arguments).map { unsafe strdup($0) }
    unsafe arguments.append(nil)
    var names = unsafe variables.map { unsafe strdup($0) }
    unsafe names.append(nil)
    defer {
      unsafe (arguments + names).forEach { unsafe free($0) }
    }
    var attributes = Self.freshSignals(ownGroup: ownGroup)
    defer { unsafe _ = posix_spawnattr_destroy(&attributes) }
    var number = pid_t()
    let error = unsafe posix_spawn(&number, path, &actions, &attributes, arguments, names)
    guard error == 0 else { throw .spawn(path, errno: error) }
    self.number = number
  }

  /// No signal blocked or ignored, whatever the thread that spawns does with them.
  private static func freshSignals(ownGroup: Bool) -> posix_spawnattr_t {
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    var flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
    if ownGroup {
      unsafe posix_spawnattr_setpgroup(&attributes, 0)
      flags |= POSIX_SPAWN_SETPGROUP
    }
    unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
    return attributes
  }

  private static var ownEnvironment: [String] {
    var lines: [String] = []
    guard var pointer = unsafe Optional(environ) else { return [] }
    while let line = unsafe pointer.pointee {
      unsafe lines.append(String(cString: line))
      unsafe pointer += 1
    }
    return lines
  }

  package func send(_ signal: Int32) { if ended == nil { _ = kill(number, signal) } }

  package var isRunning: Bool { reap(WNOHANG) == nil }

  /// Waits for the end.
  /// - Returns: the exit code, or 128 and the signal.
  @discardableResult
  package func wait() -> Int32 { reap(0) ?? -1 }

  /// Waits for the end, for so long at most (pidfd_open(2)).
  /// - Returns: as ``wait()``; `nil` where it goes on.
  package func wait(within limit: Duration) -> Int32? {
    let number = holdfast_pidfd(number)
    guard number >= 0 else {
      // No descriptor is left: looked for again and again.
      for _ in 0..<max(1, limit.nanos / 10_000_000) {
        if let code = reap(WNOHANG) { return code }
        usleep(10_000)
      }
      return nil
    }
    let end = Descriptor(number)
    let milliseconds = Int32(clamping: limit.nanos / 1_000_000)
    var waited = pollfd(fd: end.number, events: Int16(POLLIN), revents: 0)
    let ready = retried { unsafe Int(poll(&waited, 1, milliseconds)) }
    return ready > 0 ? reap(0) : nil
  }

  /// How long a process that was killed is waited for.
  private static let goneWithin = Duration.seconds(1)

  /// Kills it and what it started, where it leads its own group.
  package func killGroup() {
    guard ended == nil else { return }
    _ = kill(-number, SIGKILL)
    _ = wait(within: Self.goneWithin)
  }

  private func reap(_ options: Int32) -> Int32? {
    if let ended { return ended }
    var status: Int32 = 0
    guard unsafe waitpid(number, &status, options) == number else { return nil }
    ended = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    return ended
  }

  deinit {
    guard ended == nil else { return }
    _ = kill(number, SIGKILL)
    guard wait(within: Self.goneWithin) == nil else { return }
    // It hangs in a disk, and whoever waits for it may not.
    let number = number
    _ = OwnThread.begin {
      var status: Int32 = 0
      unsafe _ = waitpid(number, &status, 0)
    }
  }
}
