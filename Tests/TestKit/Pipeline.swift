import Glibc
package import HoldfastCore
import HoldfastBytes
import HoldfastIndex
import HoldfastLinux
package import HoldfastStore

/// The data path in one process, from a tree to its replica, on real disks: what the agents do,
/// without the link.
package final class Pipeline {
  package let scratch = Scratch()
  package let secret: PairSecret
  package let digests: PairDigests
  package let source: String
  package let replica: String
  package let pair = RandomID(high: 1, low: 2)
  private let reign = Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 3, low: 4))
  private let catalog: any Catalog
  private let spool: Journal
  private let writer: PointWriter
  private let capture: Capture
  package private(set) var index: any Index
  package private(set) var journal: Journal
  package private(set) var ingest: Ingest
  private var shipped: [UInt64: Int64] = [:]
  private var refused: Set<RandomID> = []
  private var number = PointNumber.none
  package private(set) var points: [Point] = []

  /// - Parameter segmentBytes: small where a test wants many segments.
  package init(segmentBytes: Int = 64 << 20) throws {
    source = scratch("source")
    replica = scratch("replica")
    for path in [source, replica] { _ = unsafe mkdir(path, 0o755) }
    for name in ["a", "b", "a/spool", "b/journal"] { _ = unsafe mkdir(scratch(name), 0o700) }
    guard let secret = PairSecret([UInt8](repeating: 7, count: 32)) else { preconditionFailure() }
    self.secret = secret
    let digests = PairDigests(secret)
    self.digests = digests
    catalog = try SQLiteCatalog(path: scratch("a/catalog.sqlite"))
    spool = try Journal(disk: try LinuxDisk(scratch("a/spool")), secret: secret) { _, _ in }
    writer = PointWriter(
      spool: spool, secret: secret, catalog: catalog,
      identity: .init(pair: pair, reign: reign, writer: Fingerprint(.zero)), codec: .zstd,
      helper: ThreadHelper(label: "encode"),
      dice: SystemDice(), probe: NoProbe(), segmentBytes: segmentBytes)
    capture = try Capture(
      trees: [try LinuxTree(source)], exclusions: [Exclusion()], catalog: catalog, writer: writer,
      cutter: ContentCutter(secret: secret), watch: NoWatch(), clock: SystemClock(),
      probe: NoProbe())
    index = try SQLiteIndex(path: scratch("b/index.sqlite")) { digests.entry($0, $1) }
    journal = try Journal(disk: try LinuxDisk(scratch("b/journal")), secret: secret) { _, _ in }
    ingest = try Ingest(journal: journal, index: index, digests: digests, roots: 1)
    try ingest.catchUp(journalID: RandomID(high: 9, low: 9)) { _ in }
  }

  /// Captures the source as it is.
  @discardableResult
  package func captureAll() throws -> Point {
    let head = try catalog.head()
    number = number.next
    writer.begin(number, isWhole: head.seal == .none)
    let top = Place(root: RootNumber(rawValue: 0), path: .top)
    var (_, next) = try capture.read(
      CaptureWork(scans: [top]), isWhole: head.seal == .none)
    let point = try writer.seal(
      parent: head.seal, time: SystemClock().wall(), verdict: Verdict(grade: .crash),
      tree: next.tree, totals: next.totals)
    next.number = number
    next.seal = point.seal
    try catalog.setHead(next)
    try catalog.commit()
    points.append(point)
    return point
  }

  /// Captures all that is there as a point that builds on the newest of the standby, by what that
  /// says it holds.
  package func captureWhole(trustingLists isTrusting: Bool) throws {
    number = number.next
    try catalog.forgetKnown()
    var prefixes: [UInt64] = []
    try index.forEachChunkPrefix { prefixes += $0 }
    try catalog.learn(prefixes)
    writer.trustsLists = isTrusting
    writer.begin(number, isWhole: true)
    var (_, next) = try capture.read(CaptureWork(), isWhole: true, isInformed: true)
    let point = try writer.seal(
      parent: ingest.newest?.seal ?? .none, time: SystemClock().wall(),
      verdict: Verdict(grade: .crash), tree: next.tree, totals: next.totals)
    next.number = number
    next.seal = point.seal
    try catalog.setHead(next)
    try catalog.commit()
  }

  /// Carries what the spool has into the journal, and takes it as a standby takes what comes.
  /// - Parameter hasSeal: otherwise the standby dies before it comes.
  /// - Throws: ``Ingest/Refusal``.
  package func deliver(hasSeal: Bool = true) throws {
    let before = journal.segments.mapValues(\.size)
    try carry()
    defer { refused.formUnion(ingest.takeRefusals()) }
    var refusal: Ingest.Refusal?
    for segment in journal.segments.keys.sorted() {
      try journal.scan(segment, from: before[segment] ?? 0) { position, bytes, record in
        if !hasSeal, record.header.kind == .seal { return try index.commit(upTo: position) }
        do {
          _ = try ingest.take(position, bytes, record)
        } catch let error as Ingest.Refusal {
          // What came in the same frame is taken in all the same.
          refusal = refusal ?? error
        }
      }
    }
    if let refusal { throw refusal }
  }

  /// Captures one empty directory at a place that the caller makes up.
  package func capture(_ place: Place) throws {
    number = number.next
    writer.begin(number, isWhole: true)
    let entry = Entry(
      kind: .directory, mode: 0o755, owner: 0, group: 0, modified: WallTime(nanos: 0), size: 0,
      linkGroup: 0, device: 0, target: [], attributes: [])
    try writer.put(Change(place: place, entry: entry))
    var tree = TreeDigest()
    tree.add(writer.digest(place, entry))
    _ = try writer.seal(
      parent: .none, time: SystemClock().wall(), verdict: Verdict(grade: .crash),
      tree: tree, totals: Totals())
  }

  /// Carries what the spool has into the journal, and the index up to it.
  package func ship() throws {
    try carry()
    try ingest.catchUp(journalID: RandomID(high: 9, low: 9)) { _ in }
  }

  private func carry() throws {
    for piece in spool.segments.keys.sorted() {
      guard let info = spool.segments[piece] else { continue }
      if shipped[piece] == nil {
        _ = try journal.begin(info.header)
        shipped[piece] = Int64(SegmentHeader.encodedBytes)
      }
      let from = shipped[piece] ?? 0
      guard info.size > from, var target = journal.number(of: info.header.id) else { continue }
      if target != journal.lastNumber, let written = journal.segments[target]?.writerSize {
        // Retention wrote behind it: records keep the order of their files.
        target = try journal.begin(info.header, base: written)
      }
      let bytes = try spool.bytes(piece, at: from, count: Int(info.size - from))
      try journal.append(target, bytes, 0..<bytes.count)
      shipped[piece] = info.size
    }
    try journal.flush()
  }

  /// Opens the standby's side anew, as after a crash.
  /// - Parameters:
  ///   - folder: a copy of that side, taken at the crash.
  ///   - isDurable: what the index took in counts as durable, so that damage there is no torn end.
  package func reopen(
    _ folder: String = "b", removingIndex: Bool = false, isDurable: Bool = false
  ) throws {
    let path = scratch(folder + "/index.sqlite")
    if removingIndex {
      for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(path + suffix) }
    }
    let digests = digests
    index = try SQLiteIndex(path: path) { digests.entry($0, $1) }
    journal = try Journal(
      disk: try LinuxDisk(scratch(folder + "/journal")), secret: secret,
      durable: isDurable ? try index.covered()?.upTo : .start
    ) { _, _ in }
    ingest = try Ingest(
      journal: journal, index: index, digests: digests, roots: 1, refused: refused)
    do {
      try ingest.catchUp(journalID: RandomID(high: 9, low: 9)) { _ in }
    } catch let error as IndexError {
      // As the agent does, once.
      guard !removingIndex else { throw error }
      try reopen(folder, removingIndex: true, isDurable: isDurable)
    }
  }

  package func reader() -> ContentReader {
    ContentReader(journal: journal, index: index, digests: digests, verifying: true)
  }

  /// - Parameter tree: the replica, or one that fails on purpose.
  package func makeReplica(
    tree: (any Tree)? = nil, disk: (any Disk)? = nil
  ) throws -> Replica {
    try Replica(
      trees: [try tree ?? LinuxTree(replica)], exclusions: [Exclusion()], index: index,
      catalog: try SQLiteCatalog(path: scratch("b/catalog.sqlite")),
      materials: Materials(reader: reader(), isPrivileged: geteuid() == 0, refusing: []),
      fetcher: try fetcher(), digests: digests, disk: try disk ?? LinuxDisk(scratch("b")),
      probe: NoProbe())
  }

  private func fetcher() throws -> ContentFetcher {
    let (secret, digests) = (secret, PairDigests(secret))
    let index = try SQLiteIndex(path: scratch("b/index.sqlite"), isReadOnly: true) {
      PairDigests(secret).entry($0, $1)
    }
    let journal = Journal(reading: try LinuxDisk(scratch("b/journal")), secret: secret)
    let reader = ContentReader(
      journal: journal, index: index, digests: digests, verifying: false)
    return ContentFetcher(reader: reader, helper: ThreadHelper(label: "fetch"))
  }
}

extension Pipeline {
  /// Drops points and gives their space back, as retention does.
  package func drop(_ numbers: [PointNumber], probe: any Probe) throws {
    try index.drop(numbers)
    probe.hit(.retaining)
    let compaction = Compaction(
      journal: journal, index: index, secret: secret, digests: digests, probe: probe
    ) { [self] in header() }
    let last = journal.segments.filter { $0.value.header.writer != writerOfNotes }.keys.max()
    _ = try compaction.run(sealedUpTo: ingest.sealedUpTo, open: Set(last.map { [$0] } ?? []))
  }

  private var writerOfNotes: Fingerprint { Fingerprint(Digest32(words: .one)) }

  package func header() -> SegmentHeader {
    let dice = SystemDice()
    return SegmentHeader(
      pair: pair, id: RandomID(dice),
      salt: Digest32(words: SIMD4(dice.word(), dice.word(), dice.word(), dice.word())),
      reign: Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 3, low: 4)),
      writer: writerOfNotes)
  }

  /// Makes a point's tree anew in a directory of its own.
  package func restore(_ point: Point, to name: String) throws {
    for folder in [name, name + ".state"] {
      guard unsafe mkdir(scratch(folder), 0o755) == 0 else { preconditionFailure("mkdir \(name)") }
    }
    let replica = try Replica(
      trees: [try LinuxTree(scratch(name))], exclusions: [Exclusion()], index: index,
      catalog: try SQLiteCatalog(path: scratch(name + ".state/catalog.sqlite")),
      materials: Materials(reader: reader(), isPrivileged: geteuid() == 0, refusing: []),
      digests: digests, disk: try LinuxDisk(scratch(name + ".state")), probe: NoProbe())
    try replica.move(to: point)
  }
}

/// Tells nothing: tests scan.
package final class NoWatch: Watch {
  package init() {}
  package let kind = WatchKind.scan
  package let shortfall: String? = nil
  package func drain() -> [WatchEvent] { [] }
  package var newestProcess: Int32? { nil }
  package func cover(_ place: Place) -> String? { nil }
  package func takeCovered() -> [Place] { [] }
}
