import Glibc
import HoldfastCore
import HoldfastStore
import Synchronization
import TestKit
import Testing

/// Takes a copy of the standby's side at every pass.
private final class CopyingProbe: Probe {
  private let folder: String
  private let count = Mutex(0)
  init(_ scratch: Scratch) { folder = scratch.path }
  var copies: Int { count.withLock { $0 } }
  func hit(_ place: ProbePlace) {
    guard place == .retaining || place == .compacting else { return }
    let number = count.withLock { count in
      count += 1
      return count
    }
    Shell.run("cp -a '\(folder)/b' '\(folder)/crash\(number)'")
  }
}

@Suite struct `Giving back the space of dropped points` {
  @Test func `leaves a journal that opens though what it carried on is damaged`() throws {
    var dice = SeededDice(seed: 5)
    let pipeline = try Pipeline(segmentBytes: 512)
    for _ in 0..<6 {
      churn(pipeline.source, &dice, steps: 20)
      try pipeline.captureAll()
      try pipeline.ship()
    }
    let before = Set(pipeline.journal.segments.keys)
    try pipeline.drop(pipeline.points.prefix(4).map(\.number), probe: NoProbe())
    #expect(!before.isSubset(of: pipeline.journal.segments.keys))
    var first: RecordPosition?
    for number in pipeline.journal.segments.keys.sorted() {
      try pipeline.journal.scan(number, from: 0) { position, _, record in
        if record.header.kind == .carried { first = first ?? position }
      }
    }
    let place = try #require(first)
    let digits = String(place.segment, radix: 16)
    // Its checksum, behind its length.
    let hurt = Shell.run(
      """
      cd '\(pipeline.scratch("b/journal"))'; printf '\\377\\377\\377\\377' \
        | dd of=$(ls | grep -i '^0*\(digits)[.-]') bs=1 seek=\(place.offset + 4) conv=notrunc
      """)
    #expect(hurt.code == 0, "\(hurt.output)")
    try pipeline.reopen(removingIndex: true, isDurable: true)
    // What comes next is taken in.
    try pipeline.captureWhole(trustingLists: false)
    try pipeline.deliver()
    let newest = try #require(pipeline.ingest.newest)
    try pipeline.restore(newest, to: "restored")
    #expect(Judge.differences(pipeline.source, pipeline.scratch("restored")) == "")
  }

  @Test(arguments: Seeds.take(3))
  func `keeps every other point, whenever a crash comes`(seed: UInt64) throws {
    var dice = SeededDice(seed: seed)
    let pipeline = try Pipeline(segmentBytes: 512)
    for round in 0..<8 {
      churn(pipeline.source, &dice, steps: 20)
      try pipeline.captureAll()
      try pipeline.ship()
      Shell.run("cp -a '\(pipeline.source)' '\(pipeline.scratch("copy\(round)"))'")
    }
    let before = pipeline.journal.sizeBytes
    let dropped = [0, 1, 3, 4, 5].map { pipeline.points[$0].number }
    Shell.run("cp -a '\(pipeline.scratch("b"))' '\(pipeline.scratch("before"))'")
    let probe = CopyingProbe(pipeline.scratch)
    try pipeline.drop(dropped, probe: probe)
    #expect(pipeline.journal.sizeBytes < before, "seed \(seed)")
    #expect(probe.copies >= 4, "seed \(seed)")
    let places =
      ["b"] + (1...max(1, probe.copies)).map { "crash\($0)" }
    for (number, folder) in places.enumerated() {
      for isRemoving in [false, true] {
        // The drop itself is a note of the agent's, which this test does not write.
        let isWhole = folder == "b"
        try pipeline.reopen(folder, removingIndex: isRemoving)
        let kept = try pipeline.index.points().map(\.point.number)
        for index in [2, 6, 7] {
          let point = pipeline.points[index]
          #expect(kept.contains(point.number), "seed \(seed), \(folder), \(isRemoving)")
          let name = "out-\(number)-\(isRemoving)-\(index)"
          try pipeline.restore(point, to: name)
          let differences = Judge.differences(
            pipeline.scratch("copy\(index)"), pipeline.scratch(name))
          #expect(differences == "", "seed \(seed), \(folder), \(isRemoving), point \(index)")
        }
        if isWhole { #expect(Set(kept).isDisjoint(with: dropped)) }
      }
    }
    // One index of before, with segments gone that it rests on.
    Shell.run(
      "cd '\(pipeline.scratch.path)'; cp -a b stale; rm stale/index.sqlite*; cp -a before/index.sqlite* stale/"
    )
    try pipeline.reopen("stale")
    for index in [2, 6, 7] {
      try pipeline.restore(pipeline.points[index], to: "stale-\(index)")
      let copies = (pipeline.scratch("copy\(index)"), pipeline.scratch("stale-\(index)"))
      #expect(Judge.differences(copies.0, copies.1) == "", "seed \(seed), point \(index)")
    }
    // It goes on: the next point builds on what was kept.
    try pipeline.reopen("b")
    churn(pipeline.source, &dice, steps: 20)
    let next = try pipeline.captureAll()
    try pipeline.ship()
    try pipeline.restore(next, to: "next")
    #expect(Judge.differences(pipeline.source, pipeline.scratch("next")) == "", "seed \(seed)")
  }
}
