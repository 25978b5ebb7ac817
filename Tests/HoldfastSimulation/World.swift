package import HoldfastCore

/// Two sites and an arbiter in one thread, all that happens drawn from one seed. After every step
/// it is checked that not both serve and that no epoch falls.
package final class World {
  package enum Place: Int, CaseIterable {
    /// The witness stands where a store of several members does, too.
    case left, right, witness
  }
  package enum ArbiterKind { case none, witness, store }

  /// Branches that random runs reach seldom: a run says which it never did.
  package enum Probe: String, CaseIterable, Hashable {
    case handover, watchdogKilled, servedByPromise, waitedForLease, superseded, abandoned
    case quiet, unheard, automatic, ordered, byWord, refusedOrder, startFailed, leaseOver, rejoined
    case released, yielded, wentBack, turned
    case suspended, thawed, fencedAfterPause
    case agentStood, witnessStood, cutShort
    case declined, withdrawn, heldBack
    case lowered, raised
    case contended, changedLate
    case leftToPromised, gaveUpPlanned
    case promotionResumed, commitFailed
    case illMoved, illDamped, fencedOther, fencingFailed, fenceHung
    case promotedBeforeBoot, waitedForEnd, resumed, resumedAnew, resumeRefused, resumeFailed
    case lossWithheld, lossRefused, leftToPerson
    case split, splitRepaired

    /// Not by any order, not even by one on a false word.
    package static let ofBackups: Set<Probe> = [.split, .splitRepaired]
  }

  package let terms: LeaseTerms
  package let sites: [SimulatedSite]
  package private(set) var transcript: [String] = []
  package internal(set) var violations: [String] = []
  package internal(set) var probes: Set<Probe> = []
  var chance: Chance
  var now: Int64 = 0
  private var agenda = Agenda()
  private var epochs: [Epoch]
  private var wasServing = [false, false]
  /// Which the other site serves in place of.
  var declined: Set<Reign> = []
  /// By the site whose writes it is about.
  var stated: [String: StatedLoss] = [:]
  /// Until when the service is ill wherever it runs.
  var illUntil: Int64 = 0
  /// The reigns that the other host was switched off for.
  var fencedFor: Set<Reign> = []
  /// Of reigns that a planned move brought: what the new primary's tree held.
  var plannedTrees: [Reign: Int] = [:]

  let pair: RandomID
  let arbiter: ArbiterKind
  var witness: Witness?
  /// `nil` while no member of it decides.
  var store: SimulatedStore?
  /// What its members' disks hold meanwhile.
  var storeKept = SimulatedStore()
  var witnessRecords: [RandomID: WitnessRecord] = [:]
  var witnessClock: SimulatedClock
  var witnessRun = 0
  var witnessStandsUntil: Int64?
  /// Directions that nothing passes.
  var cuts: Set<[Place]> = []
  var isLossy = true
  /// A person has said that a site was down which was not: until some time after calm has come both
  /// may serve.
  var isWordFalse = false
  var calmFrom: Int64?
  /// Whoever ordered them was told that they do not begin.
  var failed: Set<Reign> = []
  /// Records came from elsewhere than from what was decided.
  var isBroughtBack = false

  package init(
    seed: UInt64, terms: LeaseTerms, isAutomatic: Bool, arbiter: ArbiterKind = .witness,
    fencing: SupervisionSettings.Fencing = .none, movesUnhealthy: Bool = false,
    maxLoss: Duration = .seconds(3600)
  ) {
    let hasArbiter = arbiter != .none
    self.arbiter = arbiter
    var chance = Chance(seed: seed)
    self.terms = terms
    pair = chance.id()
    let reign = Reign(epoch: Epoch(rawValue: 1), id: chance.id())
    func clock() -> SimulatedClock {
      SimulatedClock(
        bootedAt: 0, drift: chance.below(1001) - 500, offset: chance.below(1_000_000_000_000))
    }
    witnessClock = clock()
    sites = ["left", "right"].enumerated().map { index, name in
      SimulatedSite(
        name: name, index: index,
        key: Fingerprint(Digest32(words: SIMD4(UInt64(index + 1), 0, 0, 0))), clock: clock(),
        terms: terms,
        record: index == 0
          ? RoleRecord(reign: reign, part: .primary)
          : RoleRecord(reign: .none, part: .standby))
    }
    epochs = [reign.epoch, .none]
    self.chance = chance
    settings = SupervisionSettings(
      terms: terms, isAutomatic: isAutomatic && hasArbiter, maxLoss: maxLoss,
      hasArbiter: hasArbiter, fencing: fencing, movesUnhealthy: movesUnhealthy)
    startArbiter()
    for site in sites {
      startAgent(site)
      startController(site)
      beat(site)
    }
  }

  let settings: SupervisionSettings

  // MARK: Time

  func after(
    by doer: Doer? = nil, _ delay: Duration, _ happen: @escaping (World) -> Void
  ) {
    agenda.add(now + max(1, delay.nanos), by: doer, happen)
  }

  func at(by doer: Doer? = nil, _ time: Int64, _ happen: @escaping (World) -> Void) {
    agenda.add(max(time, now + 1), by: doer, happen)
  }

  /// Until when who is to do something stands still; `nil`: it does not.
  private func pause(of doer: Doer?) -> Int64? {
    switch doer {
    case .site(let site): site.pausedUntil
    case .agent(let site): site.pausedUntil ?? site.agentStandsUntil
    case .witness: witnessStandsUntil
    case nil: nil
    }
  }

  /// - Returns: whether all that was promised held.
  package func run(for duration: Duration) -> Bool {
    let end = now + duration.nanos
    var isOver = false
    agenda.add(end) { _ in isOver = true }
    while !isOver, violations.isEmpty, let item = agenda.next() {
      now = item.at
      if let pause = pause(of: item.doer), pause > now {
        agenda.add(pause, by: item.doer, item.happen)
        continue
      }
      item.happen(self)
      judge()
    }
    return violations.isEmpty
  }

  // MARK: Oracle

  private func judge() {
    let serving = sites.map(\.isServing)
    if serving != wasServing {
      wasServing = serving
      let names = sites.filter(\.isServing).map(\.name)
      say("==", names.isEmpty ? "nobody serves" : "\(names.joined(separator: " and ")) serves")
    }
    for site in sites where site.isServing {
      guard let tree = plannedTrees[site.record.reign], other(site).tree > tree, !isWordFalse
      else { continue }
      if other(site).record.reign.epoch < site.record.reign.epoch {
        violations.append("a planned move lost \(other(site).tree - tree) writes")
      }
    }
    let areTwoAllowed = isWordFalse && calmFrom.map { now < $0 + terms.ttl.nanos * 6 } ?? true
    if serving == [true, true], !areTwoAllowed { violations.append("both sites serve") }
    for site in sites {
      if site.isServing, site.promotingTo != nil {
        violations.append("\(site.name) serves a tree that is not ready")
      }
      // What an agent has begun; a disk may hold what was taken back.
      guard let epoch = site.standing?.record.reign.epoch else { continue }
      if epoch < epochs[site.index] { violations.append("\(site.name)'s epoch fell to \(epoch)") }
      epochs[site.index] = epoch
      if let reign = site.standing?.record.reign, failed.contains(reign) {
        violations.append("\(site.name) reigns as was said to have failed")
      }
    }
    let (left, right) = (sites[0].standing?.record.reign, sites[1].standing?.record.reign)
    if let left, let right, left.epoch == right.epoch, left != right, !isBroughtBack {
      violations.append("two reigns of one epoch")
    }
  }

  /// How many writes the tree of the site that does not serve lacks; `nil` where not one serves.
  package var lag: Int? {
    guard let site = serving.first, serving.count == 1 else { return nil }
    return site.tree - other(site).tree
  }

  /// Whether both sites are of one reign.
  package var isAgreed: Bool { sites[0].standing?.record.reign == sites[1].standing?.record.reign }

  package var serving: [SimulatedSite] { sites.filter(\.isServing) }

  func say(_ who: String, _ what: String) {
    let millis = now / 1_000_000
    let time = String(repeating: " ", count: max(0, 7 - String(millis).count)) + "\(millis)"
    transcript.append("\(time) ms  \(who): \(what)")
  }

  /// Whether a process dies here, between two things that it was to do.
  var isCut: Bool {
    guard isLossy, chance.isTrue(oneIn: 500) else { return false }
    probes.insert(.cutShort)
    return true
  }

  /// - Parameter writer: the reign of who sent it.
  func receive(_ tree: Int, by writer: Reign, at site: SimulatedSite) {
    if writer != site.record.reign {
      violations.append("\(site.name) took what epoch \(writer.epoch) wrote")
    }
    site.tree = max(site.tree, tree)
  }

  // MARK: Network

  func place(_ site: SimulatedSite) -> Place { site.index == 0 ? .left : .right }
  func other(_ site: SimulatedSite) -> SimulatedSite { sites[1 - site.index] }

  func send(_ from: Place, _ to: Place, _ arrive: @escaping (World) -> Void) {
    if cuts.contains([from, to]) { return }
    if isLossy, chance.isTrue(oneIn: 40) { return }
    let copies = isLossy && chance.isTrue(oneIn: 40) ? 2 : 1
    for _ in 0..<copies {
      let isSlow = isLossy && chance.isTrue(oneIn: 30)
      let limit = isSlow ? terms.timeout * 2 : .milliseconds(30)
      let receiver = to == .witness ? nil : sites[to.rawValue]
      let boots = receiver?.boots
      let doer: Doer? =
        switch (from, receiver) {
        case (.witness, let site?): .site(site)
        // What sites say to one another their agents say.
        case (_, let site?): .agent(site)
        case (_, nil): .witness
        }
      after(by: doer, chance.duration(.microseconds(100)...limit)) { world in
        // A connection ends with the host that it leads to.
        if !world.cuts.contains([from, to]), receiver?.boots == boots { arrive(world) }
      }
    }
  }

  // MARK: Arbiter

  var isArbiterUp: Bool { witness != nil || store != nil }

  func startArbiter() {
    witnessRun += 1
    witnessStandsUntil = nil
    switch arbiter {
    case .none: break
    case .witness:
      witness = Witness(records: Array(witnessRecords.values), now: witnessClock.local(now))
    case .store:
      storeKept.elect(witnessClock.local(now))
      store = storeKept
    }
  }

  /// The last that it did is on its disk.
  func stopArbiter() {
    witnessRun += 1
    witness = nil
    if let store { storeKept = store }
    store = nil
  }

  func hear(
    _ request: ArbiterRequest, _ statement: SiteStatement, from site: SimulatedSite,
    _ number: Supervisor.RequestNumber, run: Int
  ) {
    guard witness != nil else { return }
    let orders =
      witness?.on(request, from: site.key, statement, now: witnessClock.local(now)) ?? []
    for order in orders {
      // What is not durable yet is lost, and nobody was told of it.
      if isCut { return restartArbiter(isForgetting: false, within: terms.ttl) }
      switch order {
      case .persist(let record):
        if case .decline(let reign) = request, record.holder != site.key { noteDeclined(reign) }
        witnessRecords[record.pair] = record
      case .answer(let answer):
        note(answer)
        send(.witness, place(site)) { world in
          guard site.controllerRun == run else { return }
          world.tell(site, .arbiter(number, answer))
        }
      }
    }
  }

  func noteDeclined(_ reign: Reign) {
    probes.insert(.declined)
    declined.insert(reign)
  }

  func note(_ answer: ArbiterAnswer) {
    if case .refused(.quiet) = answer { probes.insert(.quiet) }
    if case .refused(.unheard) = answer { probes.insert(.unheard) }
    if case .granted(let wait) = answer, wait > .zero { probes.insert(.waitedForLease) }
  }
}
