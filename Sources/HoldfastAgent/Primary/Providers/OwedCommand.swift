package import HoldfastCore

/// A command that ends something, and how long it may take.
package struct EndCommand: Hashable, Sendable {
  package var text: String
  package var within: Duration
  package init(text: String, within: Duration) {
    self.text = text
    self.within = within
  }
}

/// What was begun and is to be ended, as it lies on disk, where a person can read it: its name, the
/// time limit in milliseconds, and the command, which may have several lines.
package struct OwedCommand: Hashable, Sendable {
  package var name: String
  /// `nil` where only the name is on record.
  package var end: EndCommand?

  package init(name: String, end: EndCommand?) {
    self.name = name
    self.end = end
  }

  package init(decoding bytes: [UInt8]) {
    let lines = String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n", maxSplits: 2, omittingEmptySubsequences: false)
    name = lines.first.map(String.init) ?? ""
    guard lines.count == 3, let milliseconds = Int64(lines[1]), milliseconds > 0 else { return }
    let within = min(Duration.milliseconds(milliseconds), Limits.commandWithinMax)
    end = EndCommand(text: String(lines[2]), within: within)
  }

  package var encoded: [UInt8] {
    let rest = end.map { "\n\($0.within.nanos / 1_000_000)\n\($0.text)" } ?? ""
    return Array((name + rest).utf8)
  }
}

/// What an agent that is gone began for its captures.
package enum OwedCommands {
  /// Lets a service go on that was asked to rest, by what is on record, whatever is configured by
  /// now. What else was begun keeps nobody waiting: the pair's next agent ends it.
  /// - Returns: what could not be done; the next agent tries again.
  package static func release(
    pair: String, disk: any Disk, snapshots: any Snapshots, dice: any Dice
  ) -> [String] {
    CommandProvider(pair: pair, paths: [], snapshots: snapshots, disk: disk, dice: dice)
      .release(nil)
  }
}
