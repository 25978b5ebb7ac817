import Glibc
package import HoldfastCore

/// A session by `psql`, which speaks to every version of the server and to every way of
/// authentication; it ends with this process, for then its input ends.
package final class PsqlSession: DatabaseSession {
  private let process: ChildProcess
  private let lines: LineChannel
  /// Where what it says before there is a session goes: a file without a name.
  private let errors: Descriptor
  /// A line that no server prints.
  private let mark: String

  /// - Parameters:
  ///   - folder: for a file that is removed at once.
  ///   - mark: chance, in letters and digits.
  package init(connection: String, folder: String, mark: String) throws(ProviderError) {
    guard let program = Self.program else {
      throw ProviderError("psql is not installed: apt-get install postgresql-client")
    }
    guard let (ours, theirs) = LineChannel.pair() else {
      throw ProviderError("no socket for psql: \(errnoText(errno))")
    }
    let file = folder + "/psql-\(mark)"
    let number = unsafe open(file, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    guard number >= 0 else { throw ProviderError("\(file): \(errnoText(errno))") }
    errors = Descriptor(number)
    _ = unsafe unlink(file)
    self.mark = mark
    do {
      process = try ChildProcess(
        program,
        [
          "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password",
          "--field-separator=\(Self.separator)", "--set=VERBOSITY=terse", "--dbname=\(connection)",
        ],
        environment: ["PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "holdfast"],
        output: .descriptor(theirs.number, errors: errors.number))
    } catch {
      throw ProviderError("psql cannot be run: \(error)")
    }
    lines = LineChannel(ours)
  }

  deinit { close() }

  // ASCII's unit separator: no path and no number has it.
  private static let separator: Character = "\u{1F}"

  private static var program: String? {
    let folders = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
    return folders.split(separator: ":").map { "\($0)/psql" }.first {
      unsafe access($0, X_OK) == 0
    }
  }

  package func ask(
    _ statement: String, within limit: Duration, while isWanted: () -> Bool
  ) throws(ProviderError) -> [[String]] {
    // psql(1), "Variables": ERROR and LAST_ERROR_MESSAGE tell how the last statement went.
    let order = """
      \(statement);
      \\echo \(mark) :ERROR
      \\echo :LAST_ERROR_MESSAGE
      \\echo \(mark)

      """
    guard lines.send(order) else { throw ended() }
    let deadline = SystemClock().now() + limit
    var rows: [String] = []
    var hasFailed: Bool?
    var said: [String] = []
    var count = 0
    while true {
      guard let line = lines.next(within: Limits.statementLookEvery) else {
        if lines.isEnded { throw ended() }
        if isWanted(), SystemClock().now() < deadline { continue }
        close()
        throw ProviderError(
          isWanted()
            ? "the server took longer than \(limit) for `\(statement)`" : "it was interrupted")
      }
      count += line.utf8.count
      guard count <= Limits.answerBytesMax else {
        close()
        throw ProviderError("the server says too much to `\(statement)`")
      }
      switch (hasFailed, line) {
      case (nil, "\(mark) false"): hasFailed = false
      case (nil, "\(mark) true"): hasFailed = true
      case (nil, _): rows.append(line)
      case (true, mark): throw ProviderError(said.joined(separator: " "))
      case (false, mark):
        return rows.filter { !$0.isEmpty }.map { row in
          row.split(separator: Self.separator, omittingEmptySubsequences: false).map(String.init)
        }
      default: said.append(line)
      }
    }
  }

  private func ended() -> ProviderError {
    _ = process.wait(within: .seconds(1))
    close()
    var bytes = [UInt8](repeating: 0, count: Limits.commandOutputBytes)
    let size = max(0, lseek(errors.number, 0, SEEK_END))
    let count = unsafe pread(errors.number, &bytes, bytes.count, max(0, size - bytes.count))
    let said = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    let lines = said.split(separator: "\n").joined(separator: " ")
    return ProviderError(lines.isEmpty ? "psql ended" : lines)
  }

  package func close() {
    process.send(SIGKILL)
    process.wait()
  }
}
