import HoldfastBytes
import Testing

private func noise(_ count: Int, seed: UInt64) -> [UInt8] {
  var state = seed
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8(truncatingIfNeeded: state >> 33)
  }
}

private let bounds = CutBounds(min: 16 << 10, mean: 64 << 10, max: 256 << 10)

private func cuts(_ bytes: [UInt8], _ cutter: Cutter) -> [Range<Int>] {
  var ranges: [Range<Int>] = []
  var start = 0
  while start < bytes.count {
    let length = cutter.firstCut(bytes, start..<bytes.count, isLast: true)
    ranges.append(start..<(start + length))
    start += length
  }
  return ranges
}

@Suite struct `Cutting by content` {
  private let cutter = Cutter(key: [UInt8](repeating: 1, count: 32), bounds: bounds)

  @Test func `slide to the start, over one another or not`() {
    for range in [0..<9, 3..<9, 8..<9, 5..<5, 4..<8] {
      var bytes = noise(9, seed: 3)
      let kept = Array(bytes[range])
      bytes.slide(range)
      #expect(Array(bytes[..<range.count]) == kept)
      #expect(bytes.count == 9)
    }
  }

  @Test func `stays within its bounds, near its mean`() {
    let lengths = cuts(noise(16 << 20, seed: 1), cutter).dropLast().map(\.count)
    #expect(lengths.allSatisfy { $0 >= bounds.min && $0 <= bounds.max })
    let mean = lengths.reduce(0, +) / lengths.count
    #expect((48 << 10...96 << 10).contains(mean), "mean \(mean)")
  }
  @Test func `cuts where the hash of the last 64 bytes says so`() {
    let stream = Derivation.expand(
      [UInt8](repeating: 1, count: 32), info: "holdfast gear table", count: 256 * 8)
    let table = (0..<256).map { byte in
      (0..<8).reduce(UInt64.zero) { $0 << 8 | UInt64(stream[byte * 8 + $1]) }
    }
    for length in [17 << 10, (16 << 10) + 3, 300 << 10, 1 << 20] {
      let bytes = noise(length, seed: UInt64(length))
      var hash: UInt64 = 0
      var wanted = min(bytes.count, bounds.max)
      for index in bounds.min..<wanted {
        hash = hash &<< 1 &+ table[Int(bytes[index])]
        let bits = index < bounds.mean ? 18 : 14
        if hash >> UInt64(64 - bits) == 0 {
          wanted = index + 1
          break
        }
      }
      #expect(cutter.firstCut(bytes, 0..<bytes.count, isLast: true) == wanted, "\(length)")
    }
  }
  @Test func `finds the same cuts again behind an inserted byte`() {
    let bytes = noise(4 << 20, seed: 2)
    var changed = bytes
    changed.insert(7, at: 1_000_000)
    let before = Set(cuts(bytes, cutter).map { Array(bytes[$0]) })
    let fresh = cuts(changed, cutter).map { Array(changed[$0]) }.filter { !before.contains($0) }
    #expect(fresh.reduce(0) { $0 + $1.count } <= 300 << 10)
  }
  @Test func `cuts elsewhere under another key`() {
    let bytes = noise(4 << 20, seed: 3)
    let other = Cutter(key: [UInt8](repeating: 2, count: 32), bounds: bounds)
    #expect(cuts(bytes, cutter) != cuts(bytes, other))
  }
}

@Suite struct `Hashes` {
  // RFC 4231, test case 2.
  @Test func `are HMAC-SHA256`() {
    let words = KeyedHash(key: Array("Jefe".utf8)).hash(Array("what do ya want for nothing?".utf8))
    #expect(words[0].byteSwapped == 0x5bdc_c146_bf60_754e)
    #expect(words[3].byteSwapped == 0x9dec_58b9_64ec_3843)
  }
  // RFC 3720, appendix B.4.
  @Test func `are CRC-32C`() {
    #expect(Crc32c.checksum([UInt8](repeating: 0, count: 32), 0..<32) == 0x8A91_36AA)
    #expect(Crc32c.checksum(Array(0..<32), 0..<32) == 0x46DD_794E)
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) }
    for end in [0, 1, 7, 8, 9, 999, 1000] {
      let range = min(3, end)..<end
      #expect(Crc32c.checksum(bytes, range) == Crc32c.checksumByTable(bytes, range), "\(end)")
    }
  }
  // RFC 5869, test case 3: no salt, no info.
  @Test func `are HKDF`() {
    let key = Derivation.derive([UInt8](repeating: 0x0B, count: 22), salt: [], info: [], count: 42)
    #expect(Array(key.prefix(4)) == [0x8D, 0xA4, 0xE7, 0x75])
    #expect(Array(key.suffix(2)) == [0x96, 0xC8])
  }
}

@Suite struct `Compression` {
  @Test(arguments: [Codec.zlib, .zstd], [100, 40_000, 300_000])
  func `gives back what it was given`(codec: Codec, count: Int) throws {
    let text = Array("holdfast ".utf8)
    let bytes = (0..<count).map { text[$0 % text.count] }
    let small = try #require(Compressor(codec: codec).compress(bytes, 0..<count))
    #expect(small.count < count)
    #expect(try Decompressor().decompress(codec, Array(small), plainCount: count) == bytes)
  }
  @Test(arguments: [Codec.zlib, .zstd])
  func `leaves noise alone`(codec: Codec) {
    #expect(Compressor(codec: codec).compress(noise(100_000, seed: 4), 0..<100_000) == nil)
  }
  @Test(arguments: [Codec.zlib, .zstd])
  func `never writes beyond the length that was stated`(codec: Codec) throws {
    let bytes = [UInt8](repeating: 0, count: 1 << 20)
    let small = try #require(Compressor(codec: codec).compress(bytes, 0..<bytes.count))
    #expect(throws: DecompressionError.self) {
      try Decompressor().decompress(codec, Array(small), plainCount: 1000)
    }
  }
}

@Suite struct `Encryption` {
  private let key = [UInt8](repeating: 9, count: 32)

  @Test func `gives back what it was given, in any order`() throws {
    let cipher = RecordCipher(key: key)
    var out: [[UInt8]] = []
    for number in 0..<5 {
      var bytes: [UInt8] = []
      cipher.encrypt(
        noise(1000 * number, seed: 5)[...], counter: UInt64(number), authenticating: [1, 2],
        into: &bytes)
      out.append(bytes)
    }
    for number in (0..<5).reversed() {
      let plain = try cipher.decrypt(
        out[number][...], counter: UInt64(number), authenticating: [1, 2])
      #expect(plain == noise(1000 * number, seed: 5))
    }
  }
  @Test func `refuses a flipped bit, another counter, other additional data, another key`() {
    let cipher = RecordCipher(key: key)
    var bytes: [UInt8] = []
    cipher.encrypt(noise(100, seed: 6)[...], counter: 3, authenticating: [1], into: &bytes)
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= 1
      #expect(throws: AuthenticationError.self) {
        try cipher.decrypt(changed[...], counter: 3, authenticating: [1])
      }
    }
    #expect(throws: AuthenticationError.self) {
      try cipher.decrypt(bytes[...], counter: 4, authenticating: [1])
    }
    #expect(throws: AuthenticationError.self) {
      try cipher.decrypt(bytes[...], counter: 3, authenticating: [2])
    }
    #expect(throws: AuthenticationError.self) {
      try RecordCipher(key: [UInt8](repeating: 8, count: 32))
        .decrypt(bytes[...], counter: 3, authenticating: [1])
    }
  }
}
