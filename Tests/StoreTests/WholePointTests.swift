import HoldfastCore
import HoldfastStore
import TestKit
import Testing

/// Points that say everything, for a standby that holds most of it.
@Suite struct `A whole point` {
  /// A standby that holds a file of more chunks than an entry names.
  private func shipped() throws -> (Pipeline, pieces: [ChunkName]) {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; head -c 24M /dev/urandom > large; touch -d yesterday large")
    // What was changed a moment ago is read again once.
    while true {
      let bytes = try spooled(pipeline) { try pipeline.captureAll() }
      try pipeline.ship()
      if bytes < 1 << 20 { break }
    }
    let entry = try newest(pipeline)
    #expect(entry.content.depth > 0)
    var pieces: [ChunkName] = []
    try pipeline.reader().forEachReference(entry.content) { _, reference in
      pieces.append(reference.name)
    }
    return (pipeline, pieces)
  }

  private func newest(_ pipeline: Pipeline) throws -> Entry {
    let point = try #require(try pipeline.index.points().first).point.number
    let place = Place(root: RootNumber(rawValue: 0), path: try #require(TreePath("large")))
    return try #require(try pipeline.index.entry(place, at: point))
  }

  /// How much `body` adds to the primary's spool.
  private func spooled(_ pipeline: Pipeline, _ body: () throws -> Void) rethrows -> Int64 {
    func size() -> Int64 {
      Int64(Shell.run("cat '\(pipeline.scratch("a/spool"))'/* | wc -c").output.filter(\.isNumber))
        ?? 0
    }
    let before = size()
    try body()
    return size() - before
  }

  @Test func `takes who holds the lists of a large file to hold the file`() throws {
    let (pipeline, _) = try shipped()
    let bytes = try spooled(pipeline) { try pipeline.captureWhole(trustingLists: true) }
    #expect(bytes < 100_000)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.restore(newest, to: "restored")
    #expect(Judge.differences(pipeline.source, pipeline.scratch("restored")) == "")
  }

  @Test func `is refused where a piece is gone that only a list names, and then read`() throws {
    let (pipeline, pieces) = try shipped()
    let lost = pieces[pieces.count / 2]
    try pipeline.index.forgetChunk(lost)
    try pipeline.captureWhole(trustingLists: true)
    #expect(throws: Ingest.Refusal.missing([lost])) { try pipeline.deliver() }
    try pipeline.captureWhole(trustingLists: false)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.restore(newest, to: "restored")
    #expect(Judge.differences(pipeline.source, pipeline.scratch("restored")) == "")
  }

  @Test func `that was refused does not come back with a new index`() throws {
    let (pipeline, pieces) = try shipped()
    try pipeline.index.forgetChunk(pieces[0])
    try pipeline.captureWhole(trustingLists: true)
    #expect(throws: Ingest.Refusal.missing([pieces[0]])) { try pipeline.deliver() }
    try pipeline.captureWhole(trustingLists: false)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.reopen(removingIndex: true)
    #expect(pipeline.ingest.newest == newest)
  }

  @Test func `that was refused does not come back, whatever was refused with it`() throws {
    let (pipeline, pieces) = try shipped()
    try pipeline.index.forgetChunk(pieces[0])
    try pipeline.captureWhole(trustingLists: true)
    Shell.run("echo more > '\(pipeline.source)/more'")
    try pipeline.captureAll()
    #expect(throws: Ingest.Refusal.missing([pieces[0]])) { try pipeline.deliver() }
    try pipeline.captureWhole(trustingLists: false)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.reopen(removingIndex: true)
    #expect(pipeline.ingest.newest == newest)
  }

  @Test func `that lacks a piece is refused by who takes its end after a restart, too`() throws {
    let (pipeline, pieces) = try shipped()
    let before = try #require(pipeline.ingest.newest)
    try pipeline.index.forgetChunk(pieces[0])
    try pipeline.captureWhole(trustingLists: true)
    try pipeline.deliver(hasSeal: false)
    #expect(try pipeline.index.lacking() == [pieces[0]])
    try pipeline.reopen()
    #expect(pipeline.ingest.newest == before && pipeline.ingest.refused > before.number)
    // What is to be noted, so that no new index takes it for a point.
    #expect(!pipeline.ingest.refusedAtTail.isEmpty)
  }

  @Test func `is refused where a list is damaged, which comes again`() throws {
    let (pipeline, _) = try shipped()
    let list = try #require(try newest(pipeline).content.references.first).name
    let at = try #require(try pipeline.index.chunk(list))
    let hurt = Shell.run(
      """
      cd '\(pipeline.scratch("b/journal"))'; printf '\\377\\377\\377\\377' \
        | dd of=$(ls | sed -n \(at.segment)p) bs=1 seek=\(at.offset + 100) conv=notrunc
      """)
    #expect(hurt.code == 0, "\(hurt.output)")
    // What was read before is not looked at again.
    try pipeline.reopen(isDurable: true)
    #expect(throws: JournalError.self) { _ = try pipeline.journal.record(at: at) }
    try pipeline.captureWhole(trustingLists: true)
    #expect(throws: Ingest.Refusal.missing([list])) { try pipeline.deliver() }
    try pipeline.captureWhole(trustingLists: false)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.restore(newest, to: "restored")
    #expect(Judge.differences(pipeline.source, pipeline.scratch("restored")) == "")
  }
}
