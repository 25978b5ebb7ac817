import HoldfastCore
import Yams

/// One mapping of the configuration, all of whose keys are known.
struct Keys {
  let node: Node
  let place: String
  private let reader: ConfigurationReader
  private let values: [String: Node]

  init(_ reader: ConfigurationReader, _ node: Node, _ place: String, _ known: [String]) throws {
    guard let mapping = node.mapping else {
      throw reader.error(node, "\(place.isEmpty ? "the file" : place) must be keys with values")
    }
    var values: [String: Node] = [:]
    for (key, value) in mapping {
      guard let name = key.string else { throw reader.error(key, "a key must be a word") }
      guard known.contains(name) else {
        let nearest = known.min { Self.distance($0, name) < Self.distance($1, name) } ?? ""
        throw reader.error(key, "unknown key `\(name)`: did you mean `\(nearest)`?")
      }
      if values[name] != nil { throw reader.error(key, "key `\(name)` stands twice") }
      values[name] = value
    }
    self.node = node
    self.place = place
    self.reader = reader
    self.values = values
  }

  /// Levenshtein's edit distance.
  static func distance(_ a: String, _ b: String) -> Int {
    let target = Array(b)
    var row = Array(0...target.count)
    for (i, left) in a.enumerated() {
      var corner = row[0]
      row[0] = i + 1
      for (j, right) in target.enumerated() {
        let above = row[j + 1]
        row[j + 1] = left == right ? corner : min(corner, above, row[j]) + 1
        corner = above
      }
    }
    return row[target.count]
  }

  func has(_ key: String) -> Bool { values[key] != nil }
  private func full(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

  private func value<T>(_ key: String, _ form: String, _ read: (String) -> T?) throws -> T? {
    guard let node = values[key] else { return nil }
    guard let text = node.string, let value = read(text) else {
      throw reader.error(node, "\(full(key)): write \(form)")
    }
    return value
  }

  func text(_ key: String) throws -> String? { try value(key, "a word") { $0 } }

  func name(_ key: String) throws -> String {
    let valid = { (text: String) in
      !text.isEmpty && text.count <= 64
        && text.utf8.allSatisfy {
          (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0)
            || $0 == 0x2D || $0 == 0x5F
        }
    }
    let found = try value(key, "a name of letters, digits, - and _") { valid($0) ? $0 : nil }
    guard let found else { throw reader.error(node, "\(full(key)) is missing") }
    return found
  }

  func word(_ key: String, _ allowed: [String]) throws -> String? {
    try value(key, allowed.joined(separator: " or ")) { allowed.contains($0) ? $0 : nil }
  }

  func path(_ key: String) throws -> String? {
    try value(key, "an absolute path") { text in
      guard text.hasPrefix("/"), text.count > 1, !text.split(separator: "/").contains("..") else {
        return nil
      }
      return "/" + text.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }
  }

  func address(_ key: String) throws -> HostPort? {
    try value(key, "host:port") { HostPort($0) }
  }

  func duration(_ key: String, min: Duration = .zero, max: Duration? = nil) throws -> Duration? {
    let bounds = (min == .zero ? "" : ", at least \(min)") + (max.map { ", at most \($0)" } ?? "")
    return try value(key, "a duration as in systemd: 5s, 10min, 24h\(bounds)") { text in
      Quantity.duration(text).flatMap { $0 >= min && $0 <= max ?? $0 ? $0 : nil }
    }
  }

  /// - Parameter mebibytes: the least that makes sense.
  func size(_ key: String, min mebibytes: Int64) throws -> Int64? {
    try value(key, "a size such as 150MiB or 10GiB, at least \(mebibytes)MiB") { text in
      Quantity.size(text).flatMap { $0 >= mebibytes << 20 ? $0 : nil }
    }
  }

  func rate(_ key: String) throws -> Int64? {
    try value(key, "a rate such as 50MiB/s, at least 1KiB/s") { text in
      guard text.hasSuffix("/s"), let bytes = Quantity.size(String(text.dropLast(2))) else {
        return nil
      }
      return bytes >= 1024 ? bytes : nil
    }
  }

  func grade(_ key: String) throws -> Grade? {
    try value(key, "application, crash or fuzzy") { Grade(word: $0) }
  }

  func map(_ key: String, _ known: [String]) throws -> Keys? {
    try values[key].map { try Keys(reader, $0, full(key), known) }
  }

  func list(_ key: String) throws -> [Node] {
    guard let node = values[key] else { return [] }
    guard let sequence = node.sequence else {
      throw reader.error(node, "\(full(key)) must be a list")
    }
    return Array(sequence)
  }

  /// A list of words.
  func words(_ key: String) throws -> [String]? {
    guard has(key) else { return nil }
    return try list(key).map { node in
      if let word = node.string { return word }
      throw reader.error(node, "\(full(key)): write words")
    }
  }

  /// A command line of the administrator's.
  func command(_ key: String) throws -> String {
    let found = try value(key, "a command") { $0.contains { $0 != " " } ? $0 : nil }
    guard let found else { throw reader.error(node, "\(full(key)) is missing") }
    return found
  }

  func requiredPath(_ key: String) throws -> String {
    guard let found = try path(key) else { throw reader.error(node, "\(full(key)) is missing") }
    return found
  }

  func within() throws -> Duration {
    try duration("within", min: .seconds(1)) ?? Limits.commandWithin
  }

  /// Free names with values, in the order of the file.
  func named(_ key: String) throws -> [(String, Node)] {
    guard let node = values[key] else { return [] }
    if node.null != nil { return [] }
    guard let mapping = node.mapping else {
      throw reader.error(node, "\(full(key)) must be names with values")
    }
    return try mapping.map { name, value in
      guard let text = name.string, !text.isEmpty, !text.contains("/"), !text.contains(".") else {
        throw reader.error(name, "\(full(key)): write a name without / and .")
      }
      return (text, value)
    }
  }
}

/// Durations and sizes as people write them.
enum Quantity {
  /// As in systemd.time(7), "PARSING TIME SPANS": numbers with units, added up.
  static func duration(_ text: String) -> Duration? {
    let units: [String: Int64] = [
      "us": 1000, "ms": 1_000_000, "s": 1_000_000_000, "sec": 1_000_000_000,
      "m": 60_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000,
      "hr": 3_600_000_000_000, "d": 86_400_000_000_000, "w": 604_800_000_000_000,
    ]
    var rest = Substring(text.filter { $0 != " " })
    guard !rest.isEmpty else { return nil }
    var nanos: Int64 = 0
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isNumber }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(unit.count)
      guard let number = Int64(digits),
        let factor = unit.isEmpty ? 1_000_000_000 : units[String(unit)]
      else { return nil }
      let (product, overflow) = number.multipliedReportingOverflow(by: factor)
      let (sum, carry) = nanos.addingReportingOverflow(product)
      if overflow || carry { return nil }
      nanos = sum
    }
    return .nanoseconds(nanos)
  }

  static func size(_ text: String) -> Int64? {
    let units: [String: Int64] = [
      "": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    ]
    let digits = text.prefix { $0.isNumber }
    let unit = text.dropFirst(digits.count).filter { $0 != " " }
    guard let number = Int64(digits), let factor = units[unit] else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: factor)
    return overflow ? nil : product
  }
}
