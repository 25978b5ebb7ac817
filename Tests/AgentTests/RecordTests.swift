import HoldfastAgent
import HoldfastController
import HoldfastCore
import HoldfastLinux
import Synchronization
import TestKit
import Testing

/// What processes leave to those that follow them on the same boot.
@Suite struct `A record for who follows` {
  private final class HandClock: Timekeeper {
    private let time = Mutex((boot: Int64(0), wall: Int64(0)))
    func now() -> Instant { Instant(nanos: time.withLock { $0.boot }) }
    func wall() -> WallTime { WallTime(nanos: time.withLock { $0.wall }) }
    func set(boot: Int64, wall: Int64) { time.withLock { $0 = (boot, wall) } }
    func sleep(until deadline: Instant) async throws {}
    func block(for duration: Duration) {}
  }

  @Test func `of a promise holds for the boot and the pair that it was made in`() throws {
    let disk = try LinuxDisk(Scratch().path)
    func record(_ boot: String, _ pair: String = "p") -> PromiseRecord {
      PromiseRecord(disk: disk, boot: boot, pair: pair)
    }
    #expect(record("one").end() == nil)
    #expect(record("one").store(Instant(nanos: 5)))
    #expect(record("one").store(Instant(nanos: 7)))
    #expect(record("one").end() == Instant(nanos: 7))
    #expect(record("two").end() == nil)
    #expect(record("one", "other").end() == nil)
    // Nothing is promised that could not be known again.
    #expect(!record("").store(Instant(nanos: 9)))
    #expect(!PromiseRecord(disk: nil, boot: "one", pair: "p").store(Instant(nanos: 9)))
    try disk.replace("promised-p", with: Array("one".utf8))
    #expect(record("one").end() == nil)
  }

  @Test func `of what is lost is of one reign, and gone before anything is promised`() throws {
    let files = PairFiles(disk: try LinuxDisk(Scratch().path))
    let reign = Reign(epoch: Epoch(rawValue: 4), id: RandomID(high: 1, low: 2))
    let counted = PairFiles.CountedLoss(
      reign: reign, length: .milliseconds(1234), end: WallTime(nanos: -5))
    #expect(try files.counted() == nil)
    try files.store(counted: nil)
    try files.store(counted: counted)
    #expect(try files.counted() == counted)
    try files.store(counted: nil)
    #expect(try files.counted() == nil)
  }

  @Test func `of a promise is denied by a mark that is gone before the next is given`() throws {
    let disk = try LinuxDisk(Scratch().path)
    let clock = HandClock()
    func promises(_ used: any Disk) throws -> Promises {
      var promises = Promises(files: PairFiles(disk: used), clock: clock) {
        PromiseRecord(disk: disk, boot: "one", pair: "p")
      }
      try promises.begin(ttl: .seconds(5))
      return promises
    }
    var first = try promises(disk)
    #expect(first.hasPromised && first.until == Instant(nanos: 5_000_000_000))
    first.ended()
    #expect(!first.hasPromised && first.until == Instant(nanos: 0))
    #expect(try !promises(disk).hasPromised)
    // Its removal fails to reach the disk: nothing is promised, now or when asked again.
    var second = try promises(FaultDisk(disk, FaultPlan(.flush, .inputOutput, at: 1)))
    #expect(throws: DiskError.self) { try second.promise(for: .seconds(5)) }
    #expect(try !second.promise(for: .seconds(5)))
    #expect(!second.hasPromised && second.until == Instant(nanos: 0))
    // Storing it fails: some of it may be there, and nothing is promised either.
    var third = try promises(FaultDisk(disk, FaultPlan(.flush, .inputOutput, at: 1)))
    third.ended()
    #expect(try !third.promise(for: .seconds(5)))
    #expect(!third.hasPromised)
    // The next offer puts it right.
    third.ended()
    #expect(try third.promise(for: .seconds(5)))
    #expect(third.hasPromised && third.until == Instant(nanos: 5_000_000_000))
    #expect(try promises(disk).hasPromised)
  }

  @Test func `of what a command began has the one that ends it, or the name alone`() {
    let end = EndCommand(text: "lvremove\n-f x", within: .seconds(30))
    let owed = OwedCommand(name: "holdfast-p-1", end: end)
    #expect(OwedCommand(decoding: owed.encoded) == owed)
    for rest in ["", "\n", "\nx\ntrue", "\n-1\nx"] {
      let nameless = OwedCommand(decoding: Array(("holdfast-p-1" + rest).utf8))
      #expect(nameless == OwedCommand(name: "holdfast-p-1", end: nil))
    }
    let endless = OwedCommand(decoding: Array("n\n\(Int64.max)\ntrue".utf8))
    #expect(endless.end?.within == Limits.commandWithinMax)
  }

  @Test func `of a lease is not trusted after a pause that the boot's clock knows nothing of`()
    throws
  {
    let disk = try LinuxDisk(Scratch().path)
    let clock = HandClock()
    let files = ControllerFiles(disk: disk, volatile: disk, pair: "p", clock: clock)
    let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 0, low: 1))
    let lease = Lease(reign: reign, fenceAt: Instant(nanos: 9_000_000_000))
    files.note(lease)
    clock.set(boot: 1_000_000_000, wall: 1_200_000_000)
    #expect(files.handover(pauseMax: .milliseconds(250)) == lease)
    clock.set(boot: 1_000_000_000, wall: 1_300_000_000)
    #expect(files.handover(pauseMax: .milliseconds(250)) == nil)
  }

  @Test func `of when a service must be over outlives the lease that it follows from`() throws {
    let disk = try LinuxDisk(Scratch().path)
    let files = ControllerFiles(disk: disk, volatile: disk, pair: "p", clock: HandClock())
    #expect(files.overBy() == nil)
    files.note(overBy: Instant(nanos: 11))
    files.note(nil)
    #expect(files.overBy() == Instant(nanos: 11))
    files.note(overBy: nil)
    #expect(files.overBy() == nil)
  }
}
