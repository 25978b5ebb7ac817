import CLinux
import Glibc
package import HoldfastCore
import Synchronization

/// fanotify(7) marks on whole filesystems: no directory is ever unwatched, and writes through hard
/// links, bind mounts and containers count. Needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH.
package final class Fanotify: Watch {
  package let kind = WatchKind.fanotify
  package let shortfall: String? = nil

  private struct State {
    var buffer: EventBuffer
    /// Directory handles seen, and where they lie; `nil` outside of all roots.
    var places: [[UInt8]: Place?] = [:]
    /// Objects that had the name by which they were changed, and no other that is to be looked for,
    /// by directory and name; since the last of its events was taken.
    var named: [[UInt8]: [UInt8]] = [:]
    var process: Int32?
    /// Of what was taken last.
    var told: Int32?
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
  }
  private static let placesMax = 65_536
  private let state: Mutex<State>
  private let descriptor: Descriptor
  private let tops: [Descriptor]
  /// Filesystem ids by root, as events carry them.
  private let filesystems: [[UInt8]]
  private let roots: [[UInt8]]
  private let source = Mutex<ReadSource?>(nil)
  private let ownProcess = getpid()

  package struct Unavailable: Error { package let reason: String }

  /// - Throws: why marks are not to be had here.
  package init(
    roots: [String], notify: @escaping @Sendable () -> Void
  ) throws(Unavailable) {
    let number = fanotify_init(holdfast_fanotify_class, UInt32(O_RDONLY | O_CLOEXEC))
    guard number >= 0 else { throw Unavailable(reason: "fanotify_init: \(errnoText(errno))") }
    let group = Descriptor(number)
    var tops: [Descriptor] = []
    var filesystems: [[UInt8]] = []
    for root in roots {
      let top = unsafe holdfast_openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
      guard top >= 0 else { throw Unavailable(reason: "\(root): \(errnoText(errno))") }
      tops.append(Descriptor(top))
      let marked = fanotify_mark(
        number, UInt32(FAN_MARK_ADD) | UInt32(FAN_MARK_FILESYSTEM), holdfast_fanotify_mask, top,
        nil)
      guard marked == 0 else {
        throw Unavailable(reason: "fanotify mark on \(root): \(errnoText(errno))")
      }
      var answer = statfs()
      guard unsafe fstatfs(top, &answer) == 0 else { throw Unavailable(reason: "\(root): fstatfs") }
      filesystems.append(unsafe withUnsafeBytes(of: answer.f_fsid) { unsafe Array($0) })
      let reopened = holdfast_reopen_by_handle(top, holdfast_o_path | O_DIRECTORY | O_CLOEXEC)
      guard reopened >= 0 else {
        // Without CAP_DAC_READ_SEARCH events could be had, but not where they belong.
        throw Unavailable(reason: "open_by_handle_at on \(root): \(errnoText(errno))")
      }
      _ = Descriptor(reopened)
    }
    descriptor = group
    state = Mutex(State(buffer: EventBuffer(roots: roots.count)))
    self.tops = tops
    self.filesystems = filesystems
    self.roots = roots.map { Array($0.utf8) }
    let readable = ReadSource(number) { [weak self] in
      guard let self else { return }
      let isNews = state.withLock { state in
        read(into: &state)
        return !state.buffer.isEmpty
      }
      if isNews { notify() }
    }
    source.withLock { $0 = readable }
    readable.start()
  }

  package func drain() -> [WatchEvent] {
    state.withLock { state in
      read(into: &state)
      state.named.removeAll(keepingCapacity: true)
      (state.told, state.process) = (state.process, nil)
      return state.buffer.take()
    }
  }

  package var newestProcess: Int32? { state.withLock { $0.told } }
  package func cover(_ place: Place) -> String? { nil }
  package func takeCovered() -> [Place] { [] }

  private func read(into state: inout State) {
    var bytes: [UInt8] = []
    swap(&bytes, &state.bytes)
    defer { swap(&bytes, &state.bytes) }
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        retried { unsafe Glibc.read(descriptor.number, buffer.baseAddress, buffer.count) }
      }
      guard count > 0 else { return }
      var offset = 0
      while offset + 24 <= count {
        let length = number(bytes, offset, 4)
        precondition(length >= 24 && offset + length <= count, "fanotify event of \(length) bytes")
        take(bytes, offset..<(offset + length), &state)
        offset += length
      }
    }
  }

  private func number(_ bytes: [UInt8], _ offset: Int, _ width: Int) -> Int {
    (0..<width).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
  }

  /// struct fanotify_event_metadata: length, version, reserved, header length, mask, descriptor,
  /// process; then records of struct fanotify_event_info_header.
  private func take(_ bytes: [UInt8], _ event: Range<Int>, _ state: inout State) {
    let header = number(bytes, event.lowerBound + 6, 2)
    let mask = UInt64(number(bytes, event.lowerBound + 8, 8))
    let process = Int32(truncatingIfNeeded: number(bytes, event.lowerBound + 20, 4))
    if mask & UInt64(FAN_Q_OVERFLOW) != 0 {
      state.process = nil
      for root in roots.indices {
        state.buffer.add(.lost(Place(root: RootNumber(rawValue: root), path: .top)))
      }
      return
    }
    if process == ownProcess { return }
    let isDirectory = mask & UInt64(FAN_ONDIR) != 0
    if isDirectory, mask & UInt64(FAN_MOVED_FROM | FAN_MOVED_TO | FAN_DELETE) != 0 {
      state.places.removeAll()
    }
    var offset = event.lowerBound + header
    var isPlaced = false
    var object: Range<Int>?
    var name: Range<Int>?
    while offset + 4 <= event.upperBound {
      let kind = Int(bytes[offset])
      let length = number(bytes, offset + 2, 2)
      guard length >= 4, offset + length <= event.upperBound else { return }
      let record = offset..<(offset + length)
      if kind == Int(FAN_EVENT_INFO_TYPE_DFID_NAME) || kind == Int(FAN_EVENT_INFO_TYPE_DFID) {
        name = record
        if take(bytes, record, mask, isDirectory, &state) {
          isPlaced = true
          // 0 of a process that another process namespace hides.
          state.process = process == 0 ? nil : process
        }
      } else if kind == Int(FAN_EVENT_INFO_TYPE_FID) {
        object = record
      }
      offset += length
    }
    guard !isDirectory, let name else { return }
    let key = Array(bytes[(name.lowerBound + 4)..<name.upperBound])
    // What is told of a name that goes, or comes, does not say of which object.
    if mask & UInt64(FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO) != 0 { state.named[key] = nil }
    guard let object else { return }
    let handle = Array(bytes[object])
    if state.named[key] == handle { return }
    guard takeLinked(bytes, object, by: name, isPlaced: isPlaced, &state) else { return }
    if state.named.count >= Self.placesMax { state.named.removeAll() }
    state.named[key] = handle
  }

  /// Tells of an object that may have names in the roots besides the one by which it was changed:
  /// one that was changed by a name elsewhere on the filesystem, or by a descriptor whose name is
  /// gone, which the kernel goes on to tell.
  /// - Returns: whether there is nothing to tell.
  private func takeLinked(
    _ bytes: [UInt8], _ record: Range<Int>, by name: Range<Int>, isPlaced: Bool,
    _ state: inout State
  ) -> Bool {
    guard let (filesystem, handle, _) = parse(bytes, record),
      let root = filesystems.firstIndex(of: filesystem)
    else { return true }
    let number = reopen(handle, root, holdfast_o_path)
    // One that is gone has no name.
    guard number >= 0 else { return false }
    let object = Descriptor(number)
    var status = stat()
    guard unsafe fstat(object.number, &status) == 0, status.st_nlink > 0 else { return false }
    let identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    if isPlaced || status.st_nlink == 1, isNamed(bytes, name, identity) { return true }
    if !isPlaced { state.process = nil }
    state.buffer.add(.linked(identity))
    return false
  }

  /// Whether an object has the name that was told.
  private func isNamed(_ bytes: [UInt8], _ record: Range<Int>, _ identity: FileIdentity) -> Bool {
    guard let (filesystem, handle, name) = parse(bytes, record),
      let root = filesystems.firstIndex(of: filesystem)
    else { return false }
    let number = reopen(handle, root, holdfast_o_path | O_DIRECTORY)
    guard number >= 0 else { return false }
    let directory = Descriptor(number)
    var status = stat()
    let found = unsafe (name + [0]).withUnsafeBufferPointer { text -> Int32 in
      guard let base = text.baseAddress else { return -1 }
      return unsafe base.withMemoryRebound(to: CChar.self, capacity: text.count) {
        unsafe fstatat(directory.number, $0, &status, AT_SYMLINK_NOFOLLOW)
      }
    }
    return found == 0
      && FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino)) == identity
  }

  /// One record: header (4), fsid (8), struct file_handle (8 + its bytes), name with a NUL.
  private func parse(
    _ bytes: [UInt8], _ record: Range<Int>
  ) -> (filesystem: [UInt8], handle: [UInt8], name: [UInt8])? {
    let start = record.lowerBound
    guard record.count >= 20 else { return nil }
    let handleEnd = start + 20 + number(bytes, start + 12, 4)
    guard handleEnd <= record.upperBound else { return nil }
    return (
      Array(bytes[(start + 4)..<(start + 12)]), Array(bytes[(start + 12)..<handleEnd]),
      Array(bytes[handleEnd..<record.upperBound].prefix { $0 != 0 })
    )
  }

  private func reopen(_ handle: [UInt8], _ root: Int, _ flags: Int32) -> Int32 {
    unsafe handle.withUnsafeBytes { buffer -> Int32 in
      guard let base = buffer.baseAddress else { return -1 }
      return unsafe holdfast_open_by_handle(tops[root].number, base, flags | O_CLOEXEC)
    }
  }

  /// - Returns: whether it is of a root.
  private func take(
    _ bytes: [UInt8], _ record: Range<Int>, _ mask: UInt64, _ isDirectory: Bool,
    _ state: inout State
  ) -> Bool {
    guard let (filesystem, handle, name) = parse(bytes, record),
      let directory = place(filesystem, handle, &state)
    else { return false }
    if name.isEmpty || name == [0x2E] {
      state.buffer.add(.touched(directory))
      return true
    }
    guard let path = directory.path.appending(name) else { return true }
    let child = Place(root: directory.root, path: path)
    let appeared = isDirectory && mask & UInt64(FAN_CREATE | FAN_MOVED_TO) != 0
    state.buffer.add(appeared ? .lost(child) : .touched(child))
    if mask & UInt64(FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO) != 0 {
      state.buffer.add(.touched(directory))
    }
    return true
  }

  /// Where a directory handle lies now, if in a root.
  private func place(
    _ filesystem: [UInt8], _ handle: [UInt8], _ state: inout State
  ) -> Place? {
    let key = filesystem + handle
    if let known = state.places[key] { return known }
    var found: Place?
    // Each root through its own top: they may be mounts of their own, of one filesystem, and what
    // lies beyond a mount has no path from it that means anything.
    for root in filesystems.indices where filesystems[root] == filesystem {
      let number = reopen(handle, root, holdfast_o_path | O_DIRECTORY)
      guard number >= 0 else {
        // A directory that is gone needs no event of its own: its parent tells. Of any other, what
        // changed in it is unknown.
        if errno != ESTALE, errno != ENOENT {
          state.buffer.add(.lost(Place(root: RootNumber(rawValue: root), path: .top)))
        }
        return nil
      }
      let directory = Descriptor(number)
      found = position(ofPath: path(of: directory), in: root)
      if found != nil { break }
    }
    if state.places.count >= Self.placesMax { state.places.removeAll() }
    state.places[key] = .some(found)
    return found
  }

  private func path(of directory: Descriptor) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 8192)
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return 0 }
      return unsafe readlink(
        "/proc/self/fd/\(directory.number)", base.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    return Array(buffer.prefix(max(0, count)))
  }

  private func position(ofPath path: [UInt8], in index: Int) -> Place? {
    let root = roots[index]
    guard path.starts(with: root) else { return nil }
    let number = RootNumber(rawValue: index)
    if path.count == root.count { return Place(root: number, path: .top) }
    guard path[root.count] == 0x2F, let below = TreePath(Array(path[(root.count + 1)...])) else {
      return nil
    }
    return Place(root: number, path: below)
  }
}
