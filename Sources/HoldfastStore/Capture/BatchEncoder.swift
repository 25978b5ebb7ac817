import HoldfastBytes
import HoldfastCore
import Synchronization

/// Records that are to be compressed and encrypted together.
struct RecordBatch: Sendable {
  struct Record: Sendable {
    var kind: RecordKind
    var name: ChunkName
    /// In ``plain``.
    var range: Range<Int>
  }
  private(set) var plain: [UInt8] = []
  private(set) var records: [Record] = []

  var isEmpty: Bool { records.isEmpty }
  /// What the records take at most in a segment.
  var bytesMax: Int { plain.count + records.count * RecordHeader.overheadBytes }

  mutating func add(
    _ kind: RecordKind, _ name: ChunkName, _ bytes: [UInt8], _ range: Range<Int>
  ) {
    let start = plain.count
    plain.append(contentsOf: bytes[range])
    records.append(Record(kind: kind, name: name, range: start..<plain.count))
  }

  mutating func removeAll() {
    plain.removeAll(keepingCapacity: true)
    records.removeAll(keepingCapacity: true)
  }
}

/// Compresses and encrypts one batch on a helper's thread, while its owner gathers the next. One
/// owner; between ``start(_:)`` and ``wait()`` it calls nothing else.
final class BatchEncoder: Sendable {
  private struct Work {
    let compressor: Compressor
    var segment: SegmentEncoder?
    var batch = RecordBatch()
    var encoded: [UInt8] = []
  }
  private let work: Mutex<Work>
  private let isBusy = Atomic(false)
  private let codec: Codec
  private let secret: PairSecret
  private let helper: any Helper

  init(codec: Codec, secret: PairSecret, helper: any Helper) {
    self.codec = codec
    self.secret = secret
    self.helper = helper
    work = Mutex(Work(compressor: Compressor(codec: codec)))
  }

  /// What follows belongs to a new segment.
  func begin(_ header: SegmentHeader) {
    work.withLock { $0.segment = SegmentEncoder(header: header, secret: secret) }
  }

  /// Takes the batch away, leaving an empty one.
  func start(_ batch: inout RecordBatch, _ effort: CompressionEffort) {
    hand(&batch, effort)
    isBusy.store(true, ordering: .relaxed)
    helper.run {
      self.encode()
      self.isBusy.store(false, ordering: .relaxed)
    }
  }

  /// Whether what was started last is still being encoded.
  var isLate: Bool { isBusy.load(ordering: .relaxed) }

  func wait() { helper.wait() }

  /// The same without the helper; returns when it is done.
  func encode(_ batch: inout RecordBatch) {
    hand(&batch, .usual)
    encode()
  }

  private func hand(_ batch: inout RecordBatch, _ effort: CompressionEffort) {
    work.withLock { work in
      swap(&work.batch, &batch)
      work.compressor.level = effort.level(codec)
    }
  }

  /// Gives what was encoded for a buffer whose content is no longer needed.
  func take(_ encoded: inout [UInt8]) {
    work.withLock { swap(&$0.encoded, &encoded) }
  }

  private func encode() {
    work.withLock { work in
      guard let segment = work.segment else { preconditionFailure("records of no segment") }
      work.encoded.removeAll(keepingCapacity: true)
      for record in work.batch.records {
        segment.append(
          record.kind, name: record.name, work.batch.plain, record.range,
          compressor: work.compressor, codec: codec, into: &work.encoded)
      }
      work.batch.removeAll()
    }
  }
}

extension CompressionEffort {
  /// Of zstd on chunks of system files: 1.6, 1.8 and 1.9 times smaller, at 800, 550 and 140 MB/s a
  /// core.
  func level(_ codec: Codec) -> Int32 {
    switch (codec, self) {
    case (.zlib, .thorough): 6
    case (.zlib, _): 1
    case (_, .quick): -5
    case (_, .usual): 1
    case (_, .thorough): 6
    }
  }
}
