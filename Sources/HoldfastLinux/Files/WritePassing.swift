import CLinux
import Glibc
import HoldfastCore

/// Has what is written from a file's beginning on pass through the page cache instead of filling
/// it: the disk begins with each portion at once, and the memory of those before is given back when
/// they are there. Memory that was used a moment ago costs less than memory that was not
/// (docs/benchmarks.md).
///
/// Nothing is durable by this, and nobody waits: an error that a wait had been told of, an fsync(2)
/// through a descriptor that is opened later would not be (errseq_t in the kernel).
struct WritePassing {
  private var begun: Int64 = 0
  private var end: Int64 = 0

  /// - Parameter range: was written; what does not lie behind all before it is let be.
  mutating func wrote(_ range: Range<Int64>, _ descriptor: Int32) {
    guard range.lowerBound >= end else { return }
    end = range.upperBound
    guard end - begun >= Limits.passingBytes else { return }
    _ = holdfast_sync_file_range(descriptor, Int(begun), Int(end - begun), Self.write)
    // Some of them may still be on their way.
    let first = max(0, begun - Self.portions * Limits.passingBytes)
    if first < begun {
      _ = posix_fadvise(descriptor, Int(first), Int(begun - first), POSIX_FADV_DONTNEED)
    }
    begun = end
  }

  private static let portions: Int64 = 8
  /// SYNC_FILE_RANGE_WRITE: alone it takes no error from a flush that follows.
  static let write: UInt32 = 2
}
