/// A path inside a tree that cannot leave it: components joined by `/`, as bytes, since names on
/// Linux are bytes. Empty for the top of the tree. Never absolute; no `.`, `..`, empty component
/// or NUL; at most ``Limits/pathBytesMax`` bytes.
package struct TreePath: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let bytes: [UInt8]

  private init(unchecked bytes: [UInt8]) { self.bytes = bytes }

  package static let top = TreePath(unchecked: [])
  /// What Holdfast keeps for itself, at the top of each root and replica.
  package static let reserved = TreePath(unchecked: Array(".holdfast".utf8))

  /// - Returns: `nil` where the bytes break a rule of this type: what a peer sends may do so.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count <= Limits.pathBytesMax else { return nil }
    if !bytes.isEmpty {
      var start = 0
      for index in 0...bytes.count where index == bytes.count || bytes[index] == 0x2F {
        guard Self.isName(bytes[start..<index]) else { return nil }
        start = index + 1
      }
    }
    self.bytes = bytes
  }

  package init?(_ text: String) { self.init(Array(text.utf8)) }

  /// Whether `name` can be one component.
  package static func isName(_ name: some Collection<UInt8>) -> Bool {
    let count = name.count
    guard count > 0, count <= Limits.nameBytesMax else { return false }
    if let first = name.first, first == 0x2E {
      if count == 1 { return false }
      if count == 2, name.dropFirst().first == 0x2E { return false }
    }
    return !name.contains { $0 == 0 || $0 == 0x2F }
  }

  package var isTop: Bool { bytes.isEmpty }

  /// The directory that holds this path's last component; the top's parent is the top.
  package var parent: TreePath {
    guard let slash = bytes.lastIndex(of: 0x2F) else { return .top }
    return TreePath(unchecked: Array(bytes[..<slash]))
  }

  /// The last component; empty for the top.
  package var name: [UInt8] {
    guard let slash = bytes.lastIndex(of: 0x2F) else { return bytes }
    return Array(bytes[(slash + 1)...])
  }

  package var components: [[UInt8]] {
    bytes.isEmpty ? [] : bytes.split(separator: 0x2F).map(Array.init)
  }

  /// The path of `name` below this one.
  /// - Returns: `nil` where `name` is no component or the result would be too long.
  package func appending(_ name: [UInt8]) -> TreePath? {
    guard Self.isName(name) else { return nil }
    if bytes.isEmpty { return TreePath(unchecked: name) }
    guard bytes.count + 1 + name.count <= Limits.pathBytesMax else { return nil }
    return TreePath(unchecked: bytes + [0x2F] + name)
  }

  /// Whether this path is `other` or lies below it.
  package func isWithin(_ other: TreePath) -> Bool {
    if other.isTop { return true }
    guard bytes.count >= other.bytes.count, bytes.starts(with: other.bytes) else { return false }
    return bytes.count == other.bytes.count || bytes[other.bytes.count] == 0x2F
  }

  /// The path that `path` leads to from here.
  /// - Returns: `nil` where the result would be no path.
  package func appending(path: String) -> TreePath? {
    TreePath(isTop ? Array(path.utf8) : bytes + [0x2F] + Array(path.utf8))
  }

  /// What of this path lies below another; `nil` where it is not within it.
  package func components(below other: TreePath) -> [[UInt8]]? {
    isWithin(other) ? Array(components.dropFirst(other.components.count)) : nil
  }

  /// By bytes, so that a directory comes before all that lies below it.
  package static func < (a: Self, b: Self) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }

  /// For people: control characters and invalid UTF-8 are escaped as `\xNN`.
  package var description: String { isTop ? "." : Printable.text(bytes) }
}

/// Makes bytes from a file name safe to print on a terminal or in a log.
package enum Printable {
  package static func text(_ bytes: [UInt8]) -> String {
    if let text = String(validating: bytes, as: UTF8.self),
      !text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) })
    {
      return text
    }
    return bytes.map { byte in
      (0x20..<0x7F).contains(byte) && byte != 0x5C
        ? String(UnicodeScalar(byte)) : "\\x" + Hex.encode([byte])
    }.joined()
  }
}

/// The place of a root in its pair's configuration, counted from 0.
package struct RootNumber: RawRepresentable, Hashable, Comparable, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// A path in one of a pair's roots.
package struct Place: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var root: RootNumber
  package var path: TreePath
  package init(root: RootNumber, path: TreePath) {
    self.root = root
    self.path = path
  }
  package func isWithin(_ other: Place) -> Bool {
    root == other.root && path.isWithin(other.path)
  }

  package static func < (a: Self, b: Self) -> Bool {
    a.root == b.root ? a.path < b.path : a.root < b.root
  }
  package var description: String { "\(root.rawValue):\(path)" }
}
