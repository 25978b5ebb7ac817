import FoundationEssentials
import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `Settings that change` {
  @Test func `of what is protected wait for a person, and delete nothing`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      "cd '\(pair.source)'; mkdir d; echo 1 > d/x.tmp; echo 2 > keep; echo 3 > y.tmp; echo 0 > d/same"
    )
    #expect(pair.sync() > 0, "\(pair.story)")
    let object = Shell.run("stat -c %i '\(pair.replica)/d/same'").output
    for site in ["a", "b"] {
      Shell.run("echo '        exclude: [\"*.tmp\"]' >> '\(pair.configuration(site))'")
      pair.signal(site, SIGHUP)
      #expect(
        pair.wait { pair.status(site).contains("exclude changed in the configuration") },
        "\(pair.story)")
    }
    // The old value is in force, also over a restart.
    pair.kill("a", SIGTERM)
    pair.start("a")
    #expect(pair.status("a").contains("holdfast approve p"))
    Shell.run("cd '\(pair.source)'; echo 4 > z.tmp")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Shell.run("cat '\(pair.replica)/z.tmp'").output == "4\n")
    for site in ["a", "b"] {
      let answer = pair.run("approve p --yes", on: site)
      #expect(answer.code == 0, "\(answer.output)")
    }
    Shell.run("cd '\(pair.source)'; rm y.tmp d/x.tmp; echo 5 > z.tmp; echo 6 > keep")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(
      Shell.run("cd '\(pair.replica)'; cat y.tmp d/x.tmp z.tmp keep").output == "3\n1\n4\n6\n")
    // What did not change was not made anew.
    #expect(Shell.run("stat -c %i '\(pair.replica)/d/same'").output == object)
    #expect(!pair.status("b").contains("approve"))
    #expect(pair.run("approve p --yes", on: "b").code == 3)
    // A promoted site goes on from what was applied, without reading all of it.
    pair.kill("a")
    let moved = pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    let isCaptured = pair.wait {
      pair.points("b").map { ($0.captured ?? 0) > ($0.applied ?? 0) } ?? false
    }
    #expect(isCaptured, "\(pair.story)")
    #expect(!pair.status("b").contains("catalog rebuilt"), "\(pair.story)")
  }

  @Test func `that come later are accepted, and said to be not yet at work`() {
    let pair = TestPair(extra: ["owners: names"])
    #expect(pair.begin(), "\(pair.story)")
    let check = pair.run("check", on: "a")
    #expect(check.output.contains("not yet at work: owners"), "\(check.output)")
    let status = pair.status("a")
    #expect(status.contains("accepted, not yet at work: owners"), "\(status)")
  }

  @Test func `with a mistake in them change nothing, and the agent says where it is`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("sed -i 's/    standby:/    stanby:/' '\(pair.configuration("a"))'")
    pair.signal("a", SIGHUP)
    #expect(
      pair.wait { Shell.run("cat '\(pair.log("a"))'").output.contains("did you mean `standby`?") })
    Shell.run(
      "sed -i 's/stanby:/standby:/' '\(pair.configuration("a"))'; echo x > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
  }

  @Test func `of a pair's pace are taken at once`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo x > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("sed -i 's/    roots:/    rpo: 7s\\n    roots:/' '\(pair.configuration("a"))'")
    pair.signal("a", SIGHUP)
    #expect(pair.wait { pair.status("a").contains("\"rpoSeconds\":7") }, "\(pair.story)")
    Shell.run("echo y > '\(pair.source)/y'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}

@Suite(.serialized) struct `Points that do not count` {
  @Test func `are told of by status, and what cannot make them by check`() {
    let pair = TestPair(extra: ["require: application", "capture: [btrfs, none]"])
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.sync("durable") > 0, "\(pair.story)")
    let isTold = pair.wait {
      pair.status("a").contains("and application is required: it is neither applied nor promoted")
    }
    #expect(isTold, "\(pair.status("a"))")
    let check = pair.run("check", on: "a").output
    #expect(check.contains("and application is required"), "\(check)")
    let isBtrfs = Shell.run("stat -f -c %T '\(pair.source)'").output == "btrfs\n"
    #expect(check.contains("btrfs makes no snapshots of \(pair.source)") != isBtrfs, "\(check)")
  }

  private struct Marks: Decodable {
    struct Pair: Decodable {
      var lagSeconds: Double?
      var rpoKept: Bool?
      var points: TestPair.Marks
    }
    var pairs: [Pair]
  }

  @Test(.enabled(if: geteuid() == 0))
  func `bring neither lag nor replica forward, until one does`() {
    let scratch = Scratch()
    let pair = TestPair(extra: [
      "rpo: 2s", "require: application",
      "capture: [{ quiesce: { before: \"test ! -e \(scratch("refuse"))\", after: \"true\" } }, none]",
    ])
    pair.isAlone = true
    func marks() -> Marks.Pair? {
      let text = pair.run("status p --json", on: "b").output
      return try? JSONDecoder().decode(Marks.self, from: Data(text.utf8)).pairs.first
    }
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.wait { marks()?.rpoKept == true }, "\(pair.story)")
    let before = marks()?.points.applied
    Shell.run("touch '\(scratch("refuse"))'; echo 2 > '\(pair.source)/x'")
    let point = pair.sync("durable")
    #expect(point > 0, "\(pair.story)")
    #expect(
      pair.wait { marks()?.rpoKept == false && marks()?.lagSeconds ?? 0 > 2 }, "\(pair.story)")
    #expect(marks()?.points.durable ?? 0 >= point)
    #expect(marks()?.points.applied == before)
    #expect(Shell.run("cat '\(pair.replica)/x'").output == "1\n")
    Shell.run("rm '\(scratch("refuse"))'; echo 3 > '\(pair.source)/x'")
    #expect(pair.sync() > point, "\(pair.story)")
    #expect(pair.wait { marks()?.rpoKept == true }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}
