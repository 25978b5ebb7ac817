import CLinux
import Glibc
import HoldfastCore

/// An address that a service is reached by, on one device.
struct ServiceAddress: Hashable, Sendable {
  let bytes: [UInt8]
  let prefix: Int32
  let device: String
  private let text: String

  var isIPv4: Bool { bytes.count == 4 }
  private var family: Int32 { isIPv4 ? AF_INET : AF_INET6 }

  /// - Parameter text: with its prefix length, such as 192.0.2.10/24.
  init?(_ text: String, device: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let prefix = Int32(parts[1]) else { return nil }
    var room = [UInt8](repeating: 0, count: 16)
    if unsafe inet_pton(AF_INET, parts[0], &room) == 1 {
      bytes = Array(room[..<4])
    } else if unsafe inet_pton(AF_INET6, parts[0], &room) == 1 {
      bytes = room
    } else {
      return nil
    }
    guard (0...Int32(bytes.count * 8)).contains(prefix) else { return nil }
    self.prefix = prefix
    self.device = device
    self.text = text
  }

  /// How long others have to say that an address is theirs.
  private static let probeMillis: Int32 = 300
  static let probeTime = Duration.milliseconds(probeMillis)
  /// Once more for those who missed the first.
  private static let announcements = 3

  /// - Returns: whether nobody has it, as far as could be asked.
  /// - Throws: that another host answers for it.
  func probe() throws(StepError) -> Bool {
    let answer =
      isIPv4
      ? unsafe holdfast_arp_probe(device, bytes, Self.probeMillis)
      : unsafe holdfast_neighbor_probe(device, bytes, Self.probeMillis)
    guard answer == 1 else { return answer == 0 }
    throw StepError(
      "\(text) answers from another host: is the service still running on the other site?")
  }

  /// - Parameters:
  ///   - socket: of rtnetlink(7).
  ///   - isFree: the kernel need not ask whether another host has it.
  /// - Throws: why this host does not have the address.
  func add(_ socket: Int32, isFree: Bool) throws(StepError) {
    let index = unsafe if_nametoindex(device)
    guard index != 0 else { throw StepError("there is no device \(device)") }
    let error = unsafe holdfast_change_address(
      socket, 1, isFree ? 1 : 0, family, bytes, prefix, index)
    guard error == 0 else { throw StepError("\(text) on \(device): \(errnoText(error))") }
  }

  /// Tells the segment, so that nobody goes on sending to the other site.
  func announce() {
    for _ in 0..<Self.announcements {
      unsafe _ = isIPv4 ? holdfast_announce4(device, bytes) : holdfast_announce6(device, bytes)
    }
  }

  /// - Parameter known: what was looked up before; 0 where it was not.
  /// - Returns: an errno; 0 also where it was not there.
  func remove(_ socket: Int32, known: UInt32 = 0) -> Int32 {
    let index = known != 0 ? known : unsafe if_nametoindex(device)
    guard index != 0 else { return errno == ENODEV ? 0 : errno }
    let error = unsafe holdfast_change_address(socket, 0, 0, family, bytes, prefix, index)
    // The device may have been made anew.
    if error == ENODEV, known != 0 { return remove(socket) }
    // With the device its addresses are gone.
    return error == EADDRNOTAVAIL || error == ENODEV ? 0 : error
  }
}
