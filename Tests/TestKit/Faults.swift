package import HoldfastCore
import Synchronization

/// Which call of a kind fails, and how: the n-th, and each after it where a disk stays broken.
package final class FaultPlan: Sendable {
  package enum Kind: Sendable, CaseIterable { case write, flush, rename }
  package enum Failure: Sendable, CaseIterable { case inputOutput, full }
  private let kind: Kind
  private let failure: Failure
  private let left: Mutex<Int>
  private let hits = Mutex(0)

  package init(_ kind: Kind, _ failure: Failure, at number: Int) {
    self.kind = kind
    self.failure = failure
    left = Mutex(number)
  }

  /// Whether a call was made to fail.
  package var wasReached: Bool { hits.withLock { $0 > 0 } }

  /// - Returns: how this call is to fail, if it is.
  func next(_ kind: Kind) -> Failure? {
    guard kind == self.kind else { return nil }
    let isNow = left.withLock { left in
      left -= 1
      return left == 0
    }
    guard isNow else { return nil }
    hits.withLock { $0 += 1 }
    return failure
  }
}

extension FaultPlan.Failure {
  func disk(_ path: String, flushing: Bool) -> DiskError {
    if flushing { return .flushFailed(path, errno: self == .full ? 28 : 5) }
    return self == .full ? .full(path) : .failed(path, call: "write", errno: 5)
  }
  func tree(_ path: TreePath, flushing: Bool) -> TreeError {
    if flushing { return .flushFailed(errno: self == .full ? 28 : 5) }
    return self == .full ? .full(path) : .failed(path, call: "write", errno: 5)
  }
}

/// A disk that fails as planned, and otherwise does what the real one does.
package struct FaultDisk: Disk {
  private let inner: any Disk
  private let plan: FaultPlan
  package init(_ inner: any Disk, _ plan: FaultPlan) {
    self.inner = inner
    self.plan = plan
  }
  package func list() throws(DiskError) -> [String] { try inner.list() }
  package func create(_ name: String) throws(DiskError) -> any DiskFile {
    if let failure = plan.next(.write) { throw failure.disk(name, flushing: false) }
    return FaultFile(try inner.create(name), name, plan)
  }
  package func open(_ name: String, writable: Bool) throws(DiskError) -> any DiskFile {
    FaultFile(try inner.open(name, writable: writable), name, plan)
  }
  package func remove(_ name: String) throws(DiskError) { try inner.remove(name) }
  package func flushNames() throws(DiskError) {
    if let failure = plan.next(.flush) { throw failure.disk(".", flushing: true) }
    try inner.flushNames()
  }
  package func replace(_ name: String, with bytes: [UInt8]) throws(DiskError) {
    if let failure = plan.next(.write) { throw failure.disk(name, flushing: false) }
    if let failure = plan.next(.flush) { throw failure.disk(name, flushing: true) }
    if let failure = plan.next(.rename) { throw failure.disk(name, flushing: false) }
    try inner.replace(name, with: bytes)
  }
  package func contents(of name: String) throws(DiskError) -> [UInt8]? {
    try inner.contents(of: name)
  }
  package func freeBytes() throws(DiskError) -> Int64 { try inner.freeBytes() }
}

final class FaultFile: DiskFile {
  private let inner: any DiskFile
  private let name: String
  private let plan: FaultPlan
  init(_ inner: any DiskFile, _ name: String, _ plan: FaultPlan) {
    self.inner = inner
    self.name = name
    self.plan = plan
  }
  func size() throws(DiskError) -> Int64 { try inner.size() }
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(DiskError) {
    if let failure = plan.next(.write) {
      // A failing disk may have taken some of it.
      let half = range.lowerBound..<(range.lowerBound + range.count / 2)
      try? inner.write(bytes, half, at: offset)
      throw failure.disk(name, flushing: false)
    }
    try inner.write(bytes, range, at: offset)
  }
  func read(at offset: Int64, count: Int) throws(DiskError) -> [UInt8] {
    try inner.read(at: offset, count: count)
  }
  func truncate(to size: Int64) throws(DiskError) { try inner.truncate(to: size) }
  func flush() throws(DiskError) {
    if let failure = plan.next(.flush) { throw failure.disk(name, flushing: true) }
    try inner.flush()
  }
  func begin(_ range: Range<Int64>) { inner.begin(range) }
  func release(_ range: Range<Int64>) { inner.release(range) }
  func close() { inner.close() }
}

/// A tree that fails as planned.
package final class FaultTree: Tree {
  private let inner: any Tree
  private let plan: FaultPlan
  package init(_ inner: any Tree, _ plan: FaultPlan) {
    self.inner = inner
    self.plan = plan
  }
  private func fail(_ kind: FaultPlan.Kind, _ path: TreePath) throws(TreeError) {
    if let failure = plan.next(kind) { throw failure.tree(path, flushing: kind == .flush) }
  }
  package func status(_ path: TreePath) throws(TreeError) -> Status? { try inner.status(path) }
  package func list(_ path: TreePath) throws(TreeError) -> [[UInt8]] { try inner.list(path) }
  package func attributes(_ path: TreePath) throws(TreeError) -> [Attribute] {
    try inner.attributes(path)
  }
  package func target(_ path: TreePath) throws(TreeError) -> [UInt8] { try inner.target(path) }
  package func open(_ path: TreePath) throws(TreeError) -> any ReadableFile { try inner.open(path) }
  package func expect(_ paths: [TreePath]) { inner.expect(paths) }
  package func create(_ path: TreePath) throws(TreeError) -> any TreeFile {
    try fail(.write, path)
    return FaultTreeFile(try inner.create(path), path, plan)
  }
  package func make(
    _ path: TreePath, kind: Kind, target: [UInt8], device: UInt64
  ) throws(TreeError) {
    try fail(.write, path)
    try inner.make(path, kind: kind, target: target, device: device)
  }
  package func link(_ existing: TreePath, as path: TreePath) throws(TreeError) {
    try fail(.write, path)
    try inner.link(existing, as: path)
  }
  package func rename(_ old: TreePath, to new: TreePath) throws(TreeError) {
    try fail(.rename, new)
    try inner.rename(old, to: new)
  }
  package func remove(_ path: TreePath, directory: Bool) throws(TreeError) {
    try inner.remove(path, directory: directory)
  }
  package func setOwner(_ path: TreePath, owner: UInt32, group: UInt32) throws(TreeError) {
    try inner.setOwner(path, owner: owner, group: group)
  }
  package func setMode(_ path: TreePath, mode: UInt16) throws(TreeError) {
    try inner.setMode(path, mode: mode)
  }
  package func setAttribute(_ path: TreePath, _ attribute: Attribute) throws(TreeError) {
    try fail(.write, path)
    try inner.setAttribute(path, attribute)
  }
  package func removeAttribute(_ path: TreePath, name: [UInt8]) throws(TreeError) {
    try inner.removeAttribute(path, name: name)
  }
  package func setModified(_ path: TreePath, to time: WallTime) throws(TreeError) {
    try inner.setModified(path, to: time)
  }
  package func flush(_ path: TreePath) throws(TreeError) {
    try fail(.flush, path)
    try inner.flush(path)
  }
  package func beginWriteOut() { inner.beginWriteOut() }
  /// How often all of the tree was flushed.
  package private(set) var flushes = 0
  package func flush() throws(TreeError) {
    flushes += 1
    try fail(.flush, .top)
    try inner.flush()
  }
  package func freeBytes() throws(TreeError) -> Int64 { try inner.freeBytes() }
  package func clone(
    _ path: TreePath, as copy: TreePath
  ) throws(TreeError) -> (any TreeFile)? {
    try fail(.write, copy)
    return try inner.clone(path, as: copy).map { FaultTreeFile($0, copy, plan) }
  }
  package func sharing(
    _ path: TreePath, with copy: TreePath
  ) throws(TreeError) -> (any BlockSharing)? {
    try fail(.write, copy)
    return try inner.sharing(path, with: copy).map { FaultSharing($0, path, plan) }
  }
  package func forgetDirectories() { inner.forgetDirectories() }
}

/// A file of such a tree: what is written may come to the disk in part.
private final class FaultTreeFile: TreeFile {
  private let inner: any TreeFile
  private let path: TreePath
  private let plan: FaultPlan
  init(_ inner: any TreeFile, _ path: TreePath, _ plan: FaultPlan) {
    self.inner = inner
    self.path = path
    self.plan = plan
  }
  private func fail() throws(TreeError) {
    if let failure = plan.next(.write) { throw failure.tree(path, flushing: false) }
  }
  func status() throws(TreeError) -> Status { try inner.status() }
  func read(
    at offset: Int64, into buffer: inout [UInt8], _ range: Range<Int>
  ) throws(TreeError) -> Int { try inner.read(at: offset, into: &buffer, range) }
  func data(from offset: Int64) throws(TreeError) -> Range<Int64>? { try inner.data(from: offset) }
  func attributes() throws(TreeError) -> [Attribute] { try inner.attributes() }
  func close() { inner.close() }
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(TreeError) {
    if let failure = plan.next(.write) {
      let half = range.lowerBound..<(range.lowerBound + range.count / 2)
      try? inner.write(bytes, half, at: offset)
      throw failure.tree(path, flushing: false)
    }
    try inner.write(bytes, range, at: offset)
  }
  func truncate(to size: Int64) throws(TreeError) {
    try fail()
    try inner.truncate(to: size)
  }
  func setOwner(_ owner: UInt32, group: UInt32) throws(TreeError) {
    try fail()
    try inner.setOwner(owner, group: group)
  }
  func setMode(_ mode: UInt16) throws(TreeError) {
    try fail()
    try inner.setMode(mode)
  }
  func setAttribute(_ attribute: Attribute) throws(TreeError) {
    try fail()
    try inner.setAttribute(attribute)
  }
  func removeAttribute(_ name: [UInt8]) throws(TreeError) {
    try fail()
    try inner.removeAttribute(name)
  }
  func setModified(_ time: WallTime) throws(TreeError) {
    try fail()
    try inner.setModified(time)
  }
}

private final class FaultSharing: BlockSharing {
  private let inner: any BlockSharing
  private let path: TreePath
  private let plan: FaultPlan
  init(_ inner: any BlockSharing, _ path: TreePath, _ plan: FaultPlan) {
    self.inner = inner
    self.path = path
    self.plan = plan
  }
  private func fail() throws(TreeError) {
    if let failure = plan.next(.write) { throw failure.tree(path, flushing: false) }
  }
  func status() throws(TreeError) -> Status { try inner.status() }
  func layout() throws(TreeError) -> [FileExtent]? {
    try fail()
    let layout = try inner.layout()
    // It has shared a block by now.
    try fail()
    return layout
  }
  func copyLayout() throws(TreeError) -> [FileExtent]? {
    try fail()
    return try inner.copyLayout()
  }
  func share(_ range: Range<Int64>) throws(TreeError) {
    try fail()
    try inner.share(range)
  }
  func resizeCopy(to size: Int64) throws(TreeError) {
    try fail()
    try inner.resizeCopy(to: size)
  }
}

/// A disk of which one block of one segment cannot be read any more.
package struct BlockLosingDisk: Disk {
  private let inner: any Disk
  private let segment: UInt64
  private let block: Int64

  /// - Parameter block: its number, of 4096 bytes each.
  package init(_ inner: any Disk, segment: UInt64, block: Int64) {
    self.inner = inner
    self.segment = segment
    self.block = block
  }
  private func losing(_ file: any DiskFile, _ name: String) -> any DiskFile {
    // Names begin with the number, in hexadecimal digits.
    UInt64(name.prefix(16), radix: 16) == segment ? BlockLosingFile(file, name, block) : file
  }
  package func list() throws(DiskError) -> [String] { try inner.list() }
  package func create(_ name: String) throws(DiskError) -> any DiskFile {
    losing(try inner.create(name), name)
  }
  package func open(_ name: String, writable: Bool) throws(DiskError) -> any DiskFile {
    losing(try inner.open(name, writable: writable), name)
  }
  package func remove(_ name: String) throws(DiskError) { try inner.remove(name) }
  package func flushNames() throws(DiskError) { try inner.flushNames() }
  package func replace(_ name: String, with bytes: [UInt8]) throws(DiskError) {
    try inner.replace(name, with: bytes)
  }
  package func contents(of name: String) throws(DiskError) -> [UInt8]? {
    try inner.contents(of: name)
  }
  package func freeBytes() throws(DiskError) -> Int64 { try inner.freeBytes() }
}

final class BlockLosingFile: DiskFile {
  private let inner: any DiskFile
  private let name: String
  private let lost: Range<Int64>
  init(_ inner: any DiskFile, _ name: String, _ block: Int64) {
    self.inner = inner
    self.name = name
    lost = block * 4096..<(block + 1) * 4096
  }
  func size() throws(DiskError) -> Int64 { try inner.size() }
  func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int64) throws(DiskError) {
    try inner.write(bytes, range, at: offset)
  }
  func read(at offset: Int64, count: Int) throws(DiskError) -> [UInt8] {
    if count > 0, (offset..<offset + Int64(count)).overlaps(lost) {
      throw .failed(name, call: "read", errno: 5)
    }
    return try inner.read(at: offset, count: count)
  }
  func truncate(to size: Int64) throws(DiskError) { try inner.truncate(to: size) }
  func flush() throws(DiskError) { try inner.flush() }
  func begin(_ range: Range<Int64>) { inner.begin(range) }
  func release(_ range: Range<Int64>) { inner.release(range) }
  func close() { inner.close() }
}
