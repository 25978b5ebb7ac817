/// The clocks. Handed in, so that tests and simulations own time.
package protocol Timekeeper: Sendable {
  func now() -> Instant
  func wall() -> WallTime
  /// Returns at `deadline` or later, or throws `CancellationError`.
  func sleep(until deadline: Instant) async throws
  /// Blocks the calling thread, which must be a worker's own.
  func block(for duration: Duration)
}

/// Chance.
package protocol Dice: Sendable {
  /// 64 unpredictable bits.
  func word() -> UInt64
}

extension Dice {
  package func bytes(_ count: Int) -> [UInt8] {
    var out = [UInt8]()
    out.reserveCapacity(count + 8)
    while out.count < count {
      let word = self.word()
      for shift in 0..<8 { out.append(UInt8(truncatingIfNeeded: word >> (UInt64(shift) * 8))) }
    }
    return Array(out.prefix(count))
  }
}

/// A second thread for one user: what is given to it runs beside the user, one after another.
package protocol Helper: Sendable {
  func run(_ work: @escaping @Sendable () -> Void)
  /// Returns once all that was given has run.
  func wait()
}

/// Told when execution passes a named place, so that a test can prove that it was reached, and
/// stop the process there.
package protocol Probe: Sendable {
  func hit(_ place: ProbePlace)
}

/// The phases in which a kill must never cost anything.
package enum ProbePlace: String, Sendable {
  case reading, sending, sealing, applying, retaining, compacting, promoting
  /// Of a promotion, or the look at one, before its commit point.
  case choosing
  /// Each phase of a move, as its agents enter it.
  case moving
  /// What a controller begins and ends.
  case wanting, starting, running, stopping, stopped
  /// A witness is asked for a reign's lease, or given one back: before it is on record, and after,
  /// before it is answered.
  case acquiring, releasing
}

package struct NoProbe: Probe {
  package init() {}
  package func hit(_ place: ProbePlace) {}
}
