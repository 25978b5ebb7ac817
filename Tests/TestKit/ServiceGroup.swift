import FoundationEssentials
import Glibc

/// A control group where systemd would run a unit's processes, until it goes.
package final class ServiceGroup {
  package let unit: String
  package let path: String

  package static func unit(_ scratch: Scratch) -> String {
    "\(scratch.path.split(separator: "/").last ?? "holdfast").service"
  }

  package init(_ scratch: Scratch) {
    unit = Self.unit(scratch)
    let top = Shell.run("awk '$3 == \"cgroup2\" { print $2; exit }' /proc/self/mounts").output
    path = top.split(separator: "\n").joined() + "/" + unit
    precondition(Shell.run("mkdir '\(path)'").code == 0, "no control group \(path)")
  }

  deinit {
    Shell.run(
      """
      echo 0 > '\(path)/cgroup.freeze'; xargs -r kill -9 < '\(path)/cgroup.procs'
      for n in $(seq 100); do rmdir '\(path)' && break; sleep 0.05; done
      """)
  }

  /// Runs a script in it, in the background.
  package func start(_ script: String) {
    Shell.run("(echo $BASHPID > '\(path)/cgroup.procs'; exec setsid bash -c '\(script)') &")
  }

  /// Kills what runs in it.
  package func stop() {
    let list = "'\(path)/cgroup.procs'"
    Shell.run("while xargs -r kill -9 < \(list) && grep -q . \(list); do :; done")
  }

  /// Whether it is to stand still, or does.
  package var isFrozen: Bool {
    FileManager.default.contents(atPath: path + "/cgroup.freeze")?.first == UInt8(ascii: "1")
  }

  /// Looks again and again until it stands still.
  package func waitUntilFrozen(seconds: Int = 30) -> Bool {
    let number = unsafe open(path + "/cgroup.freeze", O_RDONLY)
    defer { _ = close(number) }
    let end = time(nil) + seconds
    while time(nil) < end {
      var byte: UInt8 = 0
      if unsafe pread(number, &byte, 1, 0) == 1, byte == UInt8(ascii: "1") { return true }
    }
    return false
  }
}
