import CLinux
import Glibc
import HoldfastCore

/// What `holdfast freezer` does: freezes and thaws units at the agent's word, thaws them by itself
/// when their time is over or the agent is gone, and never thaws on a site that is fenced. It is
/// told on its standard input and answers on its output, in lines: `freeze MILLISECONDS UNIT ...`
/// by `frozen` or `error WHY`, `thaw` by `thawed MICROSECONDS ENDING` or `error WHY`.
package struct FreezerProcess {
  private var frozen: FrozenUnits
  private var buffer: [UInt8] = []
  private var limit: Int64 = 0
  private var since: Int64?
  private var over: (micros: Int64, ending: FrozenSpan.Ending, error: String?)?

  /// - Parameter control: the folder that the record and the fence lie in.
  package init(control: String, pair: String) {
    frozen = FrozenUnits(control: control, pair: pair)
  }

  /// Returns when the agent is gone.
  package mutating func run() {
    for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { _ = signal(number, SIG_IGN) }
    // Of one that was killed.
    _ = frozen.thaw()
    while true {
      switch nextLine() {
      case .overdue: end(.overdue)
      case .ended:
        for _ in 0..<Limits.thawTriesMax where since != nil {
          end(.overdue)
          if since != nil { usleep(UInt32(Limits.thawAgainAfter.nanos / 1000)) }
        }
        return
      case .line(let line): obey(line.split(separator: " ").map(String.init))
      }
    }
  }

  private enum Heard {
    case line(String)
    case overdue
    case ended
  }

  private mutating func nextLine() -> Heard {
    while true {
      if let end = buffer.firstIndex(of: 0x0A) {
        defer { buffer.removeFirst(end + 1) }
        return .line(String(decoding: buffer[..<end], as: UTF8.self))
      }
      let left = since.map { max(0, $0 + limit - Self.now()) }
      var waited = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      let timeout = left.map { Int32(clamping: ($0 + 999_999) / 1_000_000) } ?? -1
      let ready = retried { unsafe Int(poll(&waited, 1, timeout)) }
      if ready == 0 { return .overdue }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = unsafe bytes.withUnsafeMutableBytes { bytes in
        retried { unsafe Glibc.read(STDIN_FILENO, bytes.baseAddress, bytes.count) }
      }
      guard count > 0, buffer.count < Limits.requestBytesMax else { return .ended }
      buffer += bytes[..<count]
    }
  }

  private mutating func obey(_ words: [String]) {
    switch words.first {
    case "freeze" where words.count > 2 && since == nil:
      limit = (Int64(words[1]) ?? 0) * 1_000_000
      over = nil
      let start = Self.now()
      if let error = frozen.freeze(Array(words.dropFirst(2)), until: start + limit, Self.now) {
        return say("error \(error)")
      }
      since = start
      say("frozen")
    case "thaw":
      // After one that failed it comes too late.
      let isLate = over != nil
      if since != nil { end(isLate ? .overdue : frozen.isIntact ? .ordered : .disturbed) }
      guard let over else { return say("error nothing is frozen") }
      say(over.error.map { "error \($0)" } ?? "thawed \(over.micros) \(over.ending.rawValue)")
    default: say("error not understood")
    }
  }

  private mutating func end(_ ending: FrozenSpan.Ending) {
    let error = frozen.thaw()
    let now = Self.now()
    over = ((now - (since ?? now)) / 1000, ending, error)
    // Nobody else would try it again; on a fenced site nobody is to.
    if error != nil, error != FrozenUnits.fenced, ending == .overdue, let since {
      limit = now - since + Limits.thawAgainAfter.nanos
    } else {
      since = nil
    }
  }

  private func say(_ line: String) {
    let bytes = Array((line.split(separator: "\n").joined(separator: " ") + "\n").utf8)
    unsafe _ = write(STDOUT_FILENO, bytes, bytes.count)
  }

  /// Nanoseconds.
  private static func now() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
