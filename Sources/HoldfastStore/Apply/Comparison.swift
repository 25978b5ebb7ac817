package import HoldfastCore

/// Compares what stands in a tree with what a point says. Not shared between threads.
package final class Comparison {
  private let reader: ContentReader
  private let digests: PairDigests
  /// Without privileges owners and some attributes could not be set in the first place, nor device
  /// nodes made.
  private let isPrivileged: Bool
  /// See ``Materials``.
  private let refused: Powers

  package init(
    reader: ContentReader, digests: PairDigests, isPrivileged: Bool, refusing refused: Powers
  ) {
    self.refused = refused
    self.reader = reader
    self.digests = digests
    self.isPrivileged = isPrivileged
  }

  /// - Returns: what is different; `nil` where all is equal.
  package func difference(
    _ tree: any Tree, _ path: TreePath, _ wanted: Entry
  ) throws -> String? {
    let entry = wanted.lendingNone(of: refused)
    guard let status = try tree.status(path) else {
      let isMade = isPrivileged && !refused.contains(.devices)
      return entry.isDevice && !isMade ? nil : "is missing"
    }
    guard status.kind == entry.kind else { return "is another kind of object" }
    let isOwned = status.owner == entry.owner && status.group == entry.group
    if isPrivileged, !isOwned { return "owner" }
    // What was there before it was refused, as on a site that served, lends what it did.
    if entry.kind != .symlink, status.mode != entry.mode(isOwned: isOwned),
      status.mode != wanted.mode(isOwned: isOwned)
    {
      return "mode"
    }
    if status.modified != entry.modified { return "time" }
    if isPrivileged {
      let present = try attributes(tree, path)
      if present != entry.attributes, present != wanted.attributes { return "attributes" }
    }
    switch entry.kind {
    case .symlink: return try tree.target(path) == entry.target ? nil : "target"
    case .regular:
      if status.size != entry.size { return "size" }
      return try hasContent(tree, path, entry) ? nil : "content"
    case .directory, .fifo, .characterDevice, .blockDevice, .socket: return nil
    }
  }

  private func attributes(_ tree: any Tree, _ path: TreePath) throws -> [Attribute] {
    try tree.attributes(path).filter { !Reserved.isIgnored($0.name) }
  }

  private func hasContent(_ tree: any Tree, _ path: TreePath, _ entry: Entry) throws -> Bool {
    let file = try tree.open(path)
    defer { file.close() }
    var buffer = [UInt8](repeating: 0, count: Limits.chunkBytesMax)
    var isEqual = true
    var end: Int64 = 0
    try reader.forEachReference(entry.content) { offset, reference in
      guard isEqual else { return }
      isEqual =
        try isHole(file, end..<offset)
        && isChunk(file, offset, reference, &buffer)
      end = offset + reference.length
    }
    return try isEqual && isHole(file, end..<entry.size)
  }

  private func isChunk(
    _ file: any ReadableFile, _ offset: Int64, _ reference: ChunkReference, _ buffer: inout [UInt8]
  ) throws -> Bool {
    let count = Int(reference.length)
    if buffer.count < count { buffer = [UInt8](repeating: 0, count: count) }
    guard try file.read(at: offset, into: &buffer, 0..<count) == count else { return false }
    return digests.name(buffer, 0..<count) == reference.name
  }

  /// Whether only zeros are read there, stored or not.
  private func isHole(_ file: any ReadableFile, _ range: Range<Int64>) throws -> Bool {
    var offset = range.lowerBound
    var buffer = [UInt8](repeating: 0, count: Limits.chunkBytesMax)
    while offset < range.upperBound {
      guard let data = try file.data(from: offset), data.lowerBound < range.upperBound else {
        return true
      }
      offset = max(offset, data.lowerBound)
      let count = Int(min(Int64(buffer.count), range.upperBound - offset))
      guard try file.read(at: offset, into: &buffer, 0..<count) == count else { return false }
      if buffer[0..<count].contains(where: { $0 != 0 }) { return false }
      offset += Int64(count)
    }
    return true
  }
}
