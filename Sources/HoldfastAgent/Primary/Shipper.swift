import HoldfastBytes
package import HoldfastCore
import HoldfastStore
import HoldfastWire

/// Sends the spool's segments to the standby, byte for byte, from where it stopped. Works on a
/// thread of its own.
package actor Shipper {
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }
  private nonisolated let executor: any SerialExecutor
  private let pair: PairConfiguration
  private let host: any Host
  private let board: PairBoard
  private let spoolBoard: SpoolBoard
  private let identity: PairFiles.Identity
  package nonisolated let wake: Signal
  private var limit: BandwidthLimit
  /// What the standby has in memory or better, of the segment that is being sent.
  private var received: (id: RandomID, size: Int64)?

  package init(
    pair: PairConfiguration, host: any Host, board: PairBoard, spoolBoard: SpoolBoard,
    identity: PairFiles.Identity, wake: Signal
  ) {
    executor = host.executor("ship \(pair.name)")
    self.pair = pair
    self.host = host
    self.board = board
    self.spoolBoard = spoolBoard
    self.identity = identity
    self.wake = wake
    limit = BandwidthLimit(bytesPerSecond: pair.bandwidth)
  }

  package func acknowledged(_ id: RandomID, received size: Int64) {
    received = (id, size)
    wake.set()
  }

  /// Runs until the link ends or the task is cancelled.
  /// - Parameter tail: the segment whose end the standby has, and how much of it.
  package func run(_ link: any Link, tail: (id: RandomID, size: Int64)?) async throws {
    let disk = try host.disk(["pairs", pair.name, "spool"])
    var generation = -1
    var reader = Journal(reading: disk, secret: identity.secret)
    var current: UInt64?
    var offset: Int64 = 0
    received = nil
    while !Task.isCancelled {
      let state = spoolBoard.view
      if state.generation != generation {
        reader = Journal(reading: disk, secret: identity.secret)
        current = nil
        if generation == -1, let tail, let piece = state.pieces.first(where: { $0.id == tail.id }) {
          // More than this side still has: a power cut took it here; the next segment goes on.
          current = piece.number
          offset = min(tail.size, piece.size)
          received = (piece.id, offset)
        }
        generation = state.generation
      }
      if let number = current, let piece = state.pieces.first(where: { $0.number == number }) {
        if offset < piece.size {
          guard isWithinWindow(piece.id, offset) else {
            await wake.wait(until: host.clock.now() + .seconds(1), host.clock)
            continue
          }
          offset += try await send(link, reader, piece, from: offset)
          continue
        }
        guard let next = state.pieces.first(where: { $0.number > number }) else {
          await waitForMore()
          continue
        }
        current = next.number
        offset = 0
      } else if let first = state.pieces.first(where: { $0.number > current ?? 0 }) {
        current = first.number
        offset = 0
      } else {
        await waitForMore()
      }
    }
  }

  private func waitForMore() async {
    board.update { $0.pace?.rest() }
    await wake.wait(until: host.clock.now() + .seconds(1), host.clock)
  }

  private func isWithinWindow(_ id: RandomID, _ offset: Int64) -> Bool {
    // A segment's start always goes: its acknowledgement says what else may.
    guard offset > 0 else { return true }
    guard let received, received.id == id else { return offset < Limits.windowBytes }
    return offset - received.size < Limits.windowBytes
  }

  /// - Returns: how many bytes of the segment went.
  private func send(
    _ link: any Link, _ reader: Journal, _ piece: SpoolBoard.Piece, from offset: Int64
  ) async throws -> Int64 {
    host.probe.hit(.sending)
    if offset == 0 {
      let header = try reader.bytes(piece.number, at: 0, count: SegmentHeader.encodedBytes)
      try await link.send(Frames.segmentBegin(pair: pair.name, header: header))
      return Int64(header.count)
    }
    let wanted = Int(min(Int64(Limits.dataBytes), piece.size - offset))
    var bytes = try reader.bytes(piece.number, at: offset, count: wanted)
    var end = try wholeRecords(bytes)
    if end == 0 {
      // One record larger than a usual frame.
      let most = Int(min(Int64(Limits.recordPlainBytesMax + 65_536), piece.size - offset))
      bytes = try reader.bytes(piece.number, at: offset, count: most)
      end = try wholeRecords(bytes)
    }
    guard end > 0 else { return 0 }
    try await host.clock.sleep(until: limit.reserve(end, at: host.clock.now()))
    let (head, padding) = Frames.segmentData(
      pair: pair.name, segment: piece.id, offset: offset, count: end)
    try await link.send(head, bytes, 0..<end, padding: padding)
    let sent = Int64(end)
    let now = host.clock.now()
    board.update { view in
      view.bytesSent += sent
      view.pace = view.pace ?? SendingPace(now)
      view.pace?.sent(sent, at: now)
      view.backlogBytes = spoolBoard.backlog
    }
    return sent
  }

  private func wholeRecords(_ bytes: [UInt8]) throws -> Int {
    var end = 0
    while let record = try RawRecord.parse(bytes, at: end, end: bytes.count, checking: false) {
      end = record.range.upperBound
    }
    return end
  }
}
