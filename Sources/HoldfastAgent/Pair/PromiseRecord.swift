import HoldfastCore

/// Until when this site promised the other not to serve, for an agent that follows on the same
/// boot: `promised-PAIR` in the control folder.
struct PromiseRecord: Sendable {
  private let host: any Host
  private let name: String

  init(_ host: any Host, pair: String) {
    self.host = host
    name = "promised-\(pair)"
  }

  /// - Returns: `nil` where nothing is on record of this boot: anything may have been promised.
  func end() -> Instant? {
    guard let bytes = try? host.volatile().contents(of: name) else { return nil }
    let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard words.count == 2, words[0] == Self.word(host.boot) else { return nil }
    return Int64(words[1]).map { Instant(nanos: $0) }
  }

  /// - Returns: whether an agent that follows will know it.
  func store(_ end: Instant) -> Bool {
    let boot = Self.word(host.boot)
    guard !boot.isEmpty else { return false }
    do {
      try host.volatile().replace(name, with: Array("\(boot) \(end.nanos)\n".utf8))
      return true
    } catch {
      return false
    }
  }

  private static func word(_ boot: String) -> String {
    boot.split(whereSeparator: \.isWhitespace).joined()
  }
}
