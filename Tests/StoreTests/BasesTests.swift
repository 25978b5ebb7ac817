import Glibc
import HoldfastBytes
import HoldfastCore
import HoldfastIndex
import HoldfastLinux
import HoldfastStore
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
      let offset = Int(dice.next() % UInt64(status.st_size - 6000))
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
  /// - Returns: whether what was captured is what it holds; `nil` where it was not captured.
  func capture(_ tree: any Tree, _ bases: Bases, _ dice: inout SeededDice) throws -> Bool? {
    let path = try #require(path)
    let place = Place(root: RootNumber(rawValue: 0), path: path)
    let work = CaptureWork(places: [place])
    let clock = SystemClock()
    let freeze = Freeze(
      trees: [tree], exclusions: [Exclusion()], catalog: catalog, bases: bases, clock: clock)
    let pictures: Pictures
    do {
      try freeze.prepare()
      freeze.renew(work)
      change(&dice)
      pictures = try freeze.take(work, madeAt: clock.wall(), until: clock.now() + .seconds(60))
    } catch { return nil }
    defer { bases.rest() }
    guard let file = try? pictures.trees[0].open(path) else { return nil }
    let captured = try cut(file, pictures.trees[0].history(path))
    return try captured == cut(try LinuxTree(disk.path).open(path), nil)
  }

  /// How many copies are kept between captures.
  var kept: Int {
    let found = Shell.run("find '\(disk.path)/.holdfast' -path '*/bases/*' -printf x").output
    return found.count { $0 == "x" }
  }
}

@Suite(.enabled(if: geteuid() == 0)) struct `The copy of a large file that stays` {
  @Test func `shows what the file holds, whatever call fails on the way`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 4)
    var number = 1
    var missed = 0
    while true {
      let plan = FaultPlan(.write, .inputOutput, at: number)
      let tree = try large.tree(plan)
      let bases = Bases(clock: SystemClock())
      for round in 0..<2 {
        large.change(&dice)
        let isSame = try large.capture(tree, bases, &dice)
        #expect(isSame != false, "call \(number), round \(round)")
        if isSame == nil { missed += 1 }
        #expect(large.kept <= 1)
      }
      try bases.clear(RootNumber(rawValue: 0), tree)
      guard plan.wasReached else { break }
      number += 1
    }
    #expect(number > 12, "only \(number) calls were made to fail")
    // Making the folders cannot fail without costing the capture.
    #expect(missed < number / 2)
  }

  @Test func `goes where the disk is nearly full, and is not made there`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 5)
    let tree = try large.tree(FaultPlan(.rename, .full, at: 1))
    let bases = Bases(clock: SystemClock())
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept == 1 && !bases.isEmpty)
    // Room for the file once, but not twice.
    let folder = String(large.name.dropLast(5))
    Shell.run(
      "cd '\(folder)'; fallocate -l $(($(stat -f -c '%a * %S' .) - 60000000)) rest")
    bases.makeRoom([tree])
    #expect(large.kept == 0 && bases.isEmpty)
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept == 0 && bases.isEmpty)
    Shell.run("rm '\(folder)/rest'")
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept == 1)
  }

  @Test func `is not taken for another file's that stands in its place`() throws {
    let large = try LargeFile()
    var dice = SeededDice(seed: 6)
    let tree = try large.tree(FaultPlan(.rename, .full, at: 1))
    let bases = Bases(clock: SystemClock())
    #expect(try large.capture(tree, bases, &dice) == true)
    Shell.run("cd '\(large.name.dropLast(5))'; cp file new; echo x >> new; mv new file")
    #expect(try large.capture(tree, bases, &dice) == true)
    // Nor is a copy that is not the one that was made.
    Shell.run(
      "cd '\(large.name.dropLast(5))/.holdfast/bases'; for f in *; do cp $f ../x; mv ../x $f; done")
    #expect(try large.capture(tree, bases, &dice) == true)
    #expect(large.kept <= 1)
  }
}
