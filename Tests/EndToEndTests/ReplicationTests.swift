import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `Two sites` {
  @Test func `replicate twenty thousand real files, then what real tools do to them`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      """
      cd '\(pair.source)'
      find /usr/include /usr/share /usr/lib -xdev -type f -readable -size -200k 2>/dev/null \
        | head -n 20000 | tar -cf - -T - 2>/dev/null | tar -xf - 2>/dev/null
      f=$(find usr -type f | head -n 1); for i in 1 2 3 4 5; do ln "$f" hard$i; ln -s "$f" soft$i; done
      truncate -s 50M sparse; touch empty $'new\\nline' $'\\xff\\xfe' "$(printf 'n%.0s' {1..255})"
      mkfifo fifo; chmod 4755 empty; setfacl -m u:1:rw hard1; setfattr -n user.note -v x hard2
      """)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    let count = Shell.run("find '\(pair.replica)' -type f | wc -l").output.filter(\.isNumber)
    #expect((Int(count) ?? 0) >= 20_000)
    for step in churn {
      let look = "find '\(pair.source)' -printf '%P %i %m %s %T@ %C@\n' | sort | sha256sum"
      let before = Shell.run(look).output
      let done = Shell.run("cd '\(pair.source)' && \(step)")
      #expect(done.code == 0 && Shell.run(look).output != before, "\(step)\n\(done.output)")
      #expect(pair.sync() > 0, "\(step)\n\(pair.story)")
      #expect(Judge.differences(pair.source, pair.replica) == "", "\(step)")
    }
  }

  @Test(arguments: ["a", "b"])
  func `find each other though only one of them knows where the other is`(site: String) throws {
    let pair = TestPair()
    let (here, there) = site == "a" ? ("a", "b") : ("b", "a")
    Shell.run("sed -i 's|  \(here): { address.*|  \(here): {}|' '\(pair.configuration(there))'")
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo one > '\(pair.source)/file'")
    #expect(pair.sync() > 0, "\(pair.story)")
    pair.kill(here, SIGTERM)
    pair.start(here)
    Shell.run("echo two > '\(pair.source)/file'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `keep their memory with a hundred thousand files`() throws {
    let pair = TestPair()
    Shell.run(
      """
      cd '\(pair.source)'; for d in $(seq 200); do mkdir $d; (cd $d; seq 500 | split -l 1 -a 3); done
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync(timeout: "120s") > 0, "\(pair.story)")
    for site in ["a", "b"] {
      let peak = pair.peakMemory(site)
      #expect(peak <= `A long seed`.memoryMax, "\(site): \(peak) MiB")
    }
    let count = Shell.run("find '\(pair.replica)' -type f | wc -l").output.filter(\.isNumber)
    #expect((Int(count) ?? 0) >= 100_000)
  }

  private var churn: [String] {
    [
      """
      mkdir repo && cd repo && git init -q && git config user.email t@t && git config user.name t \
      && cp -r ../usr/include . && git add -A && git commit -qm one && git rm -rq include \
      && git commit -qm two && git clone -q . ../clone && git checkout -q HEAD~1
      """,
      "tar -cf archive.tar usr/include && mkdir unpacked && tar -xf archive.tar -C unpacked",
      "mv usr/include moved && mv moved/linux moved2",
      "rm -r unpacked",
      "find usr -name '*.h' -o -name '*.txt' | head -n 200 | xargs -d '\\n' sed -i 's/the/THE/g'",
      "truncate -s 10K archive.tar; truncate -s 60M sparse",
      "setfattr -n user.more -v y empty; setfacl -b hard1; chmod 600 hard1; rm hard3 soft1",
      "rm -rf clone repo && echo new > repo",
    ]
  }

  @Test func `need no more room for a file of holes than what is written of it`() {
    let pair = TestPair()
    // More than any disk of ours has.
    Shell.run("truncate -s 8T '\(pair.source)/image'")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("printf x | dd of='\(pair.source)/image' bs=1 seek=1T conv=notrunc")
    #expect(pair.sync() > 0, "\(pair.story)")
    let sizes = Shell.run("cd '\(pair.replica)'; stat -c '%s' image; du -k image | cut -f1").output
      .split(separator: "\n").compactMap { Int($0) }
    #expect(sizes.first == 8 << 40 && sizes.last ?? .max < 1024, "\(sizes)")
    let byte = Shell.run("tail -c +1099511627777 '\(pair.replica)/image' | head -c 1").output
    #expect(byte == "x")
  }

  @Test func `go on after the standby was promoted; the old primary stays out`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; cp -r /usr/include/linux .; echo one > file")
    let older = pair.sync()
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("older"))'; echo two > '\(pair.source)/file'")
    let newest = pair.sync()
    #expect(older > 0 && newest > older)
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("newest"))'")
    pair.kill("a")
    let refused = pair.run("failover p --yes --accept-loss", on: "b")
    #expect(refused.code == 3)
    #expect(refused.output.contains("--other-site-is-down"))
    let moved = pair.run("failover p --json --yes --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)\n\(pair.story)")
    #expect(moved.output.contains("\"point\":\(newest)"))
    #expect(moved.output.contains("\"epoch\":2"))
    #expect(Judge.differences(pair.scratch("newest"), pair.replica) == "")
    Shell.run("echo three > '\(pair.replica)/file'")
    let first = pair.run("sync p", on: "b")
    #expect(first.code == 0 && (UInt64(first.output.filter(\.isNumber)) ?? 0) > newest)
    pair.start("a")
    let isOut = pair.wait { pair.status("a").contains("was promoted") }
    #expect(isOut, "\(pair.story)")
    #expect(pair.status("a").contains("\"role\":\"unknown\""))
    #expect(pair.run("resume p --yes", on: "a").code == 3)
    #expect(pair.run("sync p", on: "a").code == 3)
    #expect(Judge.differences(pair.scratch("newest"), pair.source) == "")
  }

  @Test func `promote an older point; what came after is a branch`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; seq 1 5000 > d/a; echo 1 > b")
    let older = pair.sync()
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("older"))'")
    Shell.run("cd '\(pair.source)'; rm -r d; seq 1 9000 > c; echo 2 > b")
    let newest = pair.sync()
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("newest"))'")
    pair.kill("a")
    let moved = pair.run(
      "failover p --json --yes --point \(older) --accept-loss --other-site-is-down", on: "b")
    #expect(moved.code == 0, "\(moved.output)\n\(pair.story)")
    #expect(Judge.differences(pair.scratch("older"), pair.replica) == "")
    let points = pair.run("points p", on: "b").output
    #expect(points.contains("branch"))
    for (number, copy) in [(older, "older"), (newest, "newest")] {
      let target = pair.scratch("restored-\(number)")
      let restored = pair.run("restore p --point \(number) --to '\(target)'", on: "b")
      #expect(restored.code == 0, "\(restored.output)")
      #expect(Judge.differences(pair.scratch(copy), target) == "")
    }
  }

  @Test func `rebuild an index that is lost or damaged, to the byte`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    let index = pair.state("b") + "/pairs/p/index.sqlite"
    var copies: [UInt64: String] = [:]
    for round in 1...3 {
      Shell.run("cd '\(pair.source)'; seq 1 \(round)000 > f\(round); cp /usr/include/[a-e]*.h .")
      let number = pair.sync()
      #expect(number > 0)
      copies[number] = pair.scratch("copy-\(round)")
      Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy-\(round)"))'")
      guard round == 1 else { continue }
      pair.kill("b", SIGTERM)
      Shell.run(
        "mkdir '\(pair.scratch("yesterday"))'; cp -a '\(index)'* '\(pair.scratch("yesterday"))'")
      pair.start("b")
    }
    let before = pair.run("points p --json", on: "b").output
    for (step, damage) in [
      "rm -f '\(index)'*", "truncate -s 0 '\(index)'; rm -f '\(index)'-*",
      "dd if=/dev/urandom of='\(index)' bs=1 seek=5000 count=64 conv=notrunc",
      "rm -f '\(index)'*; cp -a '\(pair.scratch("yesterday"))/'* '\(pair.state("b"))/pairs/p/'",
    ].enumerated() {
      pair.kill("b", SIGTERM)
      Shell.run(damage)
      pair.start("b")
      #expect(pair.run("points p --json", on: "b").output == before, "\(damage)\n\(pair.story)")
      for (number, copy) in copies {
        let target = pair.scratch("restored-\(step)-\(number)")
        let restored = pair.run("restore p --point \(number) --to '\(target)'", on: "b")
        #expect(restored.code == 0, "\(damage): \(restored.output)")
        #expect(Judge.differences(copy, target) == "", "\(damage): point \(number)")
      }
    }
    Shell.run("echo more > '\(pair.source)/more'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `make a lost catalog anew without sending the tree again`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      "cd '\(pair.source)'; cp /usr/lib/x86_64-linux-gnu/*.so* . 2>/dev/null; ls | tail -n +60 | xargs rm -rf"
    )
    #expect(pair.sync() > 0)
    let bytes = Int64(Shell.run("du -sb '\(pair.source)'").output.prefix { $0.isNumber }) ?? 0
    let catalog = pair.state("a") + "/pairs/p/catalog.sqlite"
    let yesterday = pair.scratch("yesterday")
    pair.kill("a", SIGTERM)
    Shell.run("mkdir '\(yesterday)'; cp -a '\(catalog)'* '\(yesterday)'")
    pair.start("a")
    for (step, damage) in [
      "rm -f '\(catalog)'*",
      "rm -f '\(catalog)'*-wal '\(catalog)'*-shm; truncate -s 0 '\(catalog)'*",
      "dd if=/dev/urandom of='\(catalog)' bs=1 seek=5000 count=64 conv=notrunc",
      "rm -f '\(catalog)'*; cp -a '\(yesterday)/'* '\(pair.state("a"))/pairs/p/'",
    ].enumerated() {
      #expect(pair.wait { pair.status("a").contains("\"role\":\"primary\"") })
      Shell.run("cd '\(pair.source)'; echo \(step) > more; rm -f $(ls | head -n 1)")
      #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
      let kept = pair.kept("b").map(\.point)
      pair.kill("a", SIGTERM)
      Shell.run(damage)
      pair.start("a")
      #expect(pair.wait { pair.status("a").contains("\"role\":\"primary\"") })
      Shell.run("echo again \(step) > '\(pair.source)/more'")
      #expect(pair.wait { pair.sync() > 0 }, "\(damage)\n\(pair.story)")
      #expect(Judge.differences(pair.source, pair.replica) == "", "\(damage)")
      let after = Set(pair.kept("b").map(\.point))
      #expect(kept.allSatisfy(after.contains), "\(damage)")
      let sent = pair.sentBytes("a")
      #expect(sent > 0 && sent <= bytes / 100, "\(damage): \(sent) of \(bytes) bytes")
    }
  }
}
