import Glibc
import HoldfastCore
import HoldfastIndex
import HoldfastLinux
import HoldfastStore
import TestKit
import Testing

@Suite struct `The data path` {
  @Test(arguments: Seeds.take(6))
  func `carries every kind of change, and every point comes back`(seed: UInt64) throws {
    var dice = SeededDice(seed: seed)
    let pipeline = try Pipeline()
    for round in 0..<6 {
      churn(pipeline.source, &dice, steps: 25)
      let point = try pipeline.captureAll()
      Shell.run("cp -a '\(pipeline.source)' '\(pipeline.scratch("copy\(round)"))'")
      try pipeline.ship()
      #expect(pipeline.ingest.newest?.seal == point.seal, "seed \(seed), round \(round)")
      // Every second point is skipped by the replica.
      if round % 2 == 1 { try pipeline.makeReplica().move(to: point) }
    }
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "", "seed \(seed)")
    for (round, point) in pipeline.points.enumerated().reversed() {
      try pipeline.makeReplica().move(to: point)
      let differences = Judge.differences(pipeline.scratch("copy\(round)"), pipeline.replica)
      #expect(differences == "", "seed \(seed), back to round \(round)")
    }
  }

  @Test func `rebuilds a lost index to the same points and trees`() throws {
    var dice = SeededDice(seed: 11)
    let pipeline = try Pipeline()
    for _ in 0..<4 {
      churn(pipeline.source, &dice, steps: 20)
      try pipeline.captureAll()
    }
    try pipeline.ship()
    let before = try pipeline.index.points()
    try pipeline.reopen(removingIndex: true)
    #expect(try pipeline.index.points() == before)
    for row in before {
      #expect(try pipeline.index.treeDigest(at: row.point.number) == row.point.tree)
    }
  }

  @Test func `takes nothing in twice where an index says that it took nothing in`() throws {
    var dice = SeededDice(seed: 12)
    let pipeline = try Pipeline()
    for _ in 0..<3 {
      churn(pipeline.source, &dice, steps: 20)
      try pipeline.captureAll()
    }
    try pipeline.ship()
    let before = try pipeline.index.points()
    try pipeline.index.commit(upTo: .start)
    try pipeline.reopen()
    #expect(try pipeline.index.points() == before)
    for row in before {
      #expect(try pipeline.index.treeDigest(at: row.point.number) == row.point.tree)
    }
  }

  @Test func `keeps names that are not text`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      """
      cd '\(pipeline.source)'; touch $'new\\nline' $'\\xff\\xfe' "$(printf 'n%.0s' {1..255})"
      mkdir ' '; echo x > ' /-rf'; echo y > 'a\\b'
      """)
    let point = try pipeline.captureAll()
    try pipeline.ship()
    try pipeline.makeReplica().move(to: point)
    #expect(point.totals.files == 5)
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
  }

  @Test func `keeps holes as holes`() throws {
    let pipeline = try Pipeline()
    Shell.run(
      "cd '\(pipeline.source)'; truncate -s 1G big; printf end >> big; printf x | dd of=big bs=1 seek=500M conv=notrunc"
    )
    let point = try pipeline.captureAll()
    try pipeline.ship()
    try pipeline.makeReplica().move(to: point)
    #expect(Judge.differences(pipeline.source, pipeline.replica) == "")
    let blocks = Shell.run("stat -c %b '\(pipeline.replica)/big'").output
    #expect((Int(blocks.filter(\.isNumber)) ?? .max) < 4096)
  }
}

@Suite struct `A catalog` {
  @Test func `may be let go of in the midst of a change, which is then undone`() throws {
    let scratch = Scratch()
    for _ in 0..<200 {
      let catalog = try SQLiteCatalog(path: scratch("catalog.sqlite"))
      #expect(try catalog.head() == .none)
      try catalog.setHead(
        CatalogHead(
          number: PointNumber(rawValue: 1), seal: .none, tree: TreeDigest(), totals: Totals(),
          grade: .crash))
    }
  }
}

@Suite struct `A disk that fails` {
  @Test(arguments: [FaultPlan.Kind.write, .flush], 1...3)
  func `begins a segment again once there is room`(kind: FaultPlan.Kind, number: Int) throws {
    let scratch = Scratch()
    let pipeline = try Pipeline()
    let plan = FaultPlan(kind, .full, at: number)
    let journal = try Journal(
      disk: FaultDisk(try LinuxDisk(scratch("j")), plan), secret: pipeline.secret
    ) { _, _ in }
    let header = pipeline.header()
    var begun = try? journal.begin(header)
    if begun == nil { begun = try journal.begin(header) }
    #expect(begun != nil, "\(kind) \(number)")
  }

  @Test func `is asked for all that a start finds and no flush is known of`() throws {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; seq 1 20000 > file")
    try pipeline.captureAll()
    try pipeline.ship()
    let (header, records) = try sample(pipeline)
    let scratch = Scratch()
    let disk = try LinuxDisk(scratch("j"))
    let journal = try Journal(disk: disk, secret: pipeline.secret) { _, _ in }
    let segment = try journal.begin(header)
    for record in records { try journal.append(segment, record, 0..<record.count) }
    let end = RecordPosition(segment: segment, offset: journal.segments[segment]?.size ?? 0)
    // Killed here: what was appended lies in the page cache, and maybe not on the disk.
    for kind in [FaultPlan.Kind.write, .flush] {
      for known in [nil, RecordPosition.start, end] {
        let plan = FaultPlan(kind, .inputOutput, at: 1)
        let again = try? Journal(
          disk: FaultDisk(disk, plan), secret: pipeline.secret, durable: known, isTruth: true
        ) { _, _ in }
        #expect(plan.wasReached == (known != end), "\(kind), known \(String(describing: known))")
        #expect((again == nil) == plan.wasReached)
      }
    }
    let again = try Journal(disk: disk, secret: pipeline.secret, isTruth: true) { _, _ in }
    #expect(again.segments[segment]?.size == end.offset)
  }

  @Test(arguments: FaultPlan.Kind.allCases, FaultPlan.Failure.allCases)
  func `never loses what was flushed to the journal`(
    kind: FaultPlan.Kind, failure: FaultPlan.Failure
  ) throws {
    let pipeline = try Pipeline()
    Shell.run("cd '\(pipeline.source)'; for i in 1 2 3; do seq 1 2000$i > f$i; done")
    try pipeline.captureAll()
    try pipeline.ship()
    let (header, records) = try sample(pipeline)
    for number in 1... {
      let scratch = Scratch()
      let plan = FaultPlan(kind, failure, at: number)
      let disk = FaultDisk(try LinuxDisk(scratch("j")), plan)
      var durable: Int64 = 0
      do {
        let journal = try Journal(disk: disk, secret: pipeline.secret) { _, _ in }
        let segment = try journal.begin(header)
        for record in records {
          try journal.append(segment, record, 0..<record.count)
          try journal.flush(segment)
          durable = journal.segments[segment]?.size ?? 0
        }
        // One that was met and not told of would be taken for durable.
        #expect(!plan.wasReached, "\(kind) \(failure) \(number)")
      } catch {
        #expect(plan.wasReached, "\(error)")
      }
      let again = try Journal(
        disk: try LinuxDisk(scratch("j")), secret: pipeline.secret
      ) { _, _ in }
      let kept = again.segments.values.map(\.size).max() ?? 0
      #expect(kept >= durable, "\(kind) \(failure) \(number)")
      for segment in again.segments.keys {
        try again.scan(segment, from: 0) { position, bytes, record in
          _ = try again.plain(segment, bytes, record, at: position)
        }
      }
      if !plan.wasReached { break }
    }
  }

  private func sample(_ pipeline: Pipeline) throws -> (SegmentHeader, [[UInt8]]) {
    let number = try #require(pipeline.journal.segments.keys.min())
    let info = try #require(pipeline.journal.segments[number])
    var records: [[UInt8]] = []
    try pipeline.journal.scan(number, from: 0) { _, bytes, record in
      records.append(Array(bytes[record.range]))
    }
    return (info.header, records)
  }

  @Test(arguments: FaultPlan.Kind.allCases, FaultPlan.Failure.allCases)
  func `leaves the replica where it can go forward and back`(
    kind: FaultPlan.Kind, failure: FaultPlan.Failure
  ) throws {
    let pipeline = try Pipeline()
    var dice = SeededDice(seed: 5)
    for round in 0..<2 {
      churn(pipeline.source, &dice, steps: 30)
      try pipeline.captureAll()
      Shell.run("cp -a '\(pipeline.source)' '\(pipeline.scratch("copy\(round)"))'")
    }
    try pipeline.ship()
    let (first, second) = (pipeline.points[0], pipeline.points[1])
    try pipeline.makeReplica().move(to: first)
    for number in 1... {
      let plan = FaultPlan(kind, failure, at: number)
      let replica = try pipeline.makeReplica(
        tree: FaultTree(try LinuxTree(pipeline.replica), plan),
        disk: FaultDisk(try LinuxDisk(pipeline.scratch("b")), plan))
      do {
        try replica.move(to: second)
        #expect(!plan.wasReached, "\(kind) \(failure) \(number)")
      } catch {
        #expect(plan.wasReached, "\(error)")
      }
      // Forward on even failures, back on odd ones; then back to where it began.
      if number % 2 == 0 {
        try pipeline.makeReplica().move(to: second)
        let differences = Judge.differences(pipeline.scratch("copy1"), pipeline.replica)
        #expect(differences == "", "\(kind) \(failure) \(number), forward")
      }
      try pipeline.makeReplica().move(to: first)
      let differences = Judge.differences(pipeline.scratch("copy0"), pipeline.replica)
      #expect(differences == "", "\(kind) \(failure) \(number), back")
      if !plan.wasReached { break }
    }
  }
}
