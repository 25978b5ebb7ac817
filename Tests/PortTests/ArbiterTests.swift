import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux
import HoldfastSimulation
import HoldfastWire
import TestKit
import Synchronization
import Testing

func reign(_ epoch: UInt64, _ id: UInt64 = 0) -> Reign {
  Reign(epoch: Epoch(rawValue: epoch), id: RandomID(high: 7, low: id == 0 ? epoch : id))
}
func key(_ number: UInt64) -> Fingerprint {
  Fingerprint(Digest32(words: SIMD4(number, 0, 0, 0)))
}

/// A site that asks an arbiter.
struct Asker {
  let arbiter: any Arbiter
  let site: Fingerprint
  let other: Fingerprint
  let pair: RandomID
  var record: RoleRecord
  static let ttl = Duration.seconds(5)

  /// The primary and the standby of a new pair.
  static func pair(
    _ arbiter: any Arbiter, _ site: Fingerprint, _ others: any Arbiter, _ other: Fingerprint
  ) -> (Asker, Asker) {
    let pair = RandomID(high: UInt64.random(in: 0...UInt64.max), low: 1)
    return (
      Asker(
        arbiter: arbiter, site: site, other: other, pair: pair,
        record: RoleRecord(reign: reign(1), part: .primary)),
      Asker(
        arbiter: others, site: other, other: site, pair: pair,
        record: RoleRecord(reign: reign(1), part: .standby))
    )
  }

  func asking(_ arbiter: any Arbiter) -> Asker {
    Asker(arbiter: arbiter, site: site, other: other, pair: pair, record: record)
  }

  func ask(_ request: ArbiterRequest) async -> ArbiterAnswer? {
    await arbiter.ask(
      request, SiteStatement(pair: pair, other: other, record: record, ttl: Self.ttl))
  }

  /// Asks again until the answer is of this kind; no lease and no quiet time is longer.
  func ask(
    _ request: ArbiterRequest, until isWanted: (ArbiterAnswer?) -> Bool
  ) async -> (answer: ArbiterAnswer?, took: Duration) {
    let clock = ContinuousClock()
    let start = clock.now
    while true {
      let answer = await ask(request)
      let took = clock.now - start
      if isWanted(answer) || took > Self.ttl * 4 { return (answer, took) }
      try? await Task.sleep(for: .milliseconds(100))
    }
  }
}

func isGranted(_ answer: ArbiterAnswer?) -> Bool {
  if case .granted = answer { true } else { false }
}
func isQuiet(_ answer: ArbiterAnswer?) -> Bool {
  if case .refused(.quiet) = answer { true } else { false }
}
func isHeld(_ answer: ArbiterAnswer?) -> Bool {
  if case .held = answer { true } else { false }
}

@Suite(.serialized) struct `An arbiter` {
  enum Kind: CaseIterable { case witness, etcd }

  /// Two sites of a new pair, and what keeps their arbiter alive.
  private func sites(_ kind: Kind) async throws -> (Asker, Asker, AnyObject) {
    switch kind {
    case .witness:
      let served = try await ServedWitness()
      let (left, right) = try served.sites()
      return (left, right, served)
    case .etcd:
      let cluster = EtcdCluster()
      #expect(await cluster.isReady())
      func arbiter(_ site: Fingerprint) throws -> any Arbiter {
        SharedStoreArbiter(site: site, store: cluster.store(), clock: SystemClock())
      }
      let (left, right) = Asker.pair(try arbiter(key(1)), key(1), try arbiter(key(2)), key(2))
      return (left, right, cluster)
    }
  }

  /// Both kinds at once: they wait for leases to end, mostly.
  private func ofEach(
    _ body: @escaping @Sendable (Kind) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for kind in Kind.allCases { group.addTask { try await body(kind) } }
      try await group.waitForAll()
    }
  }

  @Test func `grants as promised from an empty beginning to a planned move`() async throws {
    try await ofEach(grantAsPromised)
  }
  private func grantAsPromised(_ kind: Kind) async throws {
    var (left, right, keeper) = try await sites(kind)
    defer { withExtendedLifetime(keeper) {} }
    // Empty: nothing before both were heard, and then nothing for one ttl.
    #expect(await left.ask(.renew) == .refused(.unheard))
    #expect(isQuiet(await right.ask(.ask)))
    #expect(isQuiet(await left.ask(.renew)))
    let first = await left.ask(.renew, until: isGranted)
    #expect(first.answer == .granted(wait: .zero))
    #expect(first.took > Asker.ttl - .seconds(1))
    // Held: nobody else gets it, nor is told that it is free.
    #expect(isHeld(await right.ask(.ask)))
    #expect(isHeld(await right.ask(.acquire(reign(2), .automatic))))
    // A stranger's key means nothing.
    let stranger = Asker(
      arbiter: left.arbiter, site: left.site, other: key(9), pair: left.pair, record: left.record)
    #expect(await stranger.ask(.renew) == .refused(.foreign))
    // Given back: the other gets it at once, and the old holder is refused from then on.
    #expect(await left.ask(.renew) == .granted(wait: .zero))
    #expect(await left.ask(.release) == .released)
    #expect(await right.ask(.ask) == .free(reign(1)))
    // Not planned, where it was taken again, also once that is over.
    #expect(await left.ask(.renew) == .granted(wait: .zero))
    let over = await right.ask(.ask, until: { $0 == .free(reign(1)) })
    #expect(over.answer == .free(reign(1)))
    #expect(isHeld(await right.ask(.acquire(reign(2), .planned))))
    #expect(await left.ask(.release) == .released)
    #expect(await right.ask(.acquire(reign(2), .planned)) == .granted(wait: .zero))
    #expect(await left.ask(.renew) == .refused(.superseded(reign(2))))
    right.record = RoleRecord(reign: reign(2), part: .primary)
    #expect(await right.ask(.renew) == .granted(wait: .zero))
    left.record = RoleRecord(reign: reign(2), part: .standby)
    #expect(isHeld(await left.ask(.ask)))
  }

  @Test func `lets a person promote at once, who waits for the other's lease`() async throws {
    try await ofEach(letPromoteAtOnce)
  }
  private func letPromoteAtOnce(_ kind: Kind) async throws {
    var (left, right, keeper) = try await sites(kind)
    defer { withExtendedLifetime(keeper) {} }
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    let ordered = ArbiterRequest.acquire(reign(2), .ordered)
    guard case .granted(let wait) = await right.ask(ordered) else {
      Issue.record("not granted")
      return
    }
    #expect(wait > .zero && wait <= Asker.ttl)
    #expect(await left.ask(.renew) == .refused(.superseded(reign(2))))
    let alone = await right.ask(ordered) { $0 == .granted(wait: .zero) }
    #expect(alone.answer == .granted(wait: .zero))
    #expect(alone.took <= Asker.ttl + .seconds(3))
    // A promotion that it did not decide: adopted, and nothing is granted for one ttl.
    left.record = RoleRecord(reign: reign(3), part: .primary)
    #expect(isQuiet(await left.ask(.renew)))
    right.record = RoleRecord(reign: reign(2), part: .primary)
    #expect(await right.ask(.renew) == .refused(.superseded(reign(3))))
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    // Of two reigns of one number the second is told.
    right.record = RoleRecord(reign: reign(3, 33), part: .primary)
    #expect(await right.ask(.renew) == .refused(.split(reign(3))))
  }

  @Test func `lets the other serve again where a reign is declined`() async throws {
    try await ofEach(letServeAgain)
  }
  private func letServeAgain(_ kind: Kind) async throws {
    let (left, right, keeper) = try await sites(kind)
    defer { withExtendedLifetime(keeper) {} }
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    let ordered = ArbiterRequest.acquire(reign(2), .ordered)
    #expect(isGranted(await right.ask(ordered)))
    #expect(await left.ask(.renew) == .refused(.superseded(reign(2))))
    #expect(await right.ask(.decline(reign(2))) == .released)
    #expect(await left.ask(.renew) == .granted(wait: .zero))
    #expect(await right.ask(ordered) == .refused(.superseded(reign(1))))
    #expect(await right.ask(.decline(reign(2))) == .released)
    #expect(isHeld(await right.ask(.acquire(reign(2, 9), .automatic))))
  }

  @Test func `takes a lease for over when it ran out, and not before`() async throws {
    try await ofEach(takeForOver)
  }
  private func takeForOver(_ kind: Kind) async throws {
    let (left, right, keeper) = try await sites(kind)
    defer { withExtendedLifetime(keeper) {} }
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    _ = await left.ask(.renew, until: isGranted)
    let sent = ContinuousClock.now
    #expect(isGranted(await left.ask(.renew)))
    let taken = await right.ask(.acquire(reign(2), .automatic), until: isGranted)
    #expect(isGranted(taken.answer))
    #expect(ContinuousClock.now - sent >= Asker.ttl)
  }
}

/// A witness as sites meet it: over TLS, by the real client, out of records on a disk.
final class ServedWitness {
  private let scratch = Scratch()
  let networks: [Network]
  private let own: Network
  private let desk: WitnessDesk
  let port: Int

  /// - Parameters:
  ///   - disk: what its records are kept on; `nil`: a folder of its own.
  ///   - networks: of the two sites; `nil`: with keys that are new.
  init(disk: (any Disk)? = nil, _ networks: [Network]? = nil) async throws {
    self.networks =
      try networks ?? ["a", "b"].map { try Network(key: try SiteKey.make(name: $0)) }
    own = try Network(key: try SiteKey.make(name: "w"))
    let desk = try WitnessDesk(
      disk: try disk ?? LinuxDisk(scratch.path), clock: SystemClock(),
      executor: ThreadExecutor(label: "witness"))
    self.desk = desk
    let known = self.networks.map(\.fingerprint)
    port = try await own.listen(host: "127.0.0.1", port: 0, admits: { known.contains($0) }) {
      link in Task { try? await WitnessSession.serve(link, name: "w", desk: desk) }
    }
  }

  func client(_ index: Int, by port: Int? = nil) -> WitnessClient {
    WitnessClient(name: index == 0 ? "a" : "b", clock: SystemClock()) {
      [network = networks[index], key = own.fingerprint, port = port ?? self.port] in
      try await network.dial(host: "127.0.0.1", port: port) { $0 == key }
    }
  }

  func sites() throws -> (Asker, Asker) {
    Asker.pair(client(0), networks[0].fingerprint, client(1), networks[1].fingerprint)
  }

  func stop() async { await own.shutdown() }
}
