import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `A pair of two roots` {
  @Test func `is one point, promoted and restored as a whole`() {
    let pair = TestPair(hasSecond: true)
    let (second, replica) = (pair.scratch("second"), pair.scratch("second-replica"))
    Shell.run(
      """
      cd '\(pair.source)'; cp -r /usr/include/linux d; ln d/if.h hard; echo one > same
      cd '\(second)'; cp -r /usr/include/net d; ln d/if.h hard; echo two > same; ln -s ../source x
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Judge.differences(second, replica) == "")
    let kept = pair.scratch("kept")
    Shell.run("mkdir '\(kept)'; cp -a '\(pair.source)' '\(second)' '\(kept)'")
    let point = pair.kept("b").first?.point ?? 0
    // What one root loses the other keeps, under the same name.
    Shell.run("rm -r '\(second)/d' '\(pair.source)/same'; echo three > '\(second)/same'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Judge.differences(second, replica) == "")
    let to = pair.scratch("to")
    let restored = pair.run("restore p --point \(point) --to '\(to)'", on: "b")
    #expect(restored.code == 0, "\(restored.output)")
    #expect(Judge.differences(kept + "/source", to + pair.source) == "")
    #expect(Judge.differences(kept + "/second", to + second) == "")
    pair.kill("a")
    let moved = pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    #expect(Judge.differences(second, replica) == "")
    Shell.run("echo four > '\(replica)/new'")
    #expect(pair.run("sync p --wait durable --timeout 1s", on: "b").code == 4)
    #expect((pair.points("b")?.captured ?? 0) > point + 1, "\(pair.story)")
  }

  @Test func `keeps its order: to swap them, or leave one out, is approved by nobody`() {
    let pair = TestPair(hasSecond: true)
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/one'; echo 2 > '\(pair.scratch("second"))/two'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let file = pair.configuration("b")
    Shell.run("cp '\(file)' '\(file).good'")
    for edit in [
      "/- path: .*source$/d; /replica: .*[^d]-\\?replica$/d",
      "s|path: .*/source$|path: X|; s|path: .*/second$|path: \(pair.source)|; "
        + "s|path: X|path: \(pair.scratch("second"))|",
    ] {
      Shell.run("sed -e '\(edit)' '\(file).good' > '\(file)'")
      pair.kill("b", SIGTERM)
      pair.start("b")
      let answer = pair.run("approve p --yes", on: "b")
      #expect(answer.code == 3, "\(answer.output)\n\(Shell.run("cat '\(file)'").output)")
      #expect(answer.output.contains("know its roots by their order"), "\(answer.output)")
    }
    Shell.run("cp '\(file).good' '\(file)'")
    pair.kill("b", SIGTERM)
    pair.start("b")
    Shell.run("echo 3 > '\(pair.source)/one'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Judge.differences(pair.scratch("second"), pair.scratch("second-replica")) == "")
  }

  /// As systemd mounts them for the agent's unit, each on itself.
  @Test(.enabled(if: geteuid() == 0))
  func `is told of what happens in each, where they are mounts of one filesystem`() {
    let pair = TestPair(hasSecond: true)
    let second = pair.scratch("second")
    let disk = LoopDisk("ext4", in: pair.scratch)
    defer { Shell.run("umount '\(pair.source)' '\(second)'") }
    let mounted = Shell.run(
      """
      set -e; mkdir '\(disk.path)/main' '\(disk.path)/wal'
      mount --bind '\(disk.path)/main' '\(pair.source)'; mount --bind '\(disk.path)/wal' '\(second)'
      mkdir '\(pair.source)/d' '\(second)/d'
      """)
    #expect(mounted.code == 0, "\(mounted.output)")
    #expect(pair.begin(), "\(pair.story)")
    for round in 1...2 {
      Shell.run("echo \(round) | tee '\(pair.source)/d/x' '\(second)/d/x' '\(second)/new-\(round)'")
      #expect(pair.sync() > 0, "\(pair.story)")
      #expect(Judge.differences(pair.source, pair.replica) == "")
      #expect(Judge.differences(second, pair.scratch("second-replica")) == "")
    }
    #expect(pair.status("a").contains("\"watch\":\"fanotify\""), "\(pair.status("a"))")
  }

  @Test func `is not captured while one of them is missing`() {
    let pair = TestPair(hasSecond: true)
    let (second, replica) = (pair.scratch("second"), pair.scratch("second-replica"))
    Shell.run("echo 1 > '\(pair.source)/x'; echo 1 > '\(second)/x'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("mv '\(second)' '\(second).away'; echo 2 > '\(pair.source)/x'")
    let refused = pair.run("sync p --wait durable --timeout 5s", on: "a")
    #expect(refused.code != 0 && refused.output.contains(second), "\(refused.output)")
    #expect(Shell.run("cat '\(replica)/x' '\(pair.replica)/x'").output == "1\n1\n")
    Shell.run("mv '\(second).away' '\(second)'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Shell.run("cat '\(replica)/x' '\(pair.replica)/x'").output == "1\n2\n")
  }
}
