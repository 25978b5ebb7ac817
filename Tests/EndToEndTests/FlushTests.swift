import Glibc
import TestKit
import Testing

/// Whether calls of a process can be made to fail here.
private let canHurt = Shell.run("strace -f -e trace=none true").code == 0

@Suite(.serialized, .enabled(if: geteuid() == 0 && canHurt))
struct `A file that cannot be read` {
  @Test func `keeps every point from being one instant until it is`() throws {
    let pair = TestPair()
    pair.isAlone = true
    Shell.run("echo 1 > '\(pair.source)/unread'; echo 1 > '\(pair.source)/other'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    func newest() -> String? { pair.kept("a").max { $0.point < $1.point }?.grade }
    let log = pair.scratch("reads")
    try pair.hurt("a", with: "openat:error=EIO", on: "unread", log: log) {
      Shell.run("echo 2 > '\(pair.source)/unread'; echo 2 > '\(pair.source)/other'")
      _ = pair.run("sync p", on: "a")
      #expect(newest() == "fuzzy", "\(pair.story)")
      // Nor with what changes then, nor where it is asked for again.
      Shell.run("echo 3 > '\(pair.source)/other'")
      for _ in 0..<2 {
        _ = pair.run("sync p", on: "a")
        #expect(newest() == "fuzzy", "\(pair.story)")
      }
      #expect(Shell.run("grep -c INJECTED '\(log)'").code == 0)
      #expect(pair.status("a").contains("not all could be read"), "\(pair.story)")
    }
    // It is told of once, by its writer, long ago.
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(newest() == "crash", "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}

@Suite(.serialized, .enabled(if: geteuid() == 0 && canHurt))
struct `A flush that fails` {
  /// A pair whose one file is applied, and the point of that.
  private func begun() -> (TestPair, UInt64) {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/a'")
    let first = pair.sync()
    #expect(first > 0, "\(pair.story)")
    return (pair, first)
  }

  @Test func `is never followed by the word durable, nor taken for done when the disk is back`()
    throws
  {
    let (pair, first) = begun()
    let log = pair.scratch("flushes")
    for kind in ["fdatasync:error=EIO", "fdatasync:error=ENOSPC", "fdatasync:error=EIO:when=1"] {
      let before = pair.points("b")?.durable ?? 0
      try pair.hurt("b", with: kind, log: log) {
        Shell.run(
          "echo '\(kind)' > '\(pair.source)/b'; head -c 3M /dev/urandom > '\(pair.source)/c'")
        if kind.hasSuffix("when=1") {
          // Once on each thread, which mends itself; a question that meets a failure is told so.
          #expect(pair.wait { pair.sync() > before }, "\(pair.story)")
        } else {
          let answer = pair.run("sync p --wait durable --timeout 3s", on: "a")
          #expect(answer.code == 4, "\(answer.output) \(pair.story)")
          #expect(pair.points("a")?.durable == before)
          #expect(pair.points("b")?.durable == before)
          #expect(pair.status("b").contains("receiving stopped"), "\(pair.story)")
        }
        #expect(Shell.run("grep -c INJECTED '\(log)'").code == 0, "\(kind)")
        #expect(pair.isAlive("a") && pair.isAlive("b"))
      }
      #expect(pair.wait { pair.sync() > before }, "\(kind)\n\(pair.story)")
      #expect(Judge.differences(pair.source, pair.replica) == "", "\(kind)")
    }
    #expect(pair.run("verify p", on: "b").code == 0)
    #expect(pair.kept("b").contains { $0.point == first })
  }

  @Test func `of a promotion's record leads back, once what was there before is durable`() throws {
    let (pair, first) = begun()
    let order = "failover p --yes --accept-loss --other-site-is-down"
    let folder = pair.scratch("state-b/pairs/p")
    try pair.hurt("b", with: "fsync:error=EIO", on: folder, log: pair.scratch("flushes")) {
      // Its rename is done, and may come to the disk or not.
      let moved = pair.run(order, on: "b")
      #expect(moved.code == 1, "\(moved.output) \(pair.story)")
      #expect(moved.output.contains("until it is nothing is received here"), "\(moved.output)")
      #expect(pair.run(order, on: "b").code == 3)
      let held = pair.wait { pair.status("b").contains("what was on record before") }
      #expect(held && pair.status("b").contains("\"role\":\"standby\""), "\(pair.story)")
    }
    Shell.run("echo 2 > '\(pair.source)/b'")
    #expect(pair.wait { pair.sync() > first }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    pair.kill("b")
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("\"role\":\"standby\"") }, "\(pair.story)")
    let moved = pair.run(order + " --json", on: "b")
    #expect(moved.code == 0 && moved.output.contains("\"epoch\":2"), "\(moved.output)")
  }

  @Test func `on the primary makes no point, and the next one holds all of it`() throws {
    let (pair, first) = begun()
    let log = pair.scratch("flushes")
    try pair.hurt("a", with: "fdatasync:error=EIO", log: log) {
      Shell.run("echo 2 > '\(pair.source)/b'; head -c 3M /dev/urandom > '\(pair.source)/c'")
      #expect(pair.run("sync p --wait durable --timeout 3s", on: "a").code != 0, "\(pair.story)")
      #expect(pair.points("a")?.captured == first)
      #expect(Shell.run("grep -c INJECTED '\(log)'").code == 0)
      #expect(pair.wait { pair.status("a").contains("flush") }, "\(pair.story)")
      #expect(pair.isAlive("a"))
    }
    #expect(pair.wait { pair.sync() > first }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}
