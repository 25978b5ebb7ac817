package import HoldfastCore
import HoldfastStore

/// Finding out with a standby what the next point builds on, and what it holds already.
extension CaptureWorker {
  package enum Agreement: Sendable {
    /// The spool holds all that the standby lacks.
    case inStep
    /// A whole point will be captured; `hints`: first the standby says what it holds.
    case anew(hints: Bool)
  }

  /// Finds out how to go on with a standby.
  /// - Parameters:
  ///   - durable: its newest point, with its seal.
  ///   - tail: see ``SpoolBoard/State/isInStep(_:_:tail:)``.
  package func meet(
    _ durable: PointNumber, _ seal: Seal, isEmpty: Bool, tail: (id: RandomID, size: Int64)?
  ) throws -> Agreement {
    gate.proceed()
    try openStore()
    highest = max(highest, gate.highest)
    if spoolBoard.view.isInStep(durable, seal, tail: tail) ?? true { return .inStep }
    try startAnew(parent: seal)
    isInformed = isEmpty
    gate.expectHints(!isEmpty)
    return .anew(hints: !isEmpty)
  }

  /// Throws away what the spool holds, and what was known of the other side.
  package func clearSpool(for parent: Seal) throws {
    gate.proceed()
    try openStore()
    try startAnew(parent: parent)
  }

  /// Captures the whole tree as it stands, for this site's own journal.
  /// - Parameters:
  ///   - reign: the tree was written in.
  ///   - highest: no number up to it is used.
  ///   - hints: prefixes of the names of all chunks that the journal holds.
  ///   - isAgain: a stock was refused, so every large file is read.
  package func takeStock(
    of reign: Reign, above highest: PointNumber, holding hints: [[UInt64]], isAgain: Bool
  ) throws -> Point {
    let now = host.clock.now()
    if isAgain { refusedUpTo = highest }
    guard case .sound(let identities) = rootGuard.look(id: identity.id) else {
      throw SyncFailure(reason: rootGuard.look(id: identity.id).words)
    }
    watched = identities
    self.reign = reign
    self.highest = max(self.highest, highest)
    try open()
    for portion in hints { try catalog?.learn(portion) }
    isInformed = true
    drain()
    isStock = true
    defer { isStock = false }
    try captureOnce(now)
    guard let stock = spoolBoard.view.points.last?.point else {
      throw SyncFailure(reason: "nothing was captured")
    }
    return stock
  }

  /// The spool is of no use to the standby: it is thrown away for a whole point.
  func startAnew(parent: Seal) throws {
    guard let spool, let catalog else { return }
    try writer?.abandon()
    capture = nil
    writer = nil
    // What was said before is asked for anew.
    _ = gate.takeHints()
    for number in spool.segments.keys { try spool.remove(number) }
    spoolBoard.cleared()
    try catalog.forgetKnown()
    isInformed = false
    areHintsCut = false
    wholeParent = parent
    try agree()
    board.update { view in
      view.fresh = nil
      view.lag.forget()
    }
    pace.changed(at: host.clock.now())
    wake.set()
  }

  /// Tells what the next point builds on.
  func agree() throws {
    guard let catalog else { return spoolBoard.closed() }
    spoolBoard.agree(head: try catalog.head().seal, wholeParent: wholeParent)
  }

  /// The standby lacks content that was taken for held.
  /// - Returns: the highest number of any point that was thrown away.
  package func startAnewAfterRefusal(parent: Seal) throws -> PointNumber {
    gate.proceed()
    highest = max(highest, gate.highest)
    refusedUpTo = highest
    try startAnew(parent: parent)
    gate.expectHints(true)
    return highest
  }

  /// Takes what the standby said that it holds.
  func learn() throws {
    for hints in gate.takeHints() {
      if hints.isReplacing { try catalog?.forgetKnown() }
      try catalog?.learn(hints.prefixes)
      areHintsCut = hints.isCut || areHintsCut
      if hints.isLast {
        gate.expectHints(false)
        isInformed = !areHintsCut
        areHintsCut = false
      }
    }
  }
}
