import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux
import HoldfastSimulation
import HoldfastWire
import TestKit
import Synchronization
import Testing

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
    let store = cluster.store()
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

  @Test(arguments: 0..<3)
  func `serves while one member hangs, whichever it is`(member: Int) async throws {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    let store = cluster.store()
    #expect(await ask(store) == nil)
    cluster.signal(SIGSTOP, of: member)
    var told = await ask(store)
    // Where that was the leader another is chosen first.
    for _ in 0..<20 where told != nil { told = await ask(store) }
    #expect(told == nil, "\(told ?? "")")
    // And from then on at once.
    let start = ContinuousClock.now
    for _ in 0..<5 { #expect(await ask(store) == nil) }
    #expect(ContinuousClock.now - start < .seconds(5))
    cluster.signal(SIGCONT, of: member)
  }

  @Test func `is asked once the files to ask with are there, also where they were wrong at first`()
    async throws
  {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    let folder = cluster.scratch.path
    Shell.run("cd '\(folder)'; echo none > site-late.pem; cp site-ca.key site-late.key")
    let store = cluster.store(cluster.settings(authority: "late"))
    let told = await ask(store)
    #expect(told?.contains("site-late.pem") == true, "\(told ?? "")")
    Shell.run("cd '\(folder)'; cp site-ca.pem site-late.pem")
    var later = await ask(store)
    for _ in 0..<100 where later != nil {
      try await Task.sleep(for: .milliseconds(100))
      later = await ask(store)
    }
    #expect(later == nil, "\(later ?? "")")
  }

  @Test func `whose certificate is another's is not asked, nor does it answer strangers`()
    async throws
  {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    let distrusted = await ask(cluster.store(cluster.settings(trusted: "other")))
    #expect(distrusted?.contains("TLS") == true, "\(distrusted ?? "")")
    let stranger = await ask(cluster.store(cluster.settings(authority: "other")))
    #expect(stranger?.contains("TLS") == true, "\(stranger ?? "")")
  }

  @Test func `that hangs is given up in time, and what is none is told apart`() async throws {
    let cluster = EtcdCluster()
    #expect(await cluster.isReady())
    cluster.signal(SIGSTOP)
    let start = ContinuousClock.now
    let hung = await ask(cluster.store())
    cluster.signal(SIGCONT)
    #expect(hung?.contains("does it hang") == true, "\(hung ?? "")")
    #expect(ContinuousClock.now - start < .seconds(5))
    let nobody = EtcdSettings(
      endpoints: [HostPort(host: "127.0.0.1", port: Ports.take())], tls: nil)
    let refused = await ask(cluster.store(nobody))
    #expect(refused?.contains("is it running") == true, "\(refused ?? "")")
    let port = Ports.take()
    let web = try ChildProcess(
      "/usr/bin/python3", ["-m", "http.server", "--bind", "127.0.0.1", "\(port)"],
      environment: [:], output: .file(cluster.scratch("web.log")))
    defer { web.send(SIGKILL) }
    let other = EtcdSettings(endpoints: [HostPort(host: "127.0.0.1", port: port)], tls: nil)
    var wrong = await ask(cluster.store(other))
    for _ in 0..<50 where wrong?.contains("is it running") == true {
      try await Task.sleep(for: .milliseconds(100))
      wrong = await ask(cluster.store(other))
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
