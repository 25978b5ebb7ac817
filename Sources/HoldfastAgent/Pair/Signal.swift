package import HoldfastCore
import Synchronization

/// Wakes one waiter; a wake that comes while nobody waits is kept.
package final class Signal: Sendable {
  private struct State {
    var isSet = false
    var waiter: (id: UInt64, continuation: CheckedContinuation<Void, Never>)?
    var nextID: UInt64 = 0
    /// The newest wait whose deadline passed: a deadline may pass before its wait has begun.
    var expiredID: UInt64 = 0
  }
  private let state = Mutex(State())

  package init() {}

  package func set() {
    let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
      guard let waiter = state.waiter else {
        state.isSet = true
        return nil
      }
      state.waiter = nil
      return waiter.continuation
    }
    waiter?.resume()
  }

  private func expire(_ id: UInt64) {
    let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
      state.expiredID = max(state.expiredID, id)
      guard let waiter = state.waiter, waiter.id == id else { return nil }
      state.waiter = nil
      return waiter.continuation
    }
    waiter?.resume()
  }

  /// Returns when set, at the deadline, or when the task is cancelled.
  package func wait(until deadline: Instant?, _ clock: any Timekeeper) async {
    let id = state.withLock { state -> UInt64 in
      state.nextID += 1
      return state.nextID
    }
    let timer = deadline.map { deadline in
      Task {
        try? await clock.sleep(until: deadline)
        self.expire(id)
      }
    }
    defer { timer?.cancel() }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isNow = state.withLock { state -> Bool in
          if state.isSet || Task.isCancelled {
            state.isSet = false
            return true
          }
          if state.expiredID == id { return true }
          precondition(state.waiter == nil, "two waiters on one signal")
          state.waiter = (id, continuation)
          return false
        }
        if isNow { continuation.resume() }
      }
    } onCancel: {
      set()
    }
  }
}
