package import HoldfastCore
package import HoldfastWire

/// Answers sites out of one ``Witness``, and keeps durably what it says before it says it.
package actor WitnessDesk {
  /// A record could not be made durable. What is in memory is ahead of the disk then: the process
  /// must end, and begin again from what is on it.
  package struct Lost: Error, CustomStringConvertible {
    package let description: String
  }

  private let disk: any Disk
  private let clock: any Timekeeper
  private var witness: Witness
  private let executor: any SerialExecutor
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }

  /// - Parameter executor: a thread that may block.
  package init(
    disk: any Disk, clock: any Timekeeper, executor: any SerialExecutor
  ) throws {
    self.disk = disk
    self.clock = clock
    self.executor = executor
    let records = try disk.list().map { name in
      guard let bytes = try disk.contents(of: name),
        let record = try? WitnessRecord(decoding: bytes)
      else {
        throw Lost(
          description: """
            the witness's record \(name) is damaged: move it away, never put an old one in its \
            place: nothing is granted then before both sites were heard
            """)
      }
      return record
    }
    witness = Witness(records: records, now: clock.now())
  }

  package var records: [WitnessRecord] { witness.records }

  /// - Parameter site: the key that the link proved.
  package func answer(_ ask: ArbiterAsk, from site: Fingerprint) throws(Lost) -> ArbiterAnswer {
    let orders = witness.on(ask.request, from: site, ask.statement, now: clock.now())
    for order in orders {
      switch order {
      case .persist(let record):
        do {
          try disk.replace(record.pair.description, with: record.encoded)
        } catch {
          throw Lost(description: "\(error)")
        }
      case .answer(let answer): return answer
      }
    }
    preconditionFailure("no answer to \(ask)")
  }
}

extension WitnessRecord {
  private static let version: UInt8 = 1

  /// As it lies on the witness's disk.
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
    return out.bytes
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    guard try reader.fixed(UInt8.self) == Self.version else { throw .invalid("version") }
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
    guard reader.isAtEnd, Limits.ttlMin <= ttl, ttl <= Limits.ttlMax else { throw .invalid("ttl") }
    self.init(
      pair: pair, sites: sites, reign: reign, holder: holder == 0 ? nil : sites[holder - 1],
      ttl: ttl, isReleased: isReleased, isSettled: isSettled)
  }
}
