/// A store that several hosts share, whose every answer counts for all of them: what was written
/// before an answer was given is in it (linearizability: Herlihy and Wing, TOPLAS 1990).
package protocol SharedStore: Sendable {
  /// - Returns: all values whose keys begin so, by key.
  func values(below prefix: String) async throws(SharedStoreError) -> [String: SharedValue]
  /// Does all of a change, or nothing of it.
  /// - Returns: whether its conditions held, so that it was done.
  func commit(_ change: SharedChange) async throws(SharedStoreError) -> Bool
}

package struct SharedValue: Hashable, Sendable {
  package var bytes: [UInt8]
  /// Another with each change.
  package var revision: UInt64
  package init(bytes: [UInt8], revision: UInt64) {
    self.bytes = bytes
    self.revision = revision
  }
}

package struct SharedChange: Hashable, Sendable {
  package struct Put: Hashable, Sendable {
    package var key: String
    package var bytes: [UInt8]
    /// It is gone so long after the store took it, at the earliest; `nil` for never.
    package var lives: Duration?
  }
  /// Keys at these revisions; 0 for those that must not be there.
  package var conditions: [String: UInt64] = [:]
  package var puts: [Put] = []
  package var removals: [String] = []
  package init() {}

  package mutating func put(_ key: String, _ bytes: [UInt8], lives: Duration? = nil) {
    puts.append(Put(key: key, bytes: bytes, lives: lives))
  }
}

/// Why the store gave no answer that means anything. The change may or may not have been done.
package enum SharedStoreError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Nobody listens.
  case refused(String)
  /// No answer in time: it hangs, or the line does.
  case slow(String)
  /// It answers, and can decide nothing.
  case undecided(String)
  /// The TLS handshake failed: a certificate of either side.
  case untrusted(String)
  /// An answer that the store does not give.
  case wrong(String)

  package var description: String {
    switch self {
    case .refused(let what): "\(what): is it running, and the address right?"
    case .slow(let what): "\(what): does it hang, and does the network pass its port?"
    case .undecided(let what): "\(what): are a majority of its members up, and connected?"
    case .untrusted(let what): "\(what): look at `ca`, `cert` and `key` of the arbiter"
    case .wrong(let what): "\(what): is this etcd, version 3.4 or later?"
    }
  }
}
