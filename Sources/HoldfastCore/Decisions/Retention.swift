/// How long points are kept: `all` of them for a while, then the last of each hour, then of each
/// day (UTC).
package struct RetentionRule: Hashable, Sendable {
  package var all: Duration
  package var hourly: Duration
  package var daily: Duration
  package init(all: Duration, hourly: Duration, daily: Duration) {
    self.all = all
    self.hourly = hourly
    self.daily = daily
  }
}

/// Decides which points stay.
package enum Retention {
  /// The points that may go, oldest first. Never the newest, the newest of the required grade, a
  /// pinned one, a branch, or one of `held`.
  ///
  /// Times are the primary's, so they are not believed where they would shorten what is kept: a
  /// point counts as no older than the one before it.
  /// - Parameters:
  ///   - points: newest first.
  ///   - now: see ``presentTime(wall:newest:sinceNewest:)``.
  package static func drop(
    _ points: [PointRow], rule: RetentionRule, require: Grade, held: Set<PointNumber>,
    now: WallTime
  ) -> [PointNumber] {
    var kept = held
    if let newest = points.first { kept.insert(newest.point.number) }
    if let good = points.first(where: { $0.point.grade >= require && !$0.isBranch }) {
      kept.insert(good.point.number)
    }
    var hours = Set<Int64>()
    var days = Set<Int64>()
    for (row, time) in zip(points, times(points)) {
      let point = row.point
      // A time in the future makes the age negative: such points count as new.
      let age = now - time
      // Within a bucket a point of the required grade is worth more than a later one without.
      let counts = point.grade >= require
      let isLastOfHour = counts && hours.insert(time.nanos / 3_600_000_000_000).inserted
      let isLastOfDay = counts && days.insert(time.nanos / 86_400_000_000_000).inserted
      if row.isPinned || row.isBranch || age <= rule.all || (isLastOfHour && age <= rule.hourly)
        || (isLastOfDay && age <= rule.daily)
      {
        kept.insert(point.number)
      }
    }
    return points.map(\.point.number).filter { !kept.contains($0) }.sorted()
  }

  private static func times(_ points: [PointRow]) -> [WallTime] {
    var latest = WallTime(nanos: .min)
    let ascending = points.reversed().map { row in
      latest = max(latest, row.point.time)
      return latest
    }
    return ascending.reversed()
  }

  /// The moment from which ages count. A wall clock that jumps ahead must not drop what the rule
  /// keeps, so that it may run at most as far past the newest point as time has really gone by.
  /// - Parameter sinceNewest: since this process took the newest point in; `nil` where another
  ///   did.
  package static func presentTime(
    wall: WallTime, newest: WallTime, sinceNewest: Duration?
  ) -> WallTime {
    min(wall, newest + (sinceNewest ?? .zero))
  }

  /// Whether so much of the journal may be nobody's that looking for it pays.
  /// - Parameters:
  ///   - live: bytes that were somebody's when it was last looked at.
  ///   - sinceLook: since then, where points were dropped meanwhile; else `nil`.
  package static func isCompactionDue(
    journal: Int64, live: Int64, sinceLook: Duration?
  ) -> Bool {
    if journal - live > max(Limits.garbageBytesMin, live / 4) { return true }
    guard let sinceLook else { return false }
    return journal > Limits.garbageBytesMin && sinceLook >= Limits.compactEvery
  }
}
