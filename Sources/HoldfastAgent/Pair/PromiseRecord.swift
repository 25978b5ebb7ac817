package import HoldfastCore

/// Until when this site promised the other not to serve, for an agent that follows on the same
/// boot: `promised-PAIR` in the control folder.
package struct PromiseRecord: Sendable {
  private let disk: (any Disk)?
  private let boot: String
  private let name: String

  /// - Parameters:
  ///   - disk: `nil` where there is none: nothing can be promised.
  ///   - boot: one word, another after each boot; empty where it is not known.
  package init(disk: (any Disk)?, boot: String, pair: String) {
    self.disk = disk
    self.boot = boot
    name = "promised-\(pair)"
  }

  /// - Returns: `nil` where nothing is on record of this boot: anything may have been promised.
  package func end() -> Instant? {
    guard let bytes = try? disk?.contents(of: name) else { return nil }
    let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard words.count == 2, !boot.isEmpty, words[0] == boot else { return nil }
    return Int64(words[1]).map { Instant(nanos: $0) }
  }

  /// - Returns: whether an agent that follows will know it.
  package func store(_ end: Instant) -> Bool {
    guard let disk, !boot.isEmpty else { return false }
    return (try? disk.replace(name, with: Array("\(boot) \(end.nanos)\n".utf8))) != nil
  }
}
