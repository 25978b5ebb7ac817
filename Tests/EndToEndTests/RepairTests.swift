import Glibc
import HoldfastStore
import TestKit
import Testing

@Suite(.serialized) struct `Verifying` {
  @Test func `finds and mends a replica that somebody changed`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      """
      cd '\(pair.source)'; cp -r /usr/include/linux .; ln linux/if.h hard; ln -s hard soft
      ln linux/in.h parted; cp -p linux/in.h twin; cp -p linux/in.h other
      """)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    Shell.run("cd '\(pair.replica)'; cp -p parted new; mv new parted; ln -f twin other")
    let parted = pair.run("verify p --json", on: "b").output
    #expect(parted.contains("is no longer one file with") && parted.contains("is one file with"))
    #expect(pair.run("verify p --repair", on: "b").code == 0)
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.run("verify p", on: "b").code == 0)
    Shell.run(
      """
      cd '\(pair.replica)'; touch -r linux/fs.h time; chmod u+w linux/fs.h
      printf x | dd of=linux/fs.h bs=1 seek=9 conv=notrunc 2>/dev/null; touch -r time linux/fs.h
      rm time linux/tty.h; echo other > soft2; mkdir -p new/er; echo > new/er/file; rm soft; ln -s nowhere soft; chmod 600 hard
      """)
    let found = pair.run("verify p --json", on: "b")
    #expect(found.code == 5, "\(found.output)")
    for path in ["linux/fs.h", "linux/tty.h", "soft", "hard", "soft2", "new"] {
      #expect(found.output.contains("\"path\":\"\(path)\""), "\(path): \(found.output)")
    }
    let only = pair.run("verify p --json --path /linux/tty.h", on: "b")
    #expect(!only.output.contains("fs.h"), "\(only.output)")
    let mended = pair.run("verify p --repair", on: "b")
    #expect(mended.code == 0, "\(mended.output)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    Shell.run("echo 1 > '\(pair.source)/next'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `mends a journal from what the primary has`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; cp /usr/include/[a-d]*.h .; seq 1 900000 > large")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run(
      """
      f=$(ls -S '\(pair.state("b"))'/pairs/p/journal/*.seg | head -n 1)
      for at in 5000 9000; do
        printf '\\xff\\x00\\xff' | dd of="$f" bs=1 seek=$at conv=notrunc 2>/dev/null
      done
      """)
    #expect(pair.run("verify p", on: "b").code == 5)
    let mended = pair.run("verify p --repair", on: "b")
    #expect(mended.code == 0, "\(mended.output)\n\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    let point = pair.kept("b").first?.point ?? 0
    let target = pair.scratch("restored")
    #expect(pair.run("restore p --point \(point) --to '\(target)'", on: "b").code == 0)
    #expect(Judge.differences(pair.source, target) == "")
    #expect(pair.isAlive("a") && pair.isAlive("b"))
  }

  @Test func `a flipped byte takes no durable point away when the agent starts again`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    for round in 1...4 {
      Shell.run("head -c 200K /dev/urandom > '\(pair.source)/f\(round)'")
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    let kept = pair.run("points p --json", on: "b").output
    pair.kill("b")
    let flipped = Shell.run(
      """
      f=$(ls -S '\(pair.state("b"))'/pairs/p/journal/*.seg | head -n 1); at=$(($(stat -c %s "$f") * 3 / 8))
      old=$(dd if="$f" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
      printf "\\x$(printf %02x $((old ^ 1)))" | dd of="$f" bs=1 seek=$at conv=notrunc 2>/dev/null
      """)
    #expect(flipped.code == 0, "\(flipped.output)")
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("journal is damaged") }, "\(pair.story)")
    #expect(pair.status("b").contains("holdfast verify p --repair"))
    #expect(pair.run("points p --json", on: "b").output == kept, "\(pair.story)")
    // Content can come again once the sites are connected.
    let isMended = pair.wait { pair.run("verify p --repair", on: "b").code == 0 }
    #expect(isMended, "\(pair.story)")
    let target = pair.scratch("restored")
    let point = pair.kept("b").first?.point ?? 0
    #expect(pair.run("restore p --point \(point) --to '\(target)'", on: "b").code == 0)
    #expect(Judge.differences(pair.source, target) == "")
  }

  @Test(arguments: [RecordKind.changes, .seal, .note, nil])
  func `a flipped bit in what is no content costs no point, also where the index is lost`(
    kind: RecordKind?
  ) throws {
    // Of points that are dropped a note is taken.
    let rule = kind == .note ? ["retention: { all: 1s, hourly: 0s, daily: 0s }"] : []
    let pair = TestPair(extra: rule)
    #expect(pair.begin(), "\(pair.story)")
    for round in 1...3 {
      Shell.run("seq \(round)000 \(round)999 > '\(pair.source)/f\(round)'")
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    let isOne = pair.wait { kind != .note || pair.kept("b").count == 1 }
    #expect(isOne, "\(pair.story)")
    let kept = Set(pair.kept("b").map(\.point))
    #expect(kept.count >= (kind == .note ? 1 : 3))
    #expect(try pair.flip(kind), "nothing to flip")
    let found = pair.run("verify p", on: "b")
    #expect(found.code == 5 && found.output.contains("segment "), "\(found.output)")
    let mended = pair.run("verify p --repair", on: "b")
    #expect(mended.code == 0, "\(mended.output)\n\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    pair.kill("b")
    Shell.run("rm '\(pair.state("b"))'/pairs/p/index.sqlite*")
    pair.start("b")
    let after = Set(pair.kept("b").map(\.point))
    #expect(after.isSuperset(of: kept), "\(kept) \(after)\n\(pair.story)")
    #expect(!pair.status("b").contains("damaged"), "\(pair.status("b"))")
    #expect(!pair.status("b").contains("cannot be read"), "\(pair.status("b"))")
    Shell.run("echo more > '\(pair.source)/more'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `an index that is damaged under a running agent is made anew`() {
    let pair = TestPair()
    Shell.run("cd '\(pair.source)'; for n in $(seq 50); do echo $n > f$n; done")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    // As a bit that flips in a row, which SQLite does not see.
    let hurt = Shell.run(
      """
      sqlite3 -cmd '.timeout 5000' '\(pair.state("b"))/pairs/p/index.sqlite' "
        UPDATE entry SET body = CAST(substr(body, 1, length(body) - 1) || x'7f' AS BLOB)
        WHERE path = CAST('f7' AS BLOB); SELECT changes();"
      """)
    #expect(hurt.output == "1\n", "\(hurt.output)")
    Shell.run("cd '\(pair.source)'; echo changed > f7; echo changed > f8")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
    // And the one that applies sees what comes then.
    Shell.run("echo more > '\(pair.source)/more'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(pair.run("verify p", on: "b").code == 0)
  }

  @Test func `a catalog that is damaged under a running agent is made anew`() {
    let pair = TestPair()
    Shell.run(
      "cd '\(pair.source)'; mkdir $(seq 50); for n in $(seq 50); do echo $n | tee $n/{1..40}; done")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let catalog = "\(pair.state("a"))/pairs/p/catalog.sqlite"
    // All of it, so that no page of it is what it was.
    let hurt = Shell.run(
      """
      sqlite3 -cmd '.timeout 5000' '\(catalog)' 'PRAGMA wal_checkpoint(TRUNCATE)'
      head -c $(($(stat -c %s '\(catalog)') - 4096)) /dev/urandom \
        | dd of='\(catalog)' bs=4096 seek=1 conv=notrunc
      """)
    #expect(hurt.code == 0, "\(hurt.output)")
    Shell.run("cd '\(pair.source)'; for n in $(seq 50); do echo again > $n/7; done; rm -r 9")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
  }

  @Test func `what exclusion keeps outlives every mend`() throws {
    let pair = TestPair()
    for site in ["a", "b"] {
      Shell.run(
        "sed -i \"s|replica: .*|&\\n        exclude: ['*.tmp']|\" '\(pair.configuration(site))'")
    }
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; echo 1 > d/f")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("echo precious > '\(pair.replica)/d/local.tmp'")
    Shell.run("cd '\(pair.source)'; rm -r d; echo file > d")
    #expect(pair.sync("durable") > 0)
    #expect(pair.wait { pair.status("b").contains("exclusion keeps") }, "\(pair.story)")
    _ = pair.run("verify p --repair", on: "b")
    #expect(Shell.run("cat '\(pair.replica)/d/local.tmp'").output == "precious\n")
    Shell.run("mv '\(pair.replica)/d' '\(pair.scratch("aside"))'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Shell.run("cat '\(pair.replica)/d'").output == "file\n")
  }

  @Test func `a symbolic link in the way leads nowhere`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; echo 1 > d/x; echo 1 > d/y")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run(
      """
      mkdir '\(pair.scratch("outside"))'; echo mine > '\(pair.scratch("outside"))/x'
      rm -r '\(pair.replica)/d'; ln -s '\(pair.scratch("outside"))' '\(pair.replica)/d'
      cd '\(pair.source)'; echo 2 > d/x
      """)
    #expect(pair.sync("durable") > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("b").contains("verify p --repair") }, "\(pair.story)")
    #expect(pair.status("b").contains("(d "))
    #expect(Shell.run("cat '\(pair.scratch("outside"))/x'").output == "mine\n")
    let mended = pair.run("verify p --repair", on: "b")
    #expect(mended.code == 0, "\(mended.output)\n\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(Shell.run("ls '\(pair.scratch("outside"))'").output == "x\n")
  }

  @Test func `points go by age, and their space comes back`() throws {
    let pair = TestPair(extra: ["retention: { all: 1s }"])
    #expect(pair.begin(), "\(pair.story)")
    for round in 1...8 {
      Shell.run(
        """
        cd '\(pair.source)'; head -c 30M /dev/urandom > large; echo \(round) > small
        """)
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    let journal = pair.state("b") + "/pairs/p/journal"
    func size() -> Int { Int(Shell.run("du -sm '\(journal)'").output.prefix { $0.isNumber }) ?? 0 }
    // Time goes by as points come.
    let isSmall = pair.wait {
      Shell.run("date +%s%N > '\(pair.source)/small'")
      pair.run("sync p", on: "a")
      return size() < 160
    }
    #expect(isSmall, "\(size()) MiB\n\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    pair.kill("a")
    #expect(pair.wait { pair.kept("b").count == 1 }, "\(pair.story)")
    let before = pair.run("points p --json", on: "b").output
    pair.kill("b", SIGTERM)
    Shell.run("rm '\(pair.state("b"))'/pairs/p/index.sqlite*")
    pair.start("b")
    #expect(pair.run("points p --json", on: "b").output == before)
    #expect(pair.run("verify p", on: "b").code == 0)
  }
}

@Suite(.serialized) struct `Restoring` {
  @Test func `takes what matches a pattern, of the newest point not after a time`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      """
      cd '\(pair.source)'; cp -r /usr/include/linux d; ln d/if.h d/hard; mkdir e; echo 1 > e/x
      chmod 2750 d; touch -d 2001-02-03 d
      """)
    #expect(pair.sync() > 0, "\(pair.story)")
    let before = pair.scratch("before")
    Shell.run("cp -a '\(pair.source)/d' '\(before)'")
    let time = pair.kept("b").first?.time ?? ""
    // Times have whole seconds at least.
    #expect(pair.wait { Shell.run("date -u +%FT%TZ").output.prefix(20) > time.prefix(19) + "Z" })
    Shell.run("cd '\(pair.source)'; rm d/tty.h; echo 2 > d/if.h; echo 2 > e/x")
    #expect(pair.sync() > 0, "\(pair.story)")
    let to = pair.scratch("to")
    let answer = pair.run("restore p --point '\(time)' --path /d --to '\(to)'", on: "b")
    #expect(answer.code == 0, "\(answer.output)")
    #expect(Judge.differences(before, to + "/d") == "", "\(time)")
    #expect(Shell.run("ls -A '\(to)'").output == "d\n")
    // What leads there is as it was, too.
    let below = pair.run("restore p --point '\(time)' --path '/d/**' --to '\(to)1'", on: "b")
    #expect(below.code == 0, "\(below.output)")
    #expect(Judge.differences(before, to + "1/d") == "", "\(time)")
    let nothing = pair.run("restore p --point '\(time)' --path '/none' --to '\(to)2'", on: "b")
    #expect(nothing.code == 2 && nothing.output.contains("/none"), "\(nothing.output)")
    let early = pair.run("restore p --point 2001-01-01T00:00:00Z --to '\(to)3'", on: "b")
    #expect(early.code == 2 && early.output.contains("holdfast points p"), "\(early.output)")
  }
}
