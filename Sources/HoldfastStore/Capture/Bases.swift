package import HoldfastCore

/// Copies of large files that share their blocks and stay from one capture to the next: what a
/// file has changed since is found by comparing where both lie, and shared anew piece by piece,
/// most of it while the writers still run. Where anything goes wrong with one it is given up, and
/// the file is cloned as any other. Not shared between threads.
package final class Bases {
  private struct Base {
    let file: Identity
    let copy: TreePath
    let copyIdentity: Identity
    let madeAt: Instant
    let history: ContentHistory
    /// What it may come to take: the size of its file.
    var room: Int64
    /// Of the copy.
    var size: Int64 = 0
    /// Open for one capture, and where the copy lies since nothing was shared in it.
    var sharing: (any BlockSharing)?
    var layout: [FileExtent]?
  }
  private struct Identity: Equatable {
    let device: UInt64
    let inode: UInt64
    init(_ status: Status) {
      device = status.device
      inode = status.inode
    }
  }
  private enum Outcome {
    /// The copy holds what the file does.
    case shared
    case scattered
    /// It holds something of both.
    case unfinished
    /// It, or the file, is not what it was.
    case strange
  }
  private var bases: [Place: Base] = [:]
  /// Files that lie in too many pieces, and since when that is known.
  private var scattered: [Place: Instant] = [:]
  private var count = 0
  private let budget = ContentHistory.Budget(Limits.historyReferencesMax)
  private let clock: any Timekeeper
  /// Whether anybody still waits for a capture; asked while writers run.
  package var isWanted: () -> Bool = { true }

  private static let folder: TreePath = {
    guard let path = TreePath.reserved.appending(Array("bases".utf8)) else {
      preconditionFailure("no path below \(TreePath.reserved)")
    }
    return path
  }()

  package init(clock: any Timekeeper) { self.clock = clock }

  /// Gives up those of a root, also those that a crash left.
  /// - Parameter tree: `nil` where the root is not there.
  package func clear(_ root: RootNumber, _ tree: (any Tree)?) throws(TreeError) {
    for place in bases.keys where place.root == root { bases[place] = nil }
    scattered = [:]
    try tree?.removeAll(Self.folder)
  }

  /// Closes what was open for a capture.
  package func rest() {
    for place in bases.keys {
      bases[place]?.sharing = nil
      bases[place]?.layout = nil
    }
  }

  package var isEmpty: Bool { bases.isEmpty }

  /// Gives up all on filesystems that have less room than twice what they may come to take: what
  /// their files overwrite stays as long as they do.
  package func makeRoom(_ trees: [any Tree]) {
    for place in bases.keys {
      guard let base = bases[place] else { continue }
      if !hasRoom(base.file.device, trees[place.root.rawValue], for: 0) { giveUp(place, trees) }
    }
  }

  /// Gives up besides those whose files are gone, were replaced, became too small, or were not read
  /// as a whole for long, and removes what is nobody's.
  func prune(_ trees: [any Tree]) {
    rest()
    let now = clock.now()
    scattered = scattered.filter { now - $0.value < Limits.historyCountsFor }
    for (place, base) in bases {
      let status = try? trees[place.root.rawValue].status(place.path)
      let isSound = status.map { Identity($0) == base.file && Self.isFit($0) } ?? false
      if !isSound || now - base.madeAt >= Limits.historyCountsFor { giveUp(place, trees) }
    }
    makeRoom(trees)
    for (root, tree) in trees.enumerated() {
      let kept = Set(bases.filter { $0.key.root.rawValue == root }.map(\.value.copy))
      for name in (try? tree.list(Self.folder)) ?? [] {
        guard let path = Self.folder.appending(name), !kept.contains(path) else { continue }
        try? tree.removeAll(path)
      }
    }
  }

  private static func isFit(_ status: Status) -> Bool {
    status.kind == .regular && status.links == 1 && status.size >= Limits.baseBytesMin
  }

  /// What is shared takes no room until the file is written.
  private func hasRoom(_ device: UInt64, _ tree: any Tree, for size: Int64) -> Bool {
    let taken = bases.values.filter { $0.file.device == device }.reduce(size) { $0 + $1.room }
    return (try? tree.freeBytes()).map { $0 / 2 >= taken } ?? false
  }

  private func giveUp(_ place: Place, _ trees: [any Tree]) {
    guard let base = bases.removeValue(forKey: place) else { return }
    // What is left of it goes with the next capture.
    try? trees[place.root.rawValue].remove(base.copy, directory: false)
  }

  /// Brings the copy of a file near to what it is now, while its writers run; makes one where
  /// there is none and the file is large enough.
  func renew(_ place: Place, _ trees: [any Tree]) {
    let tree = trees[place.root.rawValue]
    do throws(TreeError) {
      guard !place.path.isWithin(.reserved), let status = try tree.status(place.path),
        Self.isFit(status), status.device == (try tree.status(.top))?.device,
        scattered[place] == nil
      else { return giveUp(place, trees) }
      if let base = bases[place], base.file != Identity(status) { giveUp(place, trees) }
      if bases[place] != nil, try renew(place, status, tree) { return }
      giveUp(place, trees)
      guard scattered[place] == nil, bases.count < Limits.basesMax,
        hasRoom(status.device, tree, for: status.size)
      else { return }
      bases[place] = try make(place, status, tree)
      if bases[place] != nil, try !renew(place, status, tree) { giveUp(place, trees) }
    } catch {
      giveUp(place, trees)
    }
  }

  /// - Returns: whether the copy is of use.
  private func renew(
    _ place: Place, _ status: Status, _ tree: any Tree
  ) throws(TreeError) -> Bool {
    bases[place]?.room = status.size
    switch try share(place, status, tree, until: nil) {
    case .shared, .unfinished: return true
    case .scattered: scattered[place] = clock.now()
    case .strange: break
    }
    return false
  }

  private func make(
    _ place: Place, _ status: Status, _ tree: any Tree
  ) throws(TreeError) -> Base? {
    count += 1
    if try tree.status(Self.folder) == nil {
      try tree.make(Self.folder, kind: .directory, target: [], device: 0)
    }
    guard let copy = Self.folder.appending(Array("\(count)".utf8)),
      let sharing = try tree.sharing(place.path, with: copy), let made = try tree.status(copy)
    else { return nil }
    var base = Base(
      file: Identity(status), copy: copy, copyIdentity: Identity(made), madeAt: clock.now(),
      history: ContentHistory(budget), room: status.size)
    base.sharing = sharing
    return base
  }

  /// Has the copy hold what the file holds, while nobody writes it.
  /// - Returns: the copy, and what is known of its content; `nil` where there is none.
  /// - Throws: where that takes longer than until `deadline`.
  func settle(
    _ place: Place, _ status: Status, _ trees: [any Tree], until deadline: Instant
  ) throws(ProviderError) -> (copy: TreePath, history: ContentHistory)? {
    guard let base = bases[place] else { return nil }
    var outcome = Outcome.strange
    if base.file == Identity(status), Self.isFit(status) {
      let tree = trees[place.root.rawValue]
      outcome = (try? share(place, status, tree, until: deadline)) ?? .strange
    }
    switch outcome {
    case .shared: return (base.copy, base.history)
    case .unfinished: throw ProviderError("what changed of \(place.path) was too much")
    case .scattered, .strange: giveUp(place, trees)
    }
    return nil
  }

  /// What is known of the copy's content stays true, whatever comes of it.
  /// - Parameter deadline: `nil` while writers run: then the copy ends at a whole block, for theirs
  ///   may move.
  private func share(
    _ place: Place, _ status: Status, _ tree: any Tree, until deadline: Instant?
  ) throws(TreeError) -> Outcome {
    guard var base = bases[place], let there = try tree.status(base.copy),
      Identity(there) == base.copyIdentity
    else { return .strange }
    if base.sharing == nil { base.sharing = try tree.sharing(place.path, with: base.copy) }
    guard let sharing = base.sharing, Identity(try sharing.status()) == base.file else {
      return .strange
    }
    var layout = base.layout
    base.layout = nil
    bases[place] = base
    let size =
      deadline == nil ? status.size / Self.alignment * Self.alignment : status.size
    if base.size != size {
      // Where the file ends elsewhere now, its last block reads differently.
      let whole = min(base.size, size) / Self.alignment * Self.alignment
      base.history.touch([whole..<Int64.max])
      if base.size != whole {
        try sharing.resizeCopy(to: whole)
        bases[place]?.size = whole
        layout = nil
      }
    }
    // Asking where the file lies shares its first block: before, the copy is asked for its own, and
    // that block counts as changed whatever comes of it.
    base.history.touch([0..<Self.alignment])
    if layout == nil { layout = try sharing.copyLayout() }
    guard let old = layout, let new = try sharing.layout() else { return .scattered }
    let changed = FileExtent.differences(new, old, size: size)
    base.history.touch(changed)
    for range in changed {
      var start = range.lowerBound
      while start < range.upperBound {
        if let deadline, clock.now() >= deadline { return .unfinished }
        if deadline == nil, !isWanted() { return .unfinished }
        let end = min(range.upperBound, start + Limits.sharedAtOnce)
        try sharing.share(start..<end)
        start = end
      }
    }
    if bases[place]?.size != size {
      try sharing.resizeCopy(to: size)
      bases[place]?.size = size
    }
    if deadline == nil { keepLayout(place, try sharing.copyLayout()) }
    return .shared
  }

  /// Any multiple of a filesystem's block.
  private static let alignment: Int64 = 64 << 10

  /// So that it need not be asked for while the writers stand still.
  private func keepLayout(_ place: Place, _ layout: [FileExtent]?) {
    let kept = bases.values.reduce(0) { $0 + ($1.layout?.count ?? 0) }
    guard let layout, kept + layout.count <= Limits.extentsMax else { return }
    bases[place]?.layout = layout
  }
}
