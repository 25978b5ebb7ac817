package import HoldfastCore

/// What a journal is found to be where all of it is read.
package struct JournalCondition: Sendable {
  /// What is not what was written, in order, at most ``Limits/damageMax`` of it; at offset 0 it is
  /// the head of a segment, and all that is in it. With the chunk that the place says it holds.
  package var damage: [(position: RecordPosition, chunk: ChunkName?)] = []
  /// Where the newest snapshot of the index begins that is there to its end: what is neither chunk
  /// nor behind it nobody needs.
  package var snapshot: RecordPosition?
  private var begun: RecordPosition?

  package init() {}

  /// What an index that is made anew would lack.
  /// - Parameter isHeld: whether the index has such a chunk; what is wrong with that is its files'.
  package func records(isHeld: (ChunkName) throws -> Bool) rethrows -> [RecordPosition] {
    try damage.filter { position, chunk in
      if let chunk, try isHeld(chunk) { return false }
      return snapshot.map { position >= $0 } ?? true
    }.map(\.position)
  }

  mutating func found(_ position: RecordPosition, _ chunk: ChunkName?) {
    if damage.count < Limits.damageMax { damage.append((position, chunk)) }
  }

  mutating func carried(_ position: RecordPosition, _ part: Carried.Part) {
    switch part {
    case .first: begun = position
    case .middle: break
    case .last: snapshot = begun
    }
  }
}

extension Journal {
  /// For a reader: looks at each record that is durable.
  /// - Parameters:
  ///   - end: where that ends.
  ///   - progress: told how many bytes were read.
  package func examine(
    upTo end: RecordPosition, progress: (Int64) -> Void
  ) throws -> JournalCondition {
    try loadNames()
    var condition = JournalCondition()
    var done: Int64 = 0
    for number in names.keys.sorted() where number <= end.segment {
      do throws(JournalError) {
        // Takes down the segment's head.
        _ = try bytes(number, at: 0, count: 0)
      } catch {
        if case .disk = error { throw error }
        condition.found(RecordPosition(segment: number, offset: 0), nil)
        continue
      }
      func isDurable(_ position: RecordPosition) -> Bool {
        number < end.segment || position.offset < end.offset
      }
      try scan(number, from: 0) { position, _ in
        if isDurable(position) { condition.found(position, claimedChunk(position)) }
      } _: { position, bytes, record in
        guard record.header.kind != .chunk, isDurable(position) else { return }
        do throws(JournalError) {
          let plain = try plain(number, bytes, record, at: position)
          guard record.header.kind == .carried else { return }
          if let part = try? Carried(decoding: plain).part { condition.carried(position, part) }
        } catch {
          condition.found(position, nil)
        }
      }
      done += segments[number]?.size ?? 0
      progress(done)
    }
    return condition
  }

  private func claimedChunk(_ position: RecordPosition) -> ChunkName? {
    let count = RecordHeader.prefixBytes + RecordHeader.encodedBytes
    guard let head = try? readableBytes(position.segment, at: position.offset, count: count) else {
      return nil
    }
    var reader = Reader(head, min(RecordHeader.prefixBytes, head.count)..<head.count)
    guard let header = try? RecordHeader(from: &reader), header.kind == .chunk else { return nil }
    return header.name
  }
}
