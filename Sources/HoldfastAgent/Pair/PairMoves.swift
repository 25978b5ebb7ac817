package import HoldfastCore
import HoldfastStore

/// What people order of a pair.
extension Pair {
  // MARK: Adopt and resume

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

  /// A person says that this site goes on as what it was.
  package func resume(_ request: ResumeRequest) async throws -> String {
    guard let before = standing else {
      throw FailureAnswer(code: 3, "nothing to resume: type: holdfast adopt \(name)")
    }
    if request.otherSiteIsDown, let lost = try lostReign(before) {
      let answer = try await takeBack(after: lost)
      try await untilResumed()
      return answer
    }
    if let refusal = before.refusal { throw FailureAnswer(code: 3, "\(refusal)") }
    isByWord = request.otherSiteIsDown && before.record.part == .primary
    try await obey(standing?.on(.resume) ?? [])
    if standing?.record.part == .primary { await greet() }
    try await untilResumed()
    return "\(name): \(standing?.role.rawValue ?? "unknown") in epoch \(before.record.reign.epoch)"
  }

  /// The reign above this site's own that the other may have been lost with: yielded to, begun past
  /// this site, or granted and never begun; `nil`: there is none.
  /// - Throws: that the other site is not lost.
  private func lostReign(_ standing: Standing) throws -> Reign? {
    switch standing.refusal {
    case .yielded(let next): return next
    case .superseded(_, let theirs), .split(_, let theirs):
      guard standing.record.part == .primary else { return nil }
      guard link == nil else {
        throw FailureAnswer(
          code: 3,
          """
          \(peer) is connected, so it is not lost: to come back, type: holdfast failback \(name)
          """)
      }
      let service = heardService(board.view, host.clock.now())
      if let service, service.arbiterSilent != true, configuration.failover.hasArbiter,
        service.heldByOther != false
      {
        throw FailureAnswer(
          code: 3,
          """
          the arbiter does not say yet that nobody serves: \(peer) holds its lease, or did a \
          moment ago; if it is off, wait for two ttl and type it again
          """)
      }
      return theirs
    case .stale, .sameParts: return nil
    case nil:
      guard standing.record.part == .primary,
        let vacant = heardService(board.view, host.clock.now())?.vacant?.value,
        vacant.epoch > standing.record.reign.epoch
      else { return nil }
      return vacant
    }
  }

  /// Where the service may start at once; an arbiter may take its time.
  private func untilResumed() async throws {
    guard standing?.role == .primary, isByWord || !configuration.failover.hasArbiter,
      needsController, heardService(board.view, host.clock.now()) != nil
    else { return }
    try await untilServed()
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
    do {
      return SyncAnswer(point: try await capture.sync().rawValue)
    } catch let failure as CaptureWorker.SyncFailure {
      throw FailureAnswer(code: failure.isPassing ? 4 : 3, failure.reason)
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
