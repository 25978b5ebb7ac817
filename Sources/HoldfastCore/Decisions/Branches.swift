/// What of a pair's points a person may let go that retention keeps for ever.
package enum Branches {
  package enum Release: Hashable, Sendable {
    /// The points of a branch, oldest first.
    case branch([PointNumber])
    case pin(PointNumber)
  }

  /// - Parameter points: newest first.
  /// - Returns: `nil` where the point is not there, or nothing but the rule keeps it.
  package static func release(_ point: PointNumber, of points: [PointRow]) -> Release? {
    guard let index = points.firstIndex(where: { $0.point.number == point }) else { return nil }
    guard points[index].isBranch else { return points[index].isPinned ? .pin(point) : nil }
    // Beside one another in a branch are points of one reign.
    let reign = points[index].point.reign
    func isSame(_ row: PointRow) -> Bool { row.isBranch && row.point.reign == reign }
    let newer = points[..<index].reversed().prefix(while: isSame).reversed()
    let older = points[index...].prefix(while: isSame)
    return .branch((Array(newer) + older).map(\.point.number).reversed())
  }
}
