/// Where a PostgreSQL cluster lies in a pair's roots.
package struct ClusterLayout: Hashable, Sendable {
  package var data: Place
  package var wal: Place
  package var tablespaces: [Place]

  package init(data: Place, wal: Place, tablespaces: [Place]) {
    self.data = data
    self.wal = wal
    self.tablespaces = tablespaces
  }

  /// All places with all below are the cluster's; they may lie in one another.
  package var tops: [Place] { [data, wal] + tablespaces }
  package func holds(_ place: Place) -> Bool { tops.contains { place.isWithin($0) } }
  package func isWAL(_ place: Place) -> Bool { place.isWithin(wal) }

  /// Whether some of the WAL lies at a place or below.
  package func isAround(_ place: Place) -> Bool { isWAL(place) || wal.isWithin(place) }

  /// Whether no root holds anything but the cluster.
  package func isAll(of roots: Range<Int>) -> Bool {
    roots.allSatisfy { holds(Place(root: RootNumber(rawValue: $0), path: .top)) }
  }

  // PostgreSQL's manual, "Making a Base Backup Using the Low Level API".
  package var label: Place { inData("backup_label") }
  package var tablespaceMap: Place { inData("tablespace_map") }
  package var control: Place { inData("global/pg_control") }
  /// Where the WAL lies unless a symbolic link leads elsewhere.
  package var usualWAL: Place { inData("pg_wal") }

  /// What no server starts without; of some directories one that may stand for all that is in them.
  package var needed: [Place] {
    let inData = [
      "base", "base/1/1259", "global", "global/1262", "pg_xact", "pg_xact/0000", "PG_VERSION",
    ]
    return [data, wal, within(wal, "000000010000000000000001"), label, tablespaceMap, control]
      + inData.map { self.inData($0) } + tablespaces
  }

  private func inData(_ name: String) -> Place { within(data, name) }

  private func within(_ place: Place, _ name: String) -> Place {
    guard let path = place.path.appending(path: name) else {
      preconditionFailure("no path for \(name) in \(place)")
    }
    return Place(root: place.root, path: path)
  }

  /// Whether its WAL brings it up to date: unlike configuration and logs that lie beside it.
  package func isRecovered(_ place: Place) -> Bool {
    if isWAL(place) || tablespaces.contains(where: { place.isWithin($0) }) { return true }
    guard place.root == data.root,
      let first = place.path.components(below: data.path)?.first.map({
        String(decoding: $0, as: UTF8.self)
      })
    else { return false }
    return ["base", "global"].contains(first)
      || (first.hasPrefix("pg_") && !first.hasSuffix(".conf"))
  }

  /// Whether a server that starts on a copy without it lacks rows, or does not start.
  package func isNeeded(_ place: Place) -> Bool {
    let isTransient = place.path.name.suffix(4) == Array(".tmp".utf8)[...]
    if isHidden(place) || isTransient { return false }
    if tops.contains(place) { return true }
    if isWAL(place) { return Self.isSegment(place.path.name) }
    if tablespaces.contains(where: { place.isWithin($0) }) { return true }
    guard place.root == data.root, let inner = place.path.components(below: data.path) else {
      return false
    }
    return inner.first.map(Self.indispensable.contains) ?? false
  }
  private static let indispensable = [
    "base", "global", "pg_commit_ts", "pg_multixact", "pg_tblspc", "pg_twophase", "pg_xact",
  ].map { Array($0.utf8) }
  /// As PostgreSQL names them: timeline, log and segment, eight digits each.
  private static func isSegment(_ name: [UInt8]) -> Bool {
    name.count == 24
      && name.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x46).contains($0) }
  }

  private static let emptied = [
    "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp",
    "pg_subtrans",
  ].map { Array($0.utf8) }
  private static let process = ["postmaster.pid", "postmaster.opts"].map { Array($0.utf8) }
  private static let temporary = ["pgsql_tmp", "pg_internal.init", "xlogtemp."].map {
    Array($0.utf8)
  }

  /// Whether a server that starts on the point makes it anew, or must not find it (the manual,
  /// "Backing Up the Data Directory").
  package func isHidden(_ place: Place) -> Bool {
    guard holds(place) else { return false }
    if let inner = place.path.components(below: data.path), place.root == data.root {
      if inner.count == 1, Self.process.contains(inner[0]) { return true }
      if inner.count > 1, Self.emptied.contains(inner[0]) { return true }
    }
    // What the directories around the cluster are called says nothing.
    return tops.contains { top in
      guard place.root == top.root else { return false }
      return place.path.components(below: top.path)?.contains { name in
        Self.temporary.contains { name.starts(with: $0) }
      } ?? false
    }
  }
}
