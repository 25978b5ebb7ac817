import FoundationEssentials
package import HoldfastCore
package import HoldfastWire

/// What a primary makes of what the standby says, and what it says of itself.
extension Pair {
  func advanced(_ progress: Holdfast_Progress) async {
    // What a site that was promoted meanwhile still says of its time as standby means nothing.
    guard let standing, standing.record.part == .primary, standing.refusal == nil else { return }
    board.update { view in
      let foreign = view.foreignUpTo
      func own(_ number: UInt64) -> PointNumber {
        number > foreign.rawValue ? PointNumber(rawValue: number) : .none
      }
      view.marks.received = max(view.marks.received, own(progress.received))
      view.marks.durable = max(view.marks.durable, own(progress.durable))
      view.marks.applied = max(view.marks.applied, own(progress.applied))
      view.lag.durable(own(progress.durable))
      view.held[.peer] =
        progress.replicaHeld.isEmpty
        ? nil : "\(peer) \(PairView.appliesNothing): \(progress.replicaHeld)"
    }
    if let id = RandomID(Array(progress.segment)) {
      spoolBoard.acknowledge(id, progress.durableSize)
      await shipper?.acknowledged(id, received: progress.receivedSize)
    }
    board.update { $0.backlogBytes = spoolBoard.backlog }
  }

  func refused(_ missing: Holdfast_Missing) async throws {
    let refused = PointNumber(rawValue: missing.refused)
    guard let capture, let digest = Digest32(Array(missing.durableSeal)) else { return }
    // What was thrown away was refused too, and needs no second answer.
    guard refused == .none || refused > thrownUpTo else { return }
    board.update { $0.lastError = "the standby asks for a whole point: \(missing.reason)" }
    capture.gate.interrupt()
    thrownUpTo = try await capture.startAnewAfterRefusal(parent: Seal(digest))
    // The link may be another by now.
    if let link = self.link { try await askForHints(link) } else { capture.gate.peerLeft() }
  }

  /// Asks the standby what it holds.
  func askForHints(_ link: any Link) async throws {
    var wanted = Holdfast_HintsWanted()
    wanted.pair = name
    try await link.send(Frames.encode(.hintsWanted(wanted)))
  }

  /// What this side can say of how fresh its points are.
  package nonisolated func pulse() -> Holdfast_PairPulse? {
    let view = board.view
    guard view.role == .primary else { return nil }
    var pulse = Holdfast_PairPulse()
    pulse.pair = name
    pulse.captured = view.marks.captured.rawValue
    pulse.backlogBytes = view.backlogBytes
    pulse.pendingPlaces = view.pendingPlaces + spoolBoard.changes(after: view.marks.durable)
    pulse.wallNanos = host.clock.wall().nanos
    if let fresh = view.fresh {
      pulse.known = true
      pulse.point = fresh.point.rawValue
      pulse.ageNanos = UInt64(max(0, (host.clock.now() - fresh.moment).nanos))
    }
    return pulse
  }

  /// - Parameter sent: it was sent then, by this site's clock, or later; `nil`: that is not known.
  package nonisolated func heard(_ pulse: Holdfast_PairPulse, sent: Instant?) {
    // What nobody can have captured is no news.
    guard pulse.captured <= Limits.pointMax, pulse.point <= Limits.pointMax,
      (0...Int64(Limits.pointMax)).contains(pulse.pendingPlaces)
    else { return }
    let wall = host.clock.wall()
    let (offset, overflow) = wall.nanos.subtractingReportingOverflow(pulse.wallNanos)
    let lead = wall.nanos - host.clock.now().nanos
    board.update { view in
      guard view.role == .standby else { return }
      view.clockOffset = overflow ? .zero : .nanoseconds(offset)
      view.peerCaptured = PointNumber(rawValue: pulse.captured)
      view.marks.captured = max(view.marks.captured, view.peerCaptured)
      view.peerPendingPlaces = pulse.pendingPlaces
      view.backlogBytes = pulse.backlogBytes
      guard pulse.known, view.durableReign == view.reign else { return view.lag.forget() }
      guard let sent else { return }
      // Also what was durable before this process began.
      view.lag.durable(view.marks.durable)
      view.wallLead = lead
      let age = Int64(min(pulse.ageNanos, UInt64(Int64.max / 2)))
      view.lag.claimed(
        .init(
          point: PointNumber(rawValue: pulse.point), moment: Instant(nanos: sent.nanos - age)))
    }
  }
}
