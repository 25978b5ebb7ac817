/// What the disk answered instead of doing what was asked.
package enum DiskError: Error, Hashable, Sendable {
  case absent(String)
  /// ENOSPC or EDQUOT. What was asked is not done; what was there before still is.
  case full(String)
  /// A flush failed: what was written since the last one that succeeded may be gone, and asking
  /// again would lie (fsync(2); Rebello et al., "Can Applications Recover from fsync Failures?",
  /// ATC 2020). The file is not to be used further.
  case flushFailed(String, errno: Int32)
  case failed(String, call: String, errno: Int32)

  // EIO, ENODATA, EBADMSG, EUCLEAN.
  private static let mediumErrors: Set<Int32> = [5, 61, 74, 117]
  /// Whether the disk has lost what was to be read, as against one that cannot be asked now.
  package var isContentLost: Bool {
    if case .failed(_, "read", let errno) = self {
      Self.mediumErrors.contains(errno)
    } else {
      false
    }
  }

  package var path: String {
    switch self {
    case .absent(let path), .full(let path), .flushFailed(let path, _), .failed(let path, _, _):
      path
    }
  }
}

extension DiskError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .absent(let path): "\(path) does not exist"
    case .full(let path): "no space left for \(path)"
    case .flushFailed(let path, let errno): "flushing \(path) failed (errno \(errno))"
    case .failed(let path, let call, let errno): "\(call) of \(path) failed (errno \(errno))"
    }
  }
}

/// One open file of the state directory. Not shared between threads.
package protocol DiskFile: AnyObject {
  /// Bytes that a reader would see.
  func size() throws(DiskError) -> Int64
  /// Writes all of `bytes[range]` at `offset`. After `full` or `failed` any part may be written.
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(DiskError)
  /// Up to `count` bytes at `offset`; fewer only at the end of the file.
  func read(at offset: Int64, count: Int) throws(DiskError) -> [UInt8]
  /// Cuts or extends the file.
  func truncate(to size: Int64) throws(DiskError)
  /// Returns once all that was written is durable (fdatasync(2)).
  func flush() throws(DiskError)
  /// The disk may begin with what was written in `range`, so that less is left for ``flush()``,
  /// which alone says that it is there. Only a hint; returns at once.
  func begin(_ range: Range<Int64>)
  /// What lies in `range` will hardly be read again soon: the memory that holds what of it is
  /// durable may be given back. Only a hint.
  func release(_ range: Range<Int64>)
  func close()
}

/// The files of one folder of the state directory; names are plain, without `/`.
package protocol Disk: Sendable {
  /// Names in the folder, sorted; temporary files of ``replace(_:with:)`` left out.
  func list() throws(DiskError) -> [String]
  /// Makes a file that must not exist yet. Durable as a name only after ``flushNames()``.
  func create(_ name: String) throws(DiskError) -> any DiskFile
  func open(_ name: String, writable: Bool) throws(DiskError) -> any DiskFile
  func remove(_ name: String) throws(DiskError)
  /// Returns once the folder's names are durable (fsync(2) of the directory).
  func flushNames() throws(DiskError)
  /// Puts a whole file in place, durably: data, rename, directory. After a throw either the old
  /// or the new content is there, whole.
  func replace(_ name: String, with bytes: [UInt8]) throws(DiskError)
  /// - Returns: `nil` where there is no such file.
  func contents(of name: String) throws(DiskError) -> [UInt8]?
  /// Bytes that an unprivileged writer could still use on this filesystem.
  func freeBytes() throws(DiskError) -> Int64
}
