import HoldfastBytes
package import HoldfastCore

/// What an unprivileged agent could not set, and what nobody was to.
package struct Shortfalls: Hashable, Sendable {
  package var owners: Int64 = 0
  package var attributes: Int64 = 0
  package var nodes: Int64 = 0
  /// Files and nodes that lend no powers here, as they do on the primary.
  package var powers: Int64 = 0
  package init() {}
  package var needsPrivileges: Bool { owners != 0 || attributes != 0 || nodes != 0 }
}

/// Makes objects in a tree equal to entries. Not shared between threads.
package final class Materials {
  private let reader: ContentReader
  /// Without privileges what is refused is counted, not an error.
  private let isPrivileged: Bool
  /// What no file that is made lends to anybody.
  let refused: Powers
  package private(set) var shortfalls = Shortfalls()
  /// See ``ContentReader/fetched``.
  var fetched: [ChunkName: [UInt8]] {
    get { reader.fetched }
    set { reader.fetched = newValue }
  }

  package init(reader: ContentReader, isPrivileged: Bool, refusing refused: Powers) {
    self.reader = reader
    self.isPrivileged = isPrivileged
    self.refused = refused
  }

  /// A file that is there, and was last made, or left, as its entry says.
  struct Earlier {
    let path: TreePath
    let entry: Entry
  }

  /// Makes a regular file at `path`, where nothing is, with content and all else.
  /// - Parameter earlier: what it was, whose blocks it shares where the filesystem can.
  /// - Returns: its status.
  func build(
    _ tree: any Tree, _ path: TreePath, _ entry: Entry, from earlier: Earlier?
  ) throws -> Status {
    if let earlier {
      if let status = try? revise(tree, path, entry, from: earlier) { return status }
      // Why is of no interest where it can be made anew.
      if try tree.status(path) != nil { try tree.remove(path, directory: false) }
    }
    return try build(tree, path, entry)
  }

  /// - Returns: `nil` where a file that is made anew is as cheap, or blocks cannot be shared.
  private func revise(
    _ tree: any Tree, _ path: TreePath, _ entry: Entry, from earlier: Earlier
  ) throws -> Status? {
    guard let file = try clone(tree, path, entry, from: earlier) else { return nil }
    defer { file.close() }
    let isWhole = try forEachNew(entry, since: earlier.entry) { offset, reference in
      try write(file, reference, at: offset, isSparse: false)
    }
    guard isWhole else { return nil }
    if entry.size != earlier.entry.size { try file.truncate(to: entry.size) }
    return try dress(file, entry)
  }

  private func clone(
    _ tree: any Tree, _ path: TreePath, _ entry: Entry, from earlier: Earlier
  ) throws -> (any TreeFile)? {
    let old = earlier.entry
    guard entry.size >= Limits.revisedBytesMin,
      max(entry.size, old.size) <= Limits.revisedBytesMax, !entry.sparse, !old.sparse
    else { return nil }
    return try tree.clone(earlier.path, as: path)
  }

  /// Calls `body` with the chunks that do not stand at the same place in an older content.
  /// - Returns: false where there is a hole, which would show what was there.
  private func forEachNew(
    _ entry: Entry, since old: Entry, _ body: (Int64, ChunkReference) throws -> Void
  ) throws -> Bool {
    var known: [(offset: Int64, name: ChunkName)] = []
    try reader.forEachReference(old.content) { known.append(($0, $1.name)) }
    var index = 0
    var end: Int64 = 0
    try reader.forEachReference(entry.content) { offset, reference in
      guard offset == end else { return }
      end += reference.length
      while index < known.count, known[index].offset < offset { index += 1 }
      // A name stands for bytes and so for their number.
      if index < known.count, known[index] == (offset, reference.name) { return }
      try body(offset, reference)
    }
    return end == entry.size
  }

  /// Bytes that ``build(_:_:_:from:)`` writes at most: of holes none, and none of blocks that are
  /// shared.
  /// - Parameter path: where nothing is, and nothing will be.
  func need(
    _ tree: any Tree, _ path: TreePath, _ entry: Entry, from earlier: Earlier?
  ) throws -> Int64 {
    var needed: Int64 = 0
    if let earlier, let file = try? clone(tree, path, entry, from: earlier) {
      file.close()
      try tree.remove(path, directory: false)
      let isWhole = try forEachNew(entry, since: earlier.entry) { needed += $1.length }
      if isWhole { return needed }
      needed = 0
    }
    try reader.forEachReference(entry.content) { needed += $1.length }
    return needed
  }

  /// The same of a file of which nothing is there.
  package func build(_ tree: any Tree, _ path: TreePath, _ entry: Entry) throws -> Status {
    let file = try tree.create(path)
    defer { file.close() }
    if entry.sparse || hasHoles(entry.content) { try file.truncate(to: entry.size) }
    try reader.forEachReference(entry.content) { offset, reference in
      try write(file, reference, at: offset, isSparse: entry.sparse)
    }
    return try dress(file, entry)
  }

  private func write(
    _ file: any TreeFile, _ reference: ChunkReference, at offset: Int64, isSparse: Bool
  ) throws {
    let bytes = try reader.run(reference)
    if isSparse {
      try writeSparsely(file, bytes, offset)
    } else {
      try file.write(bytes, 0..<bytes.count, at: offset)
    }
  }

  /// Writes part of a file that is still being received, behind what is there.
  func extend(_ file: inout GrowingFile, _ part: FilePart, _ digests: PairDigests) throws {
    for reference in part.references {
      if reference.name != .hole {
        try write(file.file, reference, at: file.end, isSparse: part.isSparse)
        file.chain = digests.chain(file.chain, file.end, reference.name)
      }
      file.end += reference.length
    }
  }

  /// Makes a file that has grown so far what its entry says.
  /// - Returns: its status; `nil` where what was written is not how the entry begins.
  func finish(_ file: GrowingFile, _ entry: Entry, _ digests: PairDigests) throws -> Status? {
    guard file.end <= entry.size else { return nil }
    try file.file.truncate(to: entry.size)
    var chain = Digest32.zero
    var isSame = true
    try reader.forEachReference(entry.content) { offset, reference in
      guard isSame else { return }
      if offset < file.end {
        chain = digests.chain(chain, offset, reference.name)
      } else {
        isSame = chain == file.chain
        if isSame { try write(file.file, reference, at: offset, isSparse: entry.sparse) }
        chain = file.chain
      }
    }
    guard isSame, chain == file.chain else { return nil }
    return try dress(file.file, entry)
  }

  /// Gives a file that was just made its owner and all else.
  private func dress(_ file: any TreeFile, _ wanted: Entry) throws -> Status {
    let entry = harmless(wanted)
    // A directory may have given it a group and an ACL of its own.
    let made = try file.status()
    var isOwned = true
    // Changing the owner takes setuid bits and capabilities away, so it comes first. The mode comes
    // behind attributes: it may keep an owner from setting them, and an ACL changes it. Times last.
    if made.owner != entry.owner || made.group != entry.group {
      isOwned = try counting(\.owners) { () throws(TreeError) in
        try file.setOwner(entry.owner, group: entry.group)
      }
    }
    let present = try file.attributes()
    if present != entry.attributes {
      try exchange(
        present, for: entry, remove: { name throws(TreeError) in try file.removeAttribute(name) },
        set: { attribute throws(TreeError) in try file.setAttribute(attribute) })
    }
    let mode = entry.mode(isOwned: isOwned)
    if made.mode != mode || present != entry.attributes {
      try counting(\.owners) { () throws(TreeError) in try file.setMode(mode) }
    }
    try file.setModified(entry.modified)
    return try file.status()
  }

  private func exchange(
    _ present: [Attribute], for entry: Entry, remove: ([UInt8]) throws(TreeError) -> Void,
    set: (Attribute) throws(TreeError) -> Void
  ) throws {
    let names = Set(entry.attributes.map(\.name))
    for attribute in present where !names.contains(attribute.name) {
      if Reserved.isIgnored(attribute.name) { continue }
      try counting(\.attributes) { () throws(TreeError) in try remove(attribute.name) }
    }
    for attribute in Set(entry.attributes).subtracting(present) {
      try counting(\.attributes) { () throws(TreeError) in try set(attribute) }
    }
  }

  private func hasHoles(_ content: Content) -> Bool {
    content.references.last?.name == .hole || content.depth > 0
  }

  private static let pageBytes = 4096

  /// Leaves out pages of zeros, which the truncated file already has.
  private func writeSparsely(_ file: any TreeFile, _ bytes: [UInt8], _ offset: Int64) throws {
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count, !isZeroPage(bytes, end) {
        end = min(bytes.count, end + Self.pageBytes)
      }
      if end > start { try file.write(bytes, start..<end, at: offset + Int64(start)) }
      start = end
      while start < bytes.count, isZeroPage(bytes, start) {
        start = min(bytes.count, start + Self.pageBytes)
      }
    }
  }

  private func isZeroPage(_ bytes: [UInt8], _ start: Int) -> Bool {
    let end = min(bytes.count, start + Self.pageBytes)
    for index in start..<end where bytes[index] != 0 { return false }
    return true
  }

  /// Makes an object that is not a regular file; its owner and so on are set by ``dress``.
  /// - Returns: whether it was made; device nodes need privileges.
  package func make(_ tree: any Tree, _ path: TreePath, _ entry: Entry) throws -> Bool {
    if entry.isDevice, refused.contains(.devices) {
      shortfalls.powers += 1
      return false
    }
    do throws(TreeError) {
      try tree.make(path, kind: entry.kind, target: entry.target, device: entry.device)
      return true
    } catch {
      guard case .refused = error, !isPrivileged, entry.kind != .directory else { throw error }
      shortfalls.nodes += 1
      return false
    }
  }

  /// Gives an object that exists its owner, mode, attributes and times.
  /// - Returns: its status.
  package func dress(_ tree: any Tree, _ path: TreePath, _ wanted: Entry) throws -> Status? {
    let entry = harmless(wanted)
    guard let status = try tree.status(path) else { throw TreeError.absent(path) }
    var isOwned = true
    if status.owner != entry.owner || status.group != entry.group {
      isOwned = try counting(\.owners) { () throws(TreeError) in
        try tree.setOwner(path, owner: entry.owner, group: entry.group)
      }
    }
    let present = try tree.attributes(path)
    if present != entry.attributes {
      try exchange(
        present, for: entry,
        remove: { name throws(TreeError) in try tree.removeAttribute(path, name: name) },
        set: { attribute throws(TreeError) in try tree.setAttribute(path, attribute) })
    }
    // Behind the attributes: an ACL carries the group bits of the mode with it.
    let mode = entry.mode(isOwned: isOwned)
    if entry.kind != .symlink, try tree.status(path)?.mode != mode {
      try counting(\.owners) { () throws(TreeError) in try tree.setMode(path, mode: mode) }
    }
    try tree.setModified(path, to: entry.modified)
    return try tree.status(path)
  }

  private func harmless(_ wanted: Entry) -> Entry {
    let entry = wanted.lendingNone(of: refused)
    if entry != wanted { shortfalls.powers += 1 }
    return entry
  }

  /// - Returns: whether it was done.
  @discardableResult
  private func counting(
    _ what: WritableKeyPath<Shortfalls, Int64>, _ body: () throws(TreeError) -> Void
  ) throws(TreeError) -> Bool {
    do throws(TreeError) {
      try body()
      return true
    } catch {
      guard case .refused = error, !isPrivileged else { throw error }
      shortfalls[keyPath: what] += 1
      return false
    }
  }
}
