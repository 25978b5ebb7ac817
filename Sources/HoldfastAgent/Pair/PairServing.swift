import FoundationEssentials
package import HoldfastCore
import HoldfastWire

/// What the controllers want of a pair's agents: who this site is, that it may go on, that it does
/// not serve for a while.
extension Pair {
  /// What may be served here, and what would be lost by it.
  /// - Parameter otherKey: of the pair's other site; `nil` before the sites were joined.
  package func report(otherKey: Fingerprint?) -> ServingAnswer {
    let now = host.clock.now()
    let record = standing?.record
    let role = isPromoting ? Role.promoting : standing?.role ?? .unknown
    return ServingAnswer(
      pairID: identity?.id.description, otherKey: otherKey?.description,
      epoch: record?.reign.epoch.rawValue ?? 0, reign: (record?.reign.id ?? .none).description,
      part: record?.part == .primary ? "primary" : "standby", role: role.rawValue,
      refused: standing?.refusal != nil, promiseSeconds: max(.zero, promisedUntil - now).seconds,
      lossSeconds: loss.map(\.seconds), byWord: isByWord,
      move: plannedMove.map { PlannedMoveAnswer($0) },
      planned: isPlanned || (record?.reign.epoch.rawValue ?? 0) <= 1,
      promised: promisesGiven.hasPromised)
  }

  /// Whether the service may run here, or begin to. What the controller says it may have said
  /// before it heard of this site's role: the second time it knew.
  var mayServe: Bool {
    guard standing?.record.part == .primary else { return false }
    return standing?.role == .primary || isPromoting || (needsController && stoppedHeard < 2)
  }

  /// Who waits for the end of the service here is told.
  func hear(service: String) async {
    stoppedHeard = service == "\(Supervisor.Service.stopped)" ? min(2, stoppedHeard + 1) : 0
    let isAwaited = if case .superseded = standing?.refusal { true } else { false }
    if isAwaited, stoppedHeard == 2, !isEndSaid {
      isEndSaid = true
      await greet()
    }
  }

  /// Of a promotion now; `nil`: nothing is to be promoted without a person.
  private var loss: Duration? {
    let view = board.view
    let held: [PairView.Hold] = [.replica, .journal, .disk, .change, .configuration]
    guard standing?.role == .standby, !isMoving, promoting == nil, view.marks.durable != .none,
      held.allSatisfy({ view.held[$0] == nil })
    else { return nil }
    return view.lag(host.clock)
  }

  /// The arbiter has granted the lease of this reign here.
  package func granted(_ reign: Reign) async throws {
    isByWord = false
    try await obey(standing?.on(.granted(reign)) ?? [])
    if standing?.record.part == .primary { await greet() }
  }

  /// The controller gives this reign up that it was granted.
  /// - Returns: whether it never begins here any more; false where it has begun, or may have: a
  ///   role whose flush failed is what the next start reads.
  package func forgo(_ reign: Reign) -> Bool {
    guard let record = standing?.record, record.part == .standby,
      record.reign.epoch < reign.epoch, let saved = try? files.role(), saved.record == record
    else { return false }
    if !forgone.contains(reign) { forgone.append(reign) }
    if forgone.count > Limits.forgoneMax { forgone.removeFirst() }
    return true
  }

  /// Asks the other site not to serve for a time.
  /// - Parameter ttl: the controller's, which counts on it: it may have read its configuration at
  ///   another time than this agent.
  /// - Returns: whether it promised; false also where no answer comes in time.
  package func askPromise(_ reign: Reign, for ttl: Duration) async -> Bool {
    guard let link else { return false }
    lastPromise += 1
    var wanted = Holdfast_PromiseWanted()
    wanted.pair = name
    wanted.number = lastPromise
    wanted.epoch = reign.epoch.rawValue
    wanted.reign = Data(reign.id.bytes)
    wanted.ttlNanos = UInt64(ttl.nanos)
    let number = lastPromise
    let limit = configuration.failover.terms.timeout
    return await withCheckedContinuation { continuation in
      promises[number] = continuation
      Task {
        try? await link.send(Frames.encode(.promiseWanted(wanted)))
        try? await host.clock.sleep(until: host.clock.now() + limit)
        self.promised(number, false)
      }
    }
  }

  func promised(_ number: UInt64, _ isPromised: Bool) {
    promises.removeValue(forKey: number)?.resume(returning: isPromised)
  }

  /// A standby of the same reign promises, unless it is being promoted; from then on no grant of
  /// the arbiter lets it serve before the promise has run out.
  func promise(_ wanted: Holdfast_PromiseWanted, _ link: any Link) async throws {
    guard let id = RandomID(wanted.reign) else { throw CodingError.invalid("reign of a promise") }
    let reign = Reign(epoch: Epoch(rawValue: wanted.epoch), id: id)
    // Who asks counts with its own ttl.
    let ttl = configuration.failover.ttl
    var isPromised =
      standing?.role == .standby && standing?.record.reign == reign
      && (isPreviewing || (!isMoving || taking?.stage == .asking) && promoting == nil)
      && !isStopped
      && wanted.ttlNanos <= UInt64(ttl.nanos)
    if isPromised {
      do throws(DiskError) {
        // What was counted as lost ends before what the other may write from now on.
        try files.store(counted: nil)
        isPromised = try promisesGiven.promise(for: ttl)
      } catch {
        isPromised = false
        board.update { $0.lastError = "nothing is promised to \(peer): \(error)" }
      }
    }
    var answer = Holdfast_PromiseAnswer()
    answer.pair = name
    answer.number = wanted.number
    answer.isPromised = isPromised
    try await link.send(Frames.encode(.promiseAnswer(answer)))
  }
}

/// What the controller of this site says with each question.
package struct ServingRequest: Codable, Sendable {
  package var service: String
  package var leaseSeconds: Double?
  package var trouble: String?
  /// How far the controller has ended the service in a planned move that this site yields in.
  package var yield: YieldWord?
  /// Whether the arbiter gave no answer when it was asked last.
  package var arbiterSilent: Bool?
  /// What the plan would find on this host, now and then.
  package var facts: [String: String]?
  /// The newest reign, where the arbiter says that nobody holds its lease.
  package var vacant: ReignRequest?
  /// Whether the other site's lease lives, or may; `null`: the arbiter did not say.
  package var heldByOther: Bool?
  /// The epoch of a failover that is not done, or was withdrawn and is not declined yet.
  package var wanted: UInt64?
  /// The arbiter says that the other site was promoted past what a person had this one resume.
  package var wordContradicted: Bool?
  package init(_ word: ServiceWord) {
    wordContradicted = word.isWordContradicted
    vacant = word.vacant.map { ReignRequest($0) }
    heldByOther = word.isHeldByOther
    wanted = word.wanted?.rawValue
    yield = word.yield.map { YieldWord(reign: ReignRequest($0.next), word: $0.word.rawValue) }
    facts = word.facts
    arbiterSilent = word.isArbiterSilent
    service = word.service
    leaseSeconds = word.leaseLeft?.seconds
    trouble = word.trouble
  }
}

/// How far a controller has come in yielding to a reign: the words of ``Supervisor/Yield``.
package struct YieldWord: Codable, Sendable {
  package var reign: ReignRequest
  package var word: String
}

/// A ``PlannedMove``.
package struct PlannedMoveAnswer: Codable, Sendable {
  /// `asking`, `yielding`, `ready` or `taking`.
  package var part: String
  package var reign: ReignRequest
  /// Of `taking`.
  @Nullable package var point: UInt64?

  init(_ move: PlannedMove) {
    switch move {
    case .asking(let next): (part, reign, point) = ("asking", ReignRequest(next), nil)
    case .yielding(let next): (part, reign, point) = ("yielding", ReignRequest(next), nil)
    case .ready(let next): (part, reign, point) = ("ready", ReignRequest(next), nil)
    case .taking(let next, let number):
      (part, reign, point) = ("taking", ReignRequest(next), number.rawValue)
    }
  }

  /// - Returns: `nil` where it is none.
  var value: PlannedMove? {
    guard let next = reign.value else { return nil }
    switch part {
    case "asking": return .asking(next)
    case "yielding": return .yielding(next)
    case "ready": return .ready(next)
    case "taking": return point.map { .taking(next, PointNumber(rawValue: $0)) }
    default: return nil
    }
  }
}

/// What the controller of this site asks its agent again and again: docs/api.md.
package struct ServingAnswer: Codable, Sendable {
  /// In hex; `null` before the pair's secret is known.
  @Nullable package var pairID: String?
  @Nullable package var otherKey: String?
  package var epoch: UInt64
  package var reign: String
  package var part: String
  package var role: String
  /// Whether this site may not serve: the other was promoted past it, both were, or it has yielded.
  package var refused: Bool
  /// For how long this site promised not to serve.
  package var promiseSeconds: Double
  @Nullable package var lossSeconds: Double?
  /// Whether a person has said that the other site is down, and no arbiter has granted since.
  package var byWord: Bool
  /// A planned move that the controller has a part in.
  @Nullable package var move: PlannedMoveAnswer?
  /// Whether the other site yielded to this reign, or never reigned.
  package var planned: Bool
  /// See ``AgentReport/hasPromised``.
  package var promised: Bool

  /// - Returns: `nil` before the sites were joined and the secret has come.
  package var names: PairNames? {
    guard let pair = pairID.flatMap({ Hex.decode($0) }).flatMap({ RandomID($0) }),
      let digest = otherKey.flatMap({ Hex.decode($0) }).flatMap({ Digest32($0) })
    else { return nil }
    return PairNames(pair: pair, other: Fingerprint(digest))
  }

  /// - Returns: `nil` where it is not what an agent says.
  package var report: AgentReport? {
    guard let id = Hex.decode(self.reign).flatMap({ RandomID($0) }),
      let role = Role(rawValue: role)
    else { return nil }
    let reign = Reign(epoch: Epoch(rawValue: epoch), id: id)
    return AgentReport(
      record: RoleRecord(reign: reign, part: part == "primary" ? .primary : .standby), role: role,
      isRefused: refused, promiseLeft: .seconds(promiseSeconds),
      loss: lossSeconds.map { .seconds($0) }, isByWord: byWord, move: move?.value,
      isPlanned: planned, hasPromised: promised)
  }
}

/// A reign, in requests of a controller.
package struct ReignRequest: Codable, Sendable {
  package var epoch: UInt64
  package var reign: String
  package init(_ reign: Reign) {
    epoch = reign.epoch.rawValue
    self.reign = reign.id.description
  }
  package var value: Reign? {
    Hex.decode(reign).flatMap { RandomID($0) }.map {
      Reign(epoch: Epoch(rawValue: epoch), id: $0)
    }
  }
}

package struct ForgoReply: Codable, Sendable {
  package var forgone: Bool
  package init(forgone: Bool) { self.forgone = forgone }
}

package struct PromiseRequest: Codable, Sendable {
  package var reign: ReignRequest
  package var ttlSeconds: Double
  package init(_ reign: Reign, for ttl: Duration) {
    self.reign = ReignRequest(reign)
    ttlSeconds = ttl.seconds
  }
  /// `nil` where no pair can have it.
  package var ttl: Duration? {
    let most = Limits.ttlMax.seconds
    return ttlSeconds > 0 && ttlSeconds <= most ? .nanoseconds(Int64(ttlSeconds * 1e9)) : nil
  }
}

package struct PromiseReply: Codable, Sendable {
  package var promised: Bool
  package init(promised: Bool) { self.promised = promised }
}
