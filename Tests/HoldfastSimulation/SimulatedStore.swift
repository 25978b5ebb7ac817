package import HoldfastCore

/// What a ``SharedStore`` holds: values at revisions, some of which it forgets in time.
package struct SimulatedStore {
  private struct Life {
    var length: Duration
    var end: Instant
  }
  private var values: [String: SharedValue] = [:]
  private var lives: [String: Life] = [:]
  private var revision: UInt64 = 0

  package init() {}

  /// - Parameter now: by the store's own clock, as all its times.
  package mutating func seen(_ now: Instant) -> [String: SharedValue] {
    for (key, life) in lives where life.end <= now { forget(key) }
    return values
  }

  /// - Parameter counted: since when what has an end lives.
  /// - Returns: whether its conditions held.
  package mutating func commit(_ change: SharedChange, counted: Instant, now: Instant) -> Bool {
    let values = seen(now)
    guard change.conditions.allSatisfy({ (values[$0]?.revision ?? 0) == $1 }) else { return false }
    revision += 1
    for key in change.removals { forget(key) }
    for put in change.puts {
      self.values[put.key] = SharedValue(bytes: put.bytes, revision: revision)
      lives[put.key] = put.lives.map { Life(length: $0, end: counted + $0) }
    }
    return true
  }

  /// A new leader lets what has an end live anew, as it knows of no beginnings (etcd's
  /// documentation, "Lease").
  package mutating func elect(_ now: Instant) {
    for (key, life) in lives { lives[key]?.end = now + life.length }
  }

  private mutating func forget(_ key: String) {
    values[key] = nil
    lives[key] = nil
  }
}
