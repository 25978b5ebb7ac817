import Glibc
import HoldfastCore

/// Lines to and from a process that was started with the other end.
final class LineChannel {
  private let socket: Descriptor
  private var buffer: [UInt8] = []
  /// Whether no more will come: the other end is closed, or a line was too long.
  private(set) var isEnded = false
  private static let lineBytesMax = Limits.answerBytesMax

  init(_ socket: Descriptor) { self.socket = socket }

  static func pair() -> (ours: Descriptor, theirs: Descriptor)? {
    var numbers: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &numbers) == 0 else { return nil }
    return (Descriptor(numbers[0]), Descriptor(numbers[1]))
  }

  /// - Returns: whether all of it went; what is sent must be little.
  func send(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    return unsafe Glibc.send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
  }

  /// - Returns: the next line; `nil` where none came in time, or none will.
  func next(within limit: Duration) -> String? {
    var searched = 0
    var waited = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
    let timeout = Int32(clamping: (limit.nanos + 999_999) / 1_000_000)
    while true {
      if let end = buffer[searched...].firstIndex(of: 0x0A) {
        defer { buffer.removeFirst(end + 1) }
        return String(decoding: buffer[..<end], as: UTF8.self)
      }
      searched = buffer.count
      guard retried({ unsafe Int(poll(&waited, 1, timeout)) }) > 0 else { return nil }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = unsafe bytes.withUnsafeMutableBytes { bytes in
        retried { unsafe read(socket.number, bytes.baseAddress, bytes.count) }
      }
      guard count > 0, searched < Self.lineBytesMax else {
        isEnded = true
        return nil
      }
      buffer += bytes[..<count]
    }
  }
}
