import CLinux
import Glibc
import HoldfastCore

/// Tells the service manager how the agent is (sd_notify(3)); silent where there is none.
package struct Systemd: Sendable {
  private let socket: String?
  /// How often the manager wants to hear ``alive()`` at the latest, halved; `nil` for never.
  package let watchdogEvery: Duration?

  /// - Parameter environment: `NOTIFY_SOCKET` and `WATCHDOG_USEC` are read from it.
  package init(environment: [String: String]) {
    socket = environment["NOTIFY_SOCKET"]
    watchdogEvery = environment["WATCHDOG_USEC"].flatMap(Int64.init).map { .microseconds($0 / 2) }
  }

  package func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }
  package func alive() { send("WATCHDOG=1") }
  /// Has the manager wait for ``alive()`` so long at most from now on.
  package func setWatchdog(_ limit: Duration) { send("WATCHDOG_USEC=\(limit.nanos / 1000)") }
  package func stopping() { send("STOPPING=1") }
  package func reloading() {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    send("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)")
  }

  private func send(_ text: String) {
    guard let socket, !socket.isEmpty else { return }
    var path = Array(socket.utf8)
    // A leading @ stands for the abstract namespace.
    if path[0] == 0x40 { path[0] = 0 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.count < room else { return }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
    let number = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | 0o2000000, 0)
    guard number >= 0 else { return }
    defer { _ = close(number) }
    let length = socklen_t(2 + path.count)
    let bytes = Array(text.utf8)
    unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe _ = sendto(number, bytes, bytes.count, 0, generic, length)
      }
    }
  }
}
