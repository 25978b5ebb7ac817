/// What may have changed since it was last read: bounded, so that no burst costs more memory; too
/// many places collapse into a scan of their root.
package struct DirtySet: Equatable, Sendable {
  private var places: Set<Place> = []
  /// Roots to scan whole.
  private var roots: Set<RootNumber> = []
  /// Directories to scan with all below.
  private var subtrees: Set<Place> = []
  private let placesMax: Int

  package init(placesMax: Int = Limits.dirtyPlacesMax) { self.placesMax = placesMax }

  package var isEmpty: Bool { places.isEmpty && roots.isEmpty && subtrees.isEmpty }
  /// How many places are known; at least one for each scan that is due.
  package var count: Int { places.count + roots.count + subtrees.count }
  package var needsScan: Bool { !roots.isEmpty || !subtrees.isEmpty }

  /// Whether anything is known that lies neither at one of these places nor below.
  package func reaches(beyond tops: [Place]) -> Bool {
    let isOutside = { (place: Place) in !tops.contains { place.isWithin($0) } }
    return places.contains(where: isOutside) || subtrees.contains(where: isOutside)
      || roots.contains { isOutside(Place(root: $0, path: .top)) }
  }

  package mutating func touch(_ place: Place) {
    guard !roots.contains(place.root) else { return }
    places.insert(place)
    if places.count > placesMax { collapse(place.root) }
  }
  package mutating func scan(_ place: Place) {
    if place.path.isTop { return collapse(place.root) }
    guard !roots.contains(place.root) else { return }
    subtrees.insert(place)
    if subtrees.count > placesMax { collapse(place.root) }
  }
  private mutating func collapse(_ root: RootNumber) {
    roots.insert(root)
    places = places.filter { $0.root != root }
    subtrees = subtrees.filter { $0.root != root }
  }

  /// The work, parents before children.
  package var work: (scans: [Place], places: [Place]) {
    let scans = roots.map { Place(root: $0, path: .top) } + subtrees
    return (scans.sorted(), places.sorted())
  }

  /// The work; the set is empty afterwards.
  package mutating func take() -> (scans: [Place], places: [Place]) {
    defer { self = DirtySet(placesMax: placesMax) }
    return work
  }

  package mutating func merge(scans: [Place], places: [Place]) {
    for place in scans { scan(place) }
    for place in places { touch(place) }
  }
}
