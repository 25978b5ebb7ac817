/// What was seen of one capture that bears on what its point promises.
package struct CaptureFacts: Hashable, Sendable {
  package var provider: Provider
  /// Whether what was read could not change since one moment: a snapshot.
  package var isFixed = false
  /// Why what was to be one instant is not.
  package var broken: String?
  /// How long the service stood still.
  package var frozen = Duration.zero
  /// Whether all was looked at, not only what the kernel told of.
  package var isWhole = false
  /// Whether the application had been asked to make its files whole, and has.
  package var isQuiesced = false
  /// How changes are found.
  package var watch: WatchKind
  /// Why changes in some directories are not told.
  package var unwatched: String?
  /// A file that changed while it was read.
  package var torn: String?
  /// Whether not all could be read.
  package var isDenied = false
  /// Whether anything changed between the first and the last read.
  package var isChanged = false
  package var mapping = Mapping.none
  /// Why a better provider was not to be had, or did not do what it should.
  package var troubles: [String] = []

  /// Whether a process can change a file that is read through a shared mapping, of which nothing
  /// tells.
  package enum Mapping: Hashable, Sendable {
    case none
    case mapped(process: Int32)
    case unknown
  }

  package init(provider: Provider, watch: WatchKind) {
    self.provider = provider
    self.watch = watch
  }

  /// Never better than what was seen allows.
  package var verdict: Verdict {
    let shortfall = shortfall
    let isWhole = isQuiesced || provider == .postgres
    let reached: Grade = shortfall != nil ? .fuzzy : isWhole ? .application : .crash
    let reason = (shortfall.map { [$0] } ?? []) + troubles
    return Verdict(
      grade: reached, provider: provider, frozen: frozen, reason: reason.joined(separator: "; "))
  }

  /// Why the point is not one instant.
  private var shortfall: String? {
    if let broken { return broken }
    if isDenied { return "not all could be read" }
    if !isWhole {
      if watch == .scan { return "nothing tells of changes on this filesystem" }
      if let unwatched { return unwatched }
    }
    if mapping == .unknown { return Self.unknownMappings }
    if let torn { return "\(torn) changed while it was read" }
    // What is mapped was hashed.
    if isFixed { return nil }
    if watch == .scan { return "nothing tells of changes on this filesystem" }
    if let unwatched { return unwatched }
    if isChanged { return "other files changed while it was captured" }
    switch mapping {
    case .none: return nil
    case .mapped(let process):
      return """
        process \(process) can change a file of a root untold: it has it mapped, or uses io_submit
        """
    case .unknown: return Self.unknownMappings
    }
  }

  private static let unknownMappings =
    """
    not all processes can be looked into, so nobody can tell which files are mapped for writing \
    (docs/consistency.md)
    """
}
