/// Patterns as in gitignore(5), "PATTERN FORMAT": the last one that matches decides, `!` brings
/// back what is not below an excluded directory, a trailing `/` means directories only, a `/`
/// elsewhere anchors the pattern at the root, `**` crosses directories.
package struct Exclusion: Equatable, Sendable {
  private struct Pattern: Equatable, Sendable {
    var isNegated: Bool
    var directoriesOnly: Bool
    /// Components to match from the root; unanchored ones begin with `**`.
    var components: [[UInt8]]
  }
  private var patterns: [Pattern]

  package init(_ lines: [String] = []) {
    patterns = lines.compactMap(Self.parse)
  }

  package var isEmpty: Bool { patterns.isEmpty }

  private static func parse(_ line: String) -> Pattern? {
    var text = Array(line.utf8)
    // Trailing spaces do not count unless they are quoted.
    while text.last == 0x20, text.count < 2 || text[text.count - 2] != 0x5C { text.removeLast() }
    guard let first = text.first, first != 0x23 else { return nil }
    var isNegated = false
    if first == 0x21 {
      isNegated = true
      text.removeFirst()
    }
    var directoriesOnly = false
    if text.last == 0x2F {
      directoriesOnly = true
      text.removeLast()
    }
    guard !text.isEmpty else { return nil }
    let isAnchored = text.contains(0x2F)
    if text.first == 0x2F { text.removeFirst() }
    var components = text.split(separator: 0x2F).map(Array.init)
    if !isAnchored { components.insert(Array("**".utf8), at: 0) }
    guard !components.isEmpty else { return nil }
    return Pattern(
      isNegated: isNegated, directoriesOnly: directoriesOnly, components: components)
  }

  /// Whether this very name is excluded, its parents being looked at before by the caller.
  package func excludes(_ path: TreePath, isDirectory: Bool) -> Bool {
    guard !patterns.isEmpty, !path.isTop else { return false }
    let components = path.components
    for pattern in patterns.reversed() where isDirectory || !pattern.directoriesOnly {
      if Self.matches(components[...], pattern.components[...]) { return !pattern.isNegated }
    }
    return false
  }

  /// Whether the name or a directory above it is excluded.
  package func excludesWithParents(_ path: TreePath, isDirectory: Bool) -> Bool {
    guard !patterns.isEmpty else { return false }
    var above = path.parent
    while !above.isTop {
      if excludes(above, isDirectory: true) { return true }
      above = above.parent
    }
    return excludes(path, isDirectory: isDirectory)
  }

  private static func matches(
    _ path: ArraySlice<[UInt8]>, _ pattern: ArraySlice<[UInt8]>
  ) -> Bool {
    guard let head = pattern.first else { return path.isEmpty }
    if head == [0x2A, 0x2A] {
      let rest = pattern.dropFirst()
      // A final `**` means everything inside, not the directory itself.
      if rest.isEmpty { return !path.isEmpty }
      return (path.startIndex...path.endIndex).contains { matches(path[$0...], rest) }
    }
    guard let name = path.first, Glob.matches(name[...], head[...]) else { return false }
    return matches(path.dropFirst(), pattern.dropFirst())
  }
}

/// Shell patterns within one name: `*`, `?`, `[...]`, and `\` to quote (glob(7)).
package enum Glob {
  package static func matches(_ name: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    var name = name
    var pattern = pattern
    // Where the last `*` was, to try again with it taking one more byte.
    var retry: (name: ArraySlice<UInt8>, pattern: ArraySlice<UInt8>)?
    while true {
      if let first = pattern.first, first == 0x2A {
        pattern = pattern.dropFirst()
        retry = (name, pattern)
        continue
      }
      if let byte = name.first, let rest = step(byte, pattern) {
        name = name.dropFirst()
        pattern = rest
        continue
      }
      if name.isEmpty, pattern.isEmpty { return true }
      guard let last = retry, !last.name.isEmpty else { return false }
      name = last.name.dropFirst()
      pattern = last.pattern
      retry = (name, pattern)
    }
  }

  /// What is left of the pattern after its first item took `byte`; `nil` where it does not match.
  private static func step(_ byte: UInt8, _ pattern: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard let first = pattern.first else { return nil }
    switch first {
    case 0x3F: return pattern.dropFirst()
    case 0x5C where pattern.count > 1:
      let quoted = pattern[pattern.startIndex + 1]
      return quoted == byte ? pattern.dropFirst(2) : nil
    case 0x5B:
      guard let (isIn, rest) = bracket(byte, pattern.dropFirst()) else {
        return byte == 0x5B ? pattern.dropFirst() : nil
      }
      return isIn ? rest : nil
    default: return first == byte ? pattern.dropFirst() : nil
    }
  }

  private static func bracket(
    _ byte: UInt8, _ pattern: ArraySlice<UInt8>
  ) -> (isIn: Bool, rest: ArraySlice<UInt8>)? {
    var rest = pattern
    var isNegated = false
    if let first = rest.first, first == 0x21 || first == 0x5E {
      isNegated = true
      rest = rest.dropFirst()
    }
    var isIn = false
    var isFirst = true
    while let low = rest.first {
      if low == 0x5D, !isFirst { return (isIn != isNegated, rest.dropFirst()) }
      isFirst = false
      rest = rest.dropFirst()
      var high = low
      if rest.count >= 2, rest.first == 0x2D, rest[rest.startIndex + 1] != 0x5D {
        high = rest[rest.startIndex + 1]
        rest = rest.dropFirst(2)
      }
      if low <= byte, byte <= high { isIn = true }
    }
    return nil
  }
}
