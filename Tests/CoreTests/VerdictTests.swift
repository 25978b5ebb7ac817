import HoldfastCore
import Testing

@Suite struct `The grade of a point` {
  private func facts(
    _ provider: Provider = .none, watch: WatchKind = .fanotify,
    _ change: (inout CaptureFacts) -> Void = { _ in }
  ) -> Verdict {
    var facts = CaptureFacts(provider: provider, watch: watch)
    change(&facts)
    return facts.verdict
  }

  @Test func `is crash where nothing changed while files were read`() {
    #expect(facts() == Verdict(grade: .crash))
  }

  @Test func `is fuzzy, and says why, where files may not be of one instant`() {
    let seen: [(inout CaptureFacts) -> Void] = [
      { $0.isChanged = true }, { $0.torn = "d/f" }, { $0.mapping = .mapped(process: 7) },
      { $0.mapping = .unknown }, { $0.isDenied = true }, { $0.unwatched = "no watches left" },
    ]
    for change in seen {
      let verdict = facts { change(&$0) }
      #expect(verdict.grade == .fuzzy)
      #expect(!verdict.reason.isEmpty)
    }
  }

  @Test func `is fuzzy where what was to be one instant is none, and tells how long it took`() {
    let verdict = facts(.freeze) {
      $0.isFixed = true
      $0.broken = "somebody wrote d/f"
      $0.frozen = .milliseconds(7)
    }
    let wanted = Verdict(
      grade: .fuzzy, provider: .freeze, frozen: .milliseconds(7), reason: "somebody wrote d/f")
    #expect(verdict == wanted)
    var out = Writer()
    out.verdict(verdict)
    var reader = Reader(out.bytes)
    #expect(throws: Never.self) { try #expect(reader.verdict() == wanted) }
  }

  @Test func `is crash of a snapshot whatever changed meanwhile`() {
    let verdict = facts(.btrfs) {
      $0.isFixed = true
      $0.isChanged = true
      $0.mapping = .mapped(process: 7)
    }
    #expect(verdict == Verdict(grade: .crash, provider: .btrfs))
    let unknown = facts(.btrfs) {
      $0.isFixed = true
      $0.mapping = .unknown
    }
    #expect(unknown.grade == .fuzzy)
  }

  @Test func `is fuzzy of snapshots with changes between them`() {
    let verdict = facts(.btrfs) {
      $0.isChanged = true
      $0.troubles = ["several subvolumes"]
    }
    #expect(verdict.grade == .fuzzy)
    #expect(verdict.reason.contains("several subvolumes"))
  }

  @Test func `of a snapshot is fuzzy where changes may be unknown, unless all was looked at`() {
    for isWhole in [false, true] {
      for watch in [WatchKind.scan, .inotify] {
        let verdict = facts(.snapshot, watch: watch) {
          $0.isFixed = true
          $0.isWhole = isWhole
          $0.unwatched = watch == .inotify ? "no watches left" : nil
        }
        #expect(verdict.grade == (isWhole ? .crash : .fuzzy))
      }
    }
  }

  @Test func `is application only where the files of a quiesced service are of one instant`() {
    #expect(facts { $0.isQuiesced = true }.grade == .application)
    let changed = facts {
      $0.isQuiesced = true
      $0.isChanged = true
    }
    #expect(changed.grade == .fuzzy)
    let refused = facts { $0.troubles = ["quiesce: it said no"] }
    #expect(refused == Verdict(grade: .crash, reason: "quiesce: it said no"))
  }
}

@Suite struct `The reason of a grade` {
  @Test func `is bounded, and cannot steer a terminal`() {
    let verdict = Verdict(
      grade: .fuzzy, reason: "a\u{1B}[2Jb\n" + String(repeating: "ä", count: 500))
    #expect(verdict.reason.utf8.count <= Limits.reasonBytesMax)
    #expect(verdict.reason.hasPrefix("a?[2Jb?ää"))
  }

  @Test func `reads back as it was written, and nothing else is taken`() throws {
    let verdict = Verdict(grade: .application, provider: .snapshot, reason: "quiesce: nö")
    var out = Writer()
    out.verdict(verdict)
    var reader = Reader(out.bytes)
    #expect(try reader.verdict() == verdict)
    #expect(reader.isAtEnd)
    var steering = out.bytes
    steering[7] = 0x1B
    #expect(throws: CodingError.self) {
      var reader = Reader(steering)
      _ = try reader.verdict()
    }
  }
}
