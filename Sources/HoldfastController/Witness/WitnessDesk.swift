package import HoldfastCore
package import HoldfastWire

/// Answers sites out of one ``Witness``, and keeps durably what it says before it says it.
package actor WitnessDesk {
  /// A record could not be made durable. What is in memory is ahead of the disk then: the process
  /// must end, and begin again from what is on it.
  package struct Lost: Error, CustomStringConvertible {
    package let description: String
  }

  private let disk: any Disk
  private let clock: any Timekeeper
  private let probe: any Probe
  private var witness: Witness
  private struct Session {
    let number: UInt64
    /// Of each pair the question that came last.
    var asked: [RandomID: UInt64] = [:]
  }
  /// Of each site the newest link: what still comes by one before it means nothing any more.
  private var sessions: [Fingerprint: Session] = [:]
  private var lastSession: UInt64 = 0
  private let executor: any SerialExecutor
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }

  /// - Parameter executor: a thread that may block.
  package init(
    disk: any Disk, clock: any Timekeeper, executor: any SerialExecutor,
    probe: any Probe = NoProbe()
  ) throws {
    self.disk = disk
    self.probe = probe
    self.clock = clock
    self.executor = executor
    let records = try disk.list().map { name in
      guard let bytes = try disk.contents(of: name),
        let record = try? WitnessRecord(decoding: bytes)
      else {
        throw Lost(
          description: """
            the witness's record \(name) is damaged: move it away, never put an old one in its \
            place: nothing is granted then before both sites were heard
            """)
      }
      return record
    }
    witness = Witness(records: records, now: clock.now())
  }

  package var records: [WitnessRecord] { witness.records }

  /// A site has a new link.
  /// - Returns: by which it is to be named.
  func begin(_ site: Fingerprint) -> UInt64 {
    lastSession += 1
    sessions[site] = Session(number: lastSession)
    return lastSession
  }

  func isNewest(_ session: UInt64, of site: Fingerprint) -> Bool {
    sessions[site]?.number == session
  }

  /// - Returns: `nil` where the site has a newer link, or has asked something else of the pair
  ///   since: to give back behind what was renewed would end a lease that is served under.
  /// - Throws: see ``Lost``.
  func answer(
    _ ask: ArbiterAsk, from site: Fingerprint, by session: UInt64
  ) throws(Lost) -> ArbiterAnswer? {
    let pair = ask.statement.pair
    guard isNewest(session, of: site), sessions[site]?.asked[pair] ?? 0 < ask.number else {
      return nil
    }
    // A stranger names as many as it likes.
    if sessions[site]?.asked.count ?? 0 >= Limits.witnessPairsMax { sessions[site]?.asked = [:] }
    sessions[site]?.asked[pair] = ask.number
    return try answer(ask, from: site)
  }

  func end(_ session: UInt64, of site: Fingerprint) {
    if isNewest(session, of: site) { sessions[site] = nil }
  }

  /// - Parameter site: the key that the link proved.
  package func answer(_ ask: ArbiterAsk, from site: Fingerprint) throws(Lost) -> ArbiterAnswer {
    let orders = witness.on(ask.request, from: site, ask.statement, now: clock.now())
    let place: ProbePlace? =
      switch ask.request {
      case .acquire: .acquiring
      case .release: .releasing
      case .ask, .renew, .decline: nil
      }
    if let place { probe.hit(place) }
    for order in orders {
      switch order {
      case .persist(let record):
        do {
          try disk.replace(record.pair.description, with: record.encoded)
        } catch {
          throw Lost(description: "\(error)")
        }
      case .answer(let answer):
        if let place { probe.hit(place) }
        return answer
      }
    }
    preconditionFailure("no answer to \(ask)")
  }
}
