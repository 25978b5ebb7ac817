import FoundationEssentials
import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A provider of instants` {
  private func text(_ path: String) -> String { Shell.run("cat '\(path)'").output }

  /// Starts and pairs both sites, of which the primary kills itself in its first capture.
  private func begin(_ pair: TestPair, killedBy probe: String) {
    pair.start("a", probe: probe)
    pair.start("b")
    let token = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    _ = pair.run("join '\(token)'", on: "b")
    #expect(pair.wait { !pair.isAlive("a") }, "\(pair.story)")
  }

  @Test func `leaves no snapshot behind, though the agent is killed while it reads one`() {
    let pair = TestPair(extra: ["rpo: 1s", "capture: [btrfs]"]) { LoopDisk("btrfs", in: $0) }
    pair.isAlone = true
    func snapshots() -> Int {
      let list = Shell.run("btrfs subvolume list -s '\(pair.source)'").output
      return list.split(separator: "\n").count
    }
    Shell.run("cp -r /usr/share/doc/rsync '\(pair.source)/doc'")
    begin(pair, killedBy: "reading:3")
    #expect(pair.end("a") == 128 + SIGKILL)
    #expect(snapshots() == 1, "the kill came while a snapshot was read")
    pair.start("a")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(snapshots() == 0)
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.kept("b").first?.grade == "crash")
  }

  @Test func `names nested subvolumes and mounts, and never takes them for empty`() {
    let pair = TestPair(extra: ["rpo: 1s", "capture: [btrfs]"]) { LoopDisk("btrfs", in: $0) }
    pair.isAlone = true
    Shell.run(
      """
      cd '\(pair.source)'; btrfs subvolume create inner; echo inner > inner/file
      mkdir mounted; echo hidden > mounted/below; mount -t tmpfs none mounted; echo x > mounted/file
      """)
    defer { Shell.run("umount -l '\(pair.source)/mounted'") }
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let status = pair.status("a")
    #expect(status.contains("inner is another filesystem"), "\(status)")
    #expect(status.contains("mounted is another filesystem"), "\(status)")
    #expect(Shell.run("ls '\(pair.replica)/inner' '\(pair.replica)/mounted'/*").code != 0)
  }

  @Test(arguments: ["btrfs", "snapshot"])
  func `makes one instant of several subvolumes, or says that it could not`(provider: String) {
    var other: LoopDisk?
    let commands = Scratch()
    let picture = commands("picture")
    let copying = """
      { snapshot: { create: "sh \(commands("create"))", path: \(picture), \
      remove: "rm -rf \(picture)" } }
      """
    let capture = "capture: [\(provider == "btrfs" ? "btrfs" : copying)]"
    let pair = TestPair(extra: ["rpo: 1s", capture], hasSecond: true) { scratch in
      other = LoopDisk("btrfs", in: scratch, named: "second")
      return LoopDisk("btrfs", in: scratch)
    }
    pair.isAlone = true
    pair.write(
      """
      for root in '\(pair.source)' '\(pair.scratch("second"))'; do
        mkdir -p '\(picture)'$(dirname $root); cp -a $root '\(picture)'$root || true
      done

      """, to: commands("create"))
    let (second, writer) = (pair.scratch("second"), pair.scratch("writer"))
    // A number to the one and then to the other, for a while without pause, for a while with.
    Shell.run(
      """
      (n=0; while :; do n=$((n + 1))
        for root in '\(pair.source)' '\(second)'; do
          echo $n > $root/new; mv $root/new $root/number
        done
        test $((n / 500 % 2)) = 0 || sleep 0.1
      done) > /dev/null 2>&1 & echo $! > '\(writer)'
      """)
    defer { Shell.run("kill -9 $(cat '\(writer)')") }
    #expect(pair.begin(), "\(pair.story)")
    func points(_ grade: String) -> [TestPair.KeptPoint] {
      pair.kept("b").filter { $0.grade == grade }
    }
    let areThere = pair.wait { points("crash").count >= 4 && !points("fuzzy").isEmpty }
    #expect(areThere, "\(pair.story)")
    let reason = provider == "btrfs" ? "several subvolumes" : "several filesystems"
    #expect(points("fuzzy").allSatisfy { $0.reason.contains(reason) }, "\(points("fuzzy"))")
    for point in points("crash") {
      let old = pair.scratch("old-\(point.point)")
      #expect(pair.run("restore p --point \(point.point) --to '\(old)'", on: "b").code == 0)
      let first = Int(text(old + pair.source + "/number").filter(\.isNumber)) ?? -1
      let later = Int(text(old + second + "/number").filter(\.isNumber)) ?? -1
      #expect(first == later || first == later + 1, "\(point): \(first), \(later)")
    }
    _ = other
  }

  @Test func `keeps in a whole point what was captured below a mount before`() {
    let pair = TestPair(extra: ["rpo: 1s"])
    Shell.run("mkdir '\(pair.source)/data'; echo kept > '\(pair.source)/data/file'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let data = "\(pair.source)/data"
    Shell.run("mount -t tmpfs none '\(data)'")
    defer { Shell.run("umount -l '\(data)'") }
    // A spool that is damaged has the next point say everything.
    pair.kill("a")
    let spool = "\(pair.state("a"))/pairs/p/spool"
    Shell.run("head -c 200 /dev/zero > '\(spool)/00000000000000ff.seg'")
    pair.start("a")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.status("a").contains("data is another filesystem"), "\(pair.status("a"))")
    #expect(text("\(pair.replica)/data/file") == "kept\n")
    // Also when something else was captured since.
    Shell.run("echo more > '\(pair.source)/more'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.status("a").contains("data is another filesystem"), "\(pair.status("a"))")
    Shell.run("umount '\(data)'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `that fails gives way to the next, and the point says why`() {
    let pair = TestPair(extra: [
      "rpo: 1s",
      "capture: [{ snapshot: { create: \"echo no space; false\", path: /x, remove: true } }, none]",
    ])
    Shell.run("echo x > '\(pair.source)/file'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let point = pair.kept("b").first
    #expect(point?.provider == "none")
    #expect(point?.reason.contains("ended with 1: no space") == true, "\(point?.reason ?? "")")
  }

  @Test func `by commands hands them none of the agent's descriptors`() {
    // A link that a command holds open, too, seems to live when the agent is dead.
    let list = "ls /proc/self/fd | paste -sd+; false"
    let pair = TestPair(extra: [
      "rpo: 1s",
      "capture: [{ snapshot: { create: \"\(list)\", path: /x, remove: true } }, none]",
    ])
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let reason = pair.kept("b").first?.reason ?? ""
    #expect(reason.hasSuffix("ended with 1: 0+1+2+3"), "\(reason)")
  }

  @Test func `that is the only one and fails gives no point, and sync says why`() {
    let pair = TestPair(extra: ["rpo: 1s", "capture: [btrfs]"])
    #expect(pair.begin(), "\(pair.story)")
    let answer = pair.run("sync p --wait applied --timeout 10s", on: "a")
    #expect(answer.code != 0)
    #expect(answer.output.contains("does not lie on btrfs"), "\(answer.output)")
    #expect(pair.kept("a").isEmpty)
  }

  @Test func `by commands that show something else than the roots is not believed`() {
    let scratch = Scratch()
    let pair = TestPair(extra: [
      "rpo: 1s",
      "capture: [{ snapshot: { create: true, path: \(scratch("empty")), remove: true } }]",
    ])
    Shell.run("mkdir '\(scratch("empty"))'; echo precious > '\(pair.source)/file'")
    #expect(pair.begin(), "\(pair.story)")
    let answer = pair.run("sync p", on: "a")
    #expect(answer.code == 3 && answer.output.contains("marker"), "\(answer.output)")
    #expect(pair.kept("a").isEmpty)
    // The tree itself has the marker, and is no picture of one moment.
    for site in ["a", "b"] {
      Shell.run("sed -i 's|path: [^ ]*empty|path: \(pair.source)|' '\(pair.configuration(site))'")
      pair.kill(site, SIGTERM)
      pair.start(site)
    }
    let live = pair.run("sync p", on: "a")
    #expect(live.code == 3 && live.output.contains("no snapshot of it"), "\(live.output)")
  }

  @Test func `by commands reads what they show, and removes it, after a kill too`() {
    let scratch = Scratch()
    let picture = scratch("picture")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ snapshot: { create: "sh \(scratch("create"))", path: \(picture), \
      remove: "sh \(scratch("remove"))" } }]
      """,
    ])
    pair.isAlone = true
    Shell.run("mkdir '\(pair.source)/d'; echo one > '\(pair.source)/d/file'")
    pair.write(
      "cp -a '\(pair.source)' '\(picture)'; echo \"$HOLDFAST_SNAPSHOT\" >> \(scratch("made"))\n",
      to: scratch("create"))
    pair.write(
      "rm -rf '\(picture)'; echo \"$HOLDFAST_SNAPSHOT\" >> \(scratch("removed"))\n",
      to: scratch("remove"))
    begin(pair, killedBy: "reading:1")
    #expect(Shell.run("test -d '\(picture)'").code == 0)
    pair.start("a")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.kept("b").first.map { $0.provider + " " + $0.grade } == "snapshot crash")
    #expect(Shell.run("test -e '\(picture)'").code != 0)
    #expect(text(scratch("made")) == text(scratch("removed")))
    #expect(text(scratch("made")).contains("holdfast-p-"))
  }

  @Test func `by commands that show an earlier time is not believed`() {
    let scratch = Scratch()
    let picture = scratch("picture")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ snapshot: { create: "test -d \(picture) || cp -a $(cat \(scratch("root"))) \(picture)", \
      path: \(picture), remove: "true" } }, none]
      """,
    ])
    Shell.run("echo '\(pair.source)' > '\(scratch("root"))'; echo one > '\(pair.source)/file'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    Shell.run("echo two > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let second = pair.kept("b").first
    #expect(second?.provider == "none", "\(pair.kept("b"))")
    #expect(second?.reason.contains("as it was before `create` was run") == true, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Shell.run("ls '\(pair.source)/.holdfast'").output == "marker\n")
  }

  @Test func `whose snapshot cannot be removed makes no second, and status says so`() {
    let scratch = Scratch()
    let picture = scratch("picture")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ snapshot: { create: "sh \(scratch("create"))", path: \(picture), \
      remove: "sh \(scratch("remove"))" } }, none]
      """,
    ])
    pair.write(
      "cp -a '\(pair.source)' '\(picture)'; echo >> \(scratch("made"))\n", to: scratch("create"))
    pair.write(
      "test ! -e \(scratch("stuck")) || { echo it is in use; exit 1; }; rm -rf '\(picture)'\n",
      to: scratch("remove"))
    Shell.run("touch '\(scratch("stuck"))'")
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("a").contains("it is in use") }, "\(pair.story)")
    let made = text(scratch("made"))
    Shell.run("echo 2 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first?.provider == "none")
    #expect(pair.kept("b").first?.reason.contains("it is in use") == true, "\(pair.story)")
    #expect(text(scratch("made")) == made)
    Shell.run("rm '\(scratch("stuck"))'; echo 3 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first?.provider == "snapshot")
    #expect(pair.wait { !pair.status("a").contains("it is in use") }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `quiesces before and releases after, also after a kill, and a refusal is told`() {
    let scratch = Scratch()
    let log = scratch("log")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ quiesce: { before: "echo before >> \(log); test ! -e \(scratch("refuse"))", \
      after: "echo after >> \(log)" } }]
      """,
    ])
    pair.isAlone = true
    Shell.run("echo one > '\(pair.source)/file'")
    begin(pair, killedBy: "reading:1")
    #expect(text(log) == "before\n")
    _ = pair.end("a")
    pair.start("a")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(text(log).hasPrefix("before\nafter\nbefore\nafter\n"), "\(text(log))")
    #expect(pair.kept("b").first?.grade == "application", "\(pair.kept("b"))")
    Shell.run("touch '\(scratch("refuse"))'; echo two > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let refused = pair.kept("b").first
    #expect(refused?.grade == "crash" && refused?.reason.contains("quiesce") == true)
    #expect(text(log).hasSuffix("before\nafter\n"))
  }

  @Test func `is asked nothing on a site that serves nothing and takes stock of its tree`() {
    let scratch = Scratch()
    let pair = TestPair(extra: [
      "capture: [{ quiesce: { before: \"echo x >> \(scratch("log-SITE"))\", after: \"true\" } }, none]"
    ])
    for site in ["a", "b"] {
      Shell.run("sed -i 's/log-SITE/log-\(site)/' '\(pair.configuration(site))'")
    }
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("echo mine > '\(pair.source)/mine'")
    pair.kill("a")
    let asked = text(scratch("log-a"))
    #expect(asked.hasPrefix("x\n"))
    let moved = pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("failback") }, "\(pair.story)")
    #expect(pair.run("failback p --as-standby --yes", on: "a").code == 0, "\(pair.story)")
    #expect(pair.wait { pair.kept("a").contains { $0.branch } }, "\(pair.story)")
    #expect(text(scratch("log-a")) == asked)
    #expect(text(scratch("log-b")).hasPrefix("x\n"))
  }

  @Test func `releases a service once the agent is gone, whatever its configuration became`() {
    let scratch = Scratch()
    let log = scratch("log")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ quiesce: { before: "echo before >> \(log)", after: "echo after >> \(log)" } }]
      """,
    ])
    Shell.run("echo one > '\(pair.source)/file'")
    begin(pair, killedBy: "reading:1")
    #expect(text(log) == "before\n")
    _ = pair.end("a")
    Shell.run("sed -i 's/capture:/captures:/' '\(pair.configuration("a"))'")
    let state = "STATE_DIRECTORY='\(pair.scratch("state-a"))'"
    let ended = Shell.run(
      "\(state) '\(TestPair.binary)' freezer --thaw --config '\(pair.configuration("a"))'")
    #expect(ended.code == 0, "\(ended.output)")
    #expect(text(log) == "before\nafter\n")
    #expect(Shell.run("ls '\(pair.scratch("state-a"))/pairs/p/quiesce'").code != 0)
  }

  @Test func `ends what a crash left of commands that are configured no more`() {
    let scratch = Scratch()
    let log = scratch("log")
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ quiesce: { before: "echo before $HOLDFAST_SNAPSHOT >> \(log)", \
      after: "echo after $HOLDFAST_SNAPSHOT >> \(log)" } }]
      """,
    ])
    Shell.run("echo one > '\(pair.source)/file'")
    begin(pair, killedBy: "reading:1")
    let before = text(log)
    #expect(before.hasPrefix("before holdfast-p-"))
    _ = pair.end("a")
    Shell.run("sed -i '/capture:/d' '\(pair.configuration("a"))'")
    pair.start("a")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(text(log) == before + before.replacing("before", with: "after"))
    #expect(!pair.status("a").contains("no longer configured"))
  }

  @Test func `that takes too long is killed with all that it started`() {
    let scratch = Scratch()
    let pair = TestPair(extra: [
      "rpo: 1s",
      """
      capture: [{ quiesce: { before: "(sleep 4711; touch \(scratch("late"))) ; true", \
      after: "true", within: 1s } }]
      """,
    ])
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.kept("b").first?.reason.contains("longer than") == true)
    #expect(Shell.run("pgrep -f 'sleep 4711'").code != 0)
  }
}
