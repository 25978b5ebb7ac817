import Glibc
import HoldfastAgent
import HoldfastLinux

/// What a command's exit says: docs/api.md, "Exit codes".
enum Outcome: Int32 {
  case done = 0
  case failed = 1
  case usage = 2
  case refused = 3
  case unreachable = 4
  case damaged = 5
}

/// Why a command did not do its work, with what to type next.
struct CommandFailure: Error {
  var code: Outcome
  var message: String
  /// See ``FailureAnswer/isForLoss``.
  var isForLoss: Bool
  init(_ code: Outcome, _ message: String, isForLoss: Bool = false) {
    self.isForLoss = isForLoss
    self.code = code
    self.message = message
  }
}

extension CommandFailure: CustomStringConvertible {
  var description: String { message }
}

/// Writes to standard output at once, also through a pipe, where Swift's own would keep it back.
func print(_ text: String, terminator: String = "\n") {
  Terminal.write(text + terminator, to: STDOUT_FILENO)
}

/// Lines for people.
enum Terminal {
  static func complain(_ text: String) { write("holdfast: \(text)\n", to: STDERR_FILENO) }

  static func write(_ text: String, to descriptor: Int32) {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let rest = Array(bytes[done...])
      let count = unsafe Glibc.write(descriptor, rest, rest.count)
      guard count > 0 else { return }
      done += count
    }
  }

  static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 }

  /// Asks a person; without one the answer is no.
  static func agree(_ question: String) -> Bool {
    guard isInteractive else { return false }
    print("\(question) [y/N] ", terminator: "")
    return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
  }

  /// Columns of equal width; the last one is not padded.
  static func table(_ rows: [[String]]) -> String {
    guard let columns = rows.map(\.count).max() else { return "" }
    let widths = (0..<columns).map { column in
      rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    return rows.map { row in
      row.enumerated().map { column, cell in
        column == row.count - 1
          ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  static func seconds(_ value: Double) -> String {
    let tenths = (value * 10).rounded() / 10
    if value < 0.1 { return "\((value * 1000).rounded() / 1000) s" }
    return value < 120 ? "\(tenths) s" : "\(Int(value / 60)) min"
  }

  static func size(_ bytes: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(units[unit])"
  }
}

/// What a long work is at, on standard error: lines that stay, and on a terminal one that changes.
struct MoveProgress {
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private static let clearLine = "\r\u{1B}[K"

  func show(_ text: String) {
    if isTerminal { Terminal.write(Self.clearLine + String(text.prefix(99)), to: STDERR_FILENO) }
  }
  func tell(_ line: String) {
    clear()
    Terminal.write("  \(line)\n", to: STDERR_FILENO)
  }
  func clear() { if isTerminal { Terminal.write(Self.clearLine, to: STDERR_FILENO) } }
}
