import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `After a promotion` {
  @Test func `the new primary goes on when the old one returns, which never forgets`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("a")
    let silent = pair.run(
      "failover p --json --accept-loss --other-site-is-down </dev/null", on: "b")
    #expect(silent.code == 3 && silent.output.contains("--yes"), "\(silent.output)")
    let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("was promoted") }, "\(pair.story)")
    #expect(pair.wait { pair.status("b").contains("stays out") }, "\(pair.story)")
    #expect(!pair.status("b").contains("do not start"))
    Shell.run("echo two > '\(pair.replica)/file'")
    let before = pair.points("b")?.captured ?? 0
    let next = pair.run("sync p", on: "b")
    #expect(
      next.code == 0 && (UInt64(next.output.filter(\.isNumber)) ?? 0) > before, "\(pair.story)")
    pair.kill("b")
    pair.kill("a", SIGTERM)
    pair.start("a")
    let resumed = pair.run("resume p --yes", on: "a")
    #expect(resumed.code == 3 && resumed.output.contains("epoch 2"), "\(resumed.output)")
    // Where the new primary is lost the old one goes on by a person's word, and says without what.
    let taken = pair.run("resume p --yes --other-site-is-down", on: "a")
    #expect(taken.code == 0 && taken.output.contains("epoch 3"), "\(taken.output)")
    #expect(taken.output.contains("what b wrote in epoch 2 is not in it"), "\(taken.output)")
    Shell.run("echo three > '\(pair.source)/file'")
    #expect(pair.run("sync p", on: "a").code == 0, "\(pair.story)")
    pair.kill("a", SIGTERM)
    pair.start("a")
    #expect(pair.run("resume p --yes", on: "a").code == 0, "\(pair.story)")
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("was promoted") }, "\(pair.story)")
    let back = pair.run("failback p --yes --as-standby", on: "b")
    #expect(back.code == 0, "\(back.output)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.run("points p", on: "b").output.contains("branch"), "\(pair.story)")
  }

  @Test func `that an earlier boot began, a site waits for the other's word, or a person's`() {
    let pair = TestPair()
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("b")
    pair.start("b", probe: "promoting:1")
    #expect(pair.wait { pair.status("b").contains("\"connected\":true") }, "\(pair.story)")
    pair.kill("a")
    _ = pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b")
    #expect(pair.end("b") == 128 + SIGKILL)
    // Its record is of another boot than this one.
    let role = "'\(pair.state("b"))/pairs/p/role'"
    let isFound = Shell.run(
      "boot=$(cat /proc/sys/kernel/random/boot_id); grep -aq $boot \(role) && "
        + "sed -i s/$boot/$(echo $boot | tr 0-9a-f 1-9a-f0)/ \(role)")
    #expect(isFound.code == 0, "\(isFound.output)")
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("\"role\":\"unknown\"") }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
    #expect(pair.run("sync p", on: "b").code == 3)
    #expect(pair.run("resume p --yes", on: "b").code == 0, "\(pair.story)")
    #expect(pair.run("sync p", on: "b").code == 0, "\(pair.story)")
    #expect(pair.status("b").contains("\"epoch\":2"), "\(pair.story)")
  }

  @Test func `the loss that is told counts what the line held back`() throws {
    let pair = TestPair()
    let relay = try pair.relay()
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.wait { pair.lag("b") ?? 60 < 1 }, "\(pair.story)")
    relay.stand(for: 3) { pair.kill("a") }
    #expect(pair.wait { pair.status("b").contains("\"connected\":false") }, "\(pair.story)")
    // Claims that waited on the line came all at once, none of them new.
    #expect(pair.lag("b") ?? 60 >= 3, "\(pair.story)")
    let moved = pair.run(
      "failover p --json --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    let seconds =
      Double(
        moved.output.split(separator: "\"lossSeconds\":").last?.prefix { $0 != "," } ?? "") ?? 0
    #expect(seconds >= 3, "\(moved.output)")
  }

  @Test func `to an older point is from what was sealed, whatever the index became`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    var numbers: [UInt64] = []
    for round in 1...3 {
      Shell.run("seq \(round)000 \(round)999 > '\(pair.source)/file'")
      numbers.append(pair.sync())
      Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy-\(round)"))'")
    }
    pair.kill("a")
    // The size, say, of what stood there at the second point.
    let changed = Shell.run(
      """
      sqlite3 '\(pair.state("b"))/pairs/p/index.sqlite' "UPDATE entry SET body = \
      (SELECT e.body FROM entry e WHERE e.path = entry.path AND e.first = \(numbers[0])) \
      WHERE first = \(numbers[1]) AND last = \(numbers[2]); SELECT changes()"
      """)
    #expect(changed.code == 0 && Int(changed.output.filter(\.isNumber)) ?? 0 > 0, "\(changed)")
    let moved = pair.run(
      "failover p --yes --point \(numbers[1]) --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)\n\(pair.story)")
    #expect(Judge.differences(pair.scratch("copy-2"), pair.replica) == "")
  }

  @Test func `to an older point a second time leaves a second branch`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    func rounds(_ site: String, _ tree: String) -> [UInt64] {
      (1...3).map { round in
        Shell.run("echo \(site)\(round) > '\(tree)/file'")
        return UInt64(pair.run("sync p --wait applied", on: site).output.filter(\.isNumber)) ?? 0
      }
    }
    let first = rounds("a", pair.source)
    func promote(_ site: String, _ point: UInt64) {
      let other = site == "a" ? "b" : "a"
      pair.kill(other)
      let moved = pair.run(
        "failover p --yes --point \(point) --accept-loss --other-site-is-down", on: site)
      #expect(moved.code == 0, "\(moved.output)\n\(pair.story)")
      pair.start(other)
      #expect(pair.wait { pair.status(other).contains("failback") }, "\(pair.story)")
      #expect(pair.run("failback p --as-standby --yes", on: other).code == 0, "\(pair.story)")
      let follows = { pair.status(other).contains("\"role\":\"standby\"") }
      #expect(pair.wait(60, follows), "\(pair.story)")
    }
    promote("b", first[1])
    let moved = pair.run("switchover p --yes", on: "a")
    #expect(moved.code == 0, "\(moved.output)\n\(pair.story)")
    _ = rounds("a", pair.source)
    let second = Array(pair.kept("b").filter { !$0.branch }.map(\.point).prefix(3).reversed())
    #expect(second.count == 3 && second[0] > first[2], "\(second)")
    promote("b", second[0])
    let kept = pair.kept("b")
    let branch = Set(kept.filter(\.branch).map(\.point))
    #expect(branch.isSuperset(of: [first[2], second[1], second[2]]), "\(kept)")
    let refused = pair.run(
      "failover p --yes --point \(second[1]) --accept-loss --other-site-is-down", on: "a")
    #expect(refused.code != 0, "\(refused.output)")
  }

  @Test func `to an older point the loss is told, and no number is used twice`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    var numbers: [UInt64] = []
    for round in 1...4 {
      Shell.run("echo \(round) > '\(pair.source)/f\(round)'; sleep 1")
      numbers.append(pair.sync())
      Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy-\(round)"))'")
    }
    pair.kill("a")
    let refused = pair.run("failover p --yes --point \(numbers[1]) --other-site-is-down", on: "b")
    #expect(refused.code == 3 && refused.output.contains("older point"), "\(refused.output)")
    let moved = pair.run(
      "failover p --json --yes --point \(numbers[1]) --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    // Two rounds of a second each, and the files of them with their directory.
    let seconds =
      Double(
        moved.output.split(separator: "\"lossSeconds\":").last?.prefix { $0 != "," } ?? "") ?? 0
    #expect(seconds >= 2, "\(moved.output)")
    #expect(!moved.output.contains("\"lossFiles\":0"), "\(moved.output)")
    #expect(Judge.differences(pair.scratch("copy-2"), pair.replica) == "")
    pair.kill("b", SIGTERM)
    pair.start("b")
    #expect(pair.run("resume p --yes", on: "b").code == 0)
    Shell.run("echo after > '\(pair.replica)/after'")
    let next = UInt64(pair.run("sync p", on: "b").output.filter(\.isNumber)) ?? 0
    #expect(next > (numbers.max() ?? 0), "\(pair.story)")
    #expect(Set(numbers).isSubset(of: Set(pair.kept("b").map(\.point))), "\(pair.kept("b"))")
    for (round, number) in numbers.enumerated() {
      let target = pair.scratch("restored-\(round)")
      #expect(pair.run("restore p --point \(number) --to '\(target)'", on: "b").code == 0)
      #expect(Judge.differences(pair.scratch("copy-\(round + 1)"), target) == "", "\(number)")
    }
  }
}
