import HoldfastCore
import HoldfastStore

/// What the kernel tells of the roots, and when what it does not tell of is looked for.
extension CaptureWorker {
  /// Takes what the kernel told.
  func collect() {
    if watch == nil {
      // While the role is unknown changes are collected all the same.
      let wake = wake
      guard case .sound(let identities) = rootGuard.look(id: identity.id) else { return }
      watched = identities
      watch = host.watch(paths) { wake.set() }
      scanAll()
    }
    drain()
  }

  @discardableResult
  func drain() -> Int {
    let events = (watch?.drain() ?? []).filter { !isExcluded($0) }
    var count = events.count
    for event in events {
      switch event {
      case .touched(let place): dirty.touch(place)
      case .linked(let object):
        guard catalog != nil else {
          scanAll()
          continue
        }
        let places = places(of: object)
        // Most of what happens elsewhere on the filesystem has no name in a root.
        if places.isEmpty { count -= 1 }
        for place in places { dirty.touch(place) }
      case .lost(let place):
        dirty.scan(place)
        if place.path.isTop {
          board.update { view in
            view.fresh = nil
            view.lag.forget()
          }
        }
      }
    }
    if count > 0 { pace.changed(at: host.clock.now()) }
    return count
  }

  /// Whether it happened to what is no part of any point.
  private func isExcluded(_ event: WatchEvent) -> Bool {
    switch event {
    case .linked: return false
    case .touched(let place): return isExcluded(place, isDirectory: false) && isExcluded(place)
    case .lost(let place): return isExcluded(place)
    }
  }

  func isExcluded(_ place: Place, isDirectory: Bool = true) -> Bool {
    !place.path.isTop
      && exclusions[place.root.rawValue].excludesWithParents(place.path, isDirectory: isDirectory)
  }

  /// See ``Providers/News/cover``. A tree that is new takes its time; beyond a bound it counts as
  /// not covered.
  func cover(_ work: CaptureWork, _ watch: any Watch) -> Bool {
    guard watch.kind != .fanotify else { return false }
    _ = watch.takeCovered()
    let isNew = { [self] place in (try? catalog?.row(place)) == nil }
    var left = work.scans + work.places.filter(isNew)
    var seen = 0
    while let place = left.popLast() {
      guard !isExcluded(place), let tree = try? host.tree(paths[place.root.rawValue]),
        (try? tree.status(place.path))?.kind == .directory
      else { continue }
      seen += 1
      if seen > Limits.coveredAtOnceMax || watch.cover(place) != nil { return true }
      for name in (try? tree.list(place.path)) ?? [] {
        guard let path = place.path.appending(name) else { continue }
        left.append(Place(root: place.root, path: path))
      }
    }
    let new = watch.takeCovered()
    for place in new { dirty.scan(place) }
    return !new.isEmpty
  }

  func schedule(_ now: Instant, isUrgent: Bool) {
    if now >= nextScan || (gaps != nil && (isUrgent || now >= nextGapScan)) {
      nextScan = now + Limits.scanEvery
      scanAll()
    }
    if now >= nextMappingLook, wholeParent == nil {
      // The capture looks again, and hashes what is mapped.
      lookForMapped(now)
      if !mapped.isEmpty || !unmapped.isEmpty { pace.changed(at: now) }
    }
    if let due = nextDenied, now >= due {
      nextDenied = nil
      pace.changed(at: now)
    }
    if let due = nextSettling, now >= due {
      nextSettling = nil
      pace.changed(at: now)
      for place in (try? catalog?.unsettled()) ?? [] { dirty.touch(place) }
    }
  }
}
