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
    while offset + 4 <= event.upperBound {
      let kind = Int(bytes[offset])
      let length = number(bytes, offset + 2, 2)
      guard length >= 4, offset + length <= event.upperBound else { return }
      let record = offset..<(offset + length)
      if kind == Int(FAN_EVENT_INFO_TYPE_DFID_NAME) || kind == Int(FAN_EVENT_INFO_TYPE_DFID) {
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
    // By a name elsewhere on the filesystem; what has one name alone has none in a root.
    if !isPlaced, !isDirectory, let object { takeLinked(bytes, object, &state) }
  }

  private func takeLinked(_ bytes: [UInt8], _ record: Range<Int>, _ state: inout State) {
    guard let (filesystem, handle, _) = parse(bytes, record),
      let root = filesystems.firstIndex(of: filesystem)
    else { return }
    let number = reopen(handle, root, holdfast_o_path)
    guard number >= 0 else { return }
    let object = Descriptor(number)
    var status = stat()
    guard unsafe fstat(object.number, &status) == 0, status.st_nlink > 1 else { return }
    state.process = nil
    state.buffer.add(
      .linked(FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))))
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
    guard let root = filesystems.firstIndex(of: filesystem) else { return nil }
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
    let found = position(ofPath: path(of: directory))
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

  private func position(ofPath path: [UInt8]) -> Place? {
    for (index, root) in roots.enumerated() where path.starts(with: root) {
      let number = RootNumber(rawValue: index)
      if path.count == root.count { return Place(root: number, path: .top) }
      if path[root.count] == 0x2F, let below = TreePath(Array(path[(root.count + 1)...])) {
        return Place(root: number, path: below)
      }
    }
    return nil
  }
}
