package import HoldfastCore
import Synchronization

/// The keys of peers, by site; kept durably, asked in every handshake.
package final class Pins: Sendable {
  private struct State {
    var keys: [String: Fingerprint] = [:]
    var invitation: Invitation?
    /// The site whose key the invitation may replace.
    var replaced: String?
  }
  private let state: Mutex<State>
  private let disk: any Disk
  private let clock: any Timekeeper
  private static let fileName = "pins"

  package init(disk: any Disk, clock: any Timekeeper) throws(DiskError) {
    self.disk = disk
    self.clock = clock
    var keys: [String: Fingerprint] = [:]
    let text = String(decoding: try disk.contents(of: Self.fileName) ?? [], as: UTF8.self)
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ")
      if parts.count == 2, let bytes = Hex.decode(parts[1]), let digest = Digest32(bytes) {
        keys[String(parts[0])] = Fingerprint(digest)
      }
    }
    state = Mutex(State(keys: keys))
  }

  package func key(of site: String) -> Fingerprint? { state.withLock { $0.keys[site] } }
  package func site(of key: Fingerprint) -> String? {
    state.withLock { $0.keys.first { $0.value == key }?.key }
  }

  /// Whether this key may finish a handshake: it is pinned, or an invitation is open.
  package func admits(_ key: Fingerprint) -> Bool {
    let now = clock.now()
    return state.withLock { state in
      state.keys.values.contains(key) || state.invitation?.isOpen(at: now) ?? false
    }
  }

  package func pin(_ site: String, _ key: Fingerprint) throws(DiskError) {
    var keys = state.withLock { $0.keys }
    keys[site] = key
    let lines = keys.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }
    try disk.replace(Self.fileName, with: Array(lines.joined().utf8))
    state.withLock { $0.keys = keys }
  }

  /// - Parameter replacing: the site that may come with another key than before.
  package func open(_ invitation: Invitation, replacing: String?) {
    state.withLock { state in
      state.invitation = invitation
      state.replaced = replacing
    }
  }

  /// Whether a site that brought the token may be known by this key: not silently by another one
  /// than before.
  package func mayPin(_ site: String, _ key: Fingerprint) -> Bool {
    state.withLock { state in
      state.keys[site] == nil || state.keys[site] == key || state.replaced == site
    }
  }

  package func offered(_ token: [UInt8]) -> Invitation.Outcome {
    let now = clock.now()
    return state.withLock { state in
      state.invitation?.offered(token, at: now) ?? .expired
    }
  }
}

/// What `invite` prints: where to dial, whose key to expect, and the secret that opens the door.
package struct InvitationToken: Equatable, Sendable {
  package var address: HostPort
  package var key: Fingerprint
  package var secret: [UInt8]

  package init(address: HostPort, key: Fingerprint, secret: [UInt8]) {
    self.address = address
    self.key = key
    self.secret = secret
  }

  package var text: String { "hf1.\(key).\(Hex.encode(secret)).\(address)" }

  package init?(_ text: String) {
    let trimmed = text.filter { !$0.isWhitespace }
    let parts = trimmed.split(separator: ".", maxSplits: 3)
    guard parts.count == 4, parts[0] == "hf1", let key = Hex.decode(parts[1]),
      let digest = Digest32(key), let secret = Hex.decode(parts[2]), secret.count == 16,
      let address = HostPort(String(parts[3]))
    else { return nil }
    self.init(address: address, key: Fingerprint(digest), secret: secret)
  }
}
