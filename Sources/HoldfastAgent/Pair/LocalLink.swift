import HoldfastCore
import HoldfastWire
import Synchronization

/// Hands what a shipper sends to this site's own journal.
final class LocalLink: Link {
  let peer = Fingerprint(.zero)
  private let receiver: ReceiveWorker
  private let reign: Reign
  private let spoolBoard: SpoolBoard
  private let shipper: Shipper
  private let broken = Mutex<LinkError?>(nil)

  init(receiver: ReceiveWorker, reign: Reign, spoolBoard: SpoolBoard, shipper: Shipper) {
    self.receiver = receiver
    self.reign = reign
    self.spoolBoard = spoolBoard
    self.shipper = shipper
  }

  /// Why nothing more is taken.
  var failure: LinkError? { broken.withLock { $0 } }

  func send(_ frame: [UInt8]) async throws(LinkError) {
    do {
      switch try Frames.decode(frame) {
      case .control(.segmentBegin(let message)):
        try await receiver.begin(Array(message.header), reign: reign, isOwn: true)
        return try await acknowledge(await receiver.status())
      case .data(let data):
        let answer = try await receiver.take(data)
        if let refusal = answer.refusal { throw LinkError.broken(refusal.reason) }
        try await acknowledge(answer.status)
      case .control: break
      }
    } catch {
      let failure = error as? LinkError ?? .broken("\(error)")
      broken.withLock { $0 = failure }
      throw failure
    }
  }

  func send(
    _ head: [UInt8], _ bytes: [UInt8], _ range: Range<Int>, padding: Int
  ) async throws(LinkError) {
    try await send(head + bytes[range])
  }

  private func acknowledge(_ status: ReceiveWorker.Status) async throws {
    guard let id = status.segment else { return }
    spoolBoard.acknowledge(id, status.durableSize)
    await shipper.acknowledged(id, received: status.receivedSize)
  }

  func receive() async throws(LinkError) -> [UInt8]? { nil }
  func close() async {}
}
