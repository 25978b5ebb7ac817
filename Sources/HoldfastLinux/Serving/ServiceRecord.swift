import CLinux
import Glibc
package import HoldfastCore

/// What may run of a pair's service on this host, on record in the control folder (`started-PAIR`)
/// from before it is started until it is fenced: whatever becomes of the configuration meanwhile.
package struct ServiceRecord {
  var units: [String] = []
  var addresses: [(text: String, device: String)] = []
  package var terms = LeaseTerms(ttl: .zero)
  /// Whether this host ends where the service does not.
  var endsHost = false
  /// Whether somebody counts on it being fenced.
  package var hasArbiter = true

  private static let prefix = "started-"
  private static func path(_ control: String, _ pair: String) -> String {
    "\(control)/\(prefix)\(pair)"
  }

  init() {}

  /// - Returns: `nil` where nothing is on record.
  init?(control: String, pair: String) {
    guard let text = readText(Self.path(control, pair)) else { return nil }
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("unit", 2): units.append(words[1])
      case ("address", 3): addresses.append((words[1], words[2]))
      case ("arbiter", 2): hasArbiter = words[1] != "none"
      case ("last-resort", 2): endsHost = words[1] == LastResortPolicy.reboot.rawValue
      case ("ttl", 5):
        let times = words.dropFirst().map { Duration.nanoseconds(Int64($0) ?? 0) }
        terms = LeaseTerms(
          ttl: times[0], margin: times[1], stopBudget: times[2], watchdog: times[3])
      default: break
      }
    }
  }

  /// Pairs that something is on record for.
  static func pairs(control: String) -> [String] {
    FrozenUnits.names(in: control, behind: prefix)
  }

  /// - Returns: whether it is on record now.
  func store(control: String, pair: String) -> Bool {
    let lines =
      [
        """
        ttl \(terms.ttl.nanos) \(terms.margin.nanos) \(terms.stopBudget.nanos) \
        \(terms.watchdog.nanos)
        """
      ] + (hasArbiter ? [] : ["arbiter none"])
      + (endsHost ? ["last-resort \(LastResortPolicy.reboot.rawValue)"] : [])
      + units.map { "unit \($0)" }
      + addresses.map { "address \($0.text) \($0.device)" }
    let number = unsafe holdfast_openat(
      AT_FDCWD, Self.path(control, pair), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard number >= 0 else { return false }
    // A boot stops all of it: no flush.
    let file = Descriptor(number)
    let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
    return file.write(bytes, 0..<bytes.count, at: 0) == 0
  }

  static func remove(control: String, pair: String) { unsafe _ = unlink(path(control, pair)) }

  /// With what another has besides.
  func merged(_ other: ServiceRecord?) -> ServiceRecord {
    guard let other else { return self }
    var all = self
    for unit in other.units where !units.contains(unit) { all.units.append(unit) }
    for address in other.addresses
    where !addresses.contains(where: { $0.text == address.text && $0.device == address.device }) {
      all.addresses.append(address)
    }
    return all
  }
}
