extension WitnessRecord {
  private static let version: UInt8 = 2
  /// Without what was declined.
  private static let firstVersion: UInt8 = 1

  /// As it lies on the witness's disk, or in a store that hosts share.
  package var encoded: [UInt8] {
    var out = Writer()
    out.fixed(Self.version)
    out.raw(pair.bytes)
    for site in sites { out.raw(site.digest.bytes) }
    out.fixed(reign.epoch.rawValue)
    out.raw(reign.id.bytes)
    out.fixed(UInt8(holder.flatMap { sites.firstIndex(of: $0) }.map { $0 + 1 } ?? 0))
    out.fixed(UInt64(ttl.nanos))
    out.fixed(UInt8(isReleased ? 1 : 0))
    out.fixed(UInt8(isSettled ? 1 : 0))
    out.fixed((declined ?? .none).epoch.rawValue)
    out.raw((declined ?? .none).id.bytes)
    return out.bytes
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    let version = try reader.fixed(UInt8.self)
    guard version == Self.version || version == Self.firstVersion else {
      throw .invalid("version")
    }
    let pair = try reader.random()
    var sites: [Fingerprint] = []
    for _ in 0..<2 {
      guard let digest = Digest32(try reader.raw(32)) else { throw .invalid("key") }
      sites.append(Fingerprint(digest))
    }
    let epoch = Epoch(rawValue: try reader.fixed())
    let reign = Reign(epoch: epoch, id: try reader.random())
    let holder = Int(try reader.fixed(UInt8.self))
    guard holder <= 2 else { throw .invalid("holder") }
    let ttl = Duration.nanoseconds(Int64(clamping: try reader.fixed(UInt64.self)))
    let isReleased = try reader.fixed(UInt8.self) == 1
    let isSettled = try reader.fixed(UInt8.self) == 1
    var declined = Reign.none
    if version == Self.version {
      declined = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    }
    guard reader.isAtEnd, Limits.ttlMin <= ttl, ttl <= Limits.ttlMax else { throw .invalid("ttl") }
    self.init(
      pair: pair, sites: sites, reign: reign, holder: holder == 0 ? nil : sites[holder - 1],
      ttl: ttl, isReleased: isReleased, isSettled: isSettled,
      declined: declined == .none ? nil : declined)
  }
}
