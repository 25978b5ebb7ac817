import Foundation
import Testing

/// The style guide as far as a machine can hold it.
@Suite struct `The sources` {
  private static let root = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private struct Source {
    var target: String
    var name: String
    var lines: [Substring]
  }

  private static let sources: [Source] = {
    let folder = root.appending(path: "Sources")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    var found: [Source] = []
    for case let file as URL in files ?? .init() where file.pathExtension == "swift" {
      guard let text = try? String(contentsOf: file, encoding: .utf8) else { continue }
      let parts = file.pathComponents
      guard let index = parts.firstIndex(of: "Sources"), index + 1 < parts.count else { continue }
      found.append(
        Source(
          target: parts[index + 1], name: parts[(index + 1)...].joined(separator: "/"),
          lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
    }
    return found
  }()

  /// Which of our targets each may import: docs/architecture.md draws it.
  private static let allowed: [String: Set<String>] = [
    "HoldfastCore": [],
    "HoldfastBytes": ["CCrypto", "CZlib", "CZstd", "CChecksum"],
    "HoldfastWire": ["HoldfastCore", "SwiftProtobuf", "Foundation", "FoundationEssentials"],
    "HoldfastStore": ["HoldfastBytes", "HoldfastCore", "Synchronization"],
    "HoldfastIndex": ["HoldfastCore", "GRDB", "GRDBSQLite", "Foundation"],
    "HoldfastLinux": [
      "HoldfastCore", "CLinux", "CCrypto", "Glibc", "Dispatch", "Synchronization", "NIOCore",
      "NIOPosix", "NIOHTTP1", "NIOTLS", "NIOSSL", "FoundationEssentials",
    ],
    "HoldfastAgent": [
      "HoldfastStore", "HoldfastBytes", "HoldfastWire", "HoldfastCore", "Logging",
      "Synchronization", "FoundationEssentials",
    ],
    "HoldfastController": ["HoldfastWire", "HoldfastCore", "Logging", "Synchronization"],
    "holdfast": [
      "HoldfastAgent", "HoldfastController", "HoldfastLinux", "HoldfastIndex", "HoldfastStore",
      "HoldfastBytes",
      "HoldfastWire", "HoldfastCore", "ArgumentParser", "Logging", "Yams", "Glibc", "Dispatch",
      "Synchronization", "FoundationEssentials",
    ],
  ]

  private static func importedModule(_ line: Substring) -> String? {
    let words = line.split(separator: " ")
    guard let index = words.firstIndex(of: "import"), index <= 1, index + 1 < words.count,
      index == 0 || ["package", "public", "internal", "@preconcurrency"].contains(words[0])
    else { return nil }
    return String(words[index + 1])
  }

  @Test func `are there to be judged`() {
    #expect(Self.sources.count > 50)
    #expect(Set(Self.sources.map(\.target)) == Set(Self.allowed.keys))
  }

  @Test func `import in one direction only`() {
    for source in Self.sources {
      let allowed = Self.allowed[source.target] ?? []
      for line in source.lines {
        guard let module = Self.importedModule(line) else { continue }
        #expect(allowed.contains(module), "\(source.name) imports \(module)")
      }
    }
  }

  @Test func `read clocks and chance only where the world is made`() {
    let banned = [
      "ContinuousClock", "SuspendingClock", "Date()", ".random(in", "randomElement", "Task.sleep",
      "getenv",
    ]
    for source in Self.sources where !["HoldfastLinux", "holdfast"].contains(source.target) {
      for line in source.lines where !line.contains("//") {
        for word in banned {
          #expect(!line.contains(word), "\(source.name): \(line)")
        }
      }
    }
  }

  @Test func `are unsafe only where it is said`() {
    let allowed: Set = ["HoldfastBytes", "HoldfastLinux", "holdfast"]
    // SQLite's own calls: docs/decisions/0007-hot-statements-go-to-sqlite-directly.md.
    let calls = "Prepared.swift"
    for source in Self.sources
    where !allowed.contains(source.target) && !source.name.hasSuffix(calls) {
      for line in source.lines where line.contains("unsafe ") {
        let isExecutor = line.contains("asUnownedSerialExecutor")
        #expect(isExecutor || line.contains("//"), "\(source.name): \(line)")
      }
    }
  }

  @Test func `hold their width`() {
    for source in Self.sources where !source.name.hasSuffix(".pb.swift") {
      for (number, line) in source.lines.enumerated() {
        let isText = line.contains("\"")
        #expect(line.count <= 100 || isText, "\(source.name):\(number + 1): \(line)")
      }
    }
  }

  @Test func `and docs/configuration.md name the same keys`() throws {
    let reader = try #require(Self.sources.first { $0.name.hasSuffix("ConfigurationReader.swift") })
    let start = try #require(reader.lines.firstIndex { $0.hasPrefix("enum KnownKeys") })
    let known = Set(
      reader.lines[start...].flatMap { line in
        line.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
          .filter { $0.offset % 2 == 1 }.map { String($0.element) }
      })
    let path = Self.root.appending(path: "docs/configuration.md")
    let page = try String(contentsOf: path, encoding: .utf8)
    let documented = Set(
      page.split(separator: "\n").filter { $0.hasPrefix("| `") }.compactMap { line in
        line.split(separator: "`").dropFirst().first?.split(separator: ".").last.map(String.init)
      })
    #expect(known.subtracting(documented) == ["retention", "link", "failover"])
    #expect(documented.subtracting(known) == [])
  }

  @Test func `and the man page name the same commands`() throws {
    let main = try #require(Self.sources.first { $0.name == "holdfast/Holdfast.swift" })
    let text = main.lines.joined(separator: " ")
    let list = try #require(
      text.split(separator: "subcommands: [").last?.split(separator: "]").first)
    let commands = list.matches(of: /([A-Za-z]+)\.self/).map {
      $0.1.lowercased().replacing("command", with: "")
    }
    let path = Self.root.appending(path: "docs/man/holdfast.1")
    let page = try String(contentsOf: path, encoding: .utf8)
    for command in commands where command != "demoservice" {
      #expect(page.contains("\n\\fB\(command)\\fR"), "\(command)")
    }
  }
}
