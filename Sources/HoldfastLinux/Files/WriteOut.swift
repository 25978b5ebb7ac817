import CLinux
import Dispatch
import Glibc
import Synchronization

/// Has a filesystem written out on a thread of its own, one time after another.
final class WriteOut: Sendable {
  private let queue = DispatchQueue(label: "write out")
  private let isBusy = Mutex(false)

  /// Does nothing while an earlier one runs.
  func begin(_ directory: Descriptor) {
    guard
      isBusy.withLock({ busy in
        defer { busy = true }
        return !busy
      })
    else { return }
    queue.async { [self] in
      // Each open descriptor is told of an error once (syncfs(2)): with one of its own, nothing is
      // taken from the one whose flush counts.
      let number = unsafe holdfast_openat(
        directory.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
      if number >= 0 {
        let own = Descriptor(number)
        _ = holdfast_syncfs(own.number)
      }
      isBusy.withLock { $0 = false }
    }
  }
}
