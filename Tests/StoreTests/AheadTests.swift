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
    let journal = Journal(
      reading: try LinuxDisk(pipeline.scratch("b/journal")), secret: pipeline.secret)
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(journal, upTo: end)
    let made = object("\(pipeline.replica)/d/big")
    #expect(!made.isEmpty, "\(what)")
    try replica.move(to: point)
    #expect(object("\(pipeline.replica)/d/big") == made, "\(what)")
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "", "\(what)")
  }

  @Test func `names no root that the pair has not`() throws {
    let pipeline = try Pipeline()
    let path = try #require(TreePath(Array("d".utf8)))
    try pipeline.capture(Place(root: RootNumber(rawValue: 1), path: path))
    try pipeline.ship()
    #expect(pipeline.ingest.newest == nil)
    let replica = try pipeline.makeReplica()
    let journal = Journal(
      reading: try LinuxDisk(pipeline.scratch("b/journal")), secret: pipeline.secret)
    let end = try #require(try pipeline.index.covered()?.upTo)
    try replica.fillAhead(journal, upTo: end)
    #expect(Shell.run("ls '\(pipeline.replica)'").output == "")
  }
}
