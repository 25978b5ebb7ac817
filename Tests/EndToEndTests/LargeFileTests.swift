import Glibc
import TestKit
import Testing

/// On XFS, where copies of large files that share their blocks are kept between points.
@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `Large files of units that stand still` {
  private static let settings = ["rpo: 1s", "plan: [{ unit: UNIT }]", "capture: [freeze]"]

  private func begin(_ work: String, _ service: String) -> (TestPair, ServiceGroup) {
    let pair = TestPair(
      extra: Self.settings, disk: { LoopDisk("xfs", in: $0) },
      replicaDisk: { LoopDisk("xfs", in: $0, named: "other") })
    pair.isAlone = true
    let group = ServiceGroup(pair.scratch)
    Shell.run("cd '\(pair.source)'; \(work)")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    group.start("cd \(pair.source); \(service)")
    return (pair, group)
  }

  /// Captures what was done, and has rsync compare.
  private func capture(_ pair: TestPair, _ what: String) {
    #expect(pair.sync() > 0, "\(what): \(pair.story)")
    let newest = pair.kept("b").first
    #expect(newest.map { $0.provider + " " + $0.grade } == "freeze crash", "\(what): \(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(what)")
  }

  private func copies(_ pair: TestPair) -> String {
    Shell.run(
      "find '\(pair.source)/.holdfast' -path '*/bases/*' -printf '%i %s\\n' | sort"
    ).output
  }

  @Test func `are captured as they are, however they changed since the last point`() {
    let (pair, group) = begin("head -c 48M /dev/urandom > big", "exec sleep 1000")
    defer { group.stop() }
    let write = "dd of=big conv=notrunc status=none if=/dev/urandom"
    let changes = [
      ("scattered", "for i in 7 900 4001 11000; do \(write) bs=4k count=1 seek=$i; done"),
      ("the same again", "for i in 7 4001; do \(write) bs=4k count=1 seek=$i; done"),
      ("past the page cache", "\(write) bs=1M count=2 seek=9 oflag=direct"),
      ("a hole", "fallocate -p -o 8M -l 3M big"),
      ("in the hole", "\(write) bs=4k count=1 seek=2500"),
      ("grown by an odd size", "head -c 12345 /dev/urandom >> big"),
      ("and again", "head -c 5M /dev/urandom >> big"),
      ("cut", "truncate -s 45000001 big"),
      ("cut and grown by a hole", "truncate -s 40000000 big; truncate -s 45000001 big"),
      ("allocated only", "fallocate -o 60M -l 4M big"),
      ("written where allocated", "\(write) bs=4k count=3 seek=15500"),
      ("zeroed", "fallocate -z -o 1M -l 1M big"),
      ("collapsed", "fallocate -c -o 4M -l 4M big"),
      ("nothing but its time", "touch big"),
      ("replaced", "head -c 40M /dev/urandom > new; mv new big"),
      ("after that", "\(write) bs=4k count=1 seek=77"),
      ("of two names", "ln big other; \(write) bs=4k count=1 seek=78"),
      ("of one again", "rm other; \(write) bs=4k count=1 seek=79"),
      ("small now", "truncate -s 1M big"),
      ("large again", "head -c 40M /dev/urandom >> big"),
    ]
    var last = ""
    var kept = 0
    for (what, change) in changes {
      let done = Shell.run("cd '\(pair.source)'; set -e; \(change)")
      #expect(done.code == 0, "\(what): \(done.output)")
      capture(pair, what)
      let now = copies(pair)
      if !now.isEmpty, now.split(separator: " ").first == last.split(separator: " ").first {
        kept += 1
      }
      last = now
    }
    #expect(kept > 10, "the copy was hardly ever kept")
    #expect(pair.run("verify p", on: "b").code == 0)
    // What somebody wrote into the replica the next change undoes, also behind one of rights alone.
    Shell.run("cd '\(pair.replica)'; \(write) bs=4k count=1 seek=2000")
    Shell.run("chmod 640 '\(pair.source)/big'")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("cd '\(pair.source)'; \(write) bs=4k count=1 seek=80")
    capture(pair, "written by somebody")
    // As the runbook says.
    Shell.run("rm -r '\(pair.source)/.holdfast/bases'")
    Shell.run("cd '\(pair.source)'; \(write) bs=4k count=1 seek=81")
    capture(pair, "without its copy")
    #expect(!copies(pair).isEmpty)
    Shell.run("rm '\(pair.source)/big'")
    capture(pair, "gone")
    #expect(copies(pair) == "")
  }

  @Test func `ship what changed, and are read no further`() {
    let (pair, group) = begin("head -c 256M /dev/urandom > big", "exec sleep 1000")
    defer { group.stop() }
    let write = "dd of=big conv=notrunc status=none if=/dev/urandom bs=4k count=1"
    Shell.run("cd '\(pair.source)'; \(write) seek=1")
    capture(pair, "first")
    let before = ["a", "b"].map { pair.bytesRead($0) }
    Shell.run("cd '\(pair.source)'; \(write) seek=9000; \(write) seek=40000")
    #expect(pair.sync() > 0, "\(pair.story)")
    for (site, before) in zip(["a", "b"], before) {
      let read = pair.bytesRead(site) - before
      #expect(read < 16 << 20, "\(read) bytes by \(site)")
    }
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  /// Writes a page of the first file, then the same of the second: at no instant do they differ by
  /// more.
  private static let writer = """
    use Fcntl; sysopen(A, "a", O_RDWR); sysopen(B, "b", O_RDWR); $n = 1;
    while (1) { $at = 4096 * int rand 10240; $page = pack("Q", $n++) x 512;
      for $f (A, B) { sysseek $f, $at, 0; syswrite $f, $page } select undef, undef, undef, 0.0005 }
    """

  @Test func `are of one instant with one another while they are written all over`() {
    let (pair, group) = begin(
      "head -c 40M /dev/urandom > a; cp a b; echo '\(Self.writer)' > writer", "exec perl writer")
    let isEnough = pair.wait(120) {
      pair.kept("b").filter { $0.provider == "freeze" && $0.grade == "crash" }.count >= 6
    }
    #expect(isEnough, "\(pair.story)")
    group.stop()
    #expect(!copies(pair).isEmpty)
    let points = pair.kept("b").filter { $0.provider == "freeze" && $0.grade == "crash" }
    var shown: Set<String> = []
    for point in points.prefix(6) {
      let old = pair.scratch("old-\(point.point)")
      #expect(pair.run("restore p --point \(point.point) --to '\(old)'", on: "b").code == 0)
      let pages = Shell.run(
        "cmp -l '\(old)/a' '\(old)/b' | awk '{ print int(($1 - 1) / 4096) }' | sort -u | wc -l")
      #expect(
        (Int(pages.output.prefix { $0.isNumber }) ?? 99) <= 1, "\(point.point): \(pages.output)")
      shown.insert(Shell.run("sha256sum < '\(old)/a'").output)
    }
    #expect(shown.count == 6, "nothing was written meanwhile")
  }

  @Test func `leave no copy behind when the agent dies or is stopped`() {
    let (pair, group) = begin("head -c 40M /dev/urandom > big", "exec sleep 1000")
    defer { group.stop() }
    /// One that another capture, or want of room, takes away again is made by the next.
    func keepCopy() {
      let isKept = pair.wait {
        Shell.run("date >> '\(pair.source)/big'")
        return pair.sync() > 0 && !copies(pair).isEmpty
      }
      #expect(isKept, "\(pair.story)")
    }
    keepCopy()
    pair.kill("a")
    pair.start("a")
    #expect(pair.wait { copies(pair).isEmpty })
    // After a start all is looked at first.
    #expect(pair.sync() > 0, "\(pair.story)")
    keepCopy()
    Shell.run("kill -TERM \(pair.number("a"))")
    #expect(pair.end("a") == 0)
    #expect(Shell.run("ls '\(pair.source)/.holdfast'").output == "marker\n")
  }
}
