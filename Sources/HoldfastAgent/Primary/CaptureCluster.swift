import HoldfastCore
import HoldfastStore

/// What differs for a live cluster, which makes its files whole by itself when it starts.
extension CaptureWorker {
  /// Adds what earlier points left, unless this one leaves it too.
  func addLeft(to work: inout CaptureWork, _ cluster: ClusterCapture?) {
    if let cluster {
      guard cluster.taken != nil else { return }
      work.scans += cluster.scans
    } else {
      // Nothing stands on the last copy any more.
      providers.postgres.rest()
      work.scans += providers.postgres.takeShown()
    }
    let (scans, places) = resting.take()
    work.scans += scans
    work.places += places
  }

  /// - Returns: what is to be read of it when all else was.
  func end(_ cluster: ClusterCapture, _ work: CaptureWork) throws -> CaptureWork {
    try providers.postgres.finish(cluster)
    drain()
    return cluster.last(
      CaptureWork(scans: work.scans + dirty.work.scans, places: work.places + dirty.work.places))
  }

  /// - Throws: why what was read of the cluster cannot be started.
  func keepLeft(_ outcome: CaptureOutcome, _ cluster: ClusterCapture?) throws {
    guard let cluster else { return }
    if let mount = outcome.mounts.first(where: cluster.layout.holds) {
      throw ProviderError("\(mount.path) of the cluster is another filesystem than its root")
    }
    try providers.postgres.confirm()
    let left = cluster.left(outcome.left)
    resting.merge(scans: left.scans, places: left.places)
  }

  /// Whether nothing is left of a cluster.
  func isRead(_ cluster: ClusterCapture?) -> Bool { cluster.map { $0.taken != nil } ?? true }

  /// Whether the pair is the cluster alone.
  func isAll(_ cluster: ClusterCapture?) -> Bool {
    cluster?.layout.isAll(of: paths.indices) ?? false
  }

  /// What happens to the cluster's files while they are read its WAL tells.
  func spare(_ cluster: ClusterCapture, _ outcome: CaptureOutcome, _ facts: inout CaptureFacts) {
    let settings = Array(".conf".utf8)
    facts.torn = outcome.torn.first { place in
      !cluster.layout.holds(place) || place.path.name.suffix(settings.count) == settings[...]
    }.map { "\($0.path)" }
    facts.isChanged = dirty.reaches(beyond: cluster.layout.tops)
    facts.isFixed = isAll(cluster)
    let isHarmless = facts.mapping != .unknown && mapped.allSatisfy(cluster.layout.holds)
    if facts.isFixed || isHarmless { facts.mapping = .none }
    // Points of WAL alone build on the copy that lacks it, and a copy of what is told of does not
    // come by it: what is excluded nobody tells.
    let isLookedFor = cluster.taken != nil && !cluster.isTold
    if outcome.lacking != nil || isLookedFor { providers.postgres.lacking = outcome.lacking }
    if let lacking = providers.postgres.lacking {
      facts.broken =
        "\(lacking.path) is excluded, and no server could start without it: change `exclude`"
    }
  }

  func finished(_ cluster: ClusterCapture) {
    do {
      try providers.postgres.sealed(cluster)
    } catch {
      board.update { $0.lastError = "postgres: \(error.reason)" }
    }
  }
}
