import CLinux
import Glibc
package import HoldfastCore

/// Keeps two agents off one state directory, for as long as it lives (flock(2)).
package final class StateLock: Sendable {
  private let descriptor: Descriptor

  package enum Failure: Error {
    /// Another process has it; its number where the file tells.
    case taken(process: String)
    case failed(errno: Int32)
  }

  package init(path: String) throws(Failure) {
    let number = unsafe holdfast_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard number >= 0 else { throw .failed(errno: errno) }
    descriptor = Descriptor(number)
    guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
      guard errno == EWOULDBLOCK else { throw .failed(errno: errno) }
      var buffer = [UInt8](repeating: 0, count: 32)
      let count = unsafe pread(number, &buffer, buffer.count, 0)
      throw .taken(process: String(decoding: buffer.prefix(max(0, count)), as: UTF8.self))
    }
    let own = Array("\(getpid())".utf8)
    _ = ftruncate(number, 0)
    unsafe _ = pwrite(number, own, own.count, 0)
  }
}

/// Shared by whoever reads, in any process, and exclusive for whoever changes; held until it is
/// released (flock(2)).
package final class SharedLock: Sendable {
  private let descriptor: Descriptor

  /// Waits while somebody holds it otherwise.
  package init(_ path: String, exclusive: Bool) throws(DiskError) {
    descriptor = try Self.open(path)
    while flock(descriptor.number, exclusive ? LOCK_EX : LOCK_SH) != 0 {
      guard errno == EINTR else { throw .failed(path, call: "flock", errno: errno) }
    }
  }

  /// Exclusive.
  /// - Returns: `nil` while anybody else holds it.
  package init?(ifFree path: String) throws(DiskError) {
    descriptor = try Self.open(path)
    guard flock(descriptor.number, LOCK_EX | LOCK_NB) == 0 else {
      guard errno == EWOULDBLOCK else { throw .failed(path, call: "flock", errno: errno) }
      return nil
    }
  }

  private static func open(_ path: String) throws(DiskError) -> Descriptor {
    let number = unsafe holdfast_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard number >= 0 else { throw .failed(path, call: "open", errno: errno) }
    return Descriptor(number)
  }
}
