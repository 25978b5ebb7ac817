package import HoldfastCore

/// What is durably known of the replica: the point it is, or those it lies between.
package struct ReplicaRecord: Hashable, Sendable {
  package static let fileName = "replica"
  package var applied: PointNumber
  /// Not empty while an intent is open: the points that the replica was on its way to since it
  /// was `applied`. It is offered to nobody meanwhile.
  package var intents: [PointNumber]
  /// Inodes of the replica's top directories, by root number: of others nothing is known.
  package var tops: [UInt64]
  /// Powers that nothing lends that was made in the replica.
  package var refused: Powers

  package init(
    applied: PointNumber = .none, intents: [PointNumber] = [], tops: [UInt64] = [],
    refused: Powers = []
  ) {
    self.applied = applied
    self.intents = intents
    self.tops = tops
    self.refused = refused
  }

  var encoded: [UInt8] {
    var out = Writer()
    out.fixed(applied.rawValue)
    out.variable(UInt64(intents.count))
    for intent in intents { out.fixed(intent.rawValue) }
    out.variable(UInt64(tops.count))
    for top in tops { out.fixed(top) }
    out.fixed(refused.rawValue)
    return out.bytes
  }

  /// - Returns: that nothing was applied where the file is missing, or damaged: what stands in the
  ///   replica is then compared with the next point as a whole.
  package static func load(_ disk: any Disk) throws(DiskError) -> ReplicaRecord {
    guard let bytes = try disk.contents(of: fileName) else { return ReplicaRecord() }
    do throws(CodingError) {
      return try decode(bytes)
    } catch {
      return ReplicaRecord()
    }
  }

  private static func decode(_ bytes: [UInt8]) throws(CodingError) -> ReplicaRecord {
    var reader = Reader(bytes)
    var record = ReplicaRecord(applied: PointNumber(rawValue: try reader.fixed()))
    for _ in 0..<(try reader.count(max: 10_000)) {
      record.intents.append(PointNumber(rawValue: try reader.fixed()))
    }
    for _ in 0..<(try reader.count(max: Limits.rootsMax)) {
      record.tops.append(try reader.fixed())
    }
    if !reader.isAtEnd { record.refused = Powers(rawValue: try reader.fixed()) }
    return record
  }

  package func store(_ disk: any Disk) throws(DiskError) {
    try disk.replace(Self.fileName, with: encoded)
  }
}

/// Why the replica could not be moved to a point. It is still what its record says.
package enum ApplyError: Error, Sendable {
  case tree(RootNumber, TreeError)
  /// The replica's filesystem has too little room; nothing was changed.
  case full(needed: Int64, free: Int64)
  case store(any Error)
}
