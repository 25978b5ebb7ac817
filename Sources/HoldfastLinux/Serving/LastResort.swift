import CLinux
import Glibc

/// Ends this host at once: something of a service runs on, or holds an address, that may not any
/// more, and nothing gentler has ended it.
package final class LastResort: Sendable {
  /// `b` restarts without asking any driver (Documentation/admin-guide/sysrq.rst). Only where it is
  /// this kernel's own host that it restarts: from a container it would end its host.
  private let trigger: Descriptor?

  /// - Parameter environment: of a process that systemd guards, which alone may go so far: as its
  ///   main process with a watchdog (sd_watchdog_enabled(3)), or as what it runs in that one's
  ///   stead (`ExecStopPost=`, systemd.exec(5)).
  package init?(_ environment: [String: String]) {
    let isGuarded = environment["WATCHDOG_PID"] == "\(getpid())"
    let isInStead = environment["SERVICE_RESULT"] != nil && getppid() == 1
    guard isGuarded || isInStead else { return nil }
    let number =
      !Namespace.isFirstOfProcesses
      ? -1 : unsafe holdfast_openat(AT_FDCWD, "/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC, 0)
    trigger = number >= 0 ? Descriptor(number) : nil
  }

  /// Needs no disk and forks nothing. A container ends as a whole (reboot(2), pid_namespaces(7)).
  func strike() {
    if let trigger { unsafe _ = write(trigger.number, "b", 1) }
    _ = holdfast_reboot()
  }
}
