import Glibc
import HoldfastCore
import HoldfastIndex
import HoldfastLinux
import HoldfastStore
import Synchronization
import TestKit
import Testing

/// A large file on XFS, and how it is captured.
private final class LargeFile {
  let scratch = Scratch()
  private let disk: LoopDisk
  private let path = TreePath(Array("file".utf8))
  private let catalog: any Catalog
  private let cutter: ContentCutter
  private let sink: MemorySink
  let name: String
  let clock = StepClock()

  init() throws {
    disk = LoopDisk("xfs", in: scratch)
    name = disk.path + "/file"
    catalog = try SQLiteCatalog(path: scratch("catalog.sqlite"))
    let secret = try #require(PairSecret([UInt8](repeating: 5, count: 32)))
    cutter = ContentCutter(secret: secret)
    sink = MemorySink(secret)
    Shell.run("mkdir '\(disk.path)/.holdfast'; head -c 34M /dev/urandom > '\(name)'")
  }

  func tree(_ plan: FaultPlan) throws -> any Tree { FaultTree(try LinuxTree(disk.path), plan) }

  /// Some writes, and sometimes another size.
  func change(_ dice: inout SeededDice) {
    let file = unsafe open(name, O_RDWR)
    defer { _ = close(file) }
    var status = stat()
    _ = unsafe fstat(file, &status)
    for _ in 0..<(1 + dice.next() % 3) {
      let word = dice.next()
      let bytes = [UInt64](repeating: word, count: 1 + Int(word % 700))
      let offset = word % 3 == 0 ? 0 : Int(dice.next() % UInt64(status.st_size - 6000))
      _ = unsafe pwrite(file, bytes, bytes.count * 8, off_t(offset))
    }
    switch dice.next() % 4 {
    case 0: _ = ftruncate(file, status.st_size + off_t(dice.next() % 200_000))
    case 1: _ = ftruncate(file, max(33 << 20, status.st_size - off_t(dice.next() % 200_000)))
    case 2:
      let bytes = [UInt64](repeating: dice.next(), count: 2000)
      _ = unsafe pwrite(file, bytes, 16_000, status.st_size)
    default: break
    }
  }

  private func cut(_ file: any ReadableFile, _ history: ContentHistory?) throws -> Content {
    defer { file.close() }
    let size = try file.status().size
    let (content, end) = try cutter.content(
      of: file, size: size, sparse: false, into: sink, history: history)
    #expect(end == size)
    return content
  }

  /// Captures the file as `freeze` does, writing it meanwhile until it stands still.
  /// - Parameter steps: after so many looks at the clock writers go on.
  /// - Returns: whether what was captured is what it holds; `nil` where it was not captured.
  func capture(
    _ tree: any Tree, _ bases: Bases, _ dice: inout SeededDice, within steps: UInt64 = 1000
  ) throws -> Bool? {
    let path = try #require(path)
    let place = Place(root: RootNumber(rawValue: 0), path: path)
    let work = CaptureWork(places: [place])
    let freeze = Freeze(
      trees: [tree], exclusions: [Exclusion()], catalog: catalog, bases: bases, clock: clock)
    let pictures: Pictures
    do {
      try freeze.prepare()
      freeze.renew(work)
      change(&dice)
      pictures = try freeze.take(
        work, madeAt: clock.wall(), until: clock.now() + .nanoseconds(Int64(steps)))
    } catch {
      bases.rest()
      return nil
    }
    defer { bases.rest() }
    guard let file = try? pictures.trees[0].open(path) else { return nil }
    let captured = try cut(file, pictures.trees[0].history(path))
    return try captured == cut(try LinuxTree(disk.path).open(path), nil)
  }

  /// The names of the copies that are kept between captures.
  var kept: [String] {
    let found = Shell.run("find '\(disk.path)/.holdfast' -path '*/bases/*' -printf '%f\\n'")
    return found.output.split(separator: "\n").map(String.init)
  }
}

/// Goes on by a nanosecond with each look, from the moment that it was made.
private final class StepClock: Timekeeper {
  private let looks = Mutex(Int64(0))
  func now() -> Instant {
    looks.withLock { looks in
      looks += 1
      return Instant(nanos: looks)
    }
  }
  func wall() -> WallTime { WallTime(nanos: 0) }
  func sleep(until deadline: Instant) async throws {}
  func block(for duration: Duration) {}
}

@Suite(.enabled(if: geteuid() == 0)) struct `The copy of a large file that stays` {
  @Test func `shows what the file holds, whatever call fails or comes too late`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 4)
    var number = 1
    var captured = 0
    while true {
      let plan = FaultPlan(.write, .inputOutput, at: number)
      let tree = try large.tree(plan)
      let bases = Bases(clock: large.clock)
      for round in 0..<3 {
        large.change(&dice)
        let steps = dice.next() % 4 == 0 ? dice.next() % 12 : 1000
        let isSame = try large.capture(tree, bases, &dice, within: steps)
        #expect(isSame != false, "call \(number), round \(round)")
        if isSame != nil { captured += 1 }
        #expect(large.kept.count <= 1)
      }
      try bases.clear(RootNumber(rawValue: 0), tree)
      guard plan.wasReached else { break }
      number += 1
    }
    #expect(number > 12, "only \(number) calls were made to fail")
    #expect(captured > number, "only \(captured) captures")
  }

  @Test func `goes where the disk is nearly full, and is not made there`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 5)
    let tree = try large.tree(FaultPlan(.rename, .full, at: 1))
    let bases = Bases(clock: large.clock)
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept.count == 1 && !bases.isEmpty)
    // Room for the file once, but not twice.
    let folder = String(large.name.dropLast(5))
    Shell.run("cd '\(folder)'; fallocate -l $(($(stat -f -c '%a * %S' .) - 60000000)) rest")
    bases.makeRoom([tree])
    #expect(large.kept.isEmpty && bases.isEmpty)
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept.isEmpty && bases.isEmpty)
    Shell.run("rm '\(folder)/rest'")
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept.count == 1)
  }

  @Test func `is made anew where another file stands in its place, or in the file's`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 6)
    let tree = try large.tree(FaultPlan(.rename, .full, at: 1))
    let bases = Bases(clock: large.clock)
    #expect(try large.capture(tree, bases, &dice) == true)
    let first = large.kept
    let folder = String(large.name.dropLast(5))
    Shell.run("cd '\(folder)'; cp --reflink=always file new; mv new file")
    #expect(try large.capture(tree, bases, &dice) == true)
    let second = large.kept
    #expect(second.count == 1 && second != first)
    Shell.run("cd '\(folder)/.holdfast/bases'; for f in *; do cp $f ../x; mv ../x $f; done")
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept.count == 1 && large.kept != second)
  }
}
