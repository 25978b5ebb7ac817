import HoldfastCore

/// How some places of a root were while nobody wrote there. What was not looked at then cannot be
/// told: it is refused, never taken for absent.
final class FrozenTree: ReadableTree {
  struct Object {
    var status: Status
    var attributes: [Attribute] = []
    var target: [UInt8] = []
    /// Of a directory; `nil` where it was not listed.
    var names: [[UInt8]]?
    var content = Content.none
  }
  enum Content {
    /// Nobody needs it.
    case none
    case bytes([UInt8])
    /// In the root itself, and what is known of it.
    case clone(TreePath, ContentHistory?)
  }
  private let root: any Tree
  /// `nil` where nothing was there.
  private var objects: [TreePath: Result<Object?, TreeError>] = [:]
  // ESTALE.
  private static let isUnknown: Int32 = 116

  init(root: any Tree) { self.root = root }

  func set(_ path: TreePath, _ found: Result<Object?, TreeError>) { objects[path] = found }

  private func object(_ path: TreePath) throws(TreeError) -> Object {
    guard let found = try look(path) else { throw .absent(path) }
    return found
  }

  private func look(_ path: TreePath) throws(TreeError) -> Object? {
    guard let found = objects[path] else {
      throw .failed(path, call: "look while frozen", errno: Self.isUnknown)
    }
    return try found.get()
  }

  func status(_ path: TreePath) throws(TreeError) -> Status? { try look(path)?.status }
  func list(_ path: TreePath) throws(TreeError) -> [[UInt8]] {
    guard let names = try object(path).names else {
      throw .failed(path, call: "list while frozen", errno: Self.isUnknown)
    }
    return names
  }
  func attributes(_ path: TreePath) throws(TreeError) -> [Attribute] {
    try object(path).attributes
  }
  func target(_ path: TreePath) throws(TreeError) -> [UInt8] { try object(path).target }
  func open(_ path: TreePath) throws(TreeError) -> any ReadableFile {
    let object = try object(path)
    switch object.content {
    case .none: throw .failed(path, call: "read while frozen", errno: Self.isUnknown)
    case .bytes(let bytes): return FrozenBytes(object, bytes)
    case .clone(let copy, _): return FrozenClone(object, try root.open(copy))
    }
  }
  func history(_ path: TreePath) -> ContentHistory? {
    guard case .success(let object) = objects[path], case .clone(_, let history) = object?.content
    else { return nil }
    return history
  }
  func expect(_ paths: [TreePath]) {}
  func forgetDirectories() {}
}

/// A clone, with all but its content the original's.
private final class FrozenClone: ReadableFile {
  private let object: FrozenTree.Object
  private let copy: any ReadableFile
  init(_ object: FrozenTree.Object, _ copy: any ReadableFile) {
    self.object = object
    self.copy = copy
  }
  func status() throws(TreeError) -> Status { object.status }
  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int { try copy.read(at: offset, into: &buffer, range) }
  func data(from offset: Int64) throws(TreeError) -> Range<Int64>? { try copy.data(from: offset) }
  func attributes() throws(TreeError) -> [Attribute] { object.attributes }
  func close() { copy.close() }
}

/// A small file that was read.
final class FrozenBytes: ReadableFile {
  private let object: FrozenTree.Object
  private let bytes: [UInt8]
  init(_ object: FrozenTree.Object, _ bytes: [UInt8]) {
    self.object = object
    self.bytes = bytes
  }
  func status() throws(TreeError) -> Status { object.status }
  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int {
    let start = Int(min(offset, Int64(bytes.count)))
    let count = min(range.count, bytes.count - start)
    buffer.replaceSubrange(
      range.lowerBound..<(range.lowerBound + count), with: bytes[start..<(start + count)])
    return count
  }
  func data(from offset: Int64) throws(TreeError) -> Range<Int64>? {
    offset < Int64(bytes.count) ? offset..<Int64(bytes.count) : nil
  }
  func attributes() throws(TreeError) -> [Attribute] { object.attributes }
  func close() {}
}
