import CLinux
import Glibc

/// Two files in the control folder, gone with the boot, that say whether a pair's service may run
/// here: `serve-PAIR`, which systemd asks for before it starts a unit of the plan, and
/// `fence-PAIR`, which whoever thaws units asks for.
final class ServiceFlags: Sendable {
  let serve: String
  private let fence: Descriptor?

  init(control: String, pair: String) {
    serve = "\(control)/serve-\(pair)"
    let number = unsafe holdfast_openat(
      AT_FDCWD, "\(control)/fence-\(pair)", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    fence = number >= 0 ? Descriptor(number) : nil
  }

  /// Tries of a millisecond each for a lock that is held while units are thawed.
  private static let lockTries = 50

  /// Nothing forked, nothing opened.
  func forbid() {
    unsafe _ = unlink(serve)
    setFence("1")
  }

  /// Nobody thaws from now on who has not begun to: at once, whoever holds the lock.
  func mark() {
    guard let fence else { return }
    unsafe _ = pwrite(fence.number, "1", 1, 0)
  }

  /// Nothing more is started; what runs may still be thawed.
  func endStarting() { unsafe _ = unlink(serve) }

  /// What stands still is not thawed by others.
  func suspend() { setFence("1") }
  func resume() { setFence("0") }

  /// Where it fails systemd starts nothing, and says why.
  func allow() {
    setFence("0")
    let number = unsafe holdfast_openat(
      AT_FDCWD, serve, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if number >= 0 { _ = close(number) }
  }

  private func setFence(_ value: String) {
    guard let fence else { return }
    var tries = 0
    var isLocked = false
    while !isLocked, tries < Self.lockTries {
      isLocked = flock(fence.number, LOCK_EX | LOCK_NB) == 0
      if !isLocked { usleep(1000) }
      tries += 1
    }
    // Whoever holds the lock for longer hangs: what is killed while it thaws does not come back.
    unsafe _ = pwrite(fence.number, value, 1, 0)
    if isLocked { _ = flock(fence.number, LOCK_UN) }
  }
}
