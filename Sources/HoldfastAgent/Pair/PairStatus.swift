import HoldfastCore
import HoldfastStore

/// What people are shown of a pair.
extension Pair {
  /// Nobody is left who could say that this primary may serve.
  private func alone(_ view: PairView, _ service: ServingRequest?) -> String? {
    guard configuration.failover.hasArbiter, standing?.record.part == .primary,
      standing?.refusal == nil, !view.peerConnected, let service, service.arbiterSilent == true,
      service.service == "\(Supervisor.Service.stopped)"
    else { return nil }
    return """
      neither \(peer) nor the arbiter answers, so nothing is served here: bring one of them back; \
      if \(peer) is off and stays off, type: holdfast resume \(name) --other-site-is-down
      """
  }

  package func status() -> StatusAnswer.Pair {
    let view = board.view
    let now = host.clock.now()
    let isKnown = view.role == .primary || view.role == .standby
    let lag = isKnown ? view.lag(host.clock) : nil
    func number(_ point: PointNumber) -> UInt64? { point == .none ? nil : point.rawValue }
    var alarms = PairView.Hold.allCases.compactMap { view.held[$0] }
    if standing == nil, isPrimaryByConfiguration {
      alarms.append("the roots are not marked: type: holdfast adopt \(name)")
    }
    let held = alarms.first
    alarms += [configuration.captureAdvice, configuration.failoverAdvice].compactMap { $0 }
    if let grade = view.grade, grade < configuration.require {
      alarms.append(
        """
        the newest point is \(grade.word), and \(configuration.require.word) is required: it is \
        neither applied nor promoted: \(view.gradeReason ?? "see holdfast points \(name)")
        """)
    }
    if view.peerConnected, abs(view.clockOffset.seconds) > Limits.clockOffsetMax.seconds {
      alarms.append(
        """
        the clocks of the two sites are \(format(abs(view.clockOffset.seconds))) s apart: points \
        carry the primary's time; set both by NTP
        """)
    }
    let service = heardService(view, now)
    if needsController {
      if service == nil {
        let loss = configuration.failover.hasArbiter ? "served from" : "started, ended or fenced"
        alarms.append(
          """
          the controller says nothing, so nothing is \(loss) here: systemctl status \
          holdfast-controller
          """)
      }
      if let trouble = service?.trouble { alarms.append(trouble) }
      if let alone = alone(view, service) { alarms.append(alone) }
    }
    if let error = view.linkError { alarms.append(error) }
    if let error = view.lastError { alarms.append("last error: \(error)") }
    return StatusAnswer.Pair(
      pair: name, role: view.role.rawValue, epoch: view.reign.epoch.rawValue,
      reign: view.reign == .none ? nil : view.reign.id.description,
      peer: .init(site: peer, connected: view.peerConnected),
      points: .init(
        captured: number(view.marks.captured), received: number(view.marks.received),
        durable: number(view.marks.durable), applied: number(view.marks.applied)),
      lagSeconds: lag?.seconds, backlogBytes: isKnown ? view.backlogBytes : nil,
      etaSeconds: isKnown ? eta(view) : nil,
      rpoSeconds: configuration.rpo.seconds, rpoKept: lag.map { $0 <= configuration.rpo },
      grade: view.grade?.word, provider: view.provider?.word, watch: view.watch?.rawValue,
      held: held, lastProven: nil,
      alarms: alarms,
      notes: moveNotes + view.notes
        + (configuration.dormantKeys.isEmpty
          ? []
          : ["accepted, not yet at work: \(configuration.dormantKeys.joined(separator: ", "))"]),
      sentBytes: view.bytesSent, journalBytes: view.segmentBytes, service: service?.service,
      leaseSeconds: service?.leaseSeconds)
  }

  /// What a person who looks is to know of a move that is under way, or of what the last one lost.
  private var moveNotes: [String] {
    guard let move = moves.moves.first else { return [] }
    if move.failure != nil {
      guard let loss = move.loss, standing?.role == .primary else { return [] }
      let time = loss.seconds.map { "the last \(format($0 + 0.1)) s" } ?? "an unknown time"
      return [
        "promoted at point \(loss.point): not in it: what was written in \(time) before \(loss.before)"
      ]
    }
    let phase = move.phase.map { ": \($0.name) for \(format($0.seconds)) s" } ?? ""
    return ["\(move.kind) since \(move.begun), ordered by \(move.by)\(phase)"]
  }

  /// What the controller said, unless that is long ago.
  func heardService(_ view: PairView, _ now: Instant) -> ServingRequest? {
    guard let service = view.service, now - service.at < Limits.deadAfter else { return nil }
    return service.word
  }

  /// Until the backlog is sent, at the pace of late.
  private func eta(_ view: PairView) -> Double? {
    if view.backlogBytes == 0 { return 0 }
    return view.pace?.bytesPerSecond.map { Double(view.backlogBytes) / max($0, 1) }
  }

  package func points() async throws -> PointsAnswer {
    var rows = try await receiver?.points() ?? []
    if let capture {
      let known = Set(rows.map(\.point.seal))
      rows += capture.points.filter { !known.contains($0.seal) }.map { PointRow(point: $0) }
    }
    rows.sort { $0.point.number > $1.point.number }
    return PointsAnswer(
      pair: name,
      points: rows.map { row in
        let point = row.point
        return PointsAnswer.Point(
          point: point.number.rawValue, time: point.time.rfc3339, grade: point.grade.word,
          provider: point.verdict.provider.word, frozenSeconds: point.verdict.frozen.seconds,
          reason: point.verdict.reason,
          seal: point.seal.description, parent: point.parent.description,
          epoch: point.reign.epoch.rawValue, reign: point.reign.id.description,
          branch: row.isBranch, files: point.totals.files, bytes: point.totals.bytes,
          changes: point.changes, proven: nil, pinned: row.isPinned)
      })
  }
}
