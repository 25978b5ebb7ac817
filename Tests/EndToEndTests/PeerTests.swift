import Glibc
import TestKit
import Testing

/// What a peer with the right key may send, and what is made of it.
@Suite(.serialized) struct `A peer that speaks nonsense` {
  @Test(
    arguments: [
      ("a frame too long", "printf '\\xff\\xff\\xff\\xff'; head -c 1000 /dev/zero", " are allowed"),
      ("a frame cut short", "printf '\\0\\0\\0\\x64'; head -c 10 /dev/zero", ""),
      ("random bytes", "printf '\\0\\0\\0\\x64'; head -c 100 /dev/urandom", ""),
      (
        "a data frame whose head is nonsense",
        "printf '\\0\\0\\0\\x64\\0\\xff\\xff'; head -c 97 /dev/urandom", ""
      ),
      (
        "another version",
        "printf '\\0\\0\\0\\x0c\\x0a\\x0a\\x08\\x63\\x10\\x63\\x1a\\x01b\\x22\\x01p'",
        "versions do not meet"
      ),
    ])
  func `ends its session, and the agent lives on`(
    what: String, bytes: String, words: String
  ) throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("b", SIGTERM)
    let state = pair.state("b")
    Shell.run(
      """
      (\(bytes); sleep 1) | timeout 5 openssl s_client -quiet -connect 127.0.0.1:\(pair.port("a")) \
        -tls1_3 -cert '\(state)/site.crt' -key '\(state)/site.key' >/dev/null 2>&1
      """)
    #expect(pair.isAlive("a"), "\(what)")
    let log = Shell.run("cat '\(pair.log("a"))'").output
    #expect(log.contains("session with b ended: ") && log.contains(words), "\(what): \(log)")
    pair.start("b")
    Shell.run("echo 2 > '\(pair.source)/x'")
    #expect(pair.wait { pair.sync() > 0 }, "\(what)\n\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(what)")
  }

  @Test func `no points are taken before both sites have agreed on the epoch`() {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("a", SIGTERM)
    let before = pair.points("b")?.durable
    // As a, whose key is known: hello, and at once the beginning of a segment.
    Shell.run(
      """
      (printf '\\x00\\x00\\x00\\x0c\\x0a\\x0a\\x08\\x01\\x10\\x01\\x1a\\x01\\x61\\x22\\x01\\x70\\x00\\x00\\x00\\x09\\x1a\\x07\\x0a\\x01\\x70\\x12\\x02\\x78\\x78'; sleep 1) | timeout 5 openssl s_client -quiet -tls1_3 \
        -connect 127.0.0.1:\(pair.port("b")) -cert '\(pair.state("a"))/site.crt' \
        -key '\(pair.state("a"))/site.key' >/dev/null 2>&1
      """)
    let log = Shell.run("cat '\(pair.log("b"))'").output
    #expect(log.contains("points of an epoch that was not agreed to"), "\(log)")
    #expect(pair.points("b")?.durable == before)
    pair.start("a")
    Shell.run("echo 2 > '\(pair.source)/x'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test(
    arguments: [
      "../outside", "d/../../outside", "/tmp/holdfast-outside", "d//outside", ".holdfast/m",
    ])
  func `names no place beyond the tree, nor what Holdfast keeps`(path: String) throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("mkdir '\(pair.source)/d'; echo 1 > '\(pair.source)/d/x'")
    let first = pair.sync()
    #expect(first > 0, "\(pair.story)")
    pair.kill("a", SIGTERM)
    try pair.plant(path)
    let before = Shell.run("ls -AR '\(pair.replica)'").output
    pair.start("a")
    let isSaid = pair.wait {
      Shell.run("grep -q 'session with a ended: .*path' '\(pair.log("b"))'").code == 0
    }
    #expect(isSaid, "\(pair.story)")
    #expect(pair.isAlive("a") && pair.isAlive("b"))
    #expect(Shell.run("ls -AR '\(pair.replica)'").output == before)
    let outside = "'\(pair.scratch("outside"))' /tmp/holdfast-outside '\(pair.replica)/.holdfast/m'"
    #expect(Shell.run("ls -d \(outside) 2>/dev/null").output == "")
    #expect(pair.points("b")?.durable == first)
    // What came after it is taken.
    Shell.run("echo 2 > '\(pair.source)/d/x'")
    #expect(pair.wait { pair.sync() > first }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.run("verify p", on: "b").code == 0)
    pair.kill("b", SIGTERM)
    Shell.run("rm '\(pair.state("b"))'/pairs/p/index.sqlite*")
    pair.start("b")
    Shell.run("echo 3 > '\(pair.source)/d/x'")
    #expect(pair.wait { pair.sync() > first }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.kept("b").contains { $0.point == first })
  }

  @Test func `a site with another key than before is not let in`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    pair.kill("b", SIGTERM)
    Shell.run("rm '\(pair.state("b"))'/site.*")
    pair.run("init --site b", on: "b")
    pair.start("b")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.run("sync p --wait durable --timeout 3s", on: "a").code == 4)
    #expect(pair.isAlive("a") && pair.isAlive("b"))
    // What helps is to pair again, and to say so on the site that knows the old key.
    let token = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    let refused = pair.run("join '\(token)'", on: "b")
    #expect(refused.code == 3 && refused.output.contains("holdfast invite --replace b"))
    #expect(pair.pair("--replace b"), "\(pair.story)")
    #expect(pair.wait { pair.sync("durable") > 0 }, "\(pair.story)")
  }
}

@Suite(.serialized) struct `A peer that stands still` {
  @Test func `is missed within seconds, the lag grows meanwhile and comes back`() {
    let pair = TestPair(extra: ["rpo: 1s"])
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("a").contains("\"rpoKept\":true") }, "\(pair.story)")
    pair.signal("b", SIGSTOP)
    Shell.run("echo 1 > '\(pair.source)/x'")
    // A side that has heard nothing for five.
    let isMissed = pair.wait(9) {
      let status = pair.status("a")
      return status.contains("\"connected\":false") && status.contains("\"rpoKept\":false")
    }
    #expect(isMissed, "\(pair.status("a"))")
    pair.signal("b", SIGCONT)
    #expect(pair.wait { pair.status("a").contains("\"rpoKept\":true") }, "\(pair.story)")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}

@Suite(.serialized) struct `A site that begins alone` {
  @Test(arguments: [("wait", "unknown"), ("resume", "primary")])
  func `is what its configuration says`(onBoot: String, role: String) {
    let pair = TestPair(extra: ["failover: { on-boot: \(onBoot) }"])
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill("b")
    pair.kill("a")
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("\"role\":\"\(role)\"") }, "\(pair.story)")
    // Who captures waits for the standby in vain.
    let sync = pair.run("sync p --wait durable --timeout 1s", on: "a")
    #expect(sync.code == (onBoot == "resume" ? 4 : 3), "\(sync.output)")
  }
}
