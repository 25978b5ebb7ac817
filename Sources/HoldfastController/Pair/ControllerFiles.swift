package import HoldfastCore

/// What a pair's controller keeps: a promotion that was begun, durably; the lease, for a controller
/// that follows on the same boot.
package struct ControllerFiles: Sendable {
  private let disk: any Disk
  private let volatile: any Disk
  private let pair: String
  private let clock: any Timekeeper
  private var intentName: String { "intent-\(pair)" }
  private var settledName: String { "settled-\(pair)" }
  private var leaseName: String { "lease-\(pair)" }
  private var overName: String { "over-\(pair)" }

  /// - Parameters:
  ///   - disk: the controller's own folder of the state directory.
  ///   - volatile: a folder that is empty after a boot.
  package init(disk: any Disk, volatile: any Disk, pair: String, clock: any Timekeeper) {
    self.clock = clock
    self.disk = disk
    self.volatile = volatile
    self.pair = pair
  }

  package func intent() throws -> PromotionIntent? {
    guard let bytes = try disk.contents(of: intentName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    let reign = try Self.reign(&reader)
    guard let cause = PromotionIntent.Cause(rawValue: try reader.fixed()) else {
      throw CodingError.invalid("cause of a promotion")
    }
    let point = PointNumber(rawValue: try reader.fixed())
    let flags = reader.isAtEnd ? 0 : try reader.fixed(UInt8.self)
    return PromotionIntent(
      reign: reign, cause: cause, point: point == .none ? nil : point,
      isWithdrawn: flags & Self.withdrawn != 0, isLossAccepted: flags & Self.lossAccepted != 0)
  }

  private static let withdrawn: UInt8 = 1
  private static let lossAccepted: UInt8 = 2

  package func store(intent: PromotionIntent?) throws(DiskError) {
    guard let intent else { return try forgetIntent() }
    var out = Writer()
    Self.write(intent.reign, &out)
    out.fixed(intent.cause.rawValue)
    out.fixed((intent.point ?? .none).rawValue)
    out.fixed(
      UInt8(
        (intent.isWithdrawn ? Self.withdrawn : 0)
          | (intent.isLossAccepted ? Self.lossAccepted : 0)))
    do {
      try disk.replace(intentName, with: out.bytes)
    } catch {
      // What may not be asked for again is better forgotten: that needs no room.
      guard intent.isWithdrawn else { throw error }
      try forgetIntent()
    }
  }

  private func forgetIntent() throws(DiskError) {
    try disk.remove(intentName)
    try disk.flushNames()
  }

  /// See ``Supervisor/Order/settle(_:)``.
  package func settled() throws -> Reign? {
    guard let bytes = try disk.contents(of: settledName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    return try Self.reign(&reader)
  }

  package func store(settled reign: Reign) throws(DiskError) {
    var out = Writer()
    Self.write(reign, &out)
    try disk.replace(settledName, with: out.bytes)
  }

  /// - Parameter pauseMax: a host that stood still for longer since it was noted, without a
  ///   controller that saw it, has no lease that is trusted: see ``PauseDetector``.
  /// - Returns: `nil` where none is on record or it cannot be read.
  package func handover(pauseMax: Duration) -> Lease? {
    guard let bytes = try? volatile.contents(of: leaseName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    guard let reign = try? Self.reign(&reader), let nanos = try? reader.fixed(UInt64.self),
      let lead = try? reader.fixed(UInt64.self)
    else { return nil }
    let lease = Lease(reign: reign, fenceAt: Instant(nanos: Int64(clamping: nanos)))
    let jump = Duration.nanoseconds(wallLead &- Int64(bitPattern: lead))
    return jump <= pauseMax ? lease : nil
  }

  /// An older note only makes a controller that follows fence earlier: that it cannot be kept is
  /// no error.
  package func note(_ lease: Lease?) {
    guard let lease else {
      // Needs no room, so that a full disk leaves nothing behind that is over.
      try? volatile.remove(leaseName)
      return
    }
    var out = Writer()
    Self.write(lease.reign, &out)
    out.fixed(UInt64(max(0, lease.fenceAt.nanos)))
    out.fixed(UInt64(bitPattern: wallLead))
    try? volatile.replace(leaseName, with: out.bytes)
  }

  /// Until when the service that runs, or is being ended, is counted on to be over: for whoever
  /// ends it in this controller's stead.
  package func overBy() -> Instant? {
    guard let bytes = try? volatile.contents(of: overName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    return (try? reader.fixed(UInt64.self)).map { Instant(nanos: Int64(clamping: $0)) }
  }

  /// - Parameter moment: `nil`: it is over, or nobody counts on that.
  package func note(overBy moment: Instant?) {
    guard let moment else {
      try? volatile.remove(overName)
      return
    }
    var out = Writer()
    out.fixed(UInt64(max(0, moment.nanos)))
    try? volatile.replace(overName, with: out.bytes)
  }

  /// By how much the wall's clock is ahead of the one since the boot.
  private var wallLead: Int64 { clock.wall().nanos &- clock.now().nanos }

  private static func write(_ reign: Reign, _ out: inout Writer) {
    out.fixed(reign.epoch.rawValue)
    out.raw(reign.id.bytes)
  }
  private static func reign(_ reader: inout Reader) throws(CodingError) -> Reign {
    Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
  }
}
