import CLinux
import Glibc
import HoldfastCore

/// Brings files into the page cache on a thread of its own, before they are read.
final class ReadAhead: Sendable {
  private let aside = Aside("read ahead")
  /// Of each file; what is larger reads ahead by itself.
  private static let bytesMax = 1 << 20

  /// Does nothing while an earlier one runs: the reader is faster then.
  func begin(_ top: Descriptor, _ paths: [TreePath]) {
    aside.run {
      for path in paths { Self.bring(top, path) }
    }
  }

  /// Errors are the reader's to meet.
  private static func bring(_ top: Descriptor, _ path: TreePath) {
    guard let size = regularSize(top, path), size > 0 else { return }
    let number = open(top, path, O_RDONLY | O_NONBLOCK | holdfast_o_noatime)
    guard number >= 0 else { return }
    let file = Descriptor(number)
    _ = posix_fadvise(file.number, 0, min(size, bytesMax), POSIX_FADV_WILLNEED)
  }

  /// Looked at before it is opened: opening a device may do something.
  private static func regularSize(_ top: Descriptor, _ path: TreePath) -> Int? {
    let number = open(top, path, holdfast_o_path)
    guard number >= 0 else { return nil }
    let object = Descriptor(number)
    var answer = stat()
    guard unsafe fstat(object.number, &answer) == 0, answer.st_mode & S_IFMT == S_IFREG else {
      return nil
    }
    return Int(answer.st_size)
  }

  private static func open(_ top: Descriptor, _ path: TreePath, _ flags: Int32) -> Int32 {
    unsafe withCString(path.bytes) { name in
      unsafe holdfast_openat2(
        top.number, name, UInt64(flags | O_CLOEXEC | O_NOFOLLOW), 0, holdfast_resolve)
    }
  }
}
