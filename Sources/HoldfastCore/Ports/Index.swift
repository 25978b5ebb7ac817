/// Where a record lies in the journal.
package struct RecordPosition: Hashable, Comparable, Sendable {
  /// Local number of the segment.
  package var segment: UInt64
  /// Bytes from the start of the segment's file.
  package var offset: Int64
  package init(segment: UInt64, offset: Int64) {
    self.segment = segment
    self.offset = offset
  }
  package static func < (a: Self, b: Self) -> Bool {
    a.segment == b.segment ? a.offset < b.offset : a.segment < b.segment
  }
  package static let start = RecordPosition(segment: 0, offset: 0)
}

/// Why an index or catalog cannot be used. The remedy is always to rebuild it.
package enum IndexError: Error, Sendable, Hashable {
  case unusable(String)
}

/// A point with what retention and promotion made of it.
package struct PointRow: Hashable, Sendable {
  package var point: Point
  /// Not on the line of descent of the newest point.
  package var isBranch: Bool
  package var isPinned: Bool
  package init(point: Point, isBranch: Bool = false, isPinned: Bool = false) {
    self.point = point
    self.isBranch = isBranch
    self.isPinned = isPinned
  }
}

/// The state of every kept point, and where each chunk lies: all of it derived from the journal.
/// Not shared between threads. All changes since the last ``commit(upTo:)`` are lost by a crash,
/// together.
package protocol Index: AnyObject {
  /// The journal whose content this is, and up to where it was taken in; `nil` where it is new.
  func covered() throws(IndexError) -> (journal: RandomID, upTo: RecordPosition)?
  /// Empties the index and binds it to a journal.
  func reset(journal: RandomID) throws(IndexError)
  func commit(upTo position: RecordPosition) throws(IndexError)

  // Chunks.
  /// - Parameter bytes: of its record in the journal.
  func insertChunk(
    _ name: ChunkName, at position: RecordPosition, bytes: Int
  ) throws(IndexError)
  func chunk(_ name: ChunkName) throws(IndexError) -> RecordPosition?
  func moveChunk(
    _ name: ChunkName, to position: RecordPosition, bytes: Int
  ) throws(IndexError)
  /// The chunk is held no more: its record is damaged.
  func forgetChunk(_ name: ChunkName) throws(IndexError)
  /// The open attempt names this chunk, and it is not held; of so many at most
  /// ``Limits/missingNamesMax`` are kept. Committed with the attempt.
  func lack(_ name: ChunkName) throws(IndexError)
  func lacking() throws(IndexError) -> [ChunkName]
  /// Calls `body` with the prefixes of all names, in no order, in portions.
  func forEachChunkPrefix(_ body: ([UInt64]) throws -> Void) throws

  // The attempt that is being received.
  /// Begins an attempt at a point, undoing what another unsealed attempt had left.
  /// - Parameter whole: places that are not mentioned are gone, once sealed.
  func beginAttempt(_ number: PointNumber, id: RandomID, whole: Bool) throws(IndexError)
  func attempt() throws(IndexError) -> (number: PointNumber, id: RandomID)?
  func put(_ change: Change) throws(IndexError)
  /// Makes the attempt a point.
  func seal(_ point: Point) throws(IndexError)
  /// Undoes what the open attempt put.
  func abandonAttempt() throws(IndexError)

  // Points.
  /// Newest first.
  func points() throws(IndexError) -> [PointRow]
  /// The newest that is on no branch and promises at least this.
  func newest(atLeast grade: Grade) throws(IndexError) -> Point?
  func point(_ number: PointNumber) throws(IndexError) -> PointRow?
  func entry(_ place: Place, at point: PointNumber) throws(IndexError) -> Entry?
  /// All entries of a point, by root and path.
  func forEachEntry(
    at point: PointNumber, _ body: (Place, Entry) throws -> Void
  ) throws
  /// Every place whose entries at some points are not all equal, by root and path.
  /// - Parameters:
  ///   - descending: children before their directories.
  ///   - body: takes the entries in the order of the points.
  func forEachDifference(
    among points: [PointNumber], descending: Bool,
    _ body: (_ place: Place, _ entries: [Entry?]) throws -> Void
  ) throws
  /// All names of one object at a point, in order; empty for link group 0.
  func members(
    root: RootNumber, linkGroup: UInt64, at point: PointNumber
  ) throws(IndexError) -> [Place]
  /// The sum over the open attempt's tree as it would be sealed now.
  func attemptDigest() throws(IndexError) -> TreeDigest
  /// Sum over the entries of a point, from the entries themselves.
  func treeDigest(at point: PointNumber) throws(IndexError) -> TreeDigest
  /// The tree becomes again what it was at `point`; later points become a branch.
  func revert(to point: PointNumber, as number: PointNumber) throws(IndexError)
  func drop(_ points: [PointNumber]) throws(IndexError)
  /// All points and intervals of entries, in portions that ``restoreRows(_:)`` takes back: what
  /// retention carries into new segments when it removes those that held the changes.
  func forEachPortion(_ body: ([UInt8]) throws -> Void) throws
  func restoreRows(_ portion: [UInt8]) throws(IndexError)
  /// Forgets chunks that no kept entry refers to and that lie before `position`: what lies behind
  /// it may belong to an attempt that is still to open.
  /// - Parameter list: reads a chunk that holds references.
  /// - Returns: how many were forgotten.
  func sweepChunks(
    before position: RecordPosition, list: (ChunkName) throws -> [UInt8]
  ) throws -> Int
  /// Bytes of records of known chunks by segment.
  func liveBytes() throws(IndexError) -> [UInt64: Int64]
  func pin(_ point: PointNumber, _ pinned: Bool) throws(IndexError)
}
