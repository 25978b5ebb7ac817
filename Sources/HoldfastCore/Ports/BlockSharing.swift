/// A file, and a copy of it that is brought up to its content by sharing blocks. Both stay open as
/// long as this is. Not shared between threads.
package protocol BlockSharing: AnyObject {
  /// Of the file that is open, whatever its name leads to by now.
  func status() throws(TreeError) -> Status
  /// Where the file's bytes lie, once all that was written by now is on the disk.
  /// - Returns: `nil` where it lies in more pieces than ``Limits/extentsMax``.
  func layout() throws(TreeError) -> [FileExtent]?
  /// The same of the copy, which nobody else writes.
  func copyLayout() throws(TreeError) -> [FileExtent]?
  /// Has the copy hold in a range what the file holds there, at once (ioctl_ficlonerange(2)). The
  /// file is not written meanwhile: its writers wait.
  /// - Parameter range: begins and ends at whole blocks of the filesystem, or at the file's end.
  func share(_ range: Range<Int64>) throws(TreeError)
  /// Gives the copy a size; what is new of it is a hole.
  func resizeCopy(to size: Int64) throws(TreeError)
}
