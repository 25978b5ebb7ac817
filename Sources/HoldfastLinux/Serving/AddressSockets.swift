import CLinux
import HoldfastCore
import Synchronization

/// Sockets by which addresses come and go, opened before they are needed. Who fences waits for
/// nobody, and no two take one another's answers.
final class AddressSockets: Sendable {
  /// The timer's thread, the controller's, the plan's, and one that hangs in a driver.
  private static let count = 4
  private let sockets: [Descriptor]
  private let isTaken: Mutex<[Bool]>

  init() {
    sockets = (0..<Self.count).compactMap { _ in
      let number = holdfast_netlink()
      return number >= 0 ? Descriptor(number) : nil
    }
    isTaken = Mutex(Array(repeating: false, count: sockets.count))
  }

  var isEmpty: Bool { sockets.isEmpty }

  /// - Parameter body: given a socket of rtnetlink(7) that no other has; where all are taken, one
  ///   that another hangs with, and -1 where there is none.
  func with<Answer, Failure: Error>(
    _ body: (Int32) throws(Failure) -> Answer
  ) throws(Failure) -> Answer {
    let free = isTaken.withLock { isTaken in
      let free = isTaken.firstIndex(of: false)
      if let free { isTaken[free] = true }
      return free
    }
    defer { if let free { isTaken.withLock { $0[free] = false } } }
    return try body(free.map { sockets[$0].number } ?? sockets.last?.number ?? -1)
  }
}
