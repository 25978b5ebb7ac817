import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `A planned move` {
  @Test(arguments: ["a", "b"])
  func `goes there and back with nothing lost, ordered on either site`(_ site: String) throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("mkdir '\(pair.source)/d'; echo one > '\(pair.source)/d/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    // Not yet captured when the move begins.
    Shell.run("cd '\(pair.source)'; echo two > d/late; ln d/file link")
    let there = pair.run("switchover p --yes --json", on: site)
    #expect(there.code == 0 && there.output.contains("\"lossSeconds\":0"), "\(there.output)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
    // The old primary follows by itself, with what is written on the new one.
    Shell.run("echo three > '\(pair.replica)/d/new'; rm '\(pair.replica)/link'")
    #expect(pair.wait { pair.status("a").contains("\"role\":\"standby\"") }, "\(pair.story)")
    let synced = pair.run("sync p --wait applied --timeout 60s", on: "b")
    #expect(synced.code == 0, "\(synced.output) \(pair.story)")
    #expect(Judge.differences(pair.replica, pair.source) == "")
    // Home again.
    Shell.run("echo four > '\(pair.replica)/d/newer'")
    let back = pair.run("switchover p --yes --json", on: site)
    #expect(back.code == 0, "\(back.output) \(pair.story)")
    #expect(Judge.differences(pair.replica, pair.source) == "", "\(pair.story)")
    Shell.run("echo five > '\(pair.source)/d/newest'")
    #expect(pair.wait { pair.status("b").contains("\"role\":\"standby\"") }, "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.status("a").contains("\"epoch\":3"))
  }

  @Test func `ships no content that the other site holds`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("head -c 20M /dev/urandom > '\(pair.source)/blob'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let there = pair.run("switchover p --yes", on: "b")
    #expect(there.code == 0, "\(there.output) \(pair.story)")
    #expect(
      pair.wait { pair.run("sync p --wait applied --timeout 5s", on: "b").code == 0 },
      "\(pair.story)")
    #expect(pair.sentBytes("b") < 200_000, "\(pair.sentBytes("b"))")
  }

  @Test func `of which one side dies before its commit point leads back`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    // What the standby never applies the primary waits for.
    pair.signal("b", SIGSTOP)
    Shell.run(
      "HOLDFAST_CONFIG='\(pair.configuration("a"))' '\(TestPair.binary)' switchover p --yes "
        + "> '\(pair.scratch("order"))' 2>&1 & sleep 1")
    pair.kill("b")
    #expect(
      pair.wait { !Shell.run("cat '\(pair.scratch("order"))'").output.isEmpty }, "\(pair.story)")
    pair.start("b")
    Shell.run("echo two > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.status("a").contains("\"epoch\":1"))
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}

@Suite(.serialized) struct `Large files of a planned move` {
  @Test func `are read only for a journal that does not hold them`() {
    let pair = TestPair(extra: ["rpo: 1s"])
    #expect(pair.begin(), "\(pair.story)")
    // What is young is read again.
    Shell.run("cd '\(pair.source)'; head -c 200M /dev/urandom > large; touch -d '1 hour ago' large")
    #expect(pair.sync() > 0, "\(pair.story)")
    /// Moves the service from one site to the other, and says what they read.
    func move(from old: String, to new: String, _ tree: String) -> [String: Int64] {
      let before = pair.bytesRead(old)
      let beforeNew = pair.bytesRead(new)
      #expect(pair.wait { pair.run("switchover p --yes", on: new).code == 0 }, "\(pair.story)")
      #expect(pair.wait { pair.status(old).contains("\"role\":\"standby\"") }, "\(pair.story)")
      Shell.run("echo \(new) > '\(tree)/new'")
      let synced = pair.run("sync p --wait applied --timeout 60s", on: new)
      #expect(synced.code == 0, "\(synced.output)")
      #expect(Judge.differences(pair.replica, pair.source) == "")
      return [old: pair.bytesRead(old) - before, new: pair.bytesRead(new) - beforeNew]
    }
    let there = move(from: "a", to: "b", pair.replica)
    #expect(there["b"] ?? .max < 32 << 20, "\(there)")
    // The first journal of the old primary has to be filled; that of the other holds all of it.
    let back = move(from: "b", to: "a", pair.source)
    #expect(back.values.allSatisfy { $0 < 128 << 20 }, "\(back)")
  }
}

@Suite(.serialized) struct `Past its commit point a planned move` {
  @Test(arguments: 1...3)
  func `goes forward though the new primary dies, and the old one too`(_ hit: Int) throws {
    let pair = TestPair()
    pair.start("a")
    pair.start("b", probe: "promoting:\(hit)")
    #expect(pair.pair(), "\(pair.story)")
    Shell.run("mkdir '\(pair.source)/d'; head -c 3M /dev/urandom > '\(pair.source)/d/blob'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let final = pair.scratch("final")
    Shell.run("echo late > '\(pair.source)/late'; cp -a '\(pair.source)' '\(final)'")
    _ = pair.run("switchover p --yes", on: "a")
    #expect(pair.end("b") == 128 + SIGKILL)
    pair.kill("a")
    pair.start("a")
    // It hears of the other's reign only behind the first of the places to die in.
    #expect(pair.status("a").contains("yielded") == (hit == 1), "\(pair.story)")
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("\"role\":\"primary\"") }, "\(pair.story)")
    #expect(Judge.differences(final, pair.replica) == "")
    // Killed while it takes stock, wherever that is.
    pair.kill("a")
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("\"role\":\"standby\"") }, "\(pair.story)")
    Shell.run("echo new > '\(pair.replica)/new'")
    #expect(pair.run("sync p --wait applied --timeout 60s", on: "b").code == 0, "\(pair.story)")
    #expect(Judge.differences(pair.replica, pair.source) == "")
    #expect(!pair.kept("a").contains { $0.branch }, "\(pair.kept("a"))")
  }

  @Test func `leaves the old primary a way on where the new one is lost`() throws {
    let pair = TestPair()
    pair.start("a")
    pair.start("b", probe: "promoting:1")
    #expect(pair.pair(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    _ = pair.run("switchover p --yes", on: "a")
    #expect(pair.end("b") == 128 + SIGKILL)
    let plain = pair.run("resume p --yes", on: "a")
    #expect(plain.code == 3 && plain.output.contains("--other-site-is-down"), "\(plain.output)")
    let taken = pair.run("resume p --yes --other-site-is-down --json", on: "a")
    #expect(taken.code == 0 && taken.output.contains(#""kind":"resume""#), "\(taken.output)")
    #expect(taken.output.contains(#""name":"epoch""#), "\(taken.output)")
    #expect(pair.status("a").contains("\"epoch\":3"), "\(pair.story)")
    Shell.run("echo two > '\(pair.source)/file'")
    #expect(pair.run("sync p", on: "a").code == 0, "\(pair.story)")
    // The other one returns, promoted to a reign that is over.
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("was promoted") }, "\(pair.story)")
    let back = pair.run("failback p --yes --as-standby", on: "b")
    #expect(back.code == 0, "\(back.output)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}

@Suite(.serialized) struct `An old primary` {
  @Test func `comes home with its unshipped writes in a branch`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'; head -c 5M /dev/urandom > '\(pair.source)/blob'")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("b")
    // Never shipped.
    Shell.run("echo lost > '\(pair.source)/unshipped'; echo changed > '\(pair.source)/file'")
    #expect(pair.run("sync p", on: "a").code == 0)
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("before"))'")
    pair.kill("a")
    pair.start("b")
    let moved = pair.run("failover p --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)")
    Shell.run("echo new > '\(pair.replica)/new'")
    #expect(pair.run("failback p --yes", on: "b").code == 3)
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("was promoted") }, "\(pair.story)")
    let back = pair.run("failback p --yes --json", on: "a")
    #expect(back.code == 0, "\(back.output) \(pair.story)")
    for phase in ["take stock", "final point", "lease"] {
      #expect(back.output.contains("\"name\":\"\(phase)\""), "\(phase): \(back.output)")
    }
    #expect(pair.status("a").contains("\"role\":\"primary\""), "\(pair.story)")
    #expect(Judge.differences(pair.replica, pair.source) == "", "\(pair.story)")
    // Content that it held did not travel.
    #expect(pair.sentBytes("b") < 300_000, "\(pair.sentBytes("b"))")
    let branch = pair.kept("a").first { $0.branch }
    #expect(branch != nil, "\(pair.kept("a"))")
    let target = pair.scratch("restored")
    let restored = pair.run("restore p --point \(branch?.point ?? 0) --to '\(target)'", on: "a")
    #expect(restored.code == 0, "\(restored.output)")
    #expect(Judge.differences(pair.scratch("before"), target) == "")
    // Let go, it is gone, and nothing else; what only the rule keeps is nobody's to release.
    let released = pair.run("release p --point \(branch?.point ?? 0) --yes", on: "a")
    #expect(released.code == 0, "\(released.output) \(pair.story)")
    #expect(!pair.kept("a").contains { $0.branch }, "\(pair.kept("a"))")
    let again = pair.run("release p --point \(branch?.point ?? 0) --yes", on: "a")
    #expect(again.code == 3 && again.output.contains("neither on a branch nor pinned"))
    // Also in the index that is built anew from the journal.
    pair.kill("a")
    Shell.run("rm '\(pair.state("a"))/pairs/p/'index.sqlite*")
    pair.start("a")
    #expect(pair.wait { !pair.kept("a").isEmpty }, "\(pair.story)")
    #expect(!pair.kept("a").contains { $0.branch }, "\(pair.kept("a"))")
  }
}
