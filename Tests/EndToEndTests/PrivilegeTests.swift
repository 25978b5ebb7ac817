import Glibc
import TestKit
import Testing

/// Whether somebody without powers can run the binary that is tested.
private let canDrop =
  Shell.run("\(asNobody.joined(separator: " ")) '\(TestPair.binary)' --help")
  .code == 0
private let asNobody = [
  "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
]

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A standby that refuses powers` {
  private let powers = """
    stat -c '%a %n' *; getcap *
    """

  @Test func `makes nothing that lends them, and gives them back untouched`() {
    let pair = TestPair(extra: ["refuse: [setuid, devices]"])
    Shell.run(
      """
      cd '\(pair.source)'; for f in user group able plain; do seq 1 9000 > $f; chmod 755 $f; done
      chmod 4755 user; chmod 2755 group; setcap cap_net_raw+ep able; mkdir -m 2775 shared
      mknod null c 1 3; head -c 33M /dev/urandom > large; chmod 6711 large
      cp -a . '\(pair.scratch("before"))'
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let made = """
      755 able
      755 group
      711 large
      755 plain
      2775 shared
      755 user

      """
    #expect(Shell.run("cd '\(pair.replica)'; \(powers)").output == made)
    Shell.run(
      "cd '\(pair.source)'; printf x | dd of=large conv=notrunc seek=5000; chmod 6711 large")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Shell.run("cd '\(pair.replica)'; \(powers)").output == made)
    #expect(pair.status("b").contains("refused, as configured: 6 times"), "\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
    let restored = pair.scratch("restored")
    #expect(pair.run("restore p --point 1 --to '\(restored)'", on: "b").code == 0)
    #expect(Shell.run("cd '\(restored)'; \(powers)").output == made)
    // What the promoted site holds is not what it says of files that nobody touched there.
    Shell.run("cp -a --no-preserve=timestamps '\(pair.source)/large' '\(pair.scratch("before"))'")
    Shell.run("touch -r '\(pair.source)/large' '\(pair.scratch("before"))/large'")
    #expect(pair.run("switchover p --yes", on: "b").code == 0, "\(pair.story)")
    Shell.run("echo more > '\(pair.replica)/new'")
    // What is its own lends what it did.
    #expect(pair.wait { pair.run("verify p", on: "a").code == 0 }, "\(pair.story)")
    #expect(pair.wait { pair.run("switchover p --yes", on: "a").code == 0 }, "\(pair.story)")
    Shell.run("rm '\(pair.source)/new'; touch -r '\(pair.scratch("before"))' '\(pair.source)'")
    #expect(Judge.differences(pair.scratch("before"), pair.source) == "")
  }
}

extension `A standby that refuses powers` {
  @Test func `follows what becomes of them on the primary, and brings nothing back that is gone`() {
    let pair = TestPair(extra: ["refuse: [setuid, devices]"])
    Shell.run(
      """
      cd '\(pair.source)'; mkdir d e; mknod null c 1 3; ln null again; mknod d/zero c 1 5
      mknod e/zero c 1 5; seq 9 > closed; chmod 4755 closed; seq 9 > open; chmod 755 open
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    // Of what was never made everything may change, and it may go.
    Shell.run(
      "cd '\(pair.source)'; chmod 600 null; rm d/zero; rm -r e; chmod u-s closed; chmod u+s open")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(!pair.status("b").contains("somebody else"), "\(pair.story)")
    #expect(
      Shell.run("cd '\(pair.replica)'; find . -type b -o -type c -o -perm /6000").output == "")
    #expect(pair.run("verify p", on: "b").code == 0)
    let restored = pair.run("restore p --point 1 --to '\(pair.scratch("old"))'", on: "b")
    #expect(restored.code == 0 && restored.output.contains("`refuse`"), "\(restored.output)")
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("before"))'")
    #expect(pair.run("switchover p --yes", on: "b").code == 0, "\(pair.story)")
    // Another directory, in which nothing was refused.
    Shell.run("cd '\(pair.replica)'; mkdir f; echo more > f/new")
    #expect(pair.wait { pair.run("switchover p --yes", on: "a").code == 0 }, "\(pair.story)")
    Shell.run(
      "cd '\(pair.source)'; rm -r f; touch -r '\(pair.scratch("before"))' '\(pair.source)'")
    #expect(Judge.differences(pair.scratch("before"), pair.source) == "")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.run("verify p", on: "b").code == 0)
  }

  @Test func `takes them from what stands there when it is told to`() {
    let pair = TestPair()
    Shell.run(
      "cd '\(pair.source)'; mknod null c 1 3; seq 9 > lent; chmod 4755 lent; seq 9 > plain")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    let key = "refuse: [setuid, devices]"
    Shell.run("sed -i 's/standby: b/standby: b\\n    \(key)/' '\(pair.configuration("b"))'")
    pair.kill("b")
    pair.start("b")
    Shell.run("echo more > '\(pair.source)/plain'")
    #expect(pair.sync() > 0, "\(pair.story)")
    let stands = Shell.run("cd '\(pair.replica)'; stat -c '%a %n' *").output
    #expect(stands == "755 lent\n644 plain\n", "\(stands)")
    #expect(pair.run("verify p", on: "b").code == 0)
  }
}

@Suite(.serialized, .enabled(if: geteuid() == 0 && canDrop))
struct `An agent without privileges` {
  @Test func `replicates all content, counts what it may not set, and lends nobody's powers`() {
    let pair = TestPair()
    pair.wrappers["b"] = asNobody
    Shell.run(
      """
      cd '\(pair.source)'; mkdir -m 2755 d; seq 1 9000 > d/ours
      cp d/ours d/theirs; cp d/ours d/lent
      chown 1000:1000 d d/theirs; chmod 4755 d/lent; mknod null c 1 3; ln -s d l
      setfattr -n user.x -v 1 d/ours; chmod 444 d/ours; setfattr -n trusted.x -v 1 d/theirs
      cd '\(pair.scratch.path)'; mkdir -p run-b replica; chown -R nobody: run-b replica state-b
      chmod 711 .
      """)
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    let differences = Shell.run(
      "diff -r -q --no-dereference -x .holdfast '\(pair.source)' '\(pair.replica)' 2>&1")
    #expect(differences.output == "Only in \(pair.source): null\n")
    let kept = Shell.run(
      """
      cd '\(pair.replica)'; stat -c '%a %u %n' d d/ours d/theirs d/lent
      getfattr --absolute-names --only-values -n user.x d/ours; stat -c %Y d/ours
      """)
    let time = Shell.run("stat -c %Y '\(pair.source)/d/ours'").output
    #expect(
      kept.output == """
        755 65534 d
        444 65534 d/ours
        644 65534 d/theirs
        755 65534 d/lent
        1\(time)
        """)
    #expect(pair.status("b").contains("without privileges: "), "\(pair.story)")
    #expect(pair.status("b").contains("1 attributes, 1 nodes could not be set"), "\(pair.story)")
    // Who may not set them does not miss them.
    let verified = Shell.run(
      "HOLDFAST_CONFIG='\(pair.configuration("b"))' \(asNobody.joined(separator: " ")) "
        + "'\(TestPair.binary)' verify p")
    #expect(verified.code == 0, "\(verified.output)")
  }
}
