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
