import Glibc
import TestKit
import Testing

/// What a peer with the right key may send, and what is made of it.
@Suite(.serialized) struct `A peer that speaks nonsense` {
  @Test(
    arguments: [
      ("a frame too long", "printf '\\xff\\xff\\xff\\xff'; head -c 1000 /dev/zero", ""),
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
