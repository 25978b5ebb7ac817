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
    var moment: Instant
  }
  private let newest = Mutex<Answer?>(nil)
  private let isOver = Atomic(false)
  private let clock = SystemClock()

  /// - Parameter isWanted: whether the plan may still go on.
  init(_ address: ServiceAddress, isWanted: @escaping @Sendable () -> Bool) {
    DispatchQueue(label: "probe").async { [weak self] in
      while let self, !isOver.load(ordering: .sequentiallyConsistent), isWanted() {
        let next = clock.now() + ServiceAddress.probeTime
        var outcome: Result<Bool, StepError>
        do throws(StepError) {
          outcome = .success(try address.probe())
        } catch {
          outcome = .failure(error)
        }
        newest.withLock { $0 = Answer(outcome: outcome, moment: clock.now()) }
        // It ends at once where another host answers.
        clock.block(for: max(.zero, next - clock.now()))
      }
    }
  }

  func end() { isOver.store(true, ordering: .sequentiallyConsistent) }

  /// Waits for another host to give the address up, or to be switched off.
  /// - Returns: whether nobody has it, as far as could be asked.
  /// - Throws: that another host still answers for it, or that the plan may not go on.
  func untilFree(_ within: Duration, isWanted: () -> Bool) throws(StepError) -> Bool {
    let end = clock.now() + within
    while true {
      let answer = newest.withLock { $0 }
      let isLate = clock.now() >= end
      if let answer, isLate || clock.now() - answer.moment <= Self.countsFor {
        switch answer.outcome {
        case .success(let isFree): return isFree
        case .failure(let error): if isLate || !isWanted() { throw error }
        }
      }
      guard isWanted() else { throw .fenced }
      if isLate { throw StepError("it was not known in time whether another host has it") }
      usleep(Self.lookMicros)
    }
  }
}
