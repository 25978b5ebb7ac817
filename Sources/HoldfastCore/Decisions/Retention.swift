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
  /// - Parameter points: newest first.
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
    for row in points {
      let point = row.point
      // A clock that was set back makes ages negative: such points count as new.
      let age = now - point.time
      // Within a bucket a point of the required grade is worth more than a later one without.
      let counts = point.grade >= require
      let isFirstOfHour =
        counts && hours.insert(point.time.nanos / 3_600_000_000_000).inserted
      let isFirstOfDay = counts && days.insert(point.time.nanos / 86_400_000_000_000).inserted
      if row.isPinned || row.isBranch || age <= rule.all || (isFirstOfHour && age <= rule.hourly)
        || (isFirstOfDay && age <= rule.daily)
      {
        kept.insert(point.number)
      }
    }
    return points.map(\.point.number).filter { !kept.contains($0) }.sorted()
  }
}
