import Dispatch
import Glibc
import HoldfastCore
import Synchronization

/// Asks again and again whether another host has an address, from when a plan begins: by its step
/// the answer is known, and as new as if it had been asked then.
final class AddressWatch: Sendable {
  /// One probe may be under way; what the one before came to counts until it has ended.
  private static let countsFor = ServiceAddress.probeTime * 2
  private static let lookMicros: UInt32 = 5_000

  private struct Answer {
    var outcome: Result<Bool, StepError>
    var began: Instant
    var moment: Instant
  }
  private let newest = Mutex<Answer?>(nil)
  private let isOver = Atomic(false)
  private let clock = SystemClock()

  /// - Parameter isWanted: whether the plan may still go on.
  init(_ address: ServiceAddress, isWanted: @escaping @Sendable () -> Bool) {
    DispatchQueue(label: "probe").async { [weak self] in
      while let self, !isOver.load(ordering: .sequentiallyConsistent), isWanted() {
        let began = clock.now()
        let outcome: Result<Bool, StepError>
        do throws(StepError) {
          outcome = .success(try address.probe())
        } catch {
          outcome = .failure(error)
        }
        newest.withLock { $0 = Answer(outcome: outcome, began: began, moment: clock.now()) }
        // It ends at once where another host answers.
        clock.block(for: max(.zero, began + ServiceAddress.probeTime - clock.now()))
      }
    }
  }

  func end() { isOver.store(true, ordering: .sequentiallyConsistent) }

  /// Waits for another host to give the address up, or to be switched off.
  /// - Returns: whether nobody has it, as far as could be asked.
  /// - Throws: that another host still answers for it, or that the plan may not go on.
  func untilFree(_ within: Duration, isWanted: () -> Bool) throws(StepError) -> Bool {
    let start = clock.now()
    let end = start + within
    while true {
      let now = clock.now()
      if let answer = newest.withLock({ $0 }), now - answer.moment <= Self.countsFor {
        switch answer.outcome {
        case .success(true): return true
        // The steps before may have made its device.
        case .success(false): if now >= end || answer.began >= start { return false }
        case .failure(let error): if now >= end || !isWanted() { throw error }
        }
      }
      guard isWanted() else { throw .fenced }
      if now >= end { throw StepError("it was not known in time whether another host has it") }
      usleep(Self.lookMicros)
    }
  }
}
