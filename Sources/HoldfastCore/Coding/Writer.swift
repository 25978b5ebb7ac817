/// Appends numbers and bytes in the encoding of docs/format.md: fixed numbers little-endian,
/// variable ones as LEB128.
package struct Writer {
  package var bytes: [UInt8] = []
  package init() {}

  package mutating func fixed(_ value: UInt8) { bytes.append(value) }
  package mutating func fixed(_ value: UInt16) { little(value) }
  package mutating func fixed(_ value: UInt32) { little(value) }
  package mutating func fixed(_ value: UInt64) { little(value) }
  package mutating func fixed(_ value: Int64) { little(value) }
  // Generic only inside: across modules every shift would be a call.
  private mutating func little<Number: FixedWidthInteger>(_ value: Number) {
    for shift in stride(from: 0, to: Number.bitWidth, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> Number(truncatingIfNeeded: shift)))
    }
  }
  package mutating func variable(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
  /// Signed numbers are folded (zigzag), so that small negative ones stay short.
  package mutating func signed(_ value: Int64) {
    variable(UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }
  package mutating func raw(_ more: [UInt8]) { bytes.append(contentsOf: more) }
  package mutating func digest(_ digest: Digest32) { digest.append(to: &bytes) }
  package mutating func counted(_ more: [UInt8]) {
    variable(UInt64(more.count))
    raw(more)
  }
}

/// What is wrong with bytes that should hold a value.
package enum CodingError: Error, Hashable, Sendable {
  case short
  case invalid(String)
}

/// Reads what ``Writer`` wrote, trusting nothing.
package struct Reader {
  package let bytes: [UInt8]
  package private(set) var position: Int
  package let end: Int

  package init(_ bytes: [UInt8]) { self.init(bytes, 0..<bytes.count) }
  package init(_ bytes: [UInt8], _ range: Range<Int>) {
    precondition(range.upperBound <= bytes.count, "range \(range) beyond \(bytes.count) bytes")
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  package var isAtEnd: Bool { position == end }
  package var remaining: Int { end - position }

  package mutating func fixed(_: UInt8.Type = UInt8.self) throws(CodingError) -> UInt8 {
    try little()
  }
  package mutating func fixed(_: UInt16.Type = UInt16.self) throws(CodingError) -> UInt16 {
    try little()
  }
  package mutating func fixed(_: UInt32.Type = UInt32.self) throws(CodingError) -> UInt32 {
    try little()
  }
  package mutating func fixed(_: UInt64.Type = UInt64.self) throws(CodingError) -> UInt64 {
    try little()
  }
  package mutating func fixed(_: Int64.Type = Int64.self) throws(CodingError) -> Int64 {
    try little()
  }
  private mutating func little<Number: FixedWidthInteger>() throws(CodingError) -> Number {
    let width = Number.bitWidth / 8
    guard remaining >= width else { throw .short }
    var value = Number.zero
    for index in 0..<width {
      value |= Number(truncatingIfNeeded: bytes[position + index]) << Number(index * 8)
    }
    position += width
    return value
  }
  package mutating func variable() throws(CodingError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      guard position < end else { throw .short }
      let byte = bytes[position]
      position += 1
      guard shift < 63 || byte <= 1 else { throw .invalid("number of more than 64 bits") }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
  }
  package mutating func signed() throws(CodingError) -> Int64 {
    let folded = try variable()
    return Int64(bitPattern: folded >> 1) ^ -Int64(bitPattern: folded & 1)
  }
  package mutating func raw(_ count: Int) throws(CodingError) -> [UInt8] {
    guard count >= 0, remaining >= count else { throw .short }
    defer { position += count }
    return Array(bytes[position..<(position + count)])
  }
  package mutating func digest() throws(CodingError) -> Digest32 {
    guard remaining >= 32 else { throw .short }
    var words = SIMD4<UInt64>()
    for index in 0..<4 { words[index] = try fixed(UInt64.self) }
    return Digest32(words: words)
  }
  package mutating func random() throws(CodingError) -> RandomID {
    guard let id = RandomID(try raw(16)) else { throw .short }
    return id
  }
  /// - Parameter max: what a larger count would make a crime of.
  package mutating func counted(max: Int) throws(CodingError) -> [UInt8] {
    let count = try variable()
    guard count <= UInt64(max) else { throw .invalid("\(count) bytes where \(max) are allowed") }
    return try raw(Int(count))
  }
  package mutating func count(max: Int) throws(CodingError) -> Int {
    let count = try variable()
    guard count <= UInt64(max) else { throw .invalid("\(count) items where \(max) are allowed") }
    return Int(count)
  }
}
