/// The encoding of entries and changes: docs/format.md, "Entry".
extension Entry {
  private static let sparseFlag: UInt8 = 1

  package func encode(into out: inout Writer) {
    out.fixed(kind.rawValue)
    out.fixed(sparse ? Self.sparseFlag : 0)
    out.variable(UInt64(mode))
    out.variable(UInt64(owner))
    out.variable(UInt64(group))
    out.signed(modified.nanos)
    out.variable(linkGroup)
    out.variable(UInt64(attributes.count))
    for attribute in attributes {
      out.counted(attribute.name)
      out.counted(attribute.value)
    }
    switch kind {
    case .regular:
      out.variable(UInt64(size))
      content.encode(into: &out)
    case .symlink: out.counted(target)
    case .characterDevice, .blockDevice: out.variable(device)
    case .directory, .fifo, .socket: break
    }
  }

  package var encoded: [UInt8] {
    var out = Writer()
    encode(into: &out)
    return out.bytes
  }

  package init(from reader: inout Reader) throws(CodingError) {
    guard let kind = Kind(rawValue: try reader.fixed(UInt8.self)) else {
      throw .invalid("unknown kind of object")
    }
    let flags = try reader.fixed(UInt8.self)
    guard flags <= Self.sparseFlag else { throw .invalid("unknown entry flag") }
    let mode = try reader.variable()
    let owner = try reader.variable()
    let group = try reader.variable()
    guard mode <= 0o7777, owner <= UInt64(UInt32.max), group <= UInt64(UInt32.max) else {
      throw .invalid("mode or owner out of range")
    }
    self.init(
      kind: kind, mode: UInt16(mode), owner: UInt32(owner), group: UInt32(group),
      modified: WallTime(nanos: try reader.signed()), sparse: flags == Self.sparseFlag,
      linkGroup: try reader.variable())
    for _ in 0..<(try reader.count(max: Limits.attributesMax)) {
      let name = try reader.counted(max: Limits.nameBytesMax)
      let value = try reader.counted(max: 64 << 10)
      guard !name.isEmpty, !name.contains(0) else { throw .invalid("attribute name") }
      attributes.append(Attribute(name: name, value: value))
    }
    switch kind {
    case .regular:
      guard let size = Int64(exactly: try reader.variable()) else { throw .invalid("size") }
      self.size = size
      content = try Content(from: &reader, covering: size)
    case .symlink:
      target = try reader.counted(max: Limits.pathBytesMax)
      guard !target.isEmpty, !target.contains(0) else { throw .invalid("link target") }
    case .characterDevice, .blockDevice: device = try reader.variable()
    case .directory, .fifo, .socket: break
    }
  }

  package init(decoding bytes: [UInt8]) throws(CodingError) {
    var reader = Reader(bytes)
    try self.init(from: &reader)
    guard reader.isAtEnd else { throw .invalid("bytes after an entry") }
  }
}

extension Content {
  func encode(into out: inout Writer) {
    out.fixed(depth)
    out.variable(UInt64(references.count))
    ChunkReference.encode(references, into: &out)
  }

  init(from reader: inout Reader, covering size: Int64) throws(CodingError) {
    let depth = try reader.fixed(UInt8.self)
    guard depth <= Limits.contentDepthMax else { throw .invalid("content too deep") }
    let count = try reader.count(max: Limits.referencesMax)
    self.init(depth: depth, references: try ChunkReference.decode(count, from: &reader))
    guard ChunkReference.total(references) == size else {
      throw .invalid("references do not add up to the size")
    }
  }
}

extension ChunkReference {
  package static func encode(_ references: [ChunkReference], into out: inout Writer) {
    for reference in references {
      out.variable(UInt64(reference.length))
      out.digest(reference.name.digest)
    }
  }

  package static func decode(
    _ count: Int, from reader: inout Reader
  ) throws(CodingError) -> [ChunkReference] {
    var references: [ChunkReference] = []
    references.reserveCapacity(count)
    for _ in 0..<count {
      guard let length = Int64(exactly: try reader.variable()), length > 0 else {
        throw .invalid("reference length")
      }
      references.append(ChunkReference(name: ChunkName(try reader.digest()), length: length))
    }
    return references
  }

  /// The bytes that a run of references covers; `nil` beyond 2^63.
  package static func total(_ references: [ChunkReference]) -> Int64? {
    var sum: Int64 = 0
    for reference in references {
      let (next, overflow) = sum.addingReportingOverflow(reference.length)
      if overflow { return nil }
      sum = next
    }
    return sum
  }

  /// Reads a chunk that holds a list of references, which must cover `length` bytes.
  package static func list(
    _ bytes: [UInt8], covering length: Int64
  ) throws(CodingError) -> [ChunkReference] {
    var reader = Reader(bytes)
    let count = try reader.count(max: Limits.referencesMax)
    let references = try decode(count, from: &reader)
    guard reader.isAtEnd, total(references) == length else {
      throw .invalid("list of references")
    }
    return references
  }
}

extension Place {
  package func encode(into out: inout Writer) {
    out.variable(UInt64(root.rawValue))
    out.counted(path.bytes)
  }

  /// What a peer may name: a place in one of a pair's roots, outside of what is Holdfast's own.
  package init(from reader: inout Reader) throws(CodingError) {
    let root = try reader.variable()
    guard root < UInt64(Limits.rootsMax) else { throw .invalid("root number") }
    guard let path = TreePath(try reader.counted(max: Limits.pathBytesMax)) else {
      throw .invalid("path that leaves its tree")
    }
    guard !path.isWithin(.reserved) else {
      throw .invalid("path inside .holdfast")
    }
    self.init(root: RootNumber(rawValue: Int(root)), path: path)
  }
}

extension Change {
  package func encode(into out: inout Writer) {
    place.encode(into: &out)
    if let entry {
      let body = entry.encoded
      out.counted(body)
    } else {
      out.variable(0)
    }
  }

  package init(from reader: inout Reader) throws(CodingError) {
    let place = try Place(from: &reader)
    let body = try reader.counted(max: Limits.entryBytesMax)
    self.init(
      place: place,
      entry: body.isEmpty ? nil : try Entry(decoding: body))
  }
}
