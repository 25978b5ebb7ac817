import FoundationEssentials
import HoldfastCore
import HoldfastStore
import HoldfastWire

/// What a standby makes of what the primary says.
extension Pair {
  func take(_ data: SegmentBytes) async throws {
    guard let receiver = try willing() else { return }
    do {
      let answer = try await receiver.take(data)
      try await answered(answer, receiver)
    } catch {
      try await stall(over: error)
    }
  }

  func begin(_ message: Holdfast_SegmentBegin) async throws {
    guard let receiver = try willing() else { return }
    do {
      try await receiver.begin(Array(message.header), reign: standing?.record.reign ?? .none)
    } catch {
      try await stall(over: error)
    }
  }

  /// - Returns: who takes what comes; `nil` where it comes too late, or before there is room: it is
  ///   sent again.
  /// - Throws: where the other site's epoch was not agreed to on this link.
  private func willing() throws -> ReceiveWorker? {
    guard let receiver, standing?.role == .standby, !isStalled else { return nil }
    guard isAgreed else { throw CodingError.invalid("points of an epoch that was not agreed to") }
    return receiver
  }

  /// What came is dropped, and sent again once it can be taken.
  /// - Throws: an error that is no reason to wait.
  private func stall(over error: any Error) async throws {
    if case ReceiveWorker.Failure.held = error {
      // While a person looks what a promotion would come to.
      isStalled = true
      return greetAgain()
    }
    guard let reason = Self.diskTrouble(error) else { throw error }
    await stall(reason, isFull: Self.isFull(error))
  }

  /// Whether room is what is wanting.
  private static func isFull(_ error: any Error) -> Bool {
    switch error {
    case ReceiveWorker.Failure.full, JournalError.disk(.full): true
    default: false
    }
  }

  /// What the disk has to do with an error, if anything.
  static func diskTrouble(_ error: any Error) -> String? {
    switch error {
    case ReceiveWorker.Failure.disk(let reason), ReceiveWorker.Failure.full(let reason): reason
    case let error as JournalError: "\(error)"
    case let error as IndexError: "\(error)"
    default: nil
    }
  }

  func answered(_ answer: ReceiveWorker.Answer, _ receiver: ReceiveWorker) async throws {
    board.hold(.disk, nil)
    if answer.isSealed {
      let durable = answer.status.durable
      board.update { $0.lag.durable(durable) }
    }
    // A first point is made while it comes, of what is durable.
    let isAhead = answer.isFlushed && board.view.marks.applied == .none
    if answer.isSealed || isAhead { applier?.wake.set() }
    if let refusal = answer.refusal { try await refuse(refusal, receiver) }
    saySoon(answer.status)
  }

  /// Now and then: what has waited long enough is made durable, what is old enough is let go.
  func tick() async {
    if configuration.failover.hasArbiter {
      promisesGiven.lowerTerm(to: configuration.failover.ttl)
    }
    guard let receiver else { return }
    do {
      if let status = try await receiver.tick() {
        if board.view.marks.applied == .none { applier?.wake.set() }
        await say(status)
      }
      try await retain(receiver)
    } catch {
      board.hold(.disk, "journal: \(error)")
    }
  }

  /// What comes next does not wait for the primary to be told; of what is to be told meanwhile the
  /// newest alone counts.
  private func saySoon(_ status: ReceiveWorker.Status) {
    unsaid = (status, linkGeneration)
    guard !isSaying else { return }
    isSaying = true
    Task {
      while let next = unsaid {
        unsaid = nil
        if next.generation == linkGeneration { await say(next.status) }
      }
      isSaying = false
    }
  }

  func refuse(
    _ refusal: ReceiveWorker.Refusal, _ receiver: ReceiveWorker
  ) async throws {
    var missing = Holdfast_Missing()
    missing.pair = name
    missing.reason = refusal.reason
    missing.names = refusal.missing.map { Data($0.digest.bytes) }
    let newest = try await receiver.newest()
    missing.durableSeal = Data((newest?.seal ?? .none).digest.bytes)
    missing.durable = newest?.number.rawValue ?? 0
    missing.refused = refusal.point.rawValue
    try await link?.send(Frames.encode(.missing(missing)))
  }

  /// - Parameter isFull: room is all that is wanting.
  func stall(_ reason: String, isFull: Bool = false) async {
    let advice =
      isFull
      ? "free space for the state directory"
      : "see to the disk of the state directory (dmesg, df)"
    board.hold(
      .disk,
      "receiving stopped, nothing is lost: \(reason); \(advice), receiving goes on by itself")
    var stalled = Holdfast_Stalled()
    stalled.pair = name
    stalled.reason = reason
    try? await link?.send(Frames.encode(.stalled(stalled)))
    isStalled = true
    greetAgain()
  }

  func sayApplied() async {
    guard link != nil, let receiver else { return }
    await say(await receiver.status())
  }

  func say(_ status: ReceiveWorker.Status) async {
    var progress = Holdfast_Progress()
    progress.pair = name
    progress.received = status.received.rawValue
    progress.durable = status.durable.rawValue
    progress.applied = board.view.marks.applied.rawValue
    if let id = status.segment { progress.segment = Data(id.bytes) }
    progress.receivedSize = status.receivedSize
    progress.durableSize = status.durableSize
    progress.replicaHeld = board.view.held[.replica] ?? ""
    try? await link?.send(Frames.encode(.progress(progress)))
  }

  /// - Parameter replacing: what the primary took for held may be gone.
  func sendHints(_ link: any Link, replacing: Bool) async throws {
    guard let receiver else { return }
    var portions = try await receiver.hints()
    if portions.isEmpty { portions = [[]] }
    for (index, portion) in portions.enumerated() {
      var hints = Holdfast_Hints()
      hints.pair = name
      hints.prefixes = portion
      hints.last = index == portions.count - 1
      hints.replaces = replacing && index == 0
      try await link.send(Frames.encode(.hints(hints)))
    }
  }
}
