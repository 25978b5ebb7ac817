import Dispatch
import HoldfastCore

/// Runs the jobs of one actor one after another on a thread that they may block: never on the
/// threads that Swift's tasks share.
package final class ThreadExecutor: SerialExecutor {
  private let queue: DispatchQueue

  package init(label: String) { queue = DispatchQueue(label: label) }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { unsafe job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }
}

package struct ThreadHelper: Helper {
  private let queue: DispatchQueue

  package init(label: String) { queue = DispatchQueue(label: label) }

  package func run(_ work: @escaping @Sendable () -> Void) { queue.async(execute: work) }

  package func wait() { queue.sync {} }
}
