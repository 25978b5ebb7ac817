package import HoldfastCore

/// Encodes an absent value as `null`, so that what is not known is said, not left out.
@propertyWrapper
package struct Nullable<Value: Codable & Sendable>: Codable, Sendable {
  package var wrappedValue: Value?
  package init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
  }
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

extension Nullable: Equatable where Value: Equatable {}
extension Nullable: Hashable where Value: Hashable {}

/// `status --json`: docs/api.md.
package struct StatusAnswer: Codable, Sendable {
  package struct Peer: Codable, Sendable {
    package var site: String
    package var connected: Bool
  }
  package struct Points: Codable, Sendable {
    @Nullable package var captured: UInt64?
    @Nullable package var received: UInt64?
    @Nullable package var durable: UInt64?
    @Nullable package var applied: UInt64?
  }
  package struct Pair: Codable, Sendable {
    package var pair: String
    package var role: String
    package var epoch: UInt64
    @Nullable package var reign: String?
    package var peer: Peer
    package var points: Points
    @Nullable package var lagSeconds: Double?
    @Nullable package var backlogBytes: Int64?
    @Nullable package var etaSeconds: Double?
    package var rpoSeconds: Double
    @Nullable package var rpoKept: Bool?
    @Nullable package var grade: String?
    /// What made the newest point one instant; `null` where another process captured it.
    @Nullable package var provider: String?
    @Nullable package var watch: String?
    @Nullable package var held: String?
    @Nullable package var lastProven: String?
    package var alarms: [String]
    package var notes: [String]
    package var sentBytes: Int64
    package var journalBytes: Int64
    /// What the controller makes of the service here, and for how long its lease lasts yet; `null`
    /// where none says anything.
    @Nullable package var service: String?
    @Nullable package var leaseSeconds: Double?
  }
  package var site: String
  package var pairs: [Pair]
  package init(site: String, pairs: [Pair]) {
    self.site = site
    self.pairs = pairs
  }
}

/// `points --json`.
package struct PointsAnswer: Codable, Sendable {
  package struct Point: Codable, Sendable {
    package var point: UInt64
    package var time: String
    package var grade: String
    /// What made the point one instant, or was to: `none` for reading alone.
    package var provider: String
    /// How long the service stood still for it.
    package var frozenSeconds: Double
    /// Why the grade is no better; empty where nothing was amiss.
    package var reason: String
    package var seal: String
    package var parent: String
    package var epoch: UInt64
    package var reign: String
    package var branch: Bool
    package var files: Int64
    package var bytes: Int64
    package var changes: Int64
    @Nullable package var proven: String?
    package var pinned: Bool
  }
  package var pair: String
  package var points: [Point]
}

/// `GET /pairs/P/moves`.
package struct MovesAnswer: Codable, Sendable {
  package var pair: String
  /// The newest first; the first of them may be under way.
  package var moves: [MoveReport]
}

package struct SyncAnswer: Codable, Sendable {
  package var point: UInt64
}

package struct ResumeRequest: Codable, Sendable {
  package var otherSiteIsDown: Bool
  package init(otherSiteIsDown: Bool) { self.otherSiteIsDown = otherSiteIsDown }
}

package struct SwitchoverRequest: Codable, Sendable {
  /// Of a controller: what its checks found, for which the service is to leave this site.
  package var illness: String?
  package init(illness: String? = nil) { self.illness = illness }
}

package struct FailoverRequest: Codable, Sendable {
  package var point: UInt64?
  package var acceptLoss: Bool
  package var otherSiteIsDown: Bool
  /// Only says what would be lost.
  package var preview: Bool
  /// Of a controller: the arbiter has granted this reign here.
  package var granted: ReignRequest?
  /// The other site had ended its service for it.
  package var planned: Bool?
  /// Of a controller: for so long yet the other site may serve.
  package var othersSeconds: Double?
  package init(
    point: UInt64?, acceptLoss: Bool, otherSiteIsDown: Bool, preview: Bool,
    granted: ReignRequest? = nil, planned: Bool? = nil, othersSeconds: Double? = nil
  ) {
    self.planned = planned
    self.othersSeconds = othersSeconds
    self.point = point
    self.acceptLoss = acceptLoss
    self.otherSiteIsDown = otherSiteIsDown
    self.preview = preview
    self.granted = granted
  }
}

/// `failover --json`.
package struct FailoverAnswer: Codable, Sendable {
  package typealias Phase = MoveReport.Phase
  package var point: UInt64
  package var grade: String
  package var epoch: UInt64
  package var reign: String
  @Nullable package var lossSeconds: Double?
  /// When that ends: the last moment in which the other site may write, by this site's clock; left
  /// out where it is not known.
  package var lossBefore: String?
  @Nullable package var lossFiles: Int64?
  package var phases: [Phase]
  /// Of a preview: why the order would be refused; left out otherwise.
  package var refusal: String?

  /// - Parameter reign: empty where there is none yet.
  package init(
    point: UInt64, grade: String, epoch: UInt64, reign: String, lossSeconds: Double?,
    lossBefore: String?, lossFiles: Int64?, phases: [Phase]
  ) {
    self.lossBefore = lossBefore
    self.point = point
    self.grade = grade
    self.epoch = epoch
    self.reign = reign
    self.lossSeconds = lossSeconds
    self.lossFiles = lossFiles
    self.phases = phases
  }

  init(_ choice: Promotion.Choice, before: WallTime?, epoch: Epoch, reign: String) {
    self.init(
      point: choice.point.number.rawValue, grade: choice.point.grade.word, epoch: epoch.rawValue,
      reign: reign, lossSeconds: choice.loss.seconds?.seconds, lossBefore: before?.rfc3339,
      lossFiles: choice.loss.places, phases: [])
  }
}

/// What went wrong, for people; `code` is the command's exit code.
package struct FailureAnswer: Codable, Sendable, Error {
  package var code: Int32
  package var message: String
  /// More would be lost than anybody has agreed to; left out otherwise.
  package var isForLoss: Bool?
  package init(code: Int32, _ message: String, isForLoss: Bool? = nil) {
    self.isForLoss = isForLoss
    self.code = code
    self.message = message
  }
}

extension FailureAnswer: CustomStringConvertible {
  package var description: String { message }
}

package struct TokenAnswer: Codable, Sendable {
  package var token: String
  package init(token: String) { self.token = token }
}

package struct TextAnswer: Codable, Sendable {
  package var message: String
  package init(message: String) { self.message = message }
}

package struct InviteRequest: Codable, Sendable {
  package var address: String?
  /// The site whose pinned key the token may replace.
  package var replace: String?
  package init(address: String?, replace: String? = nil) {
    self.address = address
    self.replace = replace
  }
}

package struct JoinRequest: Codable, Sendable {
  package var token: String
  /// Whether the other site may have another key than the one that is pinned.
  package var replace: Bool?
  package init(token: String, replace: Bool? = nil) {
    self.token = token
    self.replace = replace
  }
}

/// What `verify --repair` asks the agent to mend.
package struct RepairRequest: Codable, Sendable {
  package struct Path: Codable, Sendable {
    package var root: Int
    /// Bytes of the path, in hex: a name need not be text.
    package var path: String
  }
  package var places: [Path]
  /// Names of damaged chunks, in hex.
  package var chunks: [String]
  /// Whether the index is to be rebuilt from the journal.
  package var index: Bool
  /// More chunks follow: the other site is asked once, for all.
  package var more: Bool?
  package struct Record: Codable, Sendable {
    package var segment: UInt64
    package var offset: Int64
  }
  /// Damaged records of the journal: all that the index knows is to go to its end.
  package var records: [Record]?
  /// Nothing else is damaged in the journal.
  package var all: Bool?
  package init(
    places: [Place], chunks: [ChunkName], index: Bool, more: Bool? = nil,
    records: [RecordPosition]? = nil, all: Bool? = nil
  ) {
    self.more = more
    self.all = all
    self.records = records?.map { Record(segment: $0.segment, offset: $0.offset) }
    self.places = places.map { Path(root: $0.root.rawValue, path: Hex.encode($0.path.bytes)) }
    self.chunks = chunks.map(\.description)
    self.index = index
  }

  /// - Returns: `nil` where something in it is no place or name.
  var decoded: (places: [Place], chunks: [ChunkName])? {
    var places: [Place] = []
    for row in self.places {
      guard let bytes = Hex.decode(row.path), let path = TreePath(bytes) else { return nil }
      places.append(Place(root: RootNumber(rawValue: row.root), path: path))
    }
    var names: [ChunkName] = []
    for text in chunks {
      guard let bytes = Hex.decode(text), let digest = Digest32(bytes) else { return nil }
      names.append(ChunkName(digest))
    }
    return (places, names)
  }
}
