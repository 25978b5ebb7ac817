import HoldfastCore
import HoldfastStore

/// Captures a live cluster so that a server that starts on the point recovers to its moment: every
/// few minutes the data files by the server's own backup calls, in between its WAL alone.
final class PostgresProvider {
  let pair: PairConfiguration
  let paths: [String]
  let host: any Host
  private let settings: PostgresSettings?
  let exclusions: [Exclusion]
  private var session: Session?
  /// Why the last session ended early, until a point says so.
  private var trouble: String?
  private var nextLook: Instant?
  private var isCopying = false
  private var nextTry: Instant?
  /// Whether anybody still waits for the capture that is going on.
  var isWanted: () -> Bool = { true }
  /// What of the cluster's files the newest copy lacks, for it is excluded.
  var lacking: Place?
  /// Where the cluster lay in the newest point that shows it so.
  private var shown: ClusterLayout?

  private struct Session {
    let database: any DatabaseSession
    let statements: PostgresStatements
    /// Keeps the WAL that the newest copy of the data files needs.
    let slot: String
    var layout: ClusterLayout
    /// Of the tablespaces in it, as the server has them.
    var locations: [String]
    /// Of the directory that names them: one that came and went is in the WAL all the same.
    var links: Stamp?
    var base: Base?
  }

  /// A copy of the data files that was sealed in a point.
  private struct Base {
    var taken: Instant
    /// Where the WAL stood when the copy was whole.
    var position: String
    var nextAt: Instant
    /// Bytes of WAL since then, when last looked at.
    var since: Int64 = 0
  }

  init(pair: PairConfiguration, paths: [String], host: any Host) {
    self.pair = pair
    self.paths = paths
    self.host = host
    exclusions = pair.roots.map { Exclusion($0.exclude) }
    settings =
      pair.capture.lazy.compactMap { setting in
        if case .postgres(let settings) = setting { settings } else { nil }
      }.first
  }

  /// - Parameters:
  ///   - isWhole: the point is to say everything.
  ///   - isTold: whether all changes are told, so that what is not told of need not be looked at.
  func take(isWhole: Bool, isTold: Bool) throws(ProviderError) -> Providers.Moment {
    guard let settings else { preconditionFailure("postgres is not configured") }
    while true {
      let isKnown = session != nil
      do throws(ProviderError) {
        var moment = try take(settings, isWhole, isTold)
        moment.troubles = trouble.map { ["postgres: \($0)"] } ?? []
        return moment
      } catch {
        rest(for: error.reason)
        // A server that was started anew ended its sessions: once more with a new one.
        guard isKnown else { throw error }
      }
    }
  }

  private func take(
    _ settings: PostgresSettings, _ isWhole: Bool, _ isTold: Bool
  ) throws(ProviderError) -> Providers.Moment {
    if session == nil {
      session = try open(settings)
    } else {
      // Before anything is read for nothing.
      try look()
    }
    guard let session else { preconditionFailure("a session that was opened is not there") }
    let isFirst = session.base == nil
    let now = host.clock.now()
    // Tablespaces come and go: a server on the other site would want the new ones' directories.
    let locations = try locations(session.database)
    let links = try links(session.layout)
    var isBase =
      isFirst || isWhole || locations != session.locations || links != session.links
    if let base = session.base, now >= base.nextAt {
      isBase = isBase || base.since >= Limits.clusterIdleBytes
    }
    let cluster: ClusterCapture
    if isBase {
      let layout = try layout(session.database, locations)
      self.session?.layout = layout
      self.session?.locations = locations
      self.session?.links = links
      let trees = try trees()
      cluster = ClusterCapture(
        layout, trees, statements: session.statements, base: now,
        isTold: isTold && !isFirst && !isWhole)
      cluster.start = try one(
        session.database, session.statements.start, within: Limits.checkpointWithin)[0]
      if isFirst {
        // It was made with all WAL since the last checkpoint, which nothing needs.
        _ = try one(
          session.database, PostgresStatements.advance(session.slot, to: cluster.start))
      }
      isCopying = true
    } else {
      let trees = try trees()
      cluster = ClusterCapture(
        session.layout, trees, statements: session.statements, base: nil, isTold: isTold)
    }
    var moment = Providers.Moment(
      provider: .postgres, pictures: Pictures(trees: cluster.trees, madeAt: nil))
    moment.cluster = cluster
    return moment
  }

  func trees() throws(ProviderError) -> [any Tree] {
    do throws(TreeError) {
      var trees: [any Tree] = []
      for path in paths { trees.append(try host.tree(path)) }
      return trees
    } catch {
      throw ProviderError("\(error)")
    }
  }

  // MARK: The session

  private func open(_ settings: PostgresSettings) throws(ProviderError) -> Session {
    let began = host.clock.now()
    if let nextTry, began < nextTry {
      throw ProviderError(trouble ?? "the server did not answer a moment ago")
    }
    let database = try host.database(settings.connection)
    let found: [String]
    do throws(ProviderError) {
      found = try one(database, PostgresStatements.examine, fields: 3)
    } catch {
      let now = host.clock.now()
      // Nobody waits for long again and again; a refusal comes at once, and costs nothing.
      if now - began > .seconds(1), isWanted() { nextTry = now + Limits.databaseRetry }
      throw error
    }
    guard let version = Int(found[0]), version >= PostgresStatements.oldest else {
      throw ProviderError("the server's version, \(found[0]), is older than 13")
    }
    guard found[1] == "f" else {
      throw ProviderError("the server is a standby of another: replicate that one")
    }
    let locations = try locations(database)
    let layout = try layout(database, locations)
    let slot = "holdfast_\(RandomID(host.dice))".lowercased()
    _ = try one(database, PostgresStatements.createSlot(slot))
    return Session(
      database: database, statements: PostgresStatements(version: version), slot: slot,
      layout: layout, locations: locations)
  }

  /// Ends the session, and with it all that the server keeps or waits for.
  func rest() {
    session?.database.close()
    session = nil
  }

  private func rest(for reason: String) {
    trouble = reason
    rest()
  }

  func one(
    _ database: any DatabaseSession, _ statement: String, fields: Int = 1,
    within limit: Duration = Limits.statementWithin
  ) throws(ProviderError) -> [String] {
    let rows = try database.ask(statement, within: limit, while: isWanted)
    guard let row = rows.first, row.count == fields else {
      throw ProviderError("the server's answer to `\(statement)` is not understood")
    }
    return row
  }

  // MARK: Of one capture

  /// To be asked once all was read: nothing of the WAL was removed before, and it tells of no
  /// tablespace that is not known.
  func confirm() throws(ProviderError) {
    guard let session else { throw ProviderError("the server's session ended") }
    _ = try ask()
    guard try locations(session.database) == session.locations,
      try links(session.layout) == session.links
    else {
      rest(for: "tablespaces came or went")
      throw ProviderError("tablespaces came or went meanwhile: the data files are copied anew")
    }
  }

  /// Ends the session where the server would keep too much for it.
  private func look() throws(ProviderError) {
    guard let settings, let kept = try ask(), kept > settings.walBytes else { return }
    // One that was not ended is begun anew, and would fail again.
    let advice =
      isCopying
      ? "raise keep-wal beyond what the server writes during one copy, or copy while it writes less"
      : "the data files are copied anew"
    let error = ProviderError(
      """
      the server kept \(kept >> 20) MiB of WAL for this pair, more than keep-wal: it was let go; \
      \(advice)
      """)
    rest(for: error.reason)
    throw error
  }

  /// Whether the server still keeps what it should.
  /// - Returns: how many bytes that is.
  private func ask() throws(ProviderError) -> Int64? {
    guard let session else { return nil }
    let position = session.base?.position ?? "0/0"
    do throws(ProviderError) {
      let found = try one(
        session.database, PostgresStatements.look(session.slot, since: position), fields: 3)
      guard found[0] != "lost", let kept = Int64(found[1]), let since = Int64(found[2]) else {
        throw ProviderError("the server removed WAL that is needed (max_slot_wal_keep_size)")
      }
      self.session?.base?.since = since
      return kept
    } catch {
      rest(for: error.reason)
      throw error
    }
  }

  /// While a capture reads, or waits, which may take long: what is kept for it has a bound.
  func lookMeanwhile() throws(ProviderError) {
    let now = host.clock.now()
    guard nextLook ?? now <= now else { return }
    nextLook = now + Limits.clusterLookEvery
    try look()
  }

  /// The data files and all WAL since are in a sealed point: older WAL is let go.
  /// - Throws: why it is not; the next point copies the data files again.
  func sealed(_ cluster: ClusterCapture) throws(ProviderError) {
    shown = cluster.layout
    trouble = nil
    guard let taken = cluster.taken, let position = cluster.position, let session, let settings
    else { return }
    // Counted from its end: one that takes long leaves as long for points of WAL alone.
    let next = host.clock.now() + settings.every
    self.session?.base = Base(taken: taken, position: position, nextAt: next)
    do throws(ProviderError) {
      _ = try one(
        session.database, PostgresStatements.advance(session.slot, to: cluster.start))
    } catch {
      rest(for: error.reason)
      throw error
    }
  }

  /// A capture is over, whether it was sealed or not.
  func end(_ cluster: ClusterCapture) {
    isCopying = false
    // The server gives up a backup whose session ends.
    // What is not in a sealed point no later one may build on.
    if let taken = cluster.taken, session?.base?.taken != taken { rest() }
  }

  /// Whether the newest point shows it as only this provider does.
  var isShown: Bool { shown != nil }

  /// The next point shows the cluster as it lies there: all of it is to be looked at.
  func takeShown() -> [Place] {
    defer { shown = nil }
    return shown?.tops ?? []
  }

  /// Stops the backup that a copy of the data files needs, and shows what it gives in its end.
  func finish(_ cluster: ClusterCapture) throws {
    guard cluster.taken != nil else { return }
    guard let session else { throw ProviderError("the server's session ended") }
    let found = try one(
      session.database, cluster.statements.stop, fields: 3, within: Limits.checkpointWithin)
    guard let label = Hex.decode(found[1]), let map = Hex.decode(found[2]) else {
      throw ProviderError("the server's label is not understood")
    }
    let position = try one(session.database, PostgresStatements.position)[0]
    let real = moves.map { (from: host.report($0.from).realPath, to: $0.to) }
    try cluster.finish(
      label: label, map: TablespaceMap(map).moved(moves + real), at: host.clock.wall(), position)
  }
}
