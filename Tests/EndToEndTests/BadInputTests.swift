import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `Bad input` {
  @Test func `times of a lease that do not keep two sites apart are refused with their sum`() {
    let pair = TestPair()
    let file = pair.configuration("a")
    Shell.run("cp '\(file)' '\(file).good'; echo '    failover: { stop-budget: 4s }' >> '\(file)'")
    let checked = pair.run("check", on: "a")
    #expect(checked.code == 2, "\(checked.output)")
    #expect(checked.output.contains("pairs.p.failover: renew-every + 2 timeout + stop-budget"))
    #expect(checked.output.contains("= 11200 ms must be at most ttl - margin = 9500 ms"))
    Shell.run("cp '\(file).good' '\(file)'; echo '    failover: { stop-budget: 2s }' >> '\(file)'")
    #expect(pair.run("check", on: "a").code != 2)
  }

  @Test func `a misspelt key is named with its place and the nearest key`() {
    let pair = TestPair()
    Shell.run("sed -i 's/    standby:/    stanby:/' '\(pair.configuration("a"))'")
    let answer = pair.run("check --start", on: "a")
    #expect(answer.code == 2)
    #expect(answer.output.contains("unknown key `stanby`: did you mean `standby`?"))
    #expect(answer.output.contains("a.yaml:10:"))
    Shell.run("sed -i 's/stanby:/standby:/' '\(pair.configuration("a"))'")
    #expect(pair.run("check --start", on: "a").code == 0)
  }

  @Test func `two agents never share a state directory`() {
    let pair = TestPair()
    pair.start("a")
    let second = pair.run("agent", on: "a")
    #expect(second.code == 3)
    #expect(second.output.contains(pair.state("a")))
    #expect(pair.isAlive("a"))
  }

  @Test func `a root that vanishes deletes nothing, and is taken up again`() {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; seq 1 1000 > a; mkdir d; echo x > d/y")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy"))'")
    for (fault, word) in [
      ("mv '\(pair.source)' '\(pair.scratch("away"))'", "does not exist"),
      ("touch '\(pair.source)'", "not a directory"),
      ("rm '\(pair.source)'; mkdir '\(pair.source)'", "carries no marker"),
    ] {
      Shell.run(fault)
      let answer = pair.run("sync p", on: "a")
      #expect(answer.code == 3, "\(fault): \(answer.output)")
      #expect(answer.output.contains(word) && answer.output.contains(pair.source))
      #expect(pair.status("a").contains(word))
      #expect(Judge.differences(pair.scratch("copy"), pair.replica) == "", "\(fault)")
    }
    Shell.run(
      "rmdir '\(pair.source)'; mv '\(pair.scratch("away"))' '\(pair.source)'; echo z > '\(pair.source)/z'"
    )
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.isAlive("a") && pair.isAlive("b"))
  }

  @Test func `a replica that is not empty is not touched before it is adopted`() {
    let pair = TestPair()
    Shell.run("mkdir '\(pair.replica)'; echo precious > '\(pair.replica)/mine'")
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("seq 1 1000 > '\(pair.source)/a'")
    #expect(pair.sync("durable") > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("b").contains("holdfast adopt p") }, "\(pair.story)")
    #expect(Shell.run("cat '\(pair.replica)/mine'").output == "precious\n")
    #expect(Shell.run("ls '\(pair.replica)'").output == "mine\n")
    #expect(pair.run("adopt p", on: "b").code == 0)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `a token works once, and a wrong one is told how many tries are left`() {
    let pair = TestPair()
    pair.start("a")
    pair.start("b")
    let token = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    let parts = token.split(separator: ".", maxSplits: 3)
    #expect(parts.count == 4)
    let wrong = "\(parts[0]).\(parts[1]).\(String(repeating: "0", count: 32)).\(parts[3])"
    let refused = pair.run("join \(wrong)", on: "b")
    #expect(refused.code == 3)
    #expect(refused.output.contains("4 tries left"))
    #expect(pair.run("join \(token)", on: "b").code == 0)
    let again = pair.run("join \(token)", on: "b")
    #expect(again.code == 3)
    #expect(again.output.contains("holdfast invite"))
    #expect(pair.isAlive("a"))
  }

  @Test func `a token survives no fifth wrong try`() {
    let pair = TestPair()
    pair.start("a")
    pair.start("b")
    let token = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    let parts = token.split(separator: ".", maxSplits: 3)
    #expect(parts.count == 4)
    for number in 0..<5 {
      let wrong = "\(parts[0]).\(parts[1]).\(String(repeating: "\(number)", count: 32)).\(parts[3])"
      #expect(pair.run("join \(wrong)", on: "b").code == 3)
    }
    let late = pair.run("join \(token)", on: "b")
    #expect(late.code == 3 && late.output.contains("holdfast invite"), "\(late.output)")
    let fresh = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    #expect(pair.run("join \(fresh)", on: "b").code == 0)
  }

  @Test func `a key that is not pinned hears nothing, and the agent lives on`() {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    let stranger = Shell.run(
      """
      cd '\(pair.scratch.path)'; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -nodes -keyout s.key -out s.crt -subj /CN=s -days 1 2>/dev/null
      (sleep 1) | timeout 5 openssl s_client -connect 127.0.0.1:\(pair.port("a")) -tls1_3 \
        -cert s.crt -key s.key 2>&1 | tail -n 5; head -c 100000 /dev/urandom \
        | timeout 3 nc -N 127.0.0.1 \(pair.port("a")) >/dev/null 2>&1; true
      """)
    #expect(stranger.output.contains("alert"), "\(stranger.output)")
    #expect(pair.isAlive("a"))
    Shell.run("echo x > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
  }

  @Test func `a spool that cannot be opened ends no session, and is taken up when it can`() {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/x'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let spool = pair.state("a") + "/pairs/p/spool"
    pair.kill("a", SIGTERM)
    Shell.run("mv '\(spool)' '\(spool).away'; touch '\(spool)'")
    pair.start("a")
    #expect(pair.wait { pair.status("a").contains("p cannot go on") }, "\(pair.story)")
    #expect(pair.status("a").contains("\"connected\":true"))
    let since = Shell.run("sed '1,/stopped/d' '\(pair.log("a"))'").output
    #expect(!since.contains("ended"), "\(pair.story)")
    Shell.run("rm '\(spool)'; mv '\(spool).away' '\(spool)'; echo 2 > '\(pair.source)/x'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `somebody's own directory of Holdfast's name is not taken over`() {
    let pair = TestPair()
    Shell.run("mkdir '\(pair.source)/.holdfast'; echo precious > '\(pair.source)/.holdfast/mine'")
    pair.start("a")
    pair.start("b")
    let answer = pair.run("invite --yes", on: "a")
    #expect(answer.code == 3, "\(answer.output)")
    #expect(
      answer.output.contains("\(pair.source)/.holdfast is somebody's own"), "\(answer.output)")
    #expect(Shell.run("ls '\(pair.source)/.holdfast'").output == "mine\n")
    Shell.run("mv '\(pair.source)/.holdfast' '\(pair.source)/mine'")
    #expect(pair.run("adopt p", on: "a").code == 0)
    #expect(pair.pair(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `a token that has expired says what to type`() {
    let pair = TestPair()
    let offset = pair.scratch("offset")
    pair.write("+0", to: offset)
    pair.wrappers["a"] = TestPair.withClock(offset, isMonotonic: true)
    pair.start("a")
    pair.start("b")
    let token = pair.run("invite --yes", on: "a").output.split(separator: "\n").last ?? ""
    pair.write("+16m", to: offset)
    let late = pair.run("join '\(token)'", on: "b")
    #expect(late.code == 3 && late.output.contains("holdfast invite"), "\(late.output)")
    pair.write("+0", to: offset)
    #expect(pair.pair(), "\(pair.story)")
    #expect(pair.isAlive("a"))
  }

  @Test func `the tree that the primary serves is not adopted as its replica`() {
    let pair = TestPair()
    Shell.run(
      """
      echo precious > '\(pair.source)/file'
      sed -i 's|replica: .*|replica: \(pair.source)|' '\(pair.scratch.path)'/[ab].yaml
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync("durable") > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("b").contains("root and replica may not be one directory") })
    Shell.run("echo newer > '\(pair.source)/newer'")
    let refused = pair.run("adopt p", on: "b")
    #expect(refused.code == 3, "\(refused.output)")
    #expect(refused.output.contains("give `replica` another path"), "\(refused.output)")
    #expect(Shell.run("ls -A '\(pair.source)'").output == ".holdfast\nfile\nnewer\n")
    // What it says helps.
    pair.putReplica(at: pair.replica)
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `a root inside the state directory, or around it, is refused`() {
    let pair = TestPair()
    for path in [pair.state("a") + "/inner", pair.scratch.path] {
      Shell.run(
        "mkdir -p '\(path)'; sed -i 's|path: .*|path: \(path)|' '\(pair.configuration("a"))'")
      let answer = pair.run("check --start", on: "a")
      #expect(answer.code == 3, "\(answer.output)")
      #expect(answer.output.contains(path) && answer.output.contains("state"))
    }
  }

  @Test func `a flipped byte in the journal is found and named`() {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; cp /usr/include/[a-d]*.h .")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    Shell.run(
      """
      f=$(ls -S '\(pair.state("b"))'/pairs/p/journal/*.seg | head -n 1)
      printf '\\xff\\x00\\xff' | dd of="$f" bs=1 seek=5000 conv=notrunc
      """)
    let answer = pair.run("verify p --json", on: "b")
    #expect(answer.code == 5)
    #expect(answer.output.contains("journal"))
    #expect(pair.isAlive("b"))
  }
}
