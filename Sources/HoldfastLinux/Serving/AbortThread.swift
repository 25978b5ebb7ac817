import Glibc

/// What is done where systemd has this process killed for hanging (SIGABRT, systemd.service(5)):
/// after a pause of the whole host that is the first thing that happens to it.
package enum AbortThread {
  /// Leaves the signal to the thread that waits for it. Called before any other thread is made.
  package static func block() {
    var signals = signals
    unsafe _ = pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  /// - Parameter aborted: called once, on a thread of its own; then this process ends as it would
  ///   have.
  /// - Returns: whether there is such a thread.
  package static func begin(_ aborted: @escaping @Sendable () -> Void) -> Bool {
    OwnThread.begin {
      var signals = signals
      var number: Int32 = 0
      while unsafe sigwait(&signals, &number) != 0 {}
      aborted()
      abort()
    }
  }

  private static var signals: sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, SIGABRT)
    return set
  }
}
