import FoundationEssentials
import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `Units that stand still for a moment` {
  private static let settings = ["rpo: 1s", "plan: [{ unit: UNIT }]", "capture: [freeze]"]

  /// Writes a number to five files, one after the other, without pause.
  private static func steps(_ folder: String) -> String {
    """
    cd \(folder); n=0; while :; do n=$((n + 1)); for f in 1 2 3 4 5; do echo $n > f$f.new; \
    mv f$f.new f$f; echo $n >> log$f; done; done
    """
  }

  /// Whether five files are as they were at one instant.
  private func isInstant(_ folder: String) -> Bool {
    let answer = Shell.run(
      """
      cd '\(folder)'; for f in 1 2 3 4 5; do echo $(cat f$f) $(tail -n 1 log$f); done | awk '
        { split($0, v, " "); for (i = 1; i <= 2; i++) { t[++n] = v[i] } }
        END { for (i = 2; i <= n; i++) if (t[i] > t[i - 1] || t[i] < t[1] - 1) exit 1 }'
      """)
    return answer.code == 0
  }

  @Test(arguments: ["ext4", "xfs"])
  func `give points of one instant, for a hundredth of the time at most`(filesystem: String) {
    let pair = TestPair(extra: Self.settings) { LoopDisk(filesystem, in: $0) }
    pair.isAlone = true
    let group = ServiceGroup(pair.scratch)
    group.start(Self.steps(pair.source))
    #expect(pair.begin(), "\(pair.story)")
    let begin = Date()
    let isEnough = pair.wait { pair.kept("b").filter { $0.provider == "freeze" }.count >= 4 }
    #expect(isEnough, "\(pair.story)")
    let elapsed = Date().timeIntervalSince(begin)
    let frozen = pair.kept("a").map(\.frozenSeconds).reduce(0, +)
    // The first moment is not paid for beforehand.
    #expect(frozen > 0 && frozen < elapsed / 100 + 0.5, "\(frozen) s of \(elapsed) s")
    #expect(pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b").code == 0)
    let points = pair.kept("b").filter { $0.provider == "freeze" }
    #expect(points.allSatisfy { $0.grade == "crash" }, "\(points)")
    for point in points.prefix(6) {
      let old = pair.scratch("old-\(point.point)")
      #expect(pair.run("restore p --point \(point.point) --to '\(old)'", on: "b").code == 0)
      #expect(isInstant(old), "point \(point.point)")
    }
    #expect(isInstant(pair.replica))
  }

  @Test(arguments: ["fanotify", "inotify"])
  func `leave nothing of them behind in the root`(watch: String) {
    let pair = TestPair(extra: Self.settings) { LoopDisk("xfs", in: $0) }
    pair.isAlone = true
    if watch == "inotify" { pair.wrappers["a"] = TestPair.withoutFanotify }
    let group = ServiceGroup(pair.scratch)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    group.start("sleep 1000")
    Shell.run(
      """
      cd '\(pair.source)'; mkdir -p d/e; echo x > d/e/f; ln d/e/f d/g; ln -s f d/e/s; mkfifo d/p
      truncate -s 9M d/sparse; setfattr -n user.k -v v d/e/f; head -c 3M /dev/urandom > big
      """)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first.map { $0.provider + " " + $0.grade } == "freeze crash")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    Shell.run("cd '\(pair.source)'; rm -r d/e; mv big d/big; echo y >> d/g; chmod 600 d")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first.map { $0.provider + " " + $0.grade } == "freeze crash")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    // What is scanned as a whole is listed, also where nothing in it changed.
    Shell.run(
      "cd '\(pair.source)'; mkdir -p tree/sub/deep; echo z | tee tree/sub/f tree/sub/deep/g")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mv tree other; mv other tree; echo z >> tree/sub/f")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first.map { $0.provider + " " + $0.grade } == "freeze crash")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Shell.run("ls '\(pair.source)/.holdfast'").output == "marker\n")
  }

  @Test func `show nothing of what is mounted in the roots`() {
    let pair = TestPair(extra: Self.settings)
    pair.isAlone = true
    let group = ServiceGroup(pair.scratch)
    Shell.run(
      """
      cd '\(pair.source)'; mkdir -p old/mounted; mount -t tmpfs none old/mounted
      echo x > old/mounted/file
      """)
    defer { Shell.run("umount -l '\(pair.source)'/*/mounted") }
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    group.start("sleep 1000")
    Shell.run("cd '\(pair.source)'; mv old new; echo y > new/file")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first.map { $0.provider + " " + $0.grade } == "freeze crash")
    #expect(pair.status("a").contains("new/mounted is another filesystem"), "\(pair.status("a"))")
    let there = Shell.run("cd '\(pair.replica)'; find new | sort").output
    #expect(there == "new\nnew/file\nnew/mounted\n")
  }

  @Test func `do not hide who else writes, and it is named`() {
    let pair = TestPair(extra: Self.settings)
    let group = ServiceGroup(pair.scratch)
    group.start(Self.steps(pair.source))
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      """
      cd '\(pair.source)'; (exec -a stranger perl -e 'while (1) { open F, ">", "other"; \
      print F time; close F }') & echo $! > '\(pair.scratch("stranger"))'
      """)
    defer { Shell.run("kill -9 $(cat '\(pair.scratch("stranger"))')") }
    let isNamed = pair.wait {
      pair.kept("a").contains {
        $0.provider == "freeze" && $0.grade == "fuzzy" && $0.reason.contains("(perl")
          && $0.reason.contains("wrote other")
      }
    }
    #expect(isNamed, "\(pair.kept("a").prefix(3))")
    Shell.run("sleep 4712 > '\(pair.source)/held' & echo $! >> '\(pair.scratch("stranger"))'")
    let check = pair.run("check", on: "a").output
    #expect(check.contains("(sleep") && check.contains("/held open for writing"), "\(check)")
    #expect(!check.contains("of \(group.unit)) has"), "\(check)")
    #expect(pair.kept("a").allSatisfy { $0.grade == "fuzzy" })
    Shell.run(
      """
      mkdir '\(pair.scratch("bound"))'
      unshare -m sh -c 'mount --bind "\(pair.source)" "\(pair.scratch("bound"))"
        exec sleep 4713 > "\(pair.scratch("bound"))/there"' & echo $! >> '\(pair.scratch("stranger"))'
      """)
    #expect(
      pair.wait { pair.run("check", on: "a").output.contains("/bound/there open for writing") })
  }

  /// Maps two files again and again for moments, and counts up in the one, then in the other.
  private static let mapper = """
    #include <fcntl.h>
    #include <sys/mman.h>
    #include <unistd.h>
    int main(int count, char **arguments) {
      for (unsigned long number = 1;;) {
        volatile unsigned long *bytes[2];
        for (int each = 0; each < 2; each++) {
          int file = open(arguments[1 + each], O_RDWR);
          bytes[each] = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
          close(file);
        }
        for (int round = 0; round < 40; round++, number++) {
          *bytes[0] = number;
          *bytes[1] = number;
          usleep(500);
        }
        for (int each = 0; each < 2; each++) munmap((void *)bytes[each], 4096);
        usleep(5000);
      }
    }

    """

  @Test func `do not hide who changes files untold, and lets them go before anybody looks`() {
    let pair = TestPair(extra: Self.settings) { LoopDisk("xfs", in: $0) }
    let group = ServiceGroup(pair.scratch)
    let (source, program) = (pair.scratch("mapper.c"), pair.scratch("mapper"))
    pair.write(Self.mapper, to: source)
    let made = Shell.run("cc '\(source)' -o '\(program)' || clang '\(source)' -o '\(program)'")
    #expect(made.code == 0, "\(made.output)")
    Shell.run("cd '\(pair.source)'; truncate -s 4096 one two")
    group.start(Self.steps(pair.source))
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.wait { pair.kept("b").contains { $0.provider == "freeze" } }, "\(pair.story)")
    let first = pair.kept("b").first?.point ?? 0
    Shell.run("'\(program)' '\(pair.source)/one' '\(pair.source)/two' > /dev/null 2>&1 &")
    defer { Shell.run("pkill -9 -f '\(program)'") }
    #expect(pair.wait { pair.kept("b").filter { $0.point > first }.count >= 8 }, "\(pair.story)")
    let points = pair.kept("b").filter { $0.point > first }
    #expect(points.contains { $0.grade == "fuzzy" && !$0.reason.isEmpty }, "\(points)")
    for point in points where point.grade != "fuzzy" {
      let old = pair.scratch("old-\(point.point)")
      #expect(pair.run("restore p --point \(point.point) --to '\(old)'", on: "b").code == 0)
      let numbers = Shell.run("cd '\(old)'; for f in one two; do od -An -tu8 -N8 $f; done").output
        .split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
      #expect(numbers.count == 2 && (0...1).contains(numbers[0] - numbers[1]), "\(point)")
    }
  }

  @Test func `give no instant where somebody let them go before all was taken down`() {
    let pair = TestPair(extra: Self.settings)
    pair.isAlone = true
    let group = ServiceGroup(pair.scratch)
    group.start(Self.steps(pair.source))
    #expect(pair.begin(), "\(pair.story)")
    func isTold() -> Bool {
      pair.kept("b").contains { point in
        point.grade == "fuzzy" && point.reason.contains("somebody let the units go")
      }
    }
    // Until it comes between the order and its end.
    for _ in 0..<10 where !isTold() && group.waitUntilFrozen(seconds: 10) {
      Shell.run("echo 0 > '\(group.path)/cgroup.freeze'")
      _ = pair.wait(2, isTold)
    }
    #expect(isTold(), "\(pair.kept("b"))")
  }

  @Test func `run again, whatever is killed while they stand still`() {
    let pair = TestPair(extra: [
      "rpo: 200ms", "plan: [{ unit: UNIT }]", "capture: [{ freeze: { max-freeze: 50ms } }]",
    ])
    let group = ServiceGroup(pair.scratch)
    group.start(Self.steps(pair.source))
    #expect(pair.begin(), "\(pair.story)")
    for round in 0..<6 {
      #expect(group.waitUntilFrozen(), "round \(round): \(pair.story)")
      switch round % 3 {
      case 0: pair.kill("a")
      case 1: pair.signal("a", SIGSTOP)
      default: Shell.run("pkill -9 -f -- 'freezer --control \(pair.scratch("run-a"))'")
      }
      #expect(pair.wait { !group.isFrozen }, "round \(round): \(pair.story)")
      if round % 3 == 0 { pair.start("a") }
      pair.signal("a", SIGCONT)
    }
    // All at once, as systemd does: what it runs afterwards mends it.
    var isLeft = false
    for _ in 0..<20 where !isLeft && group.waitUntilFrozen() {
      pair.signal("a", SIGSTOP)
      Shell.run("pkill -9 -f -- 'freezer --control \(pair.scratch("run-a"))'")
      pair.kill("a")
      isLeft = group.isFrozen
      if !isLeft { pair.start("a") }
    }
    #expect(isLeft, "it was never left frozen")
    #expect(pair.run("freezer --control '\(pair.scratch("run-a"))' --thaw", on: "a").code == 0)
    #expect(!group.isFrozen)
    pair.start("a")
    #expect(pair.wait { pair.kept("b").first?.provider == "freeze" }, "\(pair.story)")
  }

  /// Speaks to the process itself.
  private func speak(_ pair: TestPair, _ script: String) -> String {
    Shell.run(
      """
      exec 2>&1
      coproc F { '\(TestPair.binary)' freezer --control '\(pair.scratch.path)' --pair p; }
      say() { echo "$@" >&${F[1]}; read -t 10 -r answer <&${F[0]}; echo "$answer"; }
      \(script)
      """
    ).output
  }

  @Test func `are thawed when their time is over or nobody speaks any more`() {
    let pair = TestPair()
    let group = ServiceGroup(pair.scratch)
    group.start("sleep 1000")
    let state = "cat '\(group.path)/cgroup.freeze'"
    let late = speak(
      pair,
      """
      say freeze 300 \(group.unit); \(state)
      while [ $(\(state)) = 1 ]; do sleep 0.02; done; say thaw
      """)
    #expect(late.hasPrefix("frozen\n1\nthawed "), "\(late)")
    #expect(late.hasSuffix(" 1\n"), "\(late)")
    let left = speak(
      pair,
      """
      say freeze 9000 \(group.unit); \(state); eval "exec ${F[1]}>&-"; wait $F_PID; \(state)
      """)
    #expect(left == "frozen\n1\n0\n", "\(left)")
    #expect(Shell.run("ls '\(pair.scratch.path)/frozen-p'").code != 0)
  }

  @Test func `never run again on a site that was fenced meanwhile`() {
    let pair = TestPair()
    let group = ServiceGroup(pair.scratch)
    group.start("sleep 1000")
    let answer = speak(
      pair,
      """
      say freeze 9000 \(group.unit); printf 1 > '\(pair.scratch("fence-p"))'; say thaw
      eval "exec ${F[1]}>&-"; wait $F_PID
      '\(TestPair.binary)' freezer --control '\(pair.scratch.path)' --thaw
      """)
    #expect(answer.hasPrefix("frozen\nerror this site is fenced"), "\(answer)")
    #expect(group.isFrozen)
    let again = speak(pair, "say freeze 9000 \(group.unit)")
    #expect(again.hasPrefix("error "), "\(again)")
  }

  @Test func `are left alone where somebody else froze them, or none of them runs`() {
    let pair = TestPair()
    let group = ServiceGroup(pair.scratch)
    let answer = speak(
      pair, "echo 1 > '\(group.path)/cgroup.freeze'; say freeze 500 \(group.unit)")
    #expect(answer.contains("somebody else froze it"), "\(answer)")
    #expect(group.isFrozen)
    #expect(speak(pair, "say freeze 500 no-such.service").contains("none of no-such.service runs"))
  }
}
