import CZlib
import CZstd

/// How the plain bytes of a record were made smaller.
package enum Codec: UInt8, Sendable, CaseIterable {
  case none = 0
  case zlib = 1
  case zstd = 2
}

/// Bytes that do not decompress to what their record says.
package struct DecompressionError: Error, Hashable, Sendable {}

/// Compresses and decompresses records. One value may be used by one thread at a time.
@safe package final class Compressor {
  private let codec: Codec
  /// As the codec counts them.
  package var level: Int32
  private let context: OpaquePointer
  private var scratch: [UInt8] = []
  /// Below this a sample says too little.
  private static let sampledFrom = 32 << 10
  private static let sampleBytes = 4 << 10

  /// - Parameter codec: what ``compress(_:_:)`` uses where it helps.
  package init(codec: Codec, level: Int32 = 1) {
    self.codec = codec
    self.level = level
    guard let context = unsafe ZSTD_createCCtx() else { preconditionFailure("out of memory") }
    unsafe self.context = context
  }

  deinit { unsafe ZSTD_freeCCtx(context) }

  /// The compressed form of `bytes[range]`, or `nil` where that would not be at least 1/32 smaller.
  package func compress(_ bytes: [UInt8], _ range: Range<Int>) -> ArraySlice<UInt8>? {
    guard codec != .none, range.count >= 64 else { return nil }
    if range.count >= Self.sampledFrom {
      let middle = range.lowerBound + range.count / 2
      let sample = middle..<(middle + Self.sampleBytes)
      guard squeeze(bytes, sample) < Self.sampleBytes - Self.sampleBytes / 32 else { return nil }
    }
    let count = squeeze(bytes, range)
    return count <= range.count - range.count / 32 - 1 ? scratch[..<count] : nil
  }

  /// - Returns: how many bytes of `scratch` hold the result.
  private func squeeze(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
    let bound = max(ZSTD_compressBound(range.count), Int(compressBound(UInt(range.count))))
    if scratch.count < bound { scratch = [UInt8](repeating: 0, count: bound) }
    return unsafe bytes.withUnsafeBytes { input -> Int in
      let source = unsafe input.baseAddress?.advanced(by: range.lowerBound)
      return unsafe scratch.withUnsafeMutableBytes { output -> Int in
        if codec == .zstd {
          let count = unsafe ZSTD_compressCCtx(
            context, output.baseAddress, output.count, source, range.count, level)
          return ZSTD_isError(count) == 0 ? count : Int.max
        }
        var count = UInt(output.count)
        let result = unsafe compress2(
          output.baseAddress?.assumingMemoryBound(to: UInt8.self), &count,
          source?.assumingMemoryBound(to: UInt8.self), UInt(range.count), level)
        return result == Z_OK ? Int(count) : Int.max
      }
    }
  }
}

/// Decompresses records of any codec. One value may be used by one thread at a time.
@safe package final class Decompressor {
  private let context: OpaquePointer

  package init() {
    guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("out of memory") }
    unsafe self.context = context
  }

  deinit { unsafe ZSTD_freeDCtx(context) }

  /// Never writes beyond `plainCount` bytes, whatever the input claims.
  package func decompress(
    _ codec: Codec, _ bytes: [UInt8], plainCount: Int
  ) throws(DecompressionError) -> [UInt8] {
    if codec == .none {
      guard bytes.count == plainCount else { throw DecompressionError() }
      return bytes
    }
    var isWhole = false
    let plain = unsafe [UInt8](unsafeUninitializedCapacity: plainCount) { output, initialized in
      var count = UInt(plainCount)
      if codec == .zstd {
        let result = unsafe ZSTD_decompressDCtx(
          context, output.baseAddress, plainCount, bytes, bytes.count)
        isWhole = ZSTD_isError(result) == 0 && result == plainCount
      } else {
        let result = unsafe uncompress(output.baseAddress, &count, bytes, UInt(bytes.count))
        isWhole = result == Z_OK && count == UInt(plainCount)
      }
      // What was not whole is thrown away unread.
      initialized = isWhole ? plainCount : 0
    }
    guard isWhole else { throw DecompressionError() }
    return plain
  }
}
