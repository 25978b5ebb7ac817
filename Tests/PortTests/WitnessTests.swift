import Glibc
import HoldfastController
import HoldfastCore
import HoldfastLinux
import HoldfastSimulation
import HoldfastWire
import TestKit
import Synchronization
import Testing

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
    // It has heard of one after the other.
    for asker in lefts { #expect(isGranted(await asker.ask(.renew, until: isGranted).answer)) }
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
