import HoldfastBytes
import HoldfastCore
import HoldfastLinux
import HoldfastStore
import HoldfastWire
import TestKit
import Testing

/// Whatever a peer or a disk hands over is taken for what it is or refused; it never traps, and
/// what is taken reads back the same.
@Suite struct `Bytes from elsewhere` {
  private static let id = RandomID(high: 5, low: 6)
  private static let reign = Reign(epoch: Epoch(rawValue: 3), id: id)
  private static let names = (0..<4).map {
    ChunkName(Digest32(words: SIMD4(repeating: UInt64($0 + 1))))
  }
  private static let references = names.map { ChunkReference(name: $0, length: 70_000) }

  private static func place(_ text: String) -> Place {
    guard let path = TreePath(Array(text.utf8)) else { preconditionFailure(text) }
    return Place(root: RootNumber(rawValue: 0), path: path)
  }

  private static let changes: [UInt8] = {
    var out = Writer()
    ChangesHead(attempt: id, number: PointNumber(rawValue: 9), isWhole: true).encode(into: &out)
    let file = Entry(
      kind: .regular, mode: 0o644, owner: 1, group: 2, modified: WallTime(nanos: -5),
      size: 280_000, linkGroup: 7,
      attributes: [Attribute(name: Array("user.a".utf8), value: [1, 2, 3])],
      content: Content(references: references))
    let link = Entry(
      kind: .symlink, mode: 0o777, owner: 0, group: 0, modified: WallTime(nanos: 1),
      target: Array("../x".utf8))
    Change(place: place("d/file"), entry: file).encode(into: &out)
    Change(place: place("d/link"), entry: link).encode(into: &out)
    Change(place: place("gone"), entry: nil).encode(into: &out)
    return out.bytes
  }()

  @Test(arguments: [1, 3, 1 << 61])
  func `that say they are of a point which is sealed change none`(number: UInt64) throws {
    let pipeline = try Pipeline()
    for round in 1...3 {
      Shell.run("echo \(round) > '\(pipeline.source)/file'; echo > '\(pipeline.source)/\(round)'")
      try pipeline.captureAll()
    }
    try pipeline.deliver()
    let header = pipeline.header()
    let segment = try pipeline.journal.begin(header)
    var changes = Writer()
    ChangesHead(attempt: Self.id, number: PointNumber(rawValue: number), isWhole: false)
      .encode(into: &changes)
    Change(place: Self.place("file"), entry: nil).encode(into: &changes)
    var bytes: [UInt8] = []
    SegmentEncoder(header: header, secret: pipeline.secret).append(
      .changes, name: .hole, changes.bytes, 0..<changes.bytes.count,
      compressor: Compressor(codec: .none), codec: .none, into: &bytes)
    try pipeline.journal.append(segment, bytes, 0..<bytes.count)
    let record = try #require(
      try RawRecord.parse(bytes, at: 0, end: bytes.count, checking: true))
    let position = RecordPosition(
      segment: segment, offset: Int64(SegmentHeader.encodedBytes))
    #expect(throws: Ingest.Refusal.invalid("number goes back")) {
      _ = try pipeline.ingest.take(position, bytes, record)
    }
    try pipeline.captureAll()
    try pipeline.deliver()
    for isNew in [false, true] {
      if isNew { try pipeline.reopen(removingIndex: true) }
      #expect(try pipeline.index.points().count == 4)
      for point in pipeline.points {
        #expect(try pipeline.index.treeDigest(at: point.number) == point.tree)
      }
    }
  }

  @Test(arguments: Seeds.take(1))
  func `cut anywhere come as the frames they were`(seed: UInt64) throws {
    var dice = SeededDice(seed: seed)
    let frames = [0, 1, 3, 4, 5, 70_000, 200_000].map {
      [UInt8](repeating: UInt8($0 % 251), count: $0)
    }
    let stream = frames.flatMap { frame in
      (0..<4).map { UInt8(truncatingIfNeeded: frame.count >> (24 - 8 * $0)) } + frame
    }
    for longest in [1, 2, 5, 4_096, 100_000, stream.count] {
      var decoder = FrameDecoder()
      var found: [[UInt8]] = []
      var start = 0
      while start < stream.count {
        let end = min(stream.count, start + 1 + Int(dice.next() % UInt64(longest)))
        try decoder.read(stream[start..<end]) { found.append($0) }
        start = end
      }
      #expect(found == frames, "seed \(seed)")
    }
    var decoder = FrameDecoder()
    #expect(throws: FrameDecoder.TooLong.self) {
      try decoder.read([0, 0x40, 0, 1, 9]) { _ in Issue.record("taken") }
    }
  }

  private static let header = SegmentHeader(
    pair: id, id: id, salt: Digest32(words: .one), reign: reign,
    writer: Fingerprint(Digest32(words: .one)))

  private static func readChanges(_ bytes: [UInt8]) throws -> [UInt8] {
    var reader = Reader(bytes)
    var out = Writer()
    try ChangesHead(from: &reader).encode(into: &out)
    while !reader.isAtEnd { try Change(from: &reader).encode(into: &out) }
    return out.bytes
  }

  private static func readData(_ bytes: [UInt8]) throws -> [UInt8] {
    guard case .data(let data) = try Frames.decode(bytes) else { return [] }
    return Array(data.bytes[data.records])
  }

  private static let data: [UInt8] = {
    let records = [UInt8](repeating: 9, count: 700)
    let (head, padding) = Frames.segmentData(
      pair: "p", segment: id, offset: 144, count: records.count)
    return head + records + [UInt8](repeating: 0, count: padding)
  }()

  private static let record: [UInt8] = {
    guard let secret = PairSecret([UInt8](repeating: 7, count: 32)) else { preconditionFailure() }
    let plain = changes
    let encoder = SegmentEncoder(header: header, secret: secret)
    var bytes: [UInt8] = []
    encoder.append(
      .changes, name: .hole, plain, 0..<plain.count, compressor: Compressor(codec: .zstd),
      codec: .zstd, into: &bytes)
    return bytes
  }()

  private static let hello: [UInt8] = {
    var hello = Holdfast_PairHello()
    hello.pair = "p"
    hello.set(RoleRecord(reign: reign, part: .standby))
    hello.highest = 12
    return Frames.encode(.pairHello(hello))
  }()

  /// What is read, from which bytes, and how they read back where that says something.
  private static let readers: [(String, [UInt8], @Sendable ([UInt8]) throws -> [UInt8]?)] = [
    ("changes", changes, { try readChanges($0) }),
    (
      "part",
      FilePart(
        attempt: id, place: place("d/big"), isSparse: true, offset: 1 << 40, references: references
      ).encoded, { try FilePart(decoding: $0).encoded }
    ),
    (
      "note", Note.dropped([PointNumber(rawValue: 1), PointNumber(rawValue: 2)]).encoded,
      { try Note(decoding: $0).encoded }
    ),
    (
      "promoted",
      Note.promoted(from: PointNumber(rawValue: 1), as: PointNumber(rawValue: 4), reign: reign)
        .encoded, { try Note(decoding: $0).encoded }
    ),
    ("carried", Carried(.middle, rows: [1, 2, 3]).encoded, { try Carried(decoding: $0).encoded }),
    ("segment header", header.encoded, { try SegmentHeader(decoding: $0).encoded }),
    (
      "record", record,
      { bytes in
        _ = try RawRecord.parse(bytes, at: 0, end: bytes.count, checking: false)
        return nil
      }
    ),
    (
      "data frame", data,
      { bytes in
        _ = try readData(bytes)
        return nil
      }
    ),
    (
      "control frame", hello,
      { bytes in
        if case .control(.pairHello(let hello)) = try Frames.decode(bytes) { _ = hello.record }
        return nil
      }
    ),
  ]

  @Test func `travel in frames padded by less than 1/32 or 512 bytes`() {
    for count in [1, 511, 512, 16_383, 16_384, 16_385, 524_288, 524_289, 1 << 20] {
      let (_, padding) = Frames.segmentData(pair: "p", segment: Self.id, offset: 0, count: count)
      #expect((0..<max(512, count / 32)).contains(padding), "\(count)")
    }
  }

  @Test func `read back as they were written`() throws {
    for (what, bytes, read) in Self.readers {
      if let again = try read(bytes) { #expect(again == bytes, "\(what)") }
    }
    #expect(try Self.readData(Self.data) == [UInt8](repeating: 9, count: 700))
  }

  @Test(arguments: Seeds.take(4))
  func `are refused, or taken for what they say, however they were changed`(seed: UInt64) {
    var dice = SeededDice(seed: seed)
    var refused = 0
    for (what, bytes, read) in Self.readers {
      for round in 0..<4000 {
        let changed = Self.change(bytes, &dice)
        do {
          guard let again = try read(changed) else { continue }
          // Numbers have one form only where their encoding is fixed: what was taken is stable.
          let once = try read(again)
          #expect(once == again, "\(what), seed \(seed), round \(round)")
        } catch {
          refused += 1
        }
      }
    }
    #expect(refused > 1000, "seed \(seed)")
  }

  /// One to four small damages: a byte, a cut, bytes doubled, extreme numbers.
  private static func change(_ bytes: [UInt8], _ dice: inout SeededDice) -> [UInt8] {
    var out = bytes
    for _ in 0..<Int.random(in: 1...4, using: &dice) where !out.isEmpty {
      let at = Int.random(in: 0..<out.count, using: &dice)
      switch Int.random(in: 0..<5, using: &dice) {
      case 0: out[at] = UInt8.random(in: 0...255, using: &dice)
      case 1: out[at] ^= 1 << UInt8.random(in: 0..<8, using: &dice)
      case 2: out.removeSubrange(at...)
      case 3: out.insert(contentsOf: out[at...].prefix(16), at: at)
      default:
        let end = min(out.count, at + Int.random(in: 1...9, using: &dice))
        for index in at..<end { out[index] = 0xFF }
      }
    }
    return out
  }
}
