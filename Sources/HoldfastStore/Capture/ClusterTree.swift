package import HoldfastCore

/// A root with a live PostgreSQL cluster in it, as a point is to show it: without what a server
/// makes anew, and with files that lie in no directory.
package final class ClusterTree: ReadableTree {
  /// What is left as it was captured last.
  package enum Left: Sendable {
    /// The WAL, and what a backup gives only in its end.
    case end
    /// And all that the WAL brings up to date.
    case cluster
    case nothing
  }
  package var left = Left.nothing

  private let root: any Tree
  private let number: RootNumber
  private let layout: ClusterLayout
  private var files: [TreePath: FrozenTree.Object] = [:]

  package init(root: any Tree, number: RootNumber, layout: ClusterLayout) {
    self.root = root
    self.number = number
    self.layout = layout
  }

  private func place(_ path: TreePath) -> Place { Place(root: number, path: path) }
  private func isHidden(_ path: TreePath) -> Bool { layout.isHidden(place(path)) }

  /// What lies in no directory is shown with these bytes.
  /// - Parameter made: when, and whose it is.
  package func show(_ path: TreePath, _ bytes: [UInt8], like folder: Status, at made: WallTime) {
    // No object has this inode, so that nothing is taken for another name of it.
    let status = Status(
      kind: .regular, mode: 0o600, owner: folder.owner, group: folder.group,
      size: Int64(bytes.count), modified: made, changed: made, device: folder.device, inode: 0,
      links: 1, special: 0, allocated: Int64(bytes.count))
    files[path] = FrozenTree.Object(status: status, content: .bytes(bytes))
  }

  /// Shows a small file that its owner writes in one call as it is between two such calls.
  /// - Returns: its bytes; `nil` where it changes too often.
  package func showWhole(_ path: TreePath) throws(TreeError) -> [UInt8]? {
    let file = try root.open(path)
    defer { file.close() }
    let attributes = try file.attributes()
    var last: [UInt8] = []
    for _ in 0..<Limits.controlReadsMax {
      let status = try file.status()
      var bytes = [UInt8](repeating: 0, count: Int(min(status.size, 64 << 10)))
      let count = try file.read(at: 0, into: &bytes, 0..<bytes.count)
      if bytes == last, count == bytes.count, !bytes.isEmpty {
        files[path] = FrozenTree.Object(
          status: status, attributes: attributes, content: .bytes(bytes))
        return bytes
      }
      last = bytes
    }
    return nil
  }

  package func isLeft(_ path: TreePath) -> Bool {
    switch left {
    case .nothing: false
    case .cluster: layout.isRecovered(place(path)) || isShown(path)
    case .end: layout.isWAL(place(path)) || isShown(path)
    }
  }

  package func isNeeded(_ path: TreePath) -> Bool { layout.isNeeded(place(path)) }

  /// Whether bytes of ours stand for it in the end.
  private func isShown(_ path: TreePath) -> Bool {
    [layout.label, layout.tablespaceMap, layout.control].contains(place(path))
  }

  // MARK: ReadableTree

  package func status(_ path: TreePath) throws(TreeError) -> Status? {
    if let file = files[path] { return file.status }
    return isHidden(path) || isGone(path) ? nil : try root.status(path)
  }

  /// Of a backup that is none of ours.
  private func isGone(_ path: TreePath) -> Bool {
    place(path) == layout.label || place(path) == layout.tablespaceMap
  }

  package func list(_ path: TreePath) throws(TreeError) -> [[UInt8]] {
    var names = try root.list(path).filter { name in
      path.appending(name).map { !isHidden($0) && !isGone($0) } ?? true
    }
    guard place(path) == layout.data else { return names }
    // Left until the end says what they are.
    names += [layout.label, layout.tablespaceMap].map(\.path.name)
    return names
  }

  package func attributes(_ path: TreePath) throws(TreeError) -> [Attribute] {
    if let file = files[path] { return file.attributes }
    return try root.attributes(path)
  }
  package func target(_ path: TreePath) throws(TreeError) -> [UInt8] { try root.target(path) }
  package func open(_ path: TreePath) throws(TreeError) -> any ReadableFile {
    if let file = files[path], case .bytes(let bytes) = file.content {
      return FrozenBytes(file, bytes)
    }
    return try root.open(path)
  }
  package func expect(_ paths: [TreePath]) { root.expect(paths.filter { !isHidden($0) }) }
  package func forgetDirectories() { root.forgetDirectories() }
}
