import HoldfastCore
import HoldfastStore

/// What a provider that stops the writers asks of the capture that it serves.
struct FreezeScene {
  let catalog: any Catalog
  /// What the capture is to look at, as far as it is known.
  var work: CaptureWork
  /// What it took to see who has files mapped; units stand still for as long once more.
  let lookTime: Duration
  /// What came to be known too late for it.
  var late = CaptureWork()

  /// What the kernel told since it was last asked.
  struct News {
    var work = CaptureWork()
    /// Whose the newest change was, where that is known.
    var process: Int32?
    var place: Place? { work.places.first ?? work.scans.first }
  }

  mutating func add(_ news: News) {
    work.scans += news.work.scans
    work.places += news.work.places
    work.forced.formUnion(news.work.forced)
  }
}

/// Stops the plan's units for the moment in which what they changed is taken down. Used by the
/// capture worker alone.
final class FreezeProvider {
  let pair: PairConfiguration
  let paths: [String]
  let host: any Host
  let freezer: any Freezer
  private let bases: Bases
  /// Until when it is not tried, and why: one file alone took longer than units may stand still.
  private var futile: (until: Instant, why: String)?

  init(pair: PairConfiguration, paths: [String], host: any Host) {
    self.pair = pair
    self.paths = paths
    self.host = host
    freezer = host.freezer(pair: pair.name)
    bases = Bases(clock: host.clock)
  }

  /// Thaws what a crash left frozen, and removes all that it made in the roots.
  /// - Returns: what could not be done.
  func recover() -> [String] {
    sweep()
    return end()
  }

  /// Gives up what it keeps from one capture to the next.
  func letGo() {
    if !bases.isEmpty { sweep() }
  }

  /// The same, and removes what is not known of. What cannot be removed the next start removes.
  func sweep() {
    for (root, path) in paths.enumerated() {
      let tree = try? host.tree(path)
      try? bases.clear(RootNumber(rawValue: root), tree)
    }
  }

  /// Ends what a capture needed.
  /// - Returns: what could not be done.
  func end() -> [String] { freezer.recover().map { "freeze: \($0)" } + clear() }

  /// Removes the clones of one capture.
  /// - Returns: what could not be done.
  private func clear() -> [String] {
    bases.rest()
    return paths.compactMap { path -> String? in
      do throws(TreeError) {
        try Freeze.clear(try host.tree(path))
        return nil
      } catch {
        // A root that is not there is told of elsewhere.
        if case .absent = error { return nil }
        return pair.freezes ? "freeze: \(path): \(error)" : nil
      }
    }
  }

  /// Gives up what it keeps where the filesystem has too little room for it.
  func makeRoom() {
    guard !bases.isEmpty, let trees = try? paths.map({ try host.tree($0) }) else { return }
    bases.makeRoom(trees)
  }

  /// Whether anybody still waits for a capture.
  var isWanted: () -> Bool {
    get { bases.isWanted }
    set { bases.isWanted = newValue }
  }

  /// - Throws: why there are no pictures; all runs again then, but on a fenced site.
  func take(
    atMost limit: Duration, _ scene: inout FreezeScene, frozen: inout Duration,
    _ news: Providers.News
  ) throws(ProviderError) -> Providers.Moment {
    guard !pair.units.isEmpty else {
      throw ProviderError("the plan has no unit that could be stopped")
    }
    if let futile, host.clock.now() < futile.until {
      letGo()
      throw ProviderError(futile.why)
    }
    futile = nil
    guard scene.lookTime * 2 <= limit else {
      throw ProviderError(
        "to see who has files mapped takes \(scene.lookTime), and units may stand still for \(limit)"
      )
    }
    scene.add(news.tell())
    var rounds = 0
    while Freeze.isFeasible(scene.work), news.cover(scene.work), rounds < Limits.renewRoundsMax {
      scene.add(news.tell())
      rounds += 1
    }
    guard Freeze.isFeasible(scene.work) else {
      letGo()
      throw ProviderError("too much is to be read while units stand still")
    }
    do {
      let freeze = Freeze(
        trees: try paths.map { try host.tree($0) },
        exclusions: pair.roots.map { Exclusion($0.exclude) }, catalog: scene.catalog,
        bases: bases, clock: host.clock)
      try freeze.prepare()
      // A service that was ended is not kept waiting, and its clients wait for it elsewhere.
      if freezer.isRunning(pair.units) {
        repeatedly(
          Limits.renewRoundsMax, until: Limits.renewedWithin, &scene, news.tell, freeze.renew)
        repeatedly(
          Limits.flushRoundsMax, until: Limits.flushedWithin, &scene, news.tell, freeze.flush)
      }
      guard isWanted() else { throw ProviderError("nobody waits for it any more") }
      return try take(freeze, limit, &scene, &frozen, news)
    } catch {
      // Of no use to who reads instead.
      _ = clear()
      throw error as? ProviderError ?? ProviderError("\(error)")
    }
  }

  /// What changes while something is done for all that has changed is less each round.
  private func repeatedly(
    _ rounds: Int, until limit: Duration, _ scene: inout FreezeScene,
    _ tell: () -> FreezeScene.News, _ body: (CaptureWork) -> Void
  ) {
    for _ in 0..<rounds {
      let began = host.clock.now()
      body(scene.work)
      if host.clock.now() - began < limit { return }
      scene.add(tell())
    }
  }

  private func take(
    _ freeze: Freeze, _ limit: Duration, _ scene: inout FreezeScene, _ frozen: inout Duration,
    _ news: Providers.News
  ) throws -> Providers.Moment {
    let began = host.clock.now()
    do {
      try freezer.freeze(pair.units, atMost: limit)
    } catch {
      // They may have stood still until it was given up.
      frozen = host.clock.now() - began
      throw error
    }
    let pictures: Pictures
    let mapping: CaptureFacts.Mapping
    let strays: FreezeScene.News
    let isUntold: Bool
    do {
      let last = news.tell()
      scene.add(last)
      // In what is new by now others may write with nobody told.
      isUntold = news.cover(last.work)
      pictures = try freeze.take(scene.work, madeAt: host.clock.wall(), until: began + limit)
      mapping = news.look(holds)
      strays = news.tell()
      scene.late = strays.work
    } catch {
      frozen = host.clock.now() - began
      frozen = try freezer.thaw().duration
      rest(freeze, limit, "\(error)")
      throw error
    }
    frozen = host.clock.now() - began
    let span = try freezer.thaw()
    frozen = span.duration
    var moment = Providers.Moment(provider: .freeze, pictures: pictures, isFixed: true)
    moment.frozen = span.duration
    let units = pair.units.joined(separator: ", ")
    if isUntold {
      moment.broken =
        "directories were made while \(units) stood still, from which nothing was told"
    } else if strays.work.scans.contains(where: \.path.isTop) {
      moment.broken = "not all was told of what changed while \(units) stood still"
    } else if let place = strays.place {
      let who = strays.process.map(freezer.describe) ?? "somebody"
      moment.broken = """
        \(who) wrote \(place.path) while \(units) stood still: put its unit into the plan
        """
    } else if case .mapped(let process) = mapping {
      moment.mapped = trouble(mappedBy: process)
    } else if let late = strays.work.forced.first(where: { pictures.extent?.contains($0) != true })
    {
      // Nothing told of stores into it.
      moment.mapped = "\(late.path) was mapped for writing meanwhile"
    }
    switch span.ending {
    case .ordered: break
    case .overdue:
      let why = "the units could stand still for \(limit) only\(freeze.slowness)"
      moment.broken = why
      rest(freeze, limit, why)
    case .disturbed:
      moment.broken = "somebody let the units go, or started them, while they were to stand still"
    }
    return moment
  }

  private func rest(_ freeze: Freeze, _ limit: Duration, _ why: String) {
    guard freeze.isTooSlow(for: limit) else { return }
    futile = (host.clock.now() + Limits.futileFreezeEvery, why)
  }

  /// Why a file that a process can change with nobody told makes the point no instant.
  private func trouble(mappedBy process: Int32) -> String {
    """
    \(freezer.describe(process)) can change a file untold (it has it mapped, or uses io_submit) \
    and did not stand still: put its unit into the plan
    """
  }

  private func holds(_ process: Int32) -> Bool { freezer.holds(process, of: pair.units) }
}
