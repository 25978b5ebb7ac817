import HoldfastCore
import Testing

@Suite struct `A path in a tree` {
  @Test(arguments: ["..", "a/..", "../a", "/a", "a//b", "a/", ".", "a/./b", "a\0b"])
  func `is refused where it could leave the tree`(text: String) {
    #expect(TreePath(text) == nil)
  }
  @Test func `is refused beyond the limits of Linux`() {
    #expect(TreePath([UInt8](repeating: 0x61, count: 256)) == nil)
    #expect(TreePath([UInt8](repeating: 0x61, count: 255)) != nil)
  }
  @Test func `orders a directory before what lies in it`() throws {
    let a = try #require(TreePath("a"))
    let b = try #require(TreePath("a/b"))
    #expect(a < b)
    #expect(b.isWithin(a))
    #expect(try !#require(TreePath("ab")).isWithin(a))
    #expect(b.parent == a)
  }
  @Test func `prints what a terminal must not get as escapes`() throws {
    #expect(try #require(TreePath([0x61, 0x0A, 0xFF])).description == "a\\x0a\\xff")
  }
}

@Suite struct `Exclusion as in gitignore` {
  @Test(arguments: [
    ("*.tmp", "a.tmp", false, true), ("*.tmp", "d/a.tmp", false, true),
    ("/cache/", "cache", true, true), ("/cache/", "cache", false, false),
    ("/cache/", "x/cache", true, false), ("cache/", "x/cache", true, true),
    ("a/b", "a/b", false, true), ("a/b", "x/a/b", false, false),
    ("**/b", "x/y/b", false, true), ("a/**", "a/x/y", false, true), ("a/**", "a", true, false),
    ("a/**/b", "a/b", false, true), ("a/**/b", "a/x/y/b", false, true),
    ("[ab]?c", "bxc", false, true), ("[!ab]c", "ac", false, false), ("\\*", "*", false, true),
    ("\\*", "x", false, false), ("#x", "#x", false, false), ("a*b*c", "aXXbYYc", false, true),
  ])
  func `matches`(pattern: String, path: String, isDirectory: Bool, expected: Bool) throws {
    let path = try #require(TreePath(path))
    #expect(Exclusion([pattern]).excludes(path, isDirectory: isDirectory) == expected)
  }
  @Test func `lets a later pattern bring something back`() throws {
    let exclusion = Exclusion(["*.log", "!keep.log"])
    #expect(!exclusion.excludes(try #require(TreePath("keep.log")), isDirectory: false))
    #expect(exclusion.excludes(try #require(TreePath("x.log")), isDirectory: false))
  }
  @Test func `never brings back what lies below an excluded directory`() throws {
    let exclusion = Exclusion(["/cache/", "!keep"])
    let path = try #require(TreePath("cache/keep"))
    #expect(exclusion.excludesWithParents(path, isDirectory: false))
  }
}

@Suite struct `Time for people` {
  @Test(arguments: [
    "1970-01-01T00:00:00.000Z", "2026-11-22T10:08:11.123Z", "2000-02-29T23:59:59.999Z",
    "1969-12-31T23:59:59.000Z",
  ])
  func `survives being written and read`(text: String) throws {
    #expect(try #require(WallTime(rfc3339: text)).rfc3339 == text)
  }
  @Test func `reads offsets`() throws {
    let a = try #require(WallTime(rfc3339: "2026-01-01T02:00:00+02:00"))
    #expect(a == WallTime(rfc3339: "2026-01-01T00:00:00Z"))
  }
  @Test(arguments: ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01"])
  func `refuses what is no time`(text: String) {
    #expect(WallTime(rfc3339: text) == nil)
  }
}

@Suite struct `An encoded change` {
  private func sample() throws -> Change {
    let name = ChunkName(Digest32(words: SIMD4(1, 2, 3, 4)))
    let entry = Entry(
      kind: .regular, mode: 0o4755, owner: 1000, group: 100, modified: WallTime(nanos: -5),
      size: 70, sparse: true, linkGroup: 9, device: 0, target: [],
      attributes: [Attribute(name: Array("user.a".utf8), value: [0, 255])],
      content: Content(
        references: [
          ChunkReference(name: name, length: 50), ChunkReference(name: .hole, length: 20),
        ]))
    return Change(
      place: Place(root: RootNumber(rawValue: 3), path: try #require(TreePath("a/b"))),
      entry: entry)
  }
  @Test func `is the same when read again`() throws {
    let change = try sample()
    var out = Writer()
    change.encode(into: &out)
    var reader = Reader(out.bytes)
    #expect(try Change(from: &reader) == change)
    #expect(reader.isAtEnd)
  }
  @Test func `cut short or flipped anywhere is refused or another value, never a crash`() throws {
    let change = try sample()
    var out = Writer()
    change.encode(into: &out)
    for end in 0..<out.bytes.count {
      var reader = Reader(Array(out.bytes[..<end]))
      #expect(throws: CodingError.self) { try Change(from: &reader) }
    }
    for index in out.bytes.indices {
      for bit in 0..<8 {
        var bytes = out.bytes
        bytes[index] ^= 1 << UInt8(bit)
        var reader = Reader(bytes)
        if let other = try? Change(from: &reader), reader.isAtEnd { #expect(other != change) }
      }
    }
  }
  @Test func `that reaches into .holdfast is refused`() throws {
    var change = try sample()
    change.place.path = try #require(TreePath(".holdfast/marker"))
    var out = Writer()
    change.encode(into: &out)
    var reader = Reader(out.bytes)
    #expect(throws: CodingError.self) { try Change(from: &reader) }
  }
}
