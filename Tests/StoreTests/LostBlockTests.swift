import HoldfastCore
import HoldfastLinux
import HoldfastStore
import TestKit
import Testing

@Suite struct `A journal on a disk that has lost a block` {
  /// The places of all records, and one of a chunk of several blocks.
  private func records(
    _ pipeline: Pipeline
  ) throws -> (all: [RecordPosition], chunk: RecordPosition) {
    var all: [RecordPosition] = []
    var chunk: RecordPosition?
    for number in pipeline.journal.segments.keys.sorted() {
      try pipeline.journal.scan(number, from: 0) { position, _, record in
        all.append(position)
        let isLarge = record.header.kind == .chunk && record.range.count > 20_000
        // Not the last, so that something lies behind it.
        if isLarge, chunk == nil { chunk = position }
      }
    }
    return (all, try #require(chunk))
  }

  @Test func `is read as far as it goes, and what is lost is named`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      "cd '\(pipeline.source)'; for n in 1 2 3 4 5 6; do head -c 300K /dev/urandom > f$n; done")
    try pipeline.captureAll()
    try pipeline.ship()
    let (all, lost) = try records(pipeline)
    let covered = try #require(try pipeline.index.covered()?.upTo)
    let disk = BlockLosingDisk(
      try LinuxDisk(pipeline.scratch("b/journal")), segment: lost.segment,
      block: lost.offset / 4096 + 2)
    var told: [RecordPosition] = []
    let journal = try Journal(
      disk: disk, secret: pipeline.secret, durable: covered, isTruth: true,
      damage: { told.append($0) }
    ) { _, _ in }
    #expect(told == [lost])
    var found: [RecordPosition] = []
    for number in journal.segments.keys.sorted() {
      try journal.scan(number, from: 0, damaged: { _, _ in }) { position, _, _ in
        found.append(position)
      }
    }
    #expect(found == all.filter { $0 != lost })
    #expect(throws: JournalError.damaged(lost, "record does not decrypt")) {
      _ = try journal.record(at: lost)
    }
    // Behind it, also where it is read with what it stands by.
    for position in all where position > lost { _ = try journal.record(at: position) }
    let reading = Journal(reading: disk, secret: pipeline.secret)
    let condition = try reading.examine(upTo: covered) { _ in }
    #expect(condition.damage.map(\.position) == [lost])
  }

  @Test func `loses a segment with its head, and no other`() throws {
    let pipeline = try Pipeline(segmentBytes: 512)
    for round in 1...3 {
      Shell.run("head -c 50K /dev/urandom > '\(pipeline.source)/f\(round)'")
      try pipeline.captureAll()
      try pipeline.ship()
    }
    let first = try #require(pipeline.journal.segments.keys.min())
    let disk = BlockLosingDisk(
      try LinuxDisk(pipeline.scratch("b/journal")), segment: first, block: 0)
    var unreadable: [String] = []
    let journal = try Journal(disk: disk, secret: pipeline.secret) { name, _ in
      unreadable.append(name)
    }
    #expect(unreadable.count == 1)
    #expect(
      Set(journal.segments.keys) == Set(pipeline.journal.segments.keys).subtracting([first]))
  }
}
