import Glibc
import Testing

/// What captures a live database, and where it lies.
struct LiveSetting: CustomTestStringConvertible {
  /// As points name it.
  var provider: String
  var filesystem: String
  /// Whether commands before and after frame it.
  var isQuiesced = false

  var testDescription: String {
    "\(isQuiesced ? "quiesce and " : "")\(provider) on \(filesystem)"
  }
  var grade: String { provider == "postgres" || isQuiesced ? "application" : "crash" }

  /// Whether files are read while units stand still, as they cannot be cloned.
  private var isRead: Bool { provider == "freeze" && filesystem == "ext4" }
  /// Whether units stand still for so long that points would come minutes apart: on btrfs no copy
  /// of a file stays, and one that is written all over for long takes ever longer to be cloned.
  var isRare: Bool { provider == "freeze" && filesystem == "btrfs" && Self.isNight }

  /// Lines of a ``TestPair``'s configuration.
  var lines: [String] {
    let capture =
      switch provider {
      case "postgres": "{ postgres: { \(PostgresCluster.connection), every: 4s } }"
      case "snapshot": Self.commands
      case "freeze" where isRare: "{ freeze: { max-freeze: 5s } }"
      default: provider
      }
    let quiesce = isQuiesced ? "{ quiesce: { before: sync -f SCRATCH/disk, after: true } }, " : ""
    return [
      // More data, read more seldom, so that the load is one; but what is read while units stand
      // still is soon too large.
      "rpo: \(Self.isNight && !isRead ? 5 : 1)s", "capture: [\(quiesce)\(capture)]",
      "retention: { all: 5m }",
      provider == "freeze" ? "plan: [{ unit: UNIT }]" : "require: \(grade)",
    ]
  }

  /// As an administrator would have btrfs make them.
  private static let commands = """
    { snapshot: { path: SCRATCH/disk/picture/source, \
    create: "btrfs -q subvolume snapshot -r SCRATCH/disk SCRATCH/disk/picture", \
    remove: "test ! -e SCRATCH/disk/picture || btrfs -q subvolume delete SCRATCH/disk/picture" } }
    """

  /// Many rounds are for a night, and then wherever a provider applies.
  private static let isNight = unsafe getenv("HOLDFAST_ROUNDS") != nil

  private static let cloning = [
    Self(provider: "btrfs", filesystem: "btrfs"), Self(provider: "freeze", filesystem: "xfs"),
  ]
  private static let cloningByNight =
    isNight
    ? [
      Self(provider: "freeze", filesystem: "btrfs"),
      Self(provider: "snapshot", filesystem: "btrfs"),
      Self(provider: "btrfs", filesystem: "btrfs", isQuiesced: true),
    ] : []
  /// Those whose names have the text of `HOLDFAST_SETTING` in them, where it is given.
  private static func chosen(_ settings: [Self]) -> [Self] {
    guard let text = unsafe getenv("HOLDFAST_SETTING") else { return settings }
    let name = unsafe String(cString: text)
    return settings.filter { $0.testDescription.contains(name) }
  }

  static let postgres = chosen(
    cloning + [Self(provider: "postgres", filesystem: "ext4")] + cloningByNight
      + (isNight
        ? ["xfs", "btrfs"].map { Self(provider: "postgres", filesystem: $0) } : []))
  /// Where a file cannot be cloned, only little can be read while the service stands still.
  static let sqlite = chosen(
    cloning + [Self(provider: "freeze", filesystem: "ext4")] + cloningByNight)
}
