import Glibc
import HoldfastCore
import HoldfastLinux
import HoldfastStore
import TestKit
import Testing

/// docs/decisions/0006-the-first-point-is-made-ahead.md.
@Suite struct `The first point` {
  /// The device-wide number of an object, which another one made in its place would not have.
  private func object(_ path: String) -> String {
    Shell.run("stat -c %i '\(path)'").output
  }

  @Test(
    arguments: [
      ("plain", "head -c 40M /dev/urandom > big"),
      (
        "with holes",
        "head -c 20M /dev/urandom > big; truncate -s 60M big; head -c 20M /dev/urandom >> big"
      ),
      ("ending in a hole", "head -c 20M /dev/urandom > big; truncate -s 60M big"),
      ("of one byte many times", "head -c 40M /dev/zero | tr '\\0' x > big"),
    ])
  func `has a large file made while it is received, and not once more`(
    what: String, command: String
  ) throws {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; mkdir d; cd d; \(command); echo 1 > small")
    let point = try pipeline.captureAll()
    try pipeline.ship()
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    let made = object("\(pipeline.replica)/d/big")
    #expect(!made.isEmpty, "\(what)")
    try replica.move(to: point)
    #expect(object("\(pipeline.replica)/d/big") == made, "\(what)")
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "", "\(what)")
  }

  @Test func `has small files whose content is read several portions ahead`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      """
      cd '\(pipeline.source)'; mkdir d; cd d
      for i in $(seq 200); do head -c 60000 /dev/urandom > f$i; done
      for i in $(seq 20); do cp f$i same$i; ln f$i linked$i; : > empty$i; done
      truncate -s 1M hole; head -c 9000 /dev/urandom >> hole; ln -s f1 l
      head -c 6M /dev/urandom > listed
      """)
    let point = try pipeline.captureAll()
    try pipeline.ship()
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    #expect(!object("\(pipeline.replica)/d/f200").isEmpty)
    try replica.move(to: point)
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
  }

  @Test func `has nothing of what the directory that it is made in gives to new files`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      """
      cd '\(pipeline.replica)'; chmod 2775 .; setfacl -d -m u:1234:rwx .
      [ $(id -u) != 0 ] || chgrp 50 .
      cd '\(pipeline.source)'; mkdir d; echo 1 > d/a; chmod 640 d/a; echo 2 > b; chmod 444 b
      setfacl -m u:1:r d/a; setfattr -n user.k -v v b
      """)
    try pipeline.captureAll()
    try pipeline.ship()
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    try replica.move(to: try #require(pipeline.points.last))
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
    // Nor what is made beside the tree and put into it.
    Shell.run(
      """
      cd '\(pipeline.replica)/.holdfast'; chmod 2775 staging; setfacl -d -m u:1234:rwx staging
      cd '\(pipeline.source)'; echo more >> d/a; echo 3 > d/c; chmod 600 d/c
      """)
    let next = try pipeline.captureAll()
    try pipeline.ship()
    try replica.move(to: next)
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
  }

  @Test func `is not made of content that is damaged, read ahead or not`() throws {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; for i in 1 2 3; do head -c 30000 /dev/urandom > $i; done")
    try pipeline.captureAll()
    try pipeline.ship()
    Shell.run(
      "printf '\\377\\377' | dd of=\"$(echo '\(pipeline.scratch("b/journal"))'/*.seg)\" bs=1 "
        + "seek=40000 conv=notrunc status=none")
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    #expect(throws: ApplyError.self) {
      try replica.fillAhead(try reader(pipeline), upTo: end)
    }
    #expect(!replica.isAhead)
  }

  private func reader(_ pipeline: Pipeline) throws -> Journal {
    Journal(reading: try LinuxDisk(pipeline.scratch("b/journal")), secret: pipeline.secret)
  }

  @Test func `is flushed as a whole before it is called applied`() throws {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; mkdir d; echo 1 > d/a; echo 2 > d/b")
    let point = try pipeline.captureAll()
    try pipeline.ship()
    let tree = FaultTree(
      try LinuxTree(pipeline.replica), FaultPlan(.rename, .full, at: .max))
    let replica = try pipeline.makeReplica(tree: tree)
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    #expect(tree.flushes == 0)
    try replica.move(to: point)
    #expect(tree.flushes > 0)
  }

  @Test func `is kept as far as it goes where a later one is to be applied`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      """
      cd '\(pipeline.source)'; mkdir d e; head -c 20M /dev/urandom > d/big; echo 1 > d/a
      echo 2 > e/b; echo 3 > gone; ln d/a d/linked
      """)
    try pipeline.captureAll()
    try pipeline.ship()
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    let made = object("\(pipeline.replica)/d/big")
    Shell.run(
      "cd '\(pipeline.source)'; rm gone; rm -r e; echo changed > d/a; mkdir new; echo 4 > new/x")
    let point = try pipeline.captureAll()
    try pipeline.ship()
    try replica.move(to: point)
    #expect(object("\(pipeline.replica)/d/big") == made)
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
  }

  @Test func `names no root that the pair has not`() throws {
    let pipeline = try Pipeline()
    let path = try #require(TreePath(Array("d".utf8)))
    try pipeline.capture(Place(root: RootNumber(rawValue: 1), path: path))
    try pipeline.ship()
    #expect(pipeline.ingest.newest == nil)
    let replica = try pipeline.makeReplica()
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(try reader(pipeline), upTo: end)
    #expect(Shell.run("ls '\(pipeline.replica)'").output == "")
  }
}
