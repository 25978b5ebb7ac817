import CChecksum
import CCrypto

/// HMAC-SHA256 (RFC 2104) under one key. One value may be used by one thread at a time.
@safe package final class KeyedHash {
  private let context: OpaquePointer

  package init(key: [UInt8]) {
    let code = unsafe EVP_MAC_fetch(nil, "HMAC", nil)
    defer { unsafe EVP_MAC_free(code) }
    guard let context = unsafe EVP_MAC_CTX_new(code) else {
      preconditionFailure("HMAC is not available in libcrypto")
    }
    unsafe self.context = context
    // A parameter only points to its name and value: both must outlive the call.
    let name = Array("digest".utf8CString)
    var value = Array("SHA256".utf8CString)
    let done = unsafe name.withUnsafeBufferPointer { name in
      unsafe value.withUnsafeMutableBufferPointer { value in
        var parameters = unsafe [
          OSSL_PARAM_construct_utf8_string(name.baseAddress, value.baseAddress, 0),
          OSSL_PARAM_construct_end(),
        ]
        return unsafe EVP_MAC_init(context, key, key.count, &parameters)
      }
    }
    precondition(done == 1, "libcrypto refused a key of \(key.count) bytes")
  }

  deinit { unsafe EVP_MAC_CTX_free(context) }

  /// The hash of `bytes[range]` as four little-endian words.
  package func hash(_ bytes: [UInt8], _ range: Range<Int>) -> SIMD4<UInt64> {
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "\(range)")
    var out = SIMD4<UInt64>()
    var length = 0
    let done = unsafe bytes.withUnsafeBufferPointer { input -> Bool in
      let start = unsafe input.baseAddress?.advanced(by: range.lowerBound)
      return unsafe withUnsafeMutableBytes(of: &out) { output in
        // Without a key the context begins again with the one it has.
        unsafe EVP_MAC_init(context, nil, 0, nil) == 1
          && EVP_MAC_update(context, start, range.count) == 1
          && EVP_MAC_final(
            context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), &length,
            output.count) == 1
      }
    }
    // HMAC of bytes in memory can only fail for want of memory.
    precondition(done && length == 32, "HMAC failed: out of memory")
    return out
  }

  package func hash(_ bytes: [UInt8]) -> SIMD4<UInt64> { hash(bytes, 0..<bytes.count) }
}

/// SHA-256 (FIPS 180-4).
package enum Sha256 {
  package static func hash(_ bytes: [UInt8]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: 32)
    let done = unsafe SHA256(bytes, bytes.count, &out)
    precondition(unsafe done != nil, "SHA-256 failed: out of memory")
    return out
  }
}

/// Keys from a secret: HKDF with SHA-256 (RFC 5869).
package enum Derivation {
  /// - Parameter secret: already uniform, so that only the expansion with an empty salt is needed.
  package static func expand(_ secret: [UInt8], info: String, count: Int) -> [UInt8] {
    derive(secret, salt: [], info: Array(info.utf8), count: count)
  }

  package static func derive(
    _ secret: [UInt8], salt: [UInt8], info: [UInt8], count: Int
  ) -> [UInt8] {
    precondition(count <= 255 * 32, "HKDF gives at most 8160 bytes, asked for \(count)")
    let extractor = KeyedHash(key: salt.isEmpty ? [UInt8](repeating: 0, count: 32) : salt)
    let expander = KeyedHash(key: bytes(extractor.hash(secret)))
    var out: [UInt8] = []
    var block: [UInt8] = []
    var counter: UInt8 = 1
    while out.count < count {
      block = bytes(expander.hash(block + info + [counter]))
      out += block
      counter += 1
    }
    return Array(out.prefix(count))
  }

  private static func bytes(_ words: SIMD4<UInt64>) -> [UInt8] {
    (0..<32).map { UInt8(truncatingIfNeeded: words[$0 >> 3] >> UInt64(($0 & 7) * 8)) }
  }
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), eight bytes a step.
package enum Crc32c {
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for index in 0..<256 {
      var value = UInt32(index)
      for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
      tables[index] = value
    }
    for index in 256..<(8 * 256) {
      let before = tables[index - 256]
      tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
    }
    return tables
  }()

  private static let isInHardware = holdfast_has_crc32c() != 0

  package static func checksum(_ bytes: [UInt8], _ range: Range<Int>) -> UInt32 {
    guard isInHardware else { return checksumByTable(bytes, range) }
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "\(range)")
    return unsafe bytes.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return 0 }
      return unsafe ~holdfast_crc32c(~0, start + range.lowerBound, range.count)
    }
  }

  /// The same for processors without instructions for it.
  package static func checksumByTable(_ bytes: [UInt8], _ range: Range<Int>) -> UInt32 {
    ~fold(~0, bytes.span, range, tables.span)
  }

  private static func fold(
    _ start: UInt32, _ bytes: Span<UInt8>, _ range: Range<Int>, _ tables: Span<UInt32>
  ) -> UInt32 {
    var crc = start
    var index = range.lowerBound
    while index + 8 <= range.upperBound {
      let a =
        crc
        ^ (UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8
          | UInt32(bytes[index + 2]) << 16 | UInt32(bytes[index + 3]) << 24)
      let low = tables[7 * 256 + Int(a & 0xFF)] ^ tables[6 * 256 + Int(a >> 8 & 0xFF)]
      let mid = tables[5 * 256 + Int(a >> 16 & 0xFF)] ^ tables[4 * 256 + Int(a >> 24)]
      let high = tables[3 * 256 + Int(bytes[index + 4])] ^ tables[2 * 256 + Int(bytes[index + 5])]
      crc = low ^ mid ^ high ^ tables[256 + Int(bytes[index + 6])] ^ tables[Int(bytes[index + 7])]
      index += 8
    }
    while index < range.upperBound {
      crc = crc >> 8 ^ tables[Int((crc ^ UInt32(bytes[index])) & 0xFF)]
      index += 1
    }
    return crc
  }
}
