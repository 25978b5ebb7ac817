import HoldfastCore

/// Whose process does something: it does not while it stands still.
enum Doer {
  /// One of a site that is not its agent.
  case site(SimulatedSite)
  case agent(SimulatedSite)
  case witness
}

/// What happens when, in a world that knows the true time; a binary heap.
struct Agenda {
  struct Item {
    var at: Int64
    /// Of two at one time, what was entered first.
    var order: Int
    var doer: Doer?
    var happen: (World) -> Void
    static func < (a: Item, b: Item) -> Bool { (a.at, a.order) < (b.at, b.order) }
  }
  private var heap: [Item] = []
  private var count = 0

  mutating func add(
    _ at: Int64, by doer: Doer? = nil, _ happen: @escaping (World) -> Void
  ) {
    count += 1
    heap.append(Item(at: at, order: count, doer: doer, happen: happen))
    var child = heap.count - 1
    while child > 0, heap[child] < heap[(child - 1) / 2] {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func next() -> Item? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child] < heap[least] {
        least = child
      }
      if least == parent { return first }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
