/// What a recovery point promises, from weakest to strongest.
package enum Grade: UInt8, Comparable, Hashable, Sendable, CaseIterable {
  /// Files were read while others changed.
  case fuzzy = 1
  /// One instant, as after a power cut.
  case crash = 2
  /// Quiesced by the application, or made whole by its own means when it starts.
  case application = 3

  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  package var word: String {
    switch self {
    case .fuzzy: "fuzzy"
    case .crash: "crash"
    case .application: "application"
    }
  }
  package init?(word: String) {
    guard let grade = Self.allCases.first(where: { $0.word == word }) else { return nil }
    self = grade
  }
}

/// What made a point one instant, or was to.
package enum Provider: UInt8, Hashable, Sendable, CaseIterable {
  /// Files were read where they lie.
  case none = 0
  case btrfs = 1
  case snapshot = 2
  case freeze = 3
  case postgres = 4

  package var word: String {
    switch self {
    case .none: "none"
    case .btrfs: "btrfs"
    case .snapshot: "snapshot"
    case .freeze: "freeze"
    case .postgres: "postgres"
    }
  }
}

/// What a point promises, and what that rests on.
package struct Verdict: Hashable, Sendable {
  package var grade: Grade
  package var provider: Provider
  /// How long the service stood still for it, in whole microseconds below 2^32.
  package let frozen: Duration
  /// Why it is no better, for people; empty where nothing was amiss. At most
  /// ``Limits/reasonBytesMax`` bytes, without control characters.
  package let reason: String

  package init(
    grade: Grade, provider: Provider = .none, frozen: Duration = .zero, reason: String = ""
  ) {
    self.grade = grade
    self.provider = provider
    let micros = max(0, frozen.nanos) / 1000
    self.frozen = .microseconds(Int64(UInt32(clamping: micros)))
    self.reason = Self.bounded(reason)
  }

  /// Text that somebody else may have written, as it may be kept and shown. Where it is too long
  /// its middle is left out: what a command said last tells most.
  package static func bounded(_ text: String) -> String {
    let max = Limits.reasonBytesMax
    // No more of it is looked at than may be shown.
    let head = text.unicodeScalars.prefix(max).map(harmless)
    if text.utf8.count <= max { return string(head) }
    let gap = " … "
    let tail = text.unicodeScalars.suffix(max).map(harmless)
    let last = fitting(tail.reversed(), max * 2 / 3 - gap.utf8.count)
    return string(fitting(head, max / 3)) + gap + string(last.reversed())
  }

  private static func harmless(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    let isControl = scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value)
    return isControl ? "?" : scalar
  }

  private static func fitting(_ scalars: [Unicode.Scalar], _ bytes: Int) -> [Unicode.Scalar] {
    var left = bytes
    return Array(
      scalars.prefix { scalar in
        left -= UTF8.width(scalar)
        return left >= 0
      })
  }

  private static func string(_ scalars: [Unicode.Scalar]) -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: scalars)
    return String(text)
  }
}

/// How much a tree holds.
package struct Totals: Hashable, Sendable {
  /// Names of any kind but directories.
  package var files: Int64
  /// Sum of sizes of regular files, each name counted.
  package var bytes: Int64
  package init(files: Int64 = 0, bytes: Int64 = 0) {
    self.files = files
    self.bytes = bytes
  }
  package mutating func add(_ entry: Entry) {
    guard entry.kind != .directory else { return }
    files += 1
    bytes += entry.size
  }
  package mutating func remove(_ entry: Entry) {
    guard entry.kind != .directory else { return }
    files -= 1
    bytes -= entry.size
  }
}

/// A sealed point: the state of all roots of a pair at one capture.
package struct Point: Hashable, Sendable {
  package var number: PointNumber
  package var seal: Seal
  package var parent: Seal
  /// The primary's wall clock when the capture began.
  package var time: WallTime
  package var verdict: Verdict
  package var reign: Reign
  /// Sum of the keyed digests of all entries: see ``TreeDigest``.
  package var tree: TreeDigest
  package var totals: Totals
  /// Places that differ from the parent.
  package var changes: Int64
  package var grade: Grade { verdict.grade }

  package init(
    number: PointNumber, seal: Seal, parent: Seal, time: WallTime, verdict: Verdict, reign: Reign,
    tree: TreeDigest, totals: Totals, changes: Int64
  ) {
    self.number = number
    self.seal = seal
    self.parent = parent
    self.time = time
    self.verdict = verdict
    self.reign = reign
    self.tree = tree
    self.totals = totals
    self.changes = changes
  }
}

/// The digest of a whole tree that can be kept up to date one entry at a time: the sum, lane by
/// lane, of a keyed hash of each entry with its place (an additive multiset hash: Clarke et al.,
/// "Incremental Multiset Hash Functions", ASIACRYPT 2003; keyed, so that nobody who only writes
/// files can steer the sums).
package struct TreeDigest: Hashable, Sendable, CustomStringConvertible {
  package private(set) var sum: Digest32
  package init(sum: Digest32 = .zero) { self.sum = sum }
  package mutating func add(_ digest: Digest32) { sum.words &+= digest.words }
  package mutating func remove(_ digest: Digest32) { sum.words &-= digest.words }
  package var description: String { sum.description }
}

/// How far a pair has come; each is at least the next.
package struct Watermarks: Hashable, Sendable {
  package var captured: PointNumber
  package var received: PointNumber
  package var durable: PointNumber
  package var applied: PointNumber
  package init(
    captured: PointNumber = .none, received: PointNumber = .none, durable: PointNumber = .none,
    applied: PointNumber = .none
  ) {
    self.captured = captured
    self.received = received
    self.durable = durable
    self.applied = applied
  }
}

/// What a site is for a pair just now.
package enum Role: String, Hashable, Sendable {
  case primary
  case standby
  case unknown
  case promoting
  case split
}
