import Glibc

/// Bytes at a place in a file: all of them, however many calls it takes.
extension Descriptor {
  /// Reads until `buffer` is full or the file ends.
  /// - Returns: how many bytes there were, or the errno negated.
  func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
    var got = 0
    while got < buffer.count {
      let result = retried {
        unsafe pread(
          number, buffer.baseAddress?.advanced(by: got), buffer.count - got, Int(offset) + got)
      }
      if result < 0 { return result }
      if result == 0 { break }
      got += result
    }
    return got
  }

  /// - Returns: 0, or the errno.
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) -> Int32 {
    var done = 0
    while done < range.count {
      let result = unsafe bytes.withUnsafeBytes { buffer in
        retried {
          unsafe pwrite(
            number, buffer.baseAddress?.advanced(by: range.lowerBound + done),
            range.count - done, Int(offset) + done)
        }
      }
      if result < 0 { return Int32(-result) }
      done += result
    }
    return 0
  }
}
