import CLinux
import Glibc
package import HoldfastCore

/// One folder of the state directory on a real filesystem.
package struct LinuxDisk: Disk {
  private let path: String
  private let directory: Descriptor
  private static let temporarySuffix = ".new"

  /// Opens the folder, making it (0700) where it is missing; its parent must be there.
  package init(_ path: String) throws(DiskError) {
    self.path = path
    if unsafe mkdir(path, 0o700) == 0 {
      let slash = path.lastIndex(of: "/") ?? path.startIndex
      let parent = slash == path.startIndex ? "/" : String(path[..<slash])
      let above = unsafe holdfast_openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
      guard above >= 0 else { throw .failed(parent, call: "open", errno: errno) }
      defer { _ = Glibc.close(above) }
      guard fsync(above) == 0 else { throw .flushFailed(parent, errno: errno) }
    } else if errno != EEXIST {
      throw isFull(errno) ? .full(path) : .failed(path, call: "mkdir", errno: errno)
    }
    let descriptor = unsafe holdfast_openat(
      AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw .failed(path, call: "open", errno: errno) }
    directory = Descriptor(descriptor)
  }

  private func full(_ name: String) -> String { path + "/" + name }

  private func failure(_ name: String, _ call: String) -> DiskError {
    let error = errno
    if error == ENOENT { return .absent(full(name)) }
    return isFull(error) ? .full(full(name)) : .failed(full(name), call: call, errno: error)
  }

  package func list() throws(DiskError) -> [String] {
    let copy = unsafe holdfast_openat(
      directory.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard copy >= 0 else { throw failure(".", "open") }
    let (names, error) = listNames(copy)
    guard error == 0 else { throw .failed(path, call: "readdir", errno: error) }
    return names.map { String(decoding: $0, as: UTF8.self) }
      .filter { !$0.hasSuffix(Self.temporarySuffix) }.sorted()
  }

  package func create(_ name: String) throws(DiskError) -> any DiskFile {
    let descriptor = unsafe holdfast_openat(
      directory.number, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure(name, "create") }
    return LinuxDiskFile(Descriptor(descriptor), path: full(name))
  }

  package func open(_ name: String, writable: Bool) throws(DiskError) -> any DiskFile {
    let descriptor = unsafe holdfast_openat(
      directory.number, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw failure(name, "open") }
    return LinuxDiskFile(Descriptor(descriptor), path: full(name))
  }

  package func remove(_ name: String) throws(DiskError) {
    guard unsafe unlinkat(directory.number, name, 0) == 0 || errno == ENOENT else {
      throw failure(name, "unlink")
    }
  }

  package func flushNames() throws(DiskError) {
    guard fsync(directory.number) == 0 else { throw .flushFailed(path, errno: errno) }
  }

  package func replace(_ name: String, with bytes: [UInt8]) throws(DiskError) {
    let temporary = name + Self.temporarySuffix
    let descriptor = unsafe holdfast_openat(
      directory.number, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure(temporary, "create") }
    let file = LinuxDiskFile(Descriptor(descriptor), path: full(temporary))
    try file.write(bytes, 0..<bytes.count, at: 0)
    try file.flush()
    guard unsafe renameat(directory.number, temporary, directory.number, name) == 0 else {
      throw failure(name, "rename")
    }
    try flushNames()
  }

  package func contents(of name: String) throws(DiskError) -> [UInt8]? {
    let file: any DiskFile
    do {
      file = try open(name, writable: false)
    } catch .absent {
      return nil
    }
    return try file.read(at: 0, count: Int(try file.size()))
  }

  package func freeBytes() throws(DiskError) -> Int64 {
    guard let free = freeBytesOf(directory.number) else { throw failure(".", "fstatfs") }
    return free
  }
}

/// What an unprivileged writer could still use; `nil` where the call failed.
func freeBytesOf(_ descriptor: Int32) -> Int64? {
  var answer = statfs()
  guard unsafe fstatfs(descriptor, &answer) == 0 else { return nil }
  return Int64(answer.f_bavail) * Int64(answer.f_bsize)
}

/// All names in a directory; takes over the descriptor.
func listNames(_ descriptor: Int32) -> (names: [[UInt8]], errno: Int32) {
  guard let stream = unsafe fdopendir(descriptor) else {
    let error = errno
    _ = Glibc.close(descriptor)
    return ([], error)
  }
  defer { unsafe _ = closedir(stream) }
  var names: [[UInt8]] = []
  while true {
    errno = 0
    guard let item = unsafe readdir(stream) else { return (names, errno) }
    let name = unsafe withUnsafePointer(to: &item.pointee.d_name) { pointer in
      unsafe pointer.withMemoryRebound(to: UInt8.self, capacity: 256) { bytes in
        unsafe Array(UnsafeBufferPointer(start: bytes, count: strnlen(pointer, 256)))
      }
    }
    if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
  }
}

final class LinuxDiskFile: DiskFile {
  private var descriptor: Descriptor?
  private let path: String

  init(_ descriptor: Descriptor, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  private var opened: Descriptor {
    guard let descriptor else { preconditionFailure("\(path) used after it was closed") }
    return descriptor
  }
  private var number: Int32 { opened.number }

  func size() throws(DiskError) -> Int64 {
    var answer = stat()
    guard unsafe fstat(number, &answer) == 0 else {
      throw .failed(path, call: "fstat", errno: errno)
    }
    return Int64(answer.st_size)
  }

  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(DiskError) {
    let error = opened.write(bytes, range, at: offset)
    guard error != 0 else { return }
    throw isFull(error) ? .full(path) : .failed(path, call: "write", errno: error)
  }

  func read(at offset: Int64, count: Int) throws(DiskError) -> [UInt8] {
    var got = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      got = unsafe opened.read(
        at: offset,
        into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
      filled = max(0, got)
    }
    guard got >= 0 else { throw .failed(path, call: "read", errno: Int32(-got)) }
    return bytes
  }

  func truncate(to size: Int64) throws(DiskError) {
    guard ftruncate(number, Int(size)) == 0 else {
      let error = errno
      throw isFull(error) ? .full(path) : .failed(path, call: "truncate", errno: error)
    }
  }

  func flush() throws(DiskError) {
    guard fdatasync(number) == 0 else { throw .flushFailed(path, errno: errno) }
  }

  func begin(_ range: Range<Int64>) {
    _ = holdfast_sync_file_range(
      number, Int(range.lowerBound), range.count, WritePassing.write)
  }

  func release(_ range: Range<Int64>) {
    _ = posix_fadvise(number, Int(range.lowerBound), range.count, POSIX_FADV_DONTNEED)
  }

  func close() { descriptor = nil }
}
