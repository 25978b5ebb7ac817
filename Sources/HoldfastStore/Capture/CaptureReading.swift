import HoldfastCore

/// One object, from its status to what a point says of it.
extension Capture {
  /// - Returns: `nil` where it went away, or may not be read: then it stays as it was.
  func readEntry(_ place: Place, _ status: Status) throws -> (Entry, Stamp)? {
    let tree = sources[root(place)]
    do throws(TreeError) {
      guard status.kind == .regular else {
        let target = status.kind == .symlink ? try tree.target(place.path) : []
        let attributes = try tree.attributes(place.path)
        return (entry(status, attributes, target: target), status.stamp)
      }
    } catch {
      return try unread(place, error)
    }
    for _ in 0..<Limits.readAttemptsMax {
      do {
        let (entry, stamp, isTorn) = try readFile(place, tree)
        if !isTorn { return (entry, stamp) }
        outcome.filesRead += 1
      } catch let error as TreeError {
        return try unread(place, error)
      }
    }
    do {
      let (entry, stamp, isTorn) = try readFile(place, tree)
      if isTorn { outcome.torn.append(place) }
      return (entry, stamp)
    } catch let error as TreeError {
      return try unread(place, error)
    }
  }

  private func unread(_ place: Place, _ error: TreeError) throws -> (Entry, Stamp)? {
    switch error {
    // It went away or became something else after it was looked at: an event tells.
    case .absent, .escapes: outcome.torn.append(place)
    case .exists, .refused, .full, .flushFailed, .failed: try deny(place, error)
    }
    return nil
  }

  private func readFile(_ place: Place, _ tree: any ReadableTree) throws -> (Entry, Stamp, Bool) {
    let file = try tree.open(place.path)
    defer { file.close() }
    let before = try file.status()
    guard before.kind == .regular else { throw TreeError.absent(place.path) }
    let isSparse = before.allocated < before.size && before.size > 4096
    probe.hit(.reading)
    // Of a linked object all names must be known before it is made.
    let isTold = isWhole && before.size >= Limits.partsFromBytes && before.links == 1
    let (content, size) = try cutter.content(
      of: file, size: before.size, sparse: isSparse, into: writer,
      history: tree.history(place.path),
      part: isTold
        ? { [writer] in try writer.tell(place, isSparse: isSparse, from: $0, $1) } : nil)
    let attributes = try file.attributes()
    let after = try file.status()
    outcome.filesRead += 1
    var entry = entry(before, attributes, target: [])
    entry.size = size
    entry.sparse = isSparse
    entry.content = content
    let isTorn = before.stamp != after.stamp || size != before.size
    return (entry, before.stamp, isTorn)
  }

  private func entry(_ status: Status, _ attributes: [Attribute], target: [UInt8]) -> Entry {
    Entry(
      kind: status.kind, mode: status.mode, owner: status.owner, group: status.group,
      modified: status.modified, size: status.size, linkGroup: status.linkGroup,
      device: status.kind == .characterDevice || status.kind == .blockDevice ? status.special : 0,
      target: target, attributes: attributes.filter { !Reserved.isIgnored($0.name) })
  }
}
