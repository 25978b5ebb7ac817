import HoldfastBytes
package import HoldfastCore

/// The keyed digests of one pair. Not shared between threads.
package final class PairDigests {
  private let names: KeyedHash
  private let trees: KeyedHash
  private let seals: KeyedHash

  package init(_ secret: PairSecret) {
    names = KeyedHash(key: secret.nameKey)
    trees = KeyedHash(key: secret.treeKey)
    seals = KeyedHash(key: secret.sealKey)
  }

  package func name(_ bytes: [UInt8], _ range: Range<Int>) -> ChunkName {
    ChunkName(Digest32(words: names.hash(bytes, range)))
  }

  /// What one entry adds to its tree's digest.
  package func entry(_ place: Place, _ body: [UInt8]) -> Digest32 {
    var out = Writer()
    out.variable(UInt64(place.root.rawValue))
    out.counted(place.path.bytes)
    out.raw(body)
    return Digest32(words: trees.hash(out.bytes))
  }

  /// What tells the content of a file up to some chunk, from that of the chunks before it.
  func chain(_ before: Digest32, _ offset: Int64, _ name: ChunkName) -> Digest32 {
    var out = Writer()
    out.digest(before)
    out.fixed(offset)
    out.digest(name.digest)
    return Digest32(words: trees.hash(out.bytes))
  }

  func seal(_ fields: [UInt8]) -> Seal { Seal(Digest32(words: seals.hash(fields))) }
}

/// The record that makes an attempt a point.
package struct SealRecord: Sendable {
  package var attempt: RandomID
  package var point: Point

  /// - Parameter point: its seal is computed here from all else.
  package init(attempt: RandomID, unsealed point: Point, _ digests: PairDigests) {
    self.attempt = attempt
    self.point = point
    self.point.seal = digests.seal(fields)
  }

  private var fields: [UInt8] {
    var out = Writer()
    out.raw(attempt.bytes)
    out.fixed(point.number.rawValue)
    out.digest(point.parent.digest)
    out.fixed(point.time.nanos)
    out.verdict(point.verdict)
    out.fixed(point.reign.epoch.rawValue)
    out.raw(point.reign.id.bytes)
    out.digest(point.tree.sum)
    out.fixed(point.totals.files)
    out.fixed(point.totals.bytes)
    out.fixed(point.changes)
    return out.bytes
  }

  package var encoded: [UInt8] {
    var out = Writer()
    out.raw(fields)
    out.digest(point.seal.digest)
    return out.bytes
  }

  package init(decoding bytes: [UInt8], _ digests: PairDigests) throws(CodingError) {
    var reader = Reader(bytes)
    attempt = try reader.random()
    let number = PointNumber(rawValue: try reader.fixed())
    let parent = Seal(try reader.digest())
    let time = WallTime(nanos: try reader.fixed())
    let verdict = try reader.verdict()
    let reign = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    let tree = TreeDigest(sum: try reader.digest())
    let totals = Totals(files: try reader.fixed(), bytes: try reader.fixed())
    let changes = try reader.fixed(Int64.self)
    let seal = Seal(try reader.digest())
    guard reader.isAtEnd else { throw .invalid("bytes after a seal") }
    point = Point(
      number: number, seal: seal, parent: parent, time: time, verdict: verdict, reign: reign,
      tree: tree, totals: totals, changes: changes)
    guard digests.seal(fields) == seal else { throw .invalid("seal") }
  }
}

/// The head of a record of changes: which attempt they belong to.
package struct ChangesHead: Hashable, Sendable {
  package var attempt: RandomID
  package var number: PointNumber
  /// Whether places that the attempt does not mention are gone.
  package var isWhole: Bool

  package init(attempt: RandomID, number: PointNumber, isWhole: Bool) {
    self.attempt = attempt
    self.number = number
    self.isWhole = isWhole
  }

  package func encode(into out: inout Writer) {
    out.raw(attempt.bytes)
    out.fixed(number.rawValue)
    out.fixed(isWhole ? UInt8(1) : 0)
  }

  package init(from reader: inout Reader) throws(CodingError) {
    attempt = try reader.random()
    number = PointNumber(rawValue: try reader.fixed())
    let flag = try reader.fixed(UInt8.self)
    guard flag <= 1 else { throw .invalid("flag of changes") }
    isWhole = flag == 1
  }
}

/// Part of a large file that is still being read, for a standby that makes the first point ahead.
/// Says nothing of the point: only the file's entry does.
package struct FilePart: Hashable, Sendable {
  package var attempt: RandomID
  package var place: Place
  package var isSparse: Bool
  /// Of the first reference's bytes in the file.
  package var offset: Int64
  package var references: [ChunkReference]

  package init(
    attempt: RandomID, place: Place, isSparse: Bool, offset: Int64, references: [ChunkReference]
  ) {
    self.attempt = attempt
    self.place = place
    self.isSparse = isSparse
    self.offset = offset
    self.references = references
  }

  package var encoded: [UInt8] {
    var out = Writer()
    out.raw(attempt.bytes)
    place.encode(into: &out)
    out.fixed(isSparse ? UInt8(1) : 0)
    out.variable(UInt64(offset))
    out.variable(UInt64(references.count))
    ChunkReference.encode(references, into: &out)
    return out.bytes
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    attempt = try reader.random()
    place = try Place(from: &reader)
    let flag = try reader.fixed(UInt8.self)
    guard flag <= 1, let offset = Int64(exactly: try reader.variable()) else {
      throw .invalid("part of a file")
    }
    isSparse = flag == 1
    self.offset = offset
    let count = try reader.count(max: Limits.referencesMax)
    references = try ChunkReference.decode(count, from: &reader)
    guard reader.isAtEnd, let length = ChunkReference.total(references),
      !offset.addingReportingOverflow(length).overflow
    else { throw .invalid("part of a file") }
  }
}

/// What the standby wrote into its own journal about its points.
package enum Note: Hashable, Sendable {
  case dropped([PointNumber])
  case pinned(PointNumber, Bool)
  /// The tree went back to `from` and became the ancestor of what follows, as state `number`.
  case promoted(from: PointNumber, as: PointNumber, reign: Reign)

  package var encoded: [UInt8] {
    var out = Writer()
    switch self {
    case .dropped(let points):
      out.fixed(UInt8(1))
      out.variable(UInt64(points.count))
      for point in points { out.fixed(point.rawValue) }
    case .pinned(let point, let isPinned):
      out.fixed(UInt8(2))
      out.fixed(point.rawValue)
      out.fixed(isPinned ? UInt8(1) : 0)
    case .promoted(let from, let number, let reign):
      out.fixed(UInt8(3))
      out.fixed(from.rawValue)
      out.fixed(number.rawValue)
      out.fixed(reign.epoch.rawValue)
      out.raw(reign.id.bytes)
    }
    return out.bytes
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    switch try reader.fixed(UInt8.self) {
    case 1:
      var points: [PointNumber] = []
      for _ in 0..<(try reader.count(max: 100_000)) {
        points.append(PointNumber(rawValue: try reader.fixed()))
      }
      self = .dropped(points)
    case 2:
      self = .pinned(
        PointNumber(rawValue: try reader.fixed()), try reader.fixed(UInt8.self) == 1)
    case 3:
      self = .promoted(
        from: PointNumber(rawValue: try reader.fixed()),
        as: PointNumber(rawValue: try reader.fixed()),
        reign: Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random()))
    case let kind: throw .invalid("note of kind \(kind)")
    }
    guard reader.isAtEnd else { throw .invalid("bytes after a note") }
  }
}

/// A piece of a snapshot of the index: what retention carries over before it removes the segments
/// whose changes made it so. It counts only once its last piece is there.
package struct Carried: Hashable, Sendable {
  package enum Part: UInt8, Hashable, Sendable {
    case first = 1
    case middle = 2
    case last = 3
  }
  package var part: Part
  /// See ``Index/forEachPortion(_:)``; empty in the last.
  package var rows: [UInt8]

  package init(_ part: Part, rows: [UInt8]) {
    self.part = part
    self.rows = rows
  }

  package var encoded: [UInt8] { [part.rawValue] + rows }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    guard let first = bytes.first, let part = Part(rawValue: first) else {
      throw .invalid("part of a snapshot")
    }
    self.init(part, rows: Array(bytes.dropFirst()))
  }
}
