/// Powers that a file lends to whoever runs or opens it.
package struct Powers: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// Its owner's or group's, and capabilities(7).
  package static let setuid = Self(rawValue: 1)
  /// Those over a device.
  package static let devices = Self(rawValue: 2)

  /// By its name in the configuration; `nil` where none has it.
  package init?(word: String) {
    switch word {
    case "setuid": self = .setuid
    case "devices": self = .devices
    default: return nil
    }
  }
}

extension Entry {
  private static let capabilities = Array("security.capability".utf8)

  package var isDevice: Bool { kind == .characterDevice || kind == .blockDevice }

  /// Whether it lends one of these.
  package func lends(_ powers: Powers) -> Bool {
    lendingNone(of: powers) != self || (isDevice && powers.contains(.devices))
  }

  /// As it is where these powers are lent to nobody; a device stays what it is. A directory's
  /// setgid bit lends none.
  package func lendingNone(of refused: Powers) -> Entry {
    guard refused.contains(.setuid), kind == .regular else { return self }
    var entry = self
    entry.mode &= ~0o6000
    entry.attributes.removeAll { $0.name == Self.capabilities }
    return entry
  }

  /// As the other site has it, where it is still what was made of that entry with powers refused.
  package func withPowers(of other: Entry) -> Entry {
    var whole = other
    whole.linkGroup = linkGroup
    return whole.lendingNone(of: .setuid) == self ? whole : self
  }
}
