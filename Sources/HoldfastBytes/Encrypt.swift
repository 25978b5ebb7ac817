import CCrypto

/// A named set of algorithms for data at rest; nothing outside this list is ever used.
package enum Suite: UInt8, Sendable, CaseIterable {
  case aes256gcm = 1
}

/// Bytes that were changed, or belong to another key, place or length.
package struct AuthenticationError: Error, Hashable, Sendable {}

/// AES-256-GCM (NIST SP 800-38D) under one key, with a counter as nonce. The caller never uses one
/// counter twice with one key for encrypting. One value may be used by one thread at a time.
@safe package final class RecordCipher {
  package static let tagBytes = 16
  private let context: OpaquePointer
  private let key: [UInt8]
  private var direction: Int32 = -1

  /// - Parameter key: 32 bytes.
  package init(key: [UInt8]) {
    precondition(key.count == 32, "AES-256 needs 32 bytes, not \(key.count)")
    guard let context = unsafe EVP_CIPHER_CTX_new() else { preconditionFailure("out of memory") }
    unsafe self.context = context
    self.key = key
  }

  deinit { unsafe EVP_CIPHER_CTX_free(context) }

  /// 96 bits: four zero bytes, then the counter, big-endian.
  private func begin(_ counter: UInt64, encrypting: Bool) {
    var nonce = [UInt8](repeating: 0, count: 12)
    for index in 0..<8 { nonce[11 - index] = UInt8(truncatingIfNeeded: counter >> (8 * index)) }
    let wanted: Int32 = encrypting ? 1 : 0
    // The key schedule is kept between records of one direction.
    let done =
      direction == wanted
      ? unsafe EVP_CipherInit_ex(context, nil, nil, nil, nonce, wanted)
      : unsafe EVP_CipherInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce, wanted)
    precondition(done == 1, "AES-256-GCM is not available in libcrypto")
    direction = wanted
  }

  private func authenticate(_ extra: [UInt8]) {
    var count: Int32 = 0
    let done = unsafe EVP_CipherUpdate(context, nil, &count, extra, Int32(extra.count))
    precondition(done == 1, "libcrypto refused \(extra.count) bytes of additional data")
  }

  /// Appends the encrypted bytes and the tag to `out`.
  package func encrypt(
    _ plain: ArraySlice<UInt8>, counter: UInt64, authenticating extra: [UInt8],
    into out: inout [UInt8]
  ) {
    begin(counter, encrypting: true)
    authenticate(extra)
    let start = out.count
    out.append(contentsOf: plain)
    out.append(contentsOf: repeatElement(0, count: Self.tagBytes))
    unsafe out.withUnsafeMutableBytes { buffer in
      guard let base = buffer.baseAddress else { return }
      let data = unsafe base.advanced(by: start).assumingMemoryBound(to: UInt8.self)
      var count: Int32 = 0
      var done = unsafe EVP_CipherUpdate(context, data, &count, data, Int32(plain.count))
      precondition(done == 1 && Int(count) == plain.count, "libcrypto encrypted \(count) bytes")
      let end = unsafe data.advanced(by: plain.count)
      done = unsafe EVP_CipherFinal_ex(context, end, &count)
      precondition(done == 1, "libcrypto did not finish a record")
      done = unsafe EVP_CIPHER_CTX_ctrl(
        context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), end)
      precondition(done == 1, "libcrypto gave no tag")
    }
  }

  /// The plain bytes of `sealed`, which ends with its tag.
  package func decrypt(
    _ sealed: ArraySlice<UInt8>, counter: UInt64, authenticating extra: [UInt8]
  ) throws(AuthenticationError) -> [UInt8] {
    guard sealed.count >= Self.tagBytes else { throw AuthenticationError() }
    begin(counter, encrypting: false)
    authenticate(extra)
    let plainCount = sealed.count - Self.tagBytes
    var tag = Array(sealed.suffix(Self.tagBytes))
    var isGenuine = false
    let plain = unsafe sealed.withUnsafeBytes { input in
      unsafe [UInt8](unsafeUninitializedCapacity: plainCount + 1) { output, initialized in
        var count: Int32 = 0
        let source = unsafe input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var done = unsafe EVP_CipherUpdate(
          context, output.baseAddress, &count, source, Int32(plainCount))
        precondition(done == 1, "libcrypto refused \(plainCount) bytes")
        unsafe _ = EVP_CIPHER_CTX_ctrl(
          context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), &tag)
        done = unsafe EVP_CipherFinal_ex(
          context, output.baseAddress?.advanced(by: plainCount), &count)
        isGenuine = done == 1
        initialized = isGenuine ? plainCount : 0
      }
    }
    guard isGenuine else { throw AuthenticationError() }
    return plain
  }
}

/// Unpredictable bytes from the operating system, through libcrypto.
package enum SecureRandom {
  package static func bytes(_ count: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    let done = unsafe RAND_bytes(&out, Int32(count))
    precondition(done == 1, "the operating system gave no random bytes")
    return out
  }
}
