import CLinux
import Glibc
import HoldfastCore

final class LinuxTreeFile: TreeFile {
  private var descriptor: Descriptor?
  private let path: TreePath
  private let guise: Guise?
  private var passing = WritePassing()

  init(_ descriptor: Descriptor, path: TreePath, as guise: Guise? = nil) {
    self.descriptor = descriptor
    self.path = path
    self.guise = guise
  }

  private var opened: Descriptor {
    guard let descriptor else { preconditionFailure("\(path) used after it was closed") }
    return descriptor
  }
  private var number: Int32 { opened.number }

  func status() throws(TreeError) -> Status {
    var answer = stat()
    guard unsafe fstat(number, &answer) == 0 else { throw LinuxTree.error(path, "fstat", errno) }
    return guise?.show(Status(answer)) ?? Status(answer)
  }

  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int {
    precondition(buffer.indices.contains(range), "\(range) of a buffer of \(buffer.count)")
    let got = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe opened.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: bytes[range]))
    }
    guard got >= 0 else { throw LinuxTree.error(path, "read", Int32(-got)) }
    if got >= Self.bulkBytes {
      _ = posix_fadvise(number, Int(offset) + got, Self.aheadBytes, POSIX_FADV_WILLNEED)
    }
    return got
  }

  /// Behind a read of so much the next is brought from the disk: the kernel's own reading ahead
  /// goes no further than 128 KiB, unless its administrator says otherwise.
  private static let bulkBytes = 512 << 10
  private static let aheadBytes = 2 << 20

  func attributes() throws(TreeError) -> [Attribute] {
    try AttributeSource.descriptor(number).attributes(of: path)
  }

  func data(from offset: Int64) throws(TreeError) -> Range<Int64>? {
    let start = lseek(number, Int(offset), SEEK_DATA)
    if start < 0 {
      guard errno == ENXIO else { throw LinuxTree.error(path, "lseek", errno) }
      return nil
    }
    let end = lseek(number, start, SEEK_HOLE)
    guard end >= 0 else { throw LinuxTree.error(path, "lseek", errno) }
    return Int64(start)..<Int64(max(start, end))
  }

  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(TreeError) {
    let error = opened.write(bytes, range, at: offset)
    if error != 0 { throw LinuxTree.error(path, "write", error) }
    passing.wrote(offset..<(offset + Int64(range.count)), number)
  }

  func truncate(to size: Int64) throws(TreeError) {
    guard ftruncate(number, Int(size)) == 0 else { throw LinuxTree.error(path, "truncate", errno) }
  }

  func setOwner(_ owner: UInt32, group: UInt32) throws(TreeError) {
    guard fchown(number, owner, group) == 0 else { throw LinuxTree.error(path, "chown", errno) }
  }

  func setMode(_ mode: UInt16) throws(TreeError) {
    guard fchmod(number, mode_t(mode)) == 0 else { throw LinuxTree.error(path, "chmod", errno) }
  }

  func setAttribute(_ attribute: Attribute) throws(TreeError) {
    let error = unsafe withCString(attribute.name) { name -> Int32 in
      unsafe fsetxattr(number, name, attribute.value, attribute.value.count, 0) == 0 ? 0 : errno
    }
    if error != 0 { throw LinuxTree.error(path, "setxattr", error) }
  }

  func removeAttribute(_ name: [UInt8]) throws(TreeError) {
    let error = unsafe withCString(name) { name -> Int32 in
      unsafe fremovexattr(number, name) == 0 ? 0 : errno
    }
    if error != 0, error != ENODATA { throw LinuxTree.error(path, "removexattr", error) }
  }

  func setModified(_ time: WallTime) throws(TreeError) {
    let times = [timespec(tv_sec: 0, tv_nsec: Int(UTIME_OMIT)), time.timespec]
    guard unsafe futimens(number, times) == 0 else {
      throw LinuxTree.error(path, "utimensat", errno)
    }
  }

  func close() { descriptor = nil }
}

/// lseek(2): not in Glibc's module.
private let SEEK_DATA: Int32 = 3
private let SEEK_HOLE: Int32 = 4
