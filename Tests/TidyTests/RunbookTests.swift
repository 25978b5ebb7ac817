import Foundation
import Testing

/// At 3 a.m. what `status` says is looked up in the runbook.
@Suite struct `The runbook` {
  private static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static let runbook: String = {
    let file = root.appending(path: "docs/runbook.md")
    return (try? String(contentsOf: file, encoding: .utf8)) ?? ""
  }()

  /// Every source file, literals of several lines in one.
  private static let sources: [(name: String, text: String)] = {
    let folder = root.appending(path: "Sources")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    var found: [(String, String)] = []
    for case let file as URL in files ?? .init() where file.pathExtension == "swift" {
      guard let text = try? String(contentsOf: file, encoding: .utf8) else { continue }
      found.append((file.lastPathComponent, text.replacing(/\\\n\s*/, with: "")))
    }
    return found
  }()

  private static func plain(_ text: some StringProtocol) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: " ").lowercased()
  }

  /// What of a literal is the same each time.
  private static func fragments(_ literal: Substring) -> [String] {
    var found = [""]
    var depth = 0
    var last: Character = " "
    for character in literal {
      if depth == 0, last == "\\", character == "(" {
        found[found.count - 1].removeLast()
        depth = 1
      } else if depth > 0 {
        depth += character == "(" ? 1 : character == ")" ? -1 : 0
        if depth == 0 { found.append("") }
      } else {
        found[found.count - 1].append(character)
      }
      last = character
    }
    return found.map { plain($0).trimmingCharacters(in: CharacterSet(charactersIn: " :;,.")) }
  }

  @Test func `quotes in its headings what the program says`() {
    let said = Self.sources.map { Self.plain($0.text) }.joined(separator: "\n")
    var count = 0
    for heading in Self.runbook.split(separator: "\n") where heading.hasPrefix("## ") {
      for quote in heading.matches(of: /"([^"]+)"/) {
        for part in quote.1.split(separator: /\bN\b|PAIR|SITE|ADDRESS|…/) {
          let words = Self.plain(part).trimmingCharacters(
            in: CharacterSet(charactersIn: " :,"))
          guard words.count >= 8 else { continue }
          count += 1
          #expect(said.contains(words), "\(heading): nothing says \"\(words)\"")
        }
      }
    }
    #expect(count > 25)
  }

  /// Of texts that only carry another's words the others are looked up.
  @Test func `has the words of every alarm that an agent raises`() {
    let text = Self.plain(Self.runbook)
    let raising =
      /(board\.hold\(\s*\.\w+,|alarms\.append\(|lastError =|linkError =)\s*(?:"""\n(?<long>(?:.|\n)*?)"""|"(?<short>(?:[^"\\\n]|\\.)*)")/
    var count = 0
    for (name, source) in Self.sources {
      for raised in source.matches(of: raising) {
        guard let literal = raised.long ?? raised.short else { continue }
        let parts = Self.fragments(literal).filter { $0.count >= 8 }
        guard !parts.isEmpty else { continue }
        count += 1
        let isThere = parts.contains { part in
          let words = part.split(separator: " ")
          let clause = part.prefix { !":;".contains($0) }
          return clause.count >= 8 && text.contains(clause)
            || (0..<max(0, words.count - 3)).contains { start in
              text.contains(words[start..<(start + 4)].joined(separator: " "))
            }
        }
        #expect(isThere, "\(name): no page has \"\(literal)\"")
      }
    }
    #expect(count > 25)
  }
}
