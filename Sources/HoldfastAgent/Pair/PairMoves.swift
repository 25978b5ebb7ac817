package import HoldfastCore
import HoldfastStore

/// What people order of a pair.
extension Pair {
  // MARK: Adopt

  /// Marks this site's trees as this pair's.
  /// - Parameter otherKey: of the pair's other site; `nil` before the sites were joined.
  package func adopt(otherKey: Fingerprint?) async throws -> String {
    if identity == nil {
      guard isPrimaryByConfiguration else {
        throw FailureAnswer(
          code: 4, "the pair's secret has not come from \(peer) yet: connect the sites first")
      }
      guard let secret = PairSecret(host.secret(32)) else { preconditionFailure("32 bytes") }
      for path in paths {
        let report = host.report(path)
        guard report.state == .directory else {
          throw FailureAnswer(
            code: 3, "root \(path) is not a readable directory: create or mount it")
        }
      }
      let fresh = PairFiles.Identity(id: RandomID(host.dice), secret: secret)
      try files.store(fresh)
      identity = fresh
    }
    // Also where that came to the disk before, and this did not.
    if standing == nil, isPrimaryByConfiguration {
      let record = RoleRecord(
        reign: Reign(epoch: Epoch(rawValue: 1), id: RandomID(host.dice)), part: .primary)
      try files.store(PairFiles.Saved(record: record))
      standing = Standing(record: record)
    }
    guard let identity else { preconditionFailure("identity after adopt") }
    let rootGuard = RootGuard(host: host, pair: configuration, paths: paths, site: siteKey)
    if let problem = rootGuard.overlap(id: identity.id)
      ?? rootGuard.taken(from: otherKey, id: identity.id)
    {
      throw FailureAnswer(code: 3, problem)
    }
    for path in paths {
      do throws(TreeError) {
        try host.mark(path, Marker(pair: identity.id, filesystem: "", site: siteKey))
      } catch .exists {
        throw FailureAnswer(
          code: 3,
          """
          \(path)/.holdfast is somebody's own, and that name is Holdfast's: move it away, then \
          type: holdfast adopt \(name)
          """)
      } catch {
        throw FailureAnswer(code: 1, "cannot mark \(path): \(error)")
      }
    }
    if standing?.record.part == .primary { startCapture() }
    // Whatever stands in the replica, no point is known to be applied to it.
    if standing?.record.part == .standby || isPromoting {
      try await applier?.forgetReplica()
      if applier == nil { try ReplicaRecord().store(files.disk) }
    }
    capture?.wake.set()
    showRole()
    if standing?.record.part == .primary { await greet() }
    return "marked for pair \(name): \(paths.joined(separator: ", "))"
  }

  // MARK: Sync

  /// Once the sites are connected, the other's greeting is on its way.
  private func untilKnown() async {
    let end = host.clock.now() + Limits.agentAnswersWithin
    while standing?.role ?? .unknown == .unknown, standing?.refusal == nil, link != nil,
      host.clock.now() < end
    {
      try? await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
    }
  }

  /// Captures now.
  package func sync() async throws -> SyncAnswer {
    await untilKnown()
    guard standing?.role == .primary, let capture else {
      let role = standing?.role ?? .unknown
      throw FailureAnswer(
        code: 3,
        """
        \(name) is \(role.rawValue) here, only the primary captures: type the command on \(peer)\
        \(role == .unknown ? ", or if this site is to go on: holdfast resume \(name)" : "")
        """)
    }
    let end = host.clock.now() + Limits.agentAnswersWithin
    while true {
      do {
        return SyncAnswer(point: try await capture.sync().rawValue)
      } catch let failure as CaptureWorker.SyncFailure {
        // Nobody is sent away for what is over in a moment, as where the other site was just met.
        guard failure.isPassing, !isStopped, host.clock.now() < end else {
          throw FailureAnswer(code: failure.isPassing ? 4 : 3, failure.reason)
        }
        try await host.clock.sleep(until: host.clock.now() + Limits.superviseEvery)
      }
    }
  }

  // MARK: Repair

  /// Mends what a comparison found damaged on this site.
  package func repair(_ request: RepairRequest) async throws -> String {
    guard let receiver, let applier, standing?.record.part == .standby else {
      throw FailureAnswer(code: 3, "\(name) is not standby here: there is nothing to mend")
    }
    guard let (places, chunks) = request.decoded,
      places.allSatisfy({ paths.indices.contains($0.root.rawValue) })
    else { throw FailureAnswer(code: 2, "places or chunks that are none") }
    if request.index {
      // Whoever reads the old one would read it for ever.
      await applier.close()
      try await receiver.rebuildIndex()
    }
    if let records = request.records {
      let damaged = records.map { RecordPosition(segment: $0.segment, offset: $0.offset) }
      let reign = standing?.record.reign ?? .none
      guard try await receiver.carry(damaged, isAll: request.all == true, reign: reign) else {
        throw FailureAnswer(code: 4, "a point of \(name) is being received: try again")
      }
    }
    if !places.isEmpty { try await applier.mend(places) }
    guard !chunks.isEmpty else { return "mended" }
    guard board.view.peerConnected else {
      throw FailureAnswer(
        code: 4, "content must come again from \(peer), which is not connected: try later")
    }
    try await receiver.forget(chunks)
    if request.more == true { return "\(chunks.count) chunks are to be asked for" }
    try await refuse(
      ReceiveWorker.Refusal(missing: chunks, reason: "\(chunks.count) chunks are damaged"),
      receiver)
    return "asked \(peer) for \(chunks.count) chunks"
  }
}
