import CLinux
import Glibc
package import HoldfastCore
import Synchronization

/// inotify(7): one watch for each directory, for agents without privileges and for filesystems
/// that refuse fanotify marks.
package final class Inotify: Watch {
  package let kind = WatchKind.inotify
  package let shortfall: String?

  private struct State {
    var places: [Int32: Place] = [:]
    var covered: [Place] = []
    var buffer: EventBuffer
  }
  private let state: Mutex<State>
  private let descriptor: Descriptor
  private let roots: [String]
  private let source = Mutex<ReadSource?>(nil)

  /// - Parameters:
  ///   - roots: absolute paths, by root number.
  ///   - notify: called from any thread when events have come; may be called without need.
  /// - Returns: `nil` where the kernel gives no more instances (fs.inotify.max_user_instances).
  package init?(roots: [String], shortfall: String?, notify: @escaping @Sendable () -> Void) {
    let number = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    guard number >= 0 else { return nil }
    descriptor = Descriptor(number)
    state = Mutex(State(buffer: EventBuffer(roots: roots.count)))
    self.roots = roots
    self.shortfall = shortfall
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
      return state.buffer.take()
    }
  }

  package var newestProcess: Int32? { nil }
  package func cover(_ place: Place) -> String? {
    let path = Array(roots[place.root.rawValue].utf8) + [0x2F] + place.path.bytes
    return state.withLock { state in
      let watch = unsafe withCString(path) {
        unsafe inotify_add_watch(descriptor.number, $0, holdfast_inotify_mask)
      }
      guard watch >= 0 else {
        let error = errno
        if error == ENOSPC {
          return "no inotify watches left: raise fs.inotify.max_user_watches (sysctl)"
        }
        // A directory that went away meanwhile needs no watch.
        return error == ENOENT || error == ENOTDIR ? nil : "inotify: \(errnoText(error))"
      }
      // Under another name it was watched, and told of by that.
      if state.places.updateValue(place, forKey: watch) != place { state.covered.append(place) }
      return nil
    }
  }

  package func takeCovered() -> [Place] {
    state.withLock { state in
      defer { state.covered = [] }
      return state.covered
    }
  }

  private func read(into state: inout State) {
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        retried { unsafe Glibc.read(descriptor.number, buffer.baseAddress, buffer.count) }
      }
      guard count > 0 else { return }
      var reader = Reader(bytes, 0..<count)
      while !reader.isAtEnd {
        guard let watch = try? reader.fixed(UInt32.self),
          let mask = try? reader.fixed(UInt32.self),
          (try? reader.fixed(UInt32.self)) != nil,
          let length = try? reader.fixed(UInt32.self), let name = try? reader.raw(Int(length))
        else { preconditionFailure("inotify event cut short: \(count) bytes") }
        take(Int32(bitPattern: watch), mask, Array(name.prefix { $0 != 0 }), &state)
      }
    }
  }

  private func take(_ watch: Int32, _ mask: UInt32, _ name: [UInt8], _ state: inout State) {
    if mask & UInt32(IN_Q_OVERFLOW) != 0 {
      for root in roots.indices {
        state.buffer.add(.lost(Place(root: RootNumber(rawValue: root), path: .top)))
      }
      return
    }
    guard let place = state.places[watch] else { return }
    if mask & UInt32(IN_IGNORED) != 0 {
      state.places[watch] = nil
      return
    }
    guard !name.isEmpty else {
      state.buffer.add(.touched(place))
      return
    }
    guard let path = place.path.appending(name) else { return }
    let child = Place(root: place.root, path: path)
    let appeared = mask & UInt32(IN_CREATE | IN_MOVED_TO) != 0 && mask & UInt32(IN_ISDIR) != 0
    state.buffer.add(appeared ? .lost(child) : .touched(child))
    if mask & UInt32(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) != 0 {
      state.buffer.add(.touched(place))
    }
  }
}
