import HoldfastBytes
package import HoldfastCore

/// Gives back the space of what no kept point needs: live records of sparse segments are copied
/// into new ones, durable and named before the old are unlinked. Not shared between threads.
package final class Compaction {
  private let journal: Journal
  private let index: any Index
  private let secret: PairSecret
  private let digests: PairDigests
  private let probe: any Probe
  private let makeHeader: () -> SegmentHeader

  private var encoder: SegmentEncoder?
  private var segment: UInt64 = 0
  private var pending: [UInt8] = []
  private let compressor = Compressor(codec: .zstd)
  private static let pendingBytes = 1 << 20
  private var moved: [Moved] = []
  /// Files that this pass has begun.
  private var begun: [UInt64] = []

  private struct Moved {
    var name: ChunkName
    var position: RecordPosition
    var bytes: Int
  }

  /// - Parameter makeHeader: of a new segment of this site.
  package init(
    journal: Journal, index: any Index, secret: PairSecret, digests: PairDigests,
    probe: any Probe, makeHeader: @escaping () -> SegmentHeader
  ) {
    self.journal = journal
    self.index = index
    self.secret = secret
    self.digests = digests
    self.probe = probe
    self.makeHeader = makeHeader
  }

  /// What a pass came to.
  package struct Outcome: Sendable {
    /// Bytes of records that somebody needs, of the whole journal.
    package var live: Int64
    package var removed: Int
    /// Segments that hold a damaged record and are therefore left alone.
    package var damaged: [UInt64]
    /// Whether the chunks that nobody needs were found: not while a list of chunks is damaged.
    package var isSwept: Bool
  }

  /// One pass. Nobody may be reading the journal by the index meanwhile, and no attempt be open.
  /// After a throw nothing that was kept is lost; what was copied is nobody's, and gone unless the
  /// index may name it.
  /// - Parameters:
  ///   - sealedUpTo: see ``Ingest/sealedUpTo``.
  ///   - open: segments that are still appended to, or tell the primary where to go on.
  package func run(sealedUpTo: RecordPosition, open: Set<UInt64>) throws -> Outcome {
    let isSwept = try sweep(sealedUpTo)
    let live = try index.liveBytes()
    var outcome = Outcome(
      live: live.values.reduce(0, +), removed: 0, damaged: [], isSwept: isSwept)
    let victims = try choose(live, open: open)
    guard !victims.isEmpty else { return outcome }
    var done: [UInt64] = []
    let end = try writing {
      for victim in victims {
        probe.hit(.compacting)
        if try copy(victim, live: live[victim] ?? 0) {
          done.append(victim)
        } else {
          outcome.damaged.append(victim)
        }
      }
    }
    probe.hit(.compacting)
    for row in moved { try index.moveChunk(row.name, to: row.position, bytes: row.bytes) }
    try index.commit(upTo: end)
    probe.hit(.compacting)
    for victim in done {
      try journal.remove(victim)
      probe.hit(.compacting)
    }
    outcome.removed = done.count
    return outcome
  }

  /// All that the index knows goes to the journal's end, durably: of what was written before only
  /// chunks are needed any more. No attempt may be open.
  package func carry() throws {
    try index.commit(upTo: try writing {})
  }

  /// Writes a snapshot and what `body` adds, durably.
  /// - Returns: where it ends. After a throw nothing of it is there.
  private func writing(_ body: () throws -> Void) throws -> RecordPosition {
    (encoder, moved, begun, pending) = (nil, [], [], [])
    do {
      try writeSnapshot()
      try body()
      return try close()
    } catch {
      for number in begun { try? journal.remove(number) }
      throw error
    }
  }

  private func sweep(_ sealedUpTo: RecordPosition) throws -> Bool {
    do {
      _ = try index.sweepChunks(before: sealedUpTo) { name in
        // What is behind one that is lost for good is of use to nobody; should it come again, all
        // that it names is asked for.
        guard let position = try index.chunk(name) else { return [] }
        return try journal.record(at: position).plain
      }
      return true
    } catch JournalError.damaged {
      return false
    } catch JournalError.absent {
      return false
    }
  }

  /// The emptiest first, as many as one pass may copy.
  private func choose(_ live: [UInt64: Int64], open: Set<UInt64>) throws -> [UInt64] {
    func share(_ number: UInt64) -> Double {
      Double(live[number] ?? 0) / Double(max(1, journal.segments[number]?.size ?? 1))
    }
    let sparse = journal.segments.keys.filter {
      !open.contains($0) && share($0) < Limits.liveShareMin
    }
    // What is given back is given back only once the copies are there.
    var budget = min(Limits.compactionBytes, try journal.freeBytes() / 2)
    var chosen: [UInt64] = []
    for number in sparse.sorted(by: { (share($0), $0) < (share($1), $1) }) {
      budget -= live[number] ?? 0
      if budget < 0 { break }
      chosen.append(number)
    }
    return chosen.sorted()
  }

  /// Changes, seals and notes are in it, so no segment need be kept for theirs.
  private func writeSnapshot() throws {
    try append(.carried, .hole, Carried(.first, rows: []).encoded)
    try index.forEachPortion { try append(.carried, .hole, Carried(.middle, rows: $0).encoded) }
    try append(.carried, .hole, Carried(.last, rows: []).encoded)
  }

  /// - Parameter live: bytes of the records in it that somebody needs.
  /// - Returns: whether all of them were copied; one that is damaged keeps it where it is.
  private func copy(_ victim: UInt64, live: Int64) throws -> Bool {
    do {
      var copied: Int64 = 0
      // What is damaged and nobody needs goes with the rest.
      try journal.scan(victim, from: 0, damaged: { _, _ in }) { position, bytes, record in
        guard record.header.kind == .chunk,
          try index.chunk(record.header.name) == position
        else { return }
        let plain = try journal.plain(victim, bytes, record, at: position)
        guard digests.name(plain, 0..<plain.count) == record.header.name else {
          throw JournalError.damaged(position, "content of chunk \(record.header.name)")
        }
        try append(.chunk, record.header.name, plain)
        copied += Int64(record.range.count)
      }
      return copied == live
    } catch JournalError.damaged {
      // What was copied before stays copied; the rest is still read where it lies.
      return false
    }
  }

  private func append(_ kind: RecordKind, _ name: ChunkName, _ plain: [UInt8]) throws {
    let size = (journal.segments[segment]?.size ?? 0) + Int64(pending.count)
    if encoder == nil || size >= Int64(Limits.segmentBytes) {
      try writePending()
      let header = makeHeader()
      segment = try journal.begin(header)
      begun.append(segment)
      encoder = SegmentEncoder(header: header, secret: secret)
    }
    let base = journal.segments[segment]?.size ?? 0
    let offset = base + Int64(pending.count)
    encoder?.append(
      kind, name: name, plain, 0..<plain.count, compressor: compressor, codec: .zstd,
      into: &pending)
    if kind == .chunk {
      moved.append(
        Moved(
          name: name, position: RecordPosition(segment: segment, offset: offset),
          bytes: Int(base + Int64(pending.count) - offset)))
    }
    if pending.count >= Self.pendingBytes { try writePending() }
  }

  private func writePending() throws {
    guard !pending.isEmpty else { return }
    try journal.append(segment, pending, 0..<pending.count)
    pending.removeAll(keepingCapacity: true)
  }

  /// Makes all that was written durable.
  private func close() throws -> RecordPosition {
    try writePending()
    try journal.flush()
    encoder = nil
    return RecordPosition(segment: segment, offset: journal.segments[segment]?.size ?? 0)
  }
}
