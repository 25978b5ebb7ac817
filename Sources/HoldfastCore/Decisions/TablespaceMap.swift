/// A file `tablespace_map` (PostgreSQL's manual, "Making a Base Backup Using the Low Level API"):
/// lines of an object identifier, a space and a path, in which a backslash stands before line
/// breaks and backslashes.
package struct TablespaceMap {
  private let bytes: [UInt8]
  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The whole file, with paths below `from` as they are where that is `to`.
  package func moved(_ moves: [(from: String, to: String)]) -> [UInt8] {
    var lines: [[UInt8]] = [[]]
    var isEscaped = false
    for byte in bytes {
      if byte == 0x0A, !isEscaped { lines.append([]) } else { lines[lines.count - 1].append(byte) }
      isEscaped = byte == 0x5C && !isEscaped
    }
    return Array(lines.map { Self.moved($0, moves) }.joined(separator: [0x0A]))
  }

  private static func moved(_ line: [UInt8], _ moves: [(from: String, to: String)]) -> [UInt8] {
    guard let space = line.firstIndex(of: 0x20) else { return line }
    let path = line[line.index(after: space)...]
    for (from, to) in moves {
      let old = escaped(from)
      guard path.starts(with: old) else { continue }
      let rest = path.dropFirst(old.count)
      if rest.isEmpty || rest.first == 0x2F { return line[...space] + escaped(to) + rest }
    }
    return line
  }

  private static func escaped(_ path: String) -> [UInt8] {
    path.utf8.flatMap { $0 == 0x0A || $0 == 0x5C ? [0x5C, $0] : [$0] }
  }
}
