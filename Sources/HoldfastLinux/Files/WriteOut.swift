import CLinux
import Glibc

/// Has a filesystem written out on a thread of its own, one time after another.
final class WriteOut: Sendable {
  private let aside = Aside("write out")

  /// Does nothing while an earlier one runs.
  func begin(_ directory: Descriptor) {
    aside.run {
      // Each open descriptor is told of an error once (syncfs(2)): with one of its own, nothing is
      // taken from the one whose flush counts.
      let number = unsafe holdfast_openat(
        directory.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
      if number >= 0 {
        let own = Descriptor(number)
        _ = holdfast_syncfs(own.number)
      }
    }
  }
}
