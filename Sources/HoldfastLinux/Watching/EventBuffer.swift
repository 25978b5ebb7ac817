import HoldfastCore

/// Events that nobody has taken yet; beyond a bound they collapse into one loss.
struct EventBuffer {
  private var events: Set<WatchEvent> = []

  mutating func add(_ event: WatchEvent) {
    events.insert(event)
    guard events.count > Limits.dirtyPlacesMax else { return }
    let roots = Set(
      events.map { event in
        switch event {
        case .touched(let place), .lost(let place): place.root
        }
      })
    events = Set(roots.map { .lost(Place(root: $0, path: .top)) })
  }

  var isEmpty: Bool { events.isEmpty }

  mutating func take() -> [WatchEvent] {
    defer { events = [] }
    return Array(events)
  }
}
