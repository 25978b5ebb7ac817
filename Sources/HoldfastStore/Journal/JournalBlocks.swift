import HoldfastCore

/// Reading on a disk that has lost some of what was written.
extension Journal {
  /// - Returns: nothing where the disk has lost it.
  static func head(_ file: any DiskFile) throws(JournalError) -> [UInt8] {
    try asking { () throws(DiskError) in
      var head: [UInt8] = []
      try readInPieces(file, at: 0, count: SegmentHeader.encodedBytes) { bytes, _ in head = bytes }
      return head
    }
  }

  private static let pieceBytes = 4096

  /// Hands over all that can be read, in order, in one piece unless the disk has lost some of it.
  static func readInPieces(
    _ file: any DiskFile, at offset: Int64, count: Int,
    _ body: ([UInt8], Int64) throws(DiskError) -> Void
  ) throws(DiskError) {
    do throws(DiskError) {
      return try body(try file.read(at: offset, count: count), offset)
    } catch {
      guard error.isContentLost else { throw error }
    }
    var start = offset
    let end = offset + Int64(count)
    while start < end {
      // To the next page of the file: a disk loses no less than a block of it.
      let next = min(end, (start / Int64(pieceBytes) + 1) * Int64(pieceBytes))
      let bytes: [UInt8]?
      do throws(DiskError) {
        bytes = try file.read(at: start, count: Int(next - start))
      } catch {
        guard error.isContentLost else { throw error }
        bytes = nil
      }
      if let bytes { try body(bytes, start) }
      start = next
    }
  }

  /// Raw bytes of a segment, with zeros where the disk has lost them: no record is whole there.
  func readableBytes(
    _ number: UInt64, at offset: Int64, count: Int
  ) throws(JournalError) -> [UInt8] {
    do throws(JournalError) {
      return try bytes(number, at: offset, count: count)
    } catch {
      guard case .disk(let cause) = error, cause.isContentLost else { throw error }
    }
    let file = try self.file(number)
    let wanted = min(count, Int((segments[number]?.size ?? offset) - offset))
    var found = [UInt8](repeating: 0, count: wanted)
    try Self.asking { () throws(DiskError) in
      try Self.readInPieces(file, at: offset, count: wanted) { bytes, start in
        let index = Int(start - offset)
        found.replaceSubrange(index..<(index + bytes.count), with: bytes)
      }
    }
    return found
  }
}
