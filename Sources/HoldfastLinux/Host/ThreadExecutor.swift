import Dispatch

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
