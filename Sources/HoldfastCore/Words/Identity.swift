/// A 32-byte value that names something by a digest. Compared as a whole, printed in hex.
package struct Digest32: Hashable, Sendable, CustomStringConvertible {
  // Four words rather than one vector: a value that is kept over a suspension may not ask for more
  // alignment than the allocator gives.
  private var first: UInt64
  private var second: UInt64
  private var third: UInt64
  private var fourth: UInt64

  /// Four little-endian words; word 0 holds the first eight bytes.
  package var words: SIMD4<UInt64> {
    get { SIMD4(first, second, third, fourth) }
    set { self = Digest32(words: newValue) }
  }

  package init(words: SIMD4<UInt64>) {
    first = words[0]
    second = words[1]
    third = words[2]
    fourth = words[3]
  }

  /// - Returns: `nil` unless `bytes` has exactly 32 elements.
  package init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 32 else { return nil }
    var words = SIMD4<UInt64>()
    for (index, byte) in bytes.enumerated() {
      words[index >> 3] |= UInt64(byte) << (UInt64(index & 7) * 8)
    }
    self.init(words: words)
  }

  package static let zero = Digest32(words: .zero)

  /// The 32 bytes in order.
  package var bytes: [UInt8] {
    var out = [UInt8]()
    out.reserveCapacity(32)
    append(to: &out)
    return out
  }

  /// Appends the 32 bytes in order.
  package func append(to out: inout [UInt8]) {
    for index in 0..<4 {
      var word = words[index]
      for _ in 0..<8 {
        out.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
      }
    }
  }

  /// The first eight bytes as a number: enough to guess, never enough to conclude.
  package var prefix: UInt64 { first }

  package var description: String { Hex.encode(bytes) }
}

/// Names a chunk by a keyed hash of its content; two pairs never share a name.
package struct ChunkName: Hashable, Sendable, CustomStringConvertible {
  package var digest: Digest32
  package init(_ digest: Digest32) { self.digest = digest }
  /// Stands for a run of zero bytes that is stored nowhere: a hole.
  package static let hole = ChunkName(.zero)
  package var description: String { digest.description }
}

/// Seals a recovery point: a digest over what it holds and over its parent's seal.
package struct Seal: Hashable, Sendable, CustomStringConvertible {
  package var digest: Digest32
  package init(_ digest: Digest32) { self.digest = digest }
  /// The parent of a pair's first point.
  package static let none = Seal(.zero)
  package var description: String { digest.description }
}

/// SHA-256 of a site's public key (DER of its SubjectPublicKeyInfo, RFC 5280, section 4.1.2.7).
package struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
  package var digest: Digest32
  package init(_ digest: Digest32) { self.digest = digest }
  package var description: String { digest.description }
}

/// A random 128-bit value that tells one thing from every other of its sort.
package struct RandomID: Hashable, Sendable, CustomStringConvertible {
  package let high: UInt64
  package let low: UInt64
  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
  package static let none = RandomID(high: 0, low: 0)

  /// - Returns: `nil` unless `bytes` has exactly 16 elements.
  package init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 16 else { return nil }
    let all = Array(bytes)
    high = all[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
    low = all[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
  }
  package init(_ dice: any Dice) {
    self.init(high: dice.word(), low: dice.word())
  }
  package var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
  }
  package var description: String { Hex.encode(bytes) }
}

/// The number of a recovery point, unique in its pair; gaps are allowed.
package struct PointNumber: RawRepresentable, Hashable, Comparable, Sendable,
  CustomStringConvertible
{
  package let rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
  /// No point yet.
  package static let none = PointNumber(rawValue: 0)
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  package var next: PointNumber { PointNumber(rawValue: rawValue + 1) }
  package var description: String { String(rawValue) }
}

/// The number of a reign: grows by one at each promotion.
package struct Epoch: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
  package static let none = Epoch(rawValue: 0)
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  package var next: Epoch { Epoch(rawValue: rawValue + 1) }
  package var description: String { String(rawValue) }
}

/// An epoch with the random id drawn when it began, so that two promotions to one number differ.
package struct Reign: Hashable, Sendable, CustomStringConvertible {
  package var epoch: Epoch
  package var id: RandomID
  package init(epoch: Epoch, id: RandomID) {
    self.epoch = epoch
    self.id = id
  }
  package static let none = Reign(epoch: .none, id: .none)
  package var description: String { "\(epoch)/\(id.description.prefix(8))" }
}

/// Lower-case hexadecimal.
package enum Hex {
  private static let digits = Array("0123456789abcdef".utf8)

  package static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var out = [UInt8]()
    for byte in bytes {
      out.append(digits[Int(byte >> 4)])
      out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// - Returns: `nil` where `text` has an odd length or another character than hex digits.
  package static func decode(_ text: some StringProtocol) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count % 2 == 0 else { return nil }
    var out = [UInt8]()
    for index in stride(from: 0, to: characters.count, by: 2) {
      guard let high = value(characters[index]), let low = value(characters[index + 1]) else {
        return nil
      }
      out.append(high << 4 | low)
    }
    return out
  }

  private static func value(_ character: UInt8) -> UInt8? {
    switch character {
    case 0x30...0x39: character - 0x30
    case 0x61...0x66: character - 0x61 + 10
    case 0x41...0x46: character - 0x41 + 10
    default: nil
    }
  }
}
