import HoldfastCore
import HoldfastStore

/// Gives each capture what it reads from: by the first of the configured providers that can. Used
/// by the capture worker alone; its calls block.
final class Providers {
  /// What one capture reads, until ``end(_:)``.
  struct Moment {
    var provider = Provider.none
    var pictures: Pictures?
    /// Whether the pictures are of one instant.
    var isFixed = false
    /// Why what was to be one instant is not.
    var broken: String?
    /// The same, for a file that somebody can change untold: to try again at once would not help.
    var mapped: String?
    var isQuiesced = false
    /// How long units stood still.
    var frozen = Duration.zero
    /// Of a live cluster: what is left, and what is read last.
    var cluster: ClusterCapture?
    /// Why a better provider was not to be had, or did not do what it should.
    var troubles: [String] = []

    /// Whether what is read may change meanwhile.
    var isLive: Bool { pictures?.madeAt == nil }
  }

  /// What the capture can say of the roots, each time that it is asked.
  struct News {
    /// How many changes were told since it was last asked; `nil` where not all are told.
    let changes: () -> Int?
    /// Whether changes are told from all directories that there are.
    let isCovered: () -> Bool
    /// Has changes told from all directories that are to be looked at.
    /// - Returns: whether there were some from which they had not been.
    let cover: (CaptureWork) -> Bool
    /// What they were, each once.
    let tell: () -> FreezeScene.News
    /// Who can change a file untold, given whom to leave out. Whoever could, and is gone when this
    /// looks, was told of as it went.
    let look: ((Int32) -> Bool) -> CaptureFacts.Mapping

    /// Whether nothing changed since it was last asked for changes. Stores into a mapped file tell
    /// nobody when they come; who made them and is gone was told of.
    var isUnchanged: Bool {
      changes() == 0 && look { _ in false } == .none && changes() == 0
    }
  }

  private let pair: PairConfiguration
  private var settings: [ProviderSettings] { pair.capture }
  private let btrfs: BtrfsProvider
  private let commands: CommandProvider
  let freeze: FreezeProvider
  let postgres: PostgresProvider
  private let clock: any Timekeeper
  private var nextOrphans = Instant(nanos: .min)
  private var orphans: [String] = []

  init(pair: PairConfiguration, paths: [String], host: any Host, disk: any Disk) {
    self.pair = pair
    clock = host.clock
    btrfs = BtrfsProvider(paths: paths, snapshots: host.snapshots)
    commands = CommandProvider(
      pair: pair.name, paths: paths, snapshots: host.snapshots, disk: disk, dice: host.dice)
    freeze = FreezeProvider(pair: pair, paths: paths, host: host)
    postgres = PostgresProvider(pair: pair, paths: paths, host: host)
  }

  private var quiesce: QuiesceCommands? {
    settings.lazy.compactMap { setting -> QuiesceCommands? in
      if case .quiesce(let commands) = setting { commands } else { nil }
    }.first
  }

  private var snapshot: SnapshotCommands? {
    settings.lazy.compactMap { setting -> SnapshotCommands? in
      if case .snapshot(let commands) = setting { commands } else { nil }
    }.first
  }

  /// Whether units are stopped where a cluster does not answer: what has to be read first then is
  /// read where it lies.
  private var isPartial: Bool {
    pair.freezes
      && settings.allSatisfy { setting in
        if case .postgres = setting { true } else { !setting.isReading }
      }
  }

  /// Ends what a crash left begun, before anything else is captured.
  /// - Returns: what could not be ended.
  func recover() -> [String] {
    freeze.recover() + btrfs.recover() + commands.recover(snapshot, quiesce)
  }

  /// - Parameters:
  ///   - scene: `nil` where all is to be read, not only what changed.
  ///   - isWhole: the point is to say everything.
  ///   - isIdle: nothing serves, so that nobody is asked to rest, and no server whether it runs.
  ///   - frozen: set to how long units stood still, whatever came of it.
  /// - Throws: why no provider gave anything; then nothing is left to be ended.
  func begin(
    _ scene: inout FreezeScene?, isWhole: Bool, isIdle: Bool, frozen: inout Duration,
    _ news: News
  ) throws(ProviderError) -> Moment {
    var troubles: [String] = []
    let isQuiesced = isIdle ? false : prepare(&troubles)
    let idle = settings.filter(\.isOfFilesystem) + [.none]
    for setting in isIdle ? idle : settings.isEmpty ? [.none] : settings {
      do throws(ProviderError) {
        guard var moment = try take(setting, &scene, isWhole, news, &frozen) else { continue }
        moment.frozen = max(moment.frozen, frozen)
        moment.isQuiesced = isQuiesced
        // The service goes on as soon as the pictures are there.
        if !moment.isLive { troubles += release() }
        moment.troubles = troubles + moment.troubles
        return moment
      } catch {
        troubles.append("\(setting.word): \(error.reason)")
      }
    }
    // Only what goes around the reading is configured, or what cannot do all of it.
    if !settings.contains(where: \.isReading) || isPartial {
      return Moment(isQuiesced: isQuiesced, frozen: frozen, troubles: troubles)
    }
    troubles += release()
    freeze.letGo()
    throw ProviderError(troubles.joined(separator: "; "))
  }

  /// Gives up all that is kept from one capture to the next.
  func rest() {
    postgres.rest()
    freeze.letGo()
  }

  /// - Returns: what could not be ended.
  func end(_ moment: Moment) -> [String] {
    var troubles = release()
    if moment.provider == .freeze {
      troubles += freeze.end()
    } else {
      troubles += freeze.freezer.recover()
      freeze.letGo()
    }
    moment.cluster.map(postgres.end)
    // Also what an earlier one could not remove.
    if settings.contains(.btrfs) { troubles += btrfs.recover() }
    if snapshot != nil { troubles += commands.remove(snapshot) }
    return troubles + endOrphans()
  }

  /// - Returns: `nil` where this setting gives nothing to read.
  private func take(
    _ setting: ProviderSettings, _ scene: inout FreezeScene?, _ isWhole: Bool, _ news: News,
    _ frozen: inout Duration
  ) throws(ProviderError) -> Moment? {
    let madeAt = clock.wall()
    switch setting {
    case .none: return Moment()
    case .quiesce: return nil
    case .postgres: return try postgres.take(isWhole: isWhole, isTold: news.changes() != nil)
    case .btrfs:
      let (pictures, isFixed) = try btrfs.take(madeAt: madeAt, news)
      return Moment(
        provider: .btrfs, pictures: pictures, isFixed: isFixed,
        broken: isFixed
          ? nil : "the roots lie in several subvolumes and changed between their snapshots")
    case .freeze(let limit):
      guard var known = scene else { throw ProviderError("all is read, not only what changed") }
      defer { scene = known }
      return try freeze.take(atMost: limit, &known, frozen: &frozen, news)
    case .snapshot(let settings):
      let (pictures, isFixed) = try commands.take(settings, madeAt: madeAt, news)
      return Moment(
        provider: .snapshot, pictures: pictures, isFixed: isFixed,
        broken: isFixed
          ? nil
          : """
          the roots lie on several filesystems and changed while `create` ran: where it makes all \
          pictures at one moment, add `together: true`
          """)
    }
  }

  // MARK: Commands before and after

  private func prepare(_ troubles: inout [String]) -> Bool {
    guard let quiesce else { return false }
    do throws(ProviderError) {
      try commands.prepare(quiesce)
      return true
    } catch {
      troubles.append("quiesce: \(error.reason)")
      troubles += release()
      return false
    }
  }

  private func release() -> [String] { quiesce.map { commands.release($0) } ?? [] }

  /// What was begun by what is configured no more, now and then until it has ended.
  /// - Returns: what could not be ended.
  private func endOrphans() -> [String] {
    guard clock.now() >= nextOrphans else { return orphans }
    nextOrphans = clock.now() + Limits.orphansEvery
    orphans = settings.contains(.btrfs) ? [] : btrfs.recover()
    orphans += snapshot == nil ? commands.remove(nil) : []
    orphans += quiesce == nil ? commands.release(nil) : []
    return orphans
  }
}
