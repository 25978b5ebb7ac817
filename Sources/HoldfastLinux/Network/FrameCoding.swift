import HoldfastCore

/// Cuts the byte stream into frames: four bytes of length, big-endian, then the frame. Each byte is
/// copied once, to where the frame stays.
package struct FrameDecoder {
  package struct TooLong: Error { package let bytes: Int }

  /// Of the frame's length.
  private var head: [UInt8] = []
  private var frame: [UInt8] = []
  /// Bytes of the frame that are still to come; `nil` while its length is.
  private var missing: Int?
  /// Room is made for a whole frame once so much of it has come: a length alone costs nothing.
  private static let believedFrom = 64 << 10

  package init() {}

  /// - Parameter found: told of each frame that is whole now.
  /// - Throws: before a byte of such a frame is kept; nothing can be read after it.
  package mutating func read(
    _ bytes: some RandomAccessCollection<UInt8>, found: ([UInt8]) -> Void
  ) throws(TooLong) {
    var rest = bytes[...]
    while true {
      if let missing {
        let taken = rest.prefix(missing)
        reserve(taken.count, missing)
        frame.append(contentsOf: taken)
        rest = rest.dropFirst(taken.count)
        self.missing = missing - taken.count
        guard missing == taken.count else { return }
        found(frame)
        frame = []
        self.missing = nil
      }
      let taken = rest.prefix(4 - head.count)
      head += taken
      rest = rest.dropFirst(taken.count)
      guard head.count == 4 else { return }
      let length = head.reduce(0) { $0 << 8 | Int($1) }
      head.removeAll(keepingCapacity: true)
      guard length <= Limits.frameBytesMax else { throw TooLong(bytes: length) }
      missing = length
    }
  }

  private mutating func reserve(_ coming: Int, _ missing: Int) {
    let isBelieved = frame.count + coming >= min(Self.believedFrom, frame.count + missing)
    if isBelieved { frame.reserveCapacity(frame.count + missing) }
  }
}
