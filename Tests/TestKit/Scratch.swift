import Glibc
import HoldfastLinux

/// A directory of its own for each test, gone afterwards unless `HOLDFAST_KEEP` is set.
package final class Scratch: Sendable {
  package let path: String

  package init() {
    var template = Array("/tmp/holdfast-test-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { preconditionFailure("mkdtemp: \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  package func callAsFunction(_ name: String) -> String { path + "/" + name }

  deinit { if unsafe getenv("HOLDFAST_KEEP") == nil { Shell.run("rm -rf '\(path)'") } }
}

/// Commands of the system, as administrators type them.
package enum Shell {
  package struct Answer: Sendable {
    package var code: Int32
    package var output: String
  }

  /// - Returns: the exit code and all that was printed, on both streams.
  @discardableResult
  package static func run(_ command: String) -> Answer {
    var template = Array("/tmp/holdfast-out-XXXXXX".utf8CString)
    let number = unsafe mkstemp(&template)
    precondition(number >= 0, "mkstemp: \(errno)")
    let file = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      _ = close(number)
      _ = unsafe unlink(file)
    }
    do {
      let child = try ChildProcess(
        "/bin/bash", ["-c", command], environment: ["LC_ALL": "C.UTF-8"], output: .file(file))
      let code = child.wait()
      var bytes = [UInt8](repeating: 0, count: 1 << 20)
      let count = unsafe pread(number, &bytes, bytes.count, 0)
      return Answer(
        code: code, output: String(decoding: bytes.prefix(max(0, count)), as: UTF8.self))
    } catch {
      return Answer(code: 127, output: "\(error)")
    }
  }
}

/// The independent judge: rsync in dry run says what it would have to change.
package enum Judge {
  /// - Returns: empty where the trees are equal in content, owners, modes, times, links and
  ///   attributes.
  package static func differences(_ a: String, _ b: String) -> String {
    let answer = Shell.run(
      """
      rsync -aHAXSnc --delete --itemize-changes --numeric-ids --exclude=/.holdfast '\(a)/' '\(b)/'
      """)
    return answer.code == 0 ? answer.output : "rsync \(answer.code): \(answer.output)"
  }
}

/// A random sequence that a seed fixes (SplitMix64, Steele et al., OOPSLA 2014).
package struct SeededDice: RandomNumberGenerator, Sendable {
  private var state: UInt64
  package init(seed: UInt64) { state = seed }
  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Seeds: a fixed one, and `HOLDFAST_SEED` where it is set. Printed by the tests that use them.
package enum Seeds {
  package static func take(_ count: Int, from first: UInt64 = 1) -> [UInt64] {
    if let text = unsafe getenv("HOLDFAST_SEED"), let seed = UInt64(unsafe String(cString: text)) {
      return [seed]
    }
    return (0..<UInt64(count)).map { first + $0 }
  }
}
