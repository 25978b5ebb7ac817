import Dispatch
import Glibc
import Synchronization

/// Changes a tree by single system calls, and writes before each, durably, what the tree will be:
/// every moment of the tree is one line of the ledger.
package final class Ledger: Sendable {
  private struct State {
    var model: [String: String] = [:]
    var states: Set<String> = [""]
    var isStopped = false
    var isDone = false
  }
  private let tree: String
  private let path: String
  private let state = Mutex(State())

  /// - Parameters:
  ///   - path: of the ledger's file; files are prepared beside it, on the tree's filesystem.
  ///   - seed: fixes the sequence of operations.
  package init(tree: String, path: String, seed: UInt64) {
    self.tree = tree
    self.path = path
    DispatchQueue(label: "ledger").async { self.run(seed) }
  }

  /// A name that it leaves alone, and does not look at.
  package static let ballast = "ballast"

  /// Returns once nothing changes any more.
  package func stop() {
    state.withLock { $0.isStopped = true }
    while !state.withLock({ $0.isDone }) { usleep(1000) }
  }

  /// Whether the tree at `path` is what this one was at some moment.
  package func knows(_ path: String) -> Bool {
    let signature = Self.signature(path)
    return state.withLock { $0.states.contains(signature) }
  }

  /// Names, kinds, modes, targets, and of contents how many bytes they are and their words, each as
  /// often as another stood before it.
  package static func signature(_ path: String) -> String {
    Shell.run(
      """
      cd '\(path)' && find . -mindepth 1 '(' -path ./.holdfast -o -path ./\(ballast) ')' -prune \
        -o -printf '%P %y %m %l\\n' | while read -r name kind mode target; do
          case $kind in
            f) echo "$name f $mode $(stat -c %s "$name") $(tr -s ' \\n' '\\n' < "$name" | uniq | paste -s -d' ')";;
            l) echo "$name l $target";;
            *) echo "$name d";;
          esac
        done | LC_ALL=C sort
      """
    ).output
  }

  private func run(_ seed: UInt64) {
    var dice = SeededDice(seed: seed)
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    precondition(file >= 0, "ledger: \(errno)")
    var number = 0
    while !state.withLock({ $0.isStopped }) {
      number += 1
      step(number, &dice, file)
      // Work comes in bursts: in between a point can be one instant.
      usleep(number % 12 == 0 ? 150_000 : 3_000)
    }
    _ = close(file)
    state.withLock { $0.isDone = true }
  }

  private func step(_ number: Int, _ dice: inout SeededDice, _ file: Int32) {
    let a = Int.random(in: 0..<8, using: &dice)
    let b = Int.random(in: 0..<4, using: &dice)
    let isLarge = Int.random(in: 0..<6, using: &dice) == 0
    var model = state.withLock { $0.model }
    let target = tree
    let operation: () -> Int32
    switch Int.random(in: 0..<12, using: &dice) {
    case 0...3: operation = replace("f\(a)", number, isLarge, &model)
    case 4:
      // In place, where nothing has a second name.
      guard let what = model["d\(b)/x\(a)"] else { return }
      let more = String(repeating: "\(number) ", count: isLarge ? 5_000 : 1)
      var words = what.split(separator: " ").map(String.init)
      words[2] = "\((Int(words[2]) ?? 0) + more.utf8.count)"
      model["d\(b)/x\(a)"] = (words + ["\(number)"]).joined(separator: " ")
      operation = { Self.append(more, "\(target)/d\(b)/x\(a)") }
    case 5:
      guard model.removeValue(forKey: "f\(a)") != nil else { return }
      operation = { unsafe unlink("\(target)/f\(a)") }
    case 6:
      if model["d\(b)"] == nil {
        model["d\(b)"] = "d"
        operation = { unsafe mkdir("\(target)/d\(b)", 0o755) }
      } else {
        guard !model.keys.contains(where: { $0.hasPrefix("d\(b)/") }) else { return }
        model["d\(b)"] = nil
        operation = { unsafe rmdir("\(target)/d\(b)") }
      }
    case 7, 8:
      guard model["d\(b)"] != nil else { return }
      operation = replace("d\(b)/x\(a)", number, isLarge, &model)
    case 9:
      guard model["d\(b)"] != nil, model["d\(b)n"] == nil else { return }
      for (key, value) in model where key == "d\(b)" || key.hasPrefix("d\(b)/") {
        model[key] = nil
        model["d\(b)n" + key.dropFirst(2)] = value
      }
      operation = { unsafe rename("\(target)/d\(b)", "\(target)/d\(b)n") }
    case 10:
      guard let what = model["f\(a)"], model["h\(b)"] == nil else { return }
      model["h\(b)"] = what
      operation = { unsafe link("\(target)/f\(a)", "\(target)/h\(b)") }
    default:
      if model.removeValue(forKey: "l\(b)") != nil {
        operation = { unsafe unlink("\(target)/l\(b)") }
      } else {
        model["l\(b)"] = "l \(number)"
        operation = { unsafe symlink("\(number)", "\(target)/l\(b)") }
      }
    }
    note(model, number, file)
    precondition(operation() == 0, "operation \(number): \(errno)")
  }

  /// A new file is put in place whole.
  private func replace(
    _ name: String, _ number: Int, _ isLarge: Bool, _ model: inout [String: String]
  ) -> () -> Int32 {
    let ready = path + ".next"
    let padding = String(repeating: "\(number) ", count: isLarge ? 60_000 : 3)
    let bytes = Array("\(number)\n\(padding)".utf8)
    model[name] = "f 644 \(bytes.count) \(number)"
    let file = unsafe open(ready, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    unsafe precondition(write(file, bytes, bytes.count) == bytes.count, "write: \(errno)")
    _ = close(file)
    let target = "\(tree)/\(name)"
    return { unsafe rename(ready, target) }
  }

  /// By one call, which others see as a whole or not at all.
  private static func append(_ text: String, _ path: String) -> Int32 {
    let file = unsafe open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    guard file >= 0 else { return -1 }
    defer { _ = close(file) }
    let bytes = Array(text.utf8)
    return unsafe write(file, bytes, bytes.count) == bytes.count ? 0 : -1
  }

  private func note(_ model: [String: String], _ number: Int, _ file: Int32) {
    let lines = model.map { "\($0.key) \($0.value)\n" }
    let signature = lines.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
      .joined()
    let record = Array("\(number)\n\(signature)\n".utf8)
    unsafe precondition(
      write(file, record, record.count) == record.count && fsync(file) == 0, "ledger: \(errno)")
    state.withLock { state in
      state.model = model
      state.states.insert(signature)
    }
  }
}
