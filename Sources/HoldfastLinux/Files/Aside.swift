import Dispatch
import Synchronization

/// Work on a thread of its own that may be left out: what is asked for while an earlier one runs is
/// not done.
final class Aside: Sendable {
  private let queue: DispatchQueue
  private let isBusy = Mutex(false)

  init(_ label: String) { queue = DispatchQueue(label: label) }

  func run(_ work: @escaping @Sendable () -> Void) {
    guard
      isBusy.withLock({ busy in
        defer { busy = true }
        return !busy
      })
    else { return }
    queue.async { [self] in
      work()
      isBusy.withLock { $0 = false }
    }
  }
}
