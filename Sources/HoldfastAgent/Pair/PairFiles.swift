package import HoldfastCore
package import HoldfastStore

/// What a pair keeps durably beside trees and journals: its secret, its role, a promotion under
/// way, and what of the configuration is in force.
package struct PairFiles: Sendable {
  package let disk: any Disk

  /// - Parameter disk: the pair's own.
  package init(disk: any Disk) { self.disk = disk }

  package init(_ host: any Host, pair: String) throws(DiskError) {
    _ = try host.disk(["pairs"])
    disk = try host.disk(["pairs", pair])
  }

  /// A file that is there and not what was written.
  package struct Damaged: Error, CustomStringConvertible {
    package let name: String
    package var description: String {
      """
      the pair's file `\(name)` in the state directory is damaged: bring it back from a backup, or \
      pair the sites anew
      """
    }
  }

  // MARK: Secret

  package struct Identity: Sendable {
    package var id: RandomID
    package var secret: PairSecret
  }

  private static let secretName = "secret"
  private static let roleName = "role"
  private static let guardedName = "guarded"
  private static let supersededName = "superseded"
  private static let yieldName = "yield"
  private static let promiseTermName = "promise-term"
  private static let unpromisedName = "unpromised"

  package func identity() throws -> Identity? {
    guard let bytes = try disk.contents(of: Self.secretName) else { return nil }
    guard bytes.count == 48, let id = RandomID(bytes[0..<16]),
      let secret = PairSecret(Array(bytes[16..<48]))
    else { throw Damaged(name: Self.secretName) }
    return Identity(id: id, secret: secret)
  }

  package func store(_ identity: Identity) throws(DiskError) {
    try disk.replace(Self.secretName, with: identity.id.bytes + identity.secret.bytes)
  }

  // MARK: Promises

  /// No promise that the other site may count on was given for longer; `nil`: nothing is on record.
  package func promiseTerm() throws -> Duration? {
    guard let bytes = try disk.contents(of: Self.promiseTermName) else { return nil }
    var reader = Reader(bytes)
    guard let nanos = try? reader.fixed(UInt64.self) else { return Limits.ttlMax }
    return min(Limits.ttlMax, .nanoseconds(Int64(clamping: nanos)))
  }

  package func store(promiseTerm: Duration) throws(DiskError) {
    var out = Writer()
    out.fixed(UInt64(promiseTerm.nanos))
    try disk.replace(Self.promiseTermName, with: out.bytes)
  }

  /// Whether nothing was promised since this site was offered the service: the contrary needs no
  /// room on the disk. See ``AgentReport/hasPromised``.
  package func isUnpromised() throws -> Bool {
    try disk.contents(of: Self.unpromisedName) != nil
  }

  package func store(isUnpromised: Bool) throws(DiskError) {
    if isUnpromised { return try disk.replace(Self.unpromisedName, with: []) }
    try disk.remove(Self.unpromisedName)
    try disk.flushNames()
  }

  // MARK: Role

  package struct Saved: Hashable, Sendable {
    package var record: RoleRecord
    /// A promotion whose epoch is durable and whose tree is not yet ready: the way is forward.
    package var promoting: PointNumber?
    /// Of a promotion under way: the boot of this host that it began in.
    package var boot: String?
    /// Of a promoted site: no point up to this number is its own to use, for the other site may
    /// have captured one that never came here.
    package var usedUpTo = PointNumber.none
    /// Of an old primary that becomes the standby: its journal does not hold its tree yet.
    package var returning: Returning?
    /// Of a promoted site: the other had yielded.
    package var isPlanned = false

    /// The same once the tree is ready.
    var completed: Saved { Saved(record: record, usedUpTo: usedUpTo, isPlanned: isPlanned) }
  }

  /// What an old primary that becomes the standby was.
  package struct Returning: Hashable, Sendable {
    /// The reign that its tree was written in.
    package var from: Reign
    /// Of its final point, which the other site went on from; `nil` where it was promoted past.
    package var tree: TreeDigest?
    package init(from: Reign, tree: TreeDigest?) {
      self.from = from
      self.tree = tree
    }
  }

  /// A planned move in which this site is the old primary.
  package struct Yield: Hashable, Sendable {
    /// The other site's reign to come.
    package var next: Reign
    /// Of the final point.
    package var tree: TreeDigest?
    /// The final point, once only `next` may serve.
    package var point: PointNumber?
    package init(next: Reign, tree: TreeDigest? = nil, point: PointNumber? = nil) {
      self.next = next
      self.tree = tree
      self.point = point
    }
  }

  /// - Returns: the last one, whatever became of it.
  package func yield() throws -> Yield? {
    guard let bytes = try disk.contents(of: Self.yieldName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    let next = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    let tree = TreeDigest(sum: try reader.digest())
    let point = PointNumber(rawValue: try reader.fixed())
    return Yield(
      next: next, tree: tree == TreeDigest() ? nil : tree, point: point == .none ? nil : point)
  }

  package func store(_ yield: Yield?) throws(DiskError) {
    var out = Writer()
    if let yield {
      out.fixed(yield.next.epoch.rawValue)
      out.raw(yield.next.id.bytes)
      out.digest((yield.tree ?? TreeDigest()).sum)
      out.fixed((yield.point ?? .none).rawValue)
    }
    try disk.replace(Self.yieldName, with: out.bytes)
  }

  package func role() throws -> Saved? {
    guard let bytes = try disk.contents(of: Self.roleName) else { return nil }
    do throws(CodingError) {
      return try Self.decodeRole(bytes)
    } catch {
      throw Damaged(name: Self.roleName)
    }
  }

  private static func decodeRole(_ bytes: [UInt8]) throws(CodingError) -> Saved {
    var reader = Reader(bytes)
    let epoch = Epoch(rawValue: try reader.fixed())
    let reign = Reign(epoch: epoch, id: try reader.random())
    guard let part = RoleRecord.Part(rawValue: try reader.fixed(UInt8.self)) else {
      throw CodingError.invalid("part")
    }
    let isPromoting = try reader.fixed(UInt8.self) == 1
    let point = PointNumber(rawValue: try reader.fixed())
    let usedUpTo = reader.isAtEnd ? .none : PointNumber(rawValue: try reader.fixed())
    let isPlanned = reader.isAtEnd ? false : try reader.fixed(UInt8.self) == 1
    var returning: Returning?
    var boot: String?
    if isPromoting {
      if !reader.isAtEnd {
        boot = String(decoding: try reader.counted(max: Limits.bootNameMax), as: UTF8.self)
      }
    } else if !reader.isAtEnd {
      let from = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
      let tree = TreeDigest(sum: try reader.digest())
      returning = Returning(from: from, tree: tree == TreeDigest() ? nil : tree)
    }
    return Saved(
      record: RoleRecord(reign: reign, part: part), promoting: isPromoting ? point : nil,
      boot: boot, usedUpTo: usedUpTo, returning: returning, isPlanned: isPlanned)
  }

  package func store(_ saved: Saved) throws(DiskError) {
    var out = Writer()
    out.fixed(saved.record.reign.epoch.rawValue)
    out.raw(saved.record.reign.id.bytes)
    out.fixed(saved.record.part.rawValue)
    out.fixed(saved.promoting == nil ? UInt8(0) : 1)
    out.fixed(saved.promoting?.rawValue ?? 0)
    out.fixed(saved.usedUpTo.rawValue)
    out.fixed(saved.isPlanned ? UInt8(1) : 0)
    if saved.promoting != nil {
      if let boot = saved.boot { out.counted(Array(boot.utf8)) }
    } else if let returning = saved.returning {
      out.fixed(returning.from.epoch.rawValue)
      out.raw(returning.from.id.bytes)
      out.digest((returning.tree ?? TreeDigest()).sum)
    }
    try disk.replace(Self.roleName, with: out.bytes)
  }

  /// The reign that this site was promoted past by, as a peer once said.
  package func superseded() throws -> Reign? {
    guard let bytes = try disk.contents(of: Self.supersededName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    return Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
  }

  package func store(superseded reign: Reign?) throws {
    guard try superseded() != reign else { return }
    var out = Writer()
    if let reign {
      out.fixed(reign.epoch.rawValue)
      out.raw(reign.id.bytes)
    }
    try disk.replace(Self.supersededName, with: out.bytes)
  }

  // MARK: What a promotion leaves out

  /// What was lost when a reign was granted here, from which moment on it grew no more.
  package struct CountedLoss: Hashable, Sendable {
    package var reign: Reign
    package var length: Duration
    /// When it ends, by this host's clock.
    package var end: WallTime
    package init(reign: Reign, length: Duration, end: WallTime) {
      self.reign = reign
      self.length = length
      self.end = end
    }
  }

  private static let countedName = "counted"

  package func counted() throws -> CountedLoss? {
    guard let bytes = try disk.contents(of: Self.countedName), !bytes.isEmpty else { return nil }
    var reader = Reader(bytes)
    let reign = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    let length = Duration.nanoseconds(Int64(bitPattern: try reader.fixed()))
    let end = WallTime(nanos: Int64(bitPattern: try reader.fixed()))
    return CountedLoss(reign: reign, length: length, end: end)
  }

  /// - Parameter counted: `nil`: the other site may have written since.
  package func store(counted: CountedLoss?) throws(DiskError) {
    guard let counted else {
      guard try disk.contents(of: Self.countedName) != nil else { return }
      try disk.remove(Self.countedName)
      return try disk.flushNames()
    }
    var out = Writer()
    out.fixed(counted.reign.epoch.rawValue)
    out.raw(counted.reign.id.bytes)
    out.fixed(UInt64(bitPattern: counted.length.nanos))
    out.fixed(UInt64(bitPattern: counted.end.nanos))
    try disk.replace(Self.countedName, with: out.bytes)
  }

  // MARK: Moves

  private static let movesName = "moves"

  /// The newest first; what cannot be read is as if it had never been.
  package func moves() -> [MoveReport] {
    guard let bytes = try? disk.contents(of: Self.movesName) else { return [] }
    return (try? JSON.decode([MoveReport].self, bytes)) ?? []
  }

  package func store(_ moves: [MoveReport]) throws(DiskError) {
    try disk.replace(Self.movesName, with: JSON.encode(moves))
  }

  // MARK: Configuration in force

  /// The values that only `holdfast approve` may change once they were in force.
  package func guarded() throws -> GuardedSettings? {
    guard let bytes = try disk.contents(of: Self.guardedName) else { return nil }
    var reader = Reader(bytes)
    func text() throws(CodingError) -> String {
      String(decoding: try reader.counted(max: 1 << 20), as: UTF8.self)
    }
    var settings = GuardedSettings(standby: try text(), roots: [])
    for _ in 0..<(try reader.count(max: Limits.rootsMax)) {
      var root = RootConfiguration(path: try text(), replica: try text(), exclude: [])
      for _ in 0..<(try reader.count(max: 1 << 16)) { root.exclude.append(try text()) }
      settings.roots.append(root)
    }
    return settings
  }

  package func store(_ settings: GuardedSettings) throws(DiskError) {
    var out = Writer()
    out.counted(Array(settings.standby.utf8))
    out.variable(UInt64(settings.roots.count))
    for root in settings.roots {
      out.counted(Array(root.path.utf8))
      out.counted(Array(root.replica.utf8))
      out.variable(UInt64(root.exclude.count))
      for pattern in root.exclude { out.counted(Array(pattern.utf8)) }
    }
    try disk.replace(Self.guardedName, with: out.bytes)
  }
}
