import HoldfastBytes
import HoldfastCore
import HoldfastStore

/// Opening what is durable, and making anew what is damaged.
extension CaptureWorker {
  /// What is asked before a peer is answered: it needs no root to be there.
  func openStore() throws {
    if catalog != nil, spool != nil { return }
    if catalog == nil { try openCatalog() }
    if spool == nil { try openSpool() }
    try agree()
  }

  func closeStore() {
    capture = nil
    writer = nil
    spool = nil
    catalog = nil
    spoolBoard.closed()
  }

  /// Where spool or catalog cannot be relied on any more, what they hold is known again only when
  /// they are read anew, as after a crash.
  func closeIfLost(_ error: any Error) {
    switch error {
    case CaptureError.store(let cause): closeIfLost(cause)
    case JournalError.disk(.flushFailed), is IndexError: closeStore()
    default: break
    }
  }

  func open() throws {
    if watch == nil {
      let wake = wake
      watch = host.watch(paths) { wake.set() }
      scanAll()
    }
    try openStore()
    guard let watch, let catalog, let spool else { return }
    if capture == nil {
      let writer = PointWriter(
        spool: spool, secret: identity.secret, catalog: catalog,
        identity: .init(pair: identity.id, reign: reign, writer: writerKey), codec: .zstd,
        helper: host.helper("encode \(pair.name)"),
        dice: host.dice, probe: host.probe)
      writer.grew = { [unowned self] in try assumeIsolated { try $0.spoolGrew() } }
      writer.effort = { [spoolBoard, board] isEncoderLate in
        CompressionEffort(
          isEncoderLate: isEncoderLate, backlog: spoolBoard.backlog,
          bytesPerSecond: board.view.pace?.bytesPerSecond)
      }
      writer.checkpoint = { [unowned self, gate] in
        try gate.check()
        try assumeIsolated { try $0.providers.postgres.lookMeanwhile() }
      }
      self.writer = writer
      capture = try Capture(
        trees: try paths.map { try host.tree($0) },
        exclusions: pair.roots.map { Exclusion($0.exclude) }, catalog: catalog, writer: writer,
        cutter: ContentCutter(secret: identity.secret), watch: watch, clock: host.clock,
        probe: host.probe)
    }
    board.update { $0.watch = watch.kind }
  }

  func scanAll() {
    for root in paths.indices {
      dirty.scan(Place(root: RootNumber(rawValue: root), path: .top))
    }
    pace.changed(at: host.clock.now())
  }

  /// Opens the catalog; one that is damaged is thrown away and made anew by a scan.
  func openCatalog() throws {
    do {
      let opened = try host.catalog(pair: pair.name)
      let head = try opened.head()
      var sum = TreeDigest()
      try opened.forEach { sum.add(digests.entry($0, $1.entry.encoded)) }
      guard sum == head.tree else { throw IndexError.unusable("its digest is another") }
      catalog = opened
    } catch let error as IndexError {
      // Where nothing can be written it may be as good as ever, and there is no room for another.
      let free = try host.disk(["pairs", pair.name]).freeBytes()
      guard free >= Limits.rebuildRoomMin else {
        throw SyncFailure(
          reason: """
            less than \(Limits.rebuildRoomMin >> 20) MiB are free in the state directory, and the \
            catalog may be damaged (\(error)): free some
            """)
      }
      board.update { $0.lastError = "catalog rebuilt by a scan: \(error)" }
      host.removeCatalog(pair: pair.name)
      catalog = try host.catalog(pair: pair.name)
      scanAll()
    }
  }

  func openSpool() throws {
    let disk = try host.disk(["pairs", pair.name, "spool"])
    var unreadable = 0
    let opened = try Journal(disk: disk, secret: identity.secret) { _, _ in unreadable += 1 }
    spool = opened
    spoolBoard.cleared()
    guard let catalog else { return }
    let head = try catalog.head()
    highest = max(highest, head.number)
    var newest: Point?
    var isWhole = unreadable == 0
    for number in opened.segments.keys.sorted() {
      guard let info = opened.segments[number] else { continue }
      spoolBoard.grew(number, info.header.id, to: info.size)
      try opened.scan(number, from: 0, damaged: { _, _ in isWhole = false }) {
        position, bytes, record in
        guard record.header.kind == .seal else { return }
        let plain = try opened.plain(number, bytes, record, at: position)
        let point = try SealRecord(decoding: plain, digests).point
        newest = point
        spoolBoard.sealed(
          point,
          end: RecordPosition(
            segment: number, offset: position.offset + Int64(record.range.count)))
      }
    }
    highest = max(highest, newest?.number ?? .none)
    if !isWhole {
      // A power cut took what was neither sealed nor durable on the standby, or the disk did.
      board.update { $0.lastError = "the spool is damaged: the next point says everything" }
      try startAnew(parent: head.seal)
    } else if let newest, newest.seal != head.seal {
      // The crash came between the spool's flush and the catalog's: say everything once.
      wholeParent = newest.seal
    } else if head.seal == .none {
      wholeParent = Seal.none
    }
    board.update { view in
      view.marks.captured = max(view.marks.captured, highest)
      if head.number > .none { view.grade = newest?.grade ?? head.grade }
    }
  }
}
