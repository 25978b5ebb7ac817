import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux
import HoldfastSimulation
import HoldfastWire
import TestKit
import Synchronization
import Testing

private func reign(_ epoch: UInt64, _ id: UInt64 = 0) -> Reign {
  Reign(epoch: Epoch(rawValue: epoch), id: RandomID(high: 7, low: id == 0 ? epoch : id))
}
private func key(_ number: UInt64) -> Fingerprint {
  Fingerprint(Digest32(words: SIMD4(number, 0, 0, 0)))
}

/// A site that asks an arbiter.
private struct Asker {
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

private func isGranted(_ answer: ArbiterAnswer?) -> Bool {
  if case .granted = answer { true } else { false }
}
private func isQuiet(_ answer: ArbiterAnswer?) -> Bool {
  if case .refused(.quiet) = answer { true } else { false }
}
private func isHeld(_ answer: ArbiterAnswer?) -> Bool {
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
        SharedStoreArbiter(site: site, store: try cluster.store(), clock: SystemClock())
      }
      let (left, right) = Asker.pair(try arbiter(key(1)), key(1), try arbiter(key(2)), key(2))
      return (left, right, cluster)
    }
  }

  @Test(arguments: Kind.allCases)
  func `grants as promised from an empty beginning to a planned move`(_ kind: Kind) async throws {
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

  @Test(arguments: Kind.allCases)
  func `lets a person promote at once, who waits for the other's lease`(_ kind: Kind) async throws {
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

  @Test(arguments: Kind.allCases)
  func `lets the other serve again where a reign is declined`(_ kind: Kind) async throws {
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

  @Test(arguments: Kind.allCases)
  func `takes a lease for over when it ran out, and not before`(_ kind: Kind) async throws {
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
private final class ServedWitness {
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

/// A disk that takes its time where it is told to.
private final class SlowDisk: Disk {
  private let disk: LinuxDisk
  private let delay = Mutex(UInt32(0))
  init(_ path: String) throws { disk = try LinuxDisk(path) }
  func delay(bySeconds seconds: UInt32) { delay.withLock { $0 = seconds } }
  func replace(_ name: String, with bytes: [UInt8]) throws(DiskError) {
    sleep(delay.withLock { $0 })
    try disk.replace(name, with: bytes)
  }
  func list() throws(DiskError) -> [String] { try disk.list() }
  func create(_ name: String) throws(DiskError) -> any DiskFile { try disk.create(name) }
  func open(_ name: String, writable: Bool) throws(DiskError) -> any DiskFile {
    try disk.open(name, writable: writable)
  }
  func remove(_ name: String) throws(DiskError) { try disk.remove(name) }
  func flushNames() throws(DiskError) { try disk.flushNames() }
  func contents(of name: String) throws(DiskError) -> [UInt8]? { try disk.contents(of: name) }
  func freeBytes() throws(DiskError) -> Int64 { try disk.freeBytes() }
}

@Suite(.serialized) struct `A cluster of etcd` {
  private func ask(_ store: EtcdStore) async -> String? {
    let arbiter = SharedStoreArbiter(site: key(1), store: store, clock: SystemClock())
    let statement = SiteStatement(
      pair: RandomID(high: 1, low: 1), other: key(2),
      record: RoleRecord(reign: reign(1), part: .primary), ttl: .seconds(10))
    return await arbiter.ask(.renew, statement) == nil ? await arbiter.trouble ?? "" : nil
  }

  @Test func `serves with one member lost, and is told to lack a majority with two`() async throws {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    cluster.kill(0)
    let store = try cluster.store()
    var told = await ask(store)
    // Where the leader was lost another is chosen first.
    for _ in 0..<50 where told != nil {
      try await Task.sleep(for: .milliseconds(100))
      told = await ask(store)
    }
    #expect(told == nil, "\(told ?? "")")
    cluster.kill(1)
    var lost = await ask(store)
    // Who is left finds it out after a while.
    for _ in 0..<20 where lost?.contains("no leader") != true { lost = await ask(store) }
    #expect(lost?.contains("no leader: are a majority") == true, "\(lost ?? "")")
  }

  @Test func `whose certificate is another's is not asked, nor does it answer strangers`()
    async throws
  {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    let distrusted = await ask(try cluster.store(cluster.settings(trusted: "other")))
    #expect(distrusted?.contains("TLS") == true, "\(distrusted ?? "")")
    let stranger = await ask(try cluster.store(cluster.settings(authority: "other")))
    #expect(stranger?.contains("TLS") == true, "\(stranger ?? "")")
  }

  @Test func `that hangs is given up in time, and what is none is told apart`() async throws {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    cluster.signal(SIGSTOP)
    let start = ContinuousClock.now
    let hung = await ask(try cluster.store())
    cluster.signal(SIGCONT)
    #expect(hung?.contains("does it hang") == true, "\(hung ?? "")")
    #expect(ContinuousClock.now - start < .seconds(5))
    let nobody = EtcdSettings(
      endpoints: [HostPort(host: "127.0.0.1", port: Ports.take())], tls: nil)
    let refused = await ask(try cluster.store(nobody))
    #expect(refused?.contains("is it running") == true, "\(refused ?? "")")
    let port = Ports.take()
    let web = try ChildProcess(
      "/usr/bin/python3", ["-m", "http.server", "--bind", "127.0.0.1", "\(port)"],
      environment: [:], output: .file(cluster.scratch("web.log")))
    defer { web.send(SIGKILL) }
    let other = EtcdSettings(endpoints: [HostPort(host: "127.0.0.1", port: port)], tls: nil)
    var wrong = await ask(try cluster.store(other))
    for _ in 0..<50 where wrong?.contains("is it running") == true {
      try await Task.sleep(for: .milliseconds(100))
      wrong = await ask(try cluster.store(other))
    }
    #expect(wrong?.contains("is this etcd") == true, "\(wrong ?? "")")
  }
}

/// A store whose first answer waits until it is let go.
private actor HeldStore: SharedStore {
  private var store = SimulatedStore()
  private var held: [CheckedContinuation<Void, Never>] = []
  private var holds = false
  private let clock = SystemClock()

  func hold() { holds = true }
  var isHolding: Bool { !held.isEmpty }
  func letGo() {
    for waiter in held { waiter.resume() }
    held = []
  }
  func values(below prefix: String) async throws(SharedStoreError) -> [String: SharedValue] {
    if holds {
      holds = false
      await withCheckedContinuation { held.append($0) }
    }
    return store.seen(clock.now()).filter { $0.key.hasPrefix(prefix) }
  }
  func commit(_ change: SharedChange) async throws(SharedStoreError) -> Bool {
    store.commit(change, counted: clock.now(), now: clock.now())
  }
}

@Suite struct `An arbiter out of a store` {
  @Test func `gives nothing back that was asked for again since`() async throws {
    let store = HeldStore()
    func arbiter(_ site: Fingerprint) -> SharedStoreArbiter {
      SharedStoreArbiter(site: site, store: store, clock: SystemClock())
    }
    let (left, right) = Asker.pair(arbiter(key(1)), key(1), arbiter(key(2)), key(2))
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    // Asked first, and read behind what was asked second.
    await store.hold()
    let given = Task { await left.ask(.release) }
    while await !store.isHolding { await Task.yield() }
    #expect(isGranted(await left.ask(.renew)))
    await store.letGo()
    #expect(await given.value == nil)
    #expect(isHeld(await right.ask(.ask)))
    // In its turn it is given back.
    #expect(await left.ask(.release) == .released)
    #expect(await right.ask(.ask) == .free(reign(1)))
  }
}

@Suite(.serialized) struct `A witness` {
  /// What a site is told of one that is asked by the real client, over real TLS.
  private func told(_ port: Int, expecting expected: Fingerprint? = nil) async throws -> String {
    let network = try Network(key: try SiteKey.make(name: "a"))
    let client = WitnessClient(name: "a", clock: SystemClock()) {
      try await network.dial(host: "127.0.0.1", port: port) { expected == nil || $0 == expected }
    }
    let asker = Asker(
      arbiter: client, site: network.fingerprint, other: key(2),
      pair: RandomID(high: 1, low: 1),
      record: RoleRecord(reign: reign(1), part: .primary))
    #expect(await asker.ask(.renew) == nil)
    let trouble = await client.trouble ?? ""
    await network.shutdown()
    return trouble
  }

  @Test func `whose link is half open is given up in time, and asked over another`() async throws {
    let served = try await ServedWitness()
    let from = Ports.take()
    let scratch = Scratch()
    let relay = try ChildProcess(
      "/usr/bin/socat",
      ["TCP-LISTEN:\(from),bind=127.0.0.1,fork,reuseaddr", "TCP:127.0.0.1:\(served.port)"],
      environment: [:], output: .file(scratch("socat.log")), ownGroup: true)
    defer { relay.killGroup() }
    waitForListener(from)
    let client = served.client(0, by: from)
    let (left, _) = Asker.pair(
      client, served.networks[0].fingerprint, client, served.networks[1].fingerprint)
    #expect(await left.ask(.renew) == .refused(.unheard))
    // What is sent is taken by the kernel, and nobody reads it.
    Shell.run("pkill -STOP -P \(relay.number)")
    let start = ContinuousClock.now
    #expect(await left.ask(.renew) == nil)
    #expect(ContinuousClock.now - start < Asker.ttl)
    let trouble = await client.trouble ?? ""
    #expect(trouble.contains("no answer within"), "\(trouble)")
    let again = await left.ask(.renew) { $0 != nil }
    #expect(again.answer == .refused(.unheard))
    Shell.run("pkill -CONT -P \(relay.number)")
  }

  @Test func `that answers too late is not taken at its word for what is asked next`() async throws
  {
    let scratch = Scratch()
    let disk = try SlowDisk(scratch.path)
    let served = try await ServedWitness(disk: disk)
    let (left, right) = try served.sites()
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    disk.delay(bySeconds: 3)
    // It comes to be on record when nobody waits for it any more.
    #expect(await right.ask(.acquire(reign(2), .ordered)) == nil)
    disk.delay(bySeconds: 0)
    let next = await right.ask(.ask) { $0 != nil }
    #expect(isHeld(next.answer) || next.answer == .refused(.superseded(reign(1))), "\(next)")
    #expect(await left.ask(.renew) { $0 != nil }.answer == .refused(.superseded(reign(2))))
  }

  @Test func `serves many pairs of two sites at once, each on its own`() async throws {
    let served = try await ServedWitness()
    let (left, right) = try served.sites()
    func askers(_ asker: Asker) -> [Asker] {
      (1...40).map { number in
        Asker(
          arbiter: asker.arbiter, site: asker.site, other: asker.other,
          pair: RandomID(high: 3, low: UInt64(number)), record: asker.record)
      }
    }
    func all(_ askers: [Asker], _ request: ArbiterRequest) async -> [ArbiterAnswer?] {
      await withTaskGroup(of: ArbiterAnswer?.self) { group in
        for asker in askers { group.addTask { await asker.ask(request) } }
        return await group.reduce(into: []) { $0.append($1) }
      }
    }
    let (lefts, rights) = (askers(left), askers(right))
    // The link is made by the first question.
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(await all(lefts, .renew).allSatisfy { $0 == .refused(.unheard) })
    #expect(await all(rights, .ask).allSatisfy(isQuiet))
    _ = await left.ask(.renew, until: isGranted)
    #expect(await all(lefts, .renew).allSatisfy(isGranted))
    // One of them goes to the other site: the rest stays where it is.
    #expect(await lefts[7].ask(.release) == .released)
    #expect(await rights[7].ask(.acquire(reign(2), .planned)) == .granted(wait: .zero))
    #expect(await lefts[7].ask(.renew) == .refused(.superseded(reign(2))))
    let others = lefts.enumerated().filter { $0.offset != 7 }.map(\.element)
    #expect(await all(others, .renew).allSatisfy { $0 == .granted(wait: .zero) })
  }

  @Test func `begins anew with what is on its disk, and takes leases of before for whole ones`()
    async throws
  {
    let scratch = Scratch()
    let first = try await ServedWitness(disk: try LinuxDisk(scratch.path))
    var (left, right) = try first.sites()
    _ = await left.ask(.renew)
    _ = await right.ask(.ask)
    #expect(isGranted(await left.ask(.renew, until: isGranted).answer))
    #expect(isGranted(await right.ask(.acquire(reign(2), .ordered))))
    await first.stop()
    let second = try await ServedWitness(disk: try LinuxDisk(scratch.path), first.networks)
    left = left.asking(second.client(0))
    right = right.asking(second.client(1))
    right.record = RoleRecord(reign: reign(2), part: .primary)
    #expect(await left.ask(.renew) == .refused(.superseded(reign(2))))
    // The other's lease was granted a moment before, for all that it knows.
    guard case .granted(let wait) = await right.ask(.renew) else {
      Issue.record("not granted")
      return
    }
    #expect(wait > Asker.ttl - .seconds(1) && wait <= Asker.ttl, "\(wait)")
    left.record = RoleRecord(reign: reign(2), part: .standby)
    #expect(isQuiet(await left.ask(.acquire(reign(3), .automatic))))
  }

  private func waitForListener(_ port: Int) {
    Shell.run("for n in $(seq 200); do ss -ltn | grep -q ':\(port) ' && break; sleep 0.05; done")
  }

  @Test func `that is not there, hangs, is another or is none is told apart`() async throws {
    let refused = try await told(Ports.take())
    #expect(refused.contains("nothing listens"), "\(refused)")
    // Takes connections and says nothing.
    let silent = Ports.take()
    let scratch = Scratch()
    func listen(_ port: Int, _ answer: String) throws -> ChildProcess {
      try ChildProcess(
        "/usr/bin/socat", ["TCP-LISTEN:\(port),fork,reuseaddr,bind=127.0.0.1", "SYSTEM:\(answer)"],
        environment: [:], output: .file(scratch("socat.log")), ownGroup: true)
    }
    let hanging = try listen(silent, "sleep 30")
    waitForListener(silent)
    let hung = try await told(silent)
    #expect(hung.contains("no answer"), "\(hung)")
    hanging.killGroup()
    let web = Ports.take()
    let talking = try listen(web, "echo HTTP/1.0 400 no")
    waitForListener(web)
    let none = try await told(web)
    #expect(none.contains("is the port"), "\(none)")
    talking.killGroup()
    // One that listens as a site does: with another key, and as one that has never heard of this
    // site.
    let other = try Network(key: try SiteKey.make(name: "w"))
    let port = try await other.listen(host: "127.0.0.1", port: 0, admits: { _ in false }) { link in
      Task { await link.close() }
    }
    let wrong = try await told(port, expecting: key(5))
    #expect(wrong.contains("is not the one expected"), "\(wrong)")
    let stranger = try await told(port)
    #expect(stranger.contains("holdfast join here"), "\(stranger)")
    await other.shutdown()
  }
}
