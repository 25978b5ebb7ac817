import CLinux
import Glibc
import HoldfastCore

/// By FICLONERANGE and FIEMAP, on XFS.
final class LinuxBlockSharing: BlockSharing {
  private let file: Descriptor
  private let copy: Descriptor
  private let path: TreePath
  /// Taken from the kernel in one call.
  private static let extentsAtOnce = 4096

  init(file: Descriptor, copy: Descriptor, path: TreePath) {
    self.file = file
    self.copy = copy
    self.path = path
  }

  private func look() throws(TreeError) -> stat {
    var answer = stat()
    guard unsafe fstat(file.number, &answer) == 0 else {
      throw LinuxTree.error(path, "fstat", errno)
    }
    return answer
  }

  func status() throws(TreeError) -> Status { Status(try look()) }

  func layout() throws(TreeError) -> [FileExtent]? {
    // Who shares blocks waits for direct writes that are on their way; who asks where they lie
    // does not.
    let answer = try look()
    let block = min(Int64(answer.st_size), Int64(answer.st_blksize))
    if block > 0 { try share(0..<block) }
    return try extents(of: file.number)
  }

  func copyLayout() throws(TreeError) -> [FileExtent]? {
    try extents(of: copy.number)
  }

  func share(_ range: Range<Int64>) throws(TreeError) {
    guard
      holdfast_clone_range(
        copy.number, file.number, range.lowerBound, Int64(range.count)) == 0
    else { throw LinuxTree.error(path, "clone", errno) }
  }

  func resizeCopy(to size: Int64) throws(TreeError) {
    guard ftruncate(copy.number, Int(size)) == 0 else {
      throw LinuxTree.error(path, "truncate", errno)
    }
  }

  private func extents(of number: Int32) throws(TreeError) -> [FileExtent]? {
    var found: [FileExtent] = []
    var offset: Int64 = 0
    var map = [UInt64](repeating: 0, count: Self.mapWords)
    while true {
      let (batch, error) = unsafe map.withUnsafeMutableBytes {
        bytes -> ([fiemap_extent], Int32) in
        guard let base = bytes.baseAddress else { return ([], EINVAL) }
        let head = unsafe base.assumingMemoryBound(to: fiemap.self)
        let count = unsafe holdfast_extents(
          number, head, offset, UInt32(Self.extentsAtOnce), offset == 0 ? 1 : 0)
        guard count >= 0 else { return ([], errno) }
        let first = unsafe (base + MemoryLayout<fiemap>.stride)
          .assumingMemoryBound(to: fiemap_extent.self)
        return unsafe (Array(UnsafeBufferPointer(start: first, count: Int(count))), 0)
      }
      guard error == 0 else { throw LinuxTree.error(path, "fiemap", error) }
      guard found.count + batch.count <= Limits.extentsMax else { return nil }
      for extent in batch {
        let start = Int64(extent.fe_logical)
        offset = start + Int64(extent.fe_length)
        // What is allocated and was never written reads as a hole.
        if extent.fe_flags & UInt32(FIEMAP_EXTENT_UNWRITTEN) != 0 { continue }
        found.append(
          FileExtent(
            start..<offset, at: extent.fe_physical,
            isFixed: extent.fe_flags & Self.vagueFlags == 0))
      }
      guard let last = batch.last, last.fe_flags & UInt32(FIEMAP_EXTENT_LAST) == 0 else {
        return found
      }
    }
  }

  private static let mapWords =
    (MemoryLayout<fiemap>.stride + extentsAtOnce * MemoryLayout<fiemap_extent>.stride) / 8
  private static let vagueFlags = UInt32(
    FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED
      | FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE
      | FIEMAP_EXTENT_DATA_TAIL)
}
