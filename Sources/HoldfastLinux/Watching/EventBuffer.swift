import HoldfastCore

/// Events that nobody has taken yet; beyond a bound they collapse into one loss.
struct EventBuffer {
  private let roots: Int
  private var events: Set<WatchEvent> = []

  /// - Parameter roots: how many there are.
  init(roots: Int) { self.roots = roots }

  mutating func add(_ event: WatchEvent) {
    events.insert(event)
    guard events.count > Limits.dirtyPlacesMax else { return }
    events = Set((0..<roots).map { .lost(Place(root: RootNumber(rawValue: $0), path: .top)) })
  }

  var isEmpty: Bool { events.isEmpty }

  mutating func take() -> [WatchEvent] {
    defer { events = [] }
    return Array(events)
  }
}
