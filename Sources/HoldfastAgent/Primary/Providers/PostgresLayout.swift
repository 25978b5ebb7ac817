import HoldfastCore
import HoldfastStore

/// Where a cluster lies: all of it has to lie in the pair's roots.
extension PostgresProvider {
  func locations(_ database: any DatabaseSession) throws(ProviderError) -> [String] {
    let rows = try database.ask(
      PostgresStatements.tablespaces, within: Limits.statementWithin, while: isWanted)
    return rows.map { $0[0] }.sorted()
  }

  /// What the directory of the tablespaces' links was last changed to.
  func links(_ layout: ClusterLayout) throws(ProviderError) -> Stamp? {
    guard let path = layout.data.path.appending(Array("pg_tblspc".utf8)) else { return nil }
    let tree = try trees()[layout.data.root.rawValue]
    do throws(TreeError) { return try tree.status(path)?.stamp } catch {
      throw ProviderError("\(error)")
    }
  }

  func layout(
    _ database: any DatabaseSession, _ locations: [String]
  ) throws(ProviderError) -> ClusterLayout {
    let folder = try one(database, PostgresStatements.examine, fields: 3)[2]
    let data = try place(folder, "the data directory")
    let wal = try place(folder + "/pg_wal", "pg_wal")
    var tablespaces: [Place] = []
    for location in locations {
      let place = try place(location, "the tablespace")
      if !moves.isEmpty, host.report(location).realPath != location {
        throw ProviderError(
          """
          the tablespace \(location) is reached through a symbolic link, and the roots have other \
          paths on the other site: name its real path
          """)
      }
      tablespaces.append(place)
    }
    let layout = ClusterLayout(data: data, wal: wal, tablespaces: tablespaces)
    if wal != layout.usualWAL,
      let move = moves.first(where: { $0.from == paths[wal.root.rawValue] })
    {
      throw ProviderError(
        """
        pg_wal is a symbolic link into \(move.from), which is \(move.to) on the other site, where \
        it would lead nowhere: give that root one path on both
        """)
    }
    try checkIdentity(database, data)
    let excluded = layout.needed.first { place in
      exclusions[place.root.rawValue].excludesWithParents(place.path, isDirectory: false)
        || exclusions[place.root.rawValue].excludesWithParents(place.path, isDirectory: true)
    }
    if let excluded {
      throw ProviderError("\(excluded.path) is excluded, and no server could start without it")
    }
    return layout
  }

  private func place(_ path: String, _ what: String) throws(ProviderError) -> Place {
    // A link is not followed where it stands last.
    let report = host.report(host.report(path).realPath)
    guard report.state == .directory else {
      throw ProviderError("\(what) \(path) is no directory here: is the server on another host?")
    }
    for (number, root) in paths.enumerated() {
      let root = host.report(root)
      let top = root.realPath
      guard report.realPath == top || report.realPath.hasPrefix(top + "/") else { continue }
      guard report.identity?.device == root.identity?.device else {
        throw ProviderError(
          """
          \(what) \(path) lies on another filesystem than the root \(top) around it: roots end \
          where a filesystem ends
          """)
      }
      let inner = Array(report.realPath.utf8.dropFirst(top.utf8.count).drop { $0 == 0x2F })
      if let path = TreePath(inner) {
        return Place(root: RootNumber(rawValue: number), path: path)
      }
    }
    throw ProviderError(
      "\(what) \(path) lies in no root of the pair: make it a root, or put it into one")
  }

  /// The server that answers must be the one whose files lie there.
  private func checkIdentity(
    _ database: any DatabaseSession, _ data: Place
  ) throws(ProviderError) {
    let said = try one(database, PostgresStatements.control)[0]
    let layout = ClusterLayout(data: data, wal: data, tablespaces: [])
    let bytes = try ClusterCapture.control(of: layout, trees())
    // Its first eight bytes, in the machine's order (pg_control.h, ControlFileData).
    let identity = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard said == "\(identity)" else {
      throw ProviderError("the server that answers is not the one whose files are in the roots")
    }
  }

  /// Roots that have another path on the other site.
  var moves: [(from: String, to: String)] {
    let sites = [pair.primary, pair.standby].map { pair.paths(on: $0) }
    let others = sites.first { $0 != paths } ?? paths
    return zip(paths, others).filter { $0.0 != $0.1 }.map { (from: $0.0, to: $0.1) }
  }
}
