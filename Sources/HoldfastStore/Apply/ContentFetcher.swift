package import HoldfastCore
import Synchronization

/// Reads the content of small files on a helper's thread, while its owner makes those before them.
/// One owner.
package final class ContentFetcher: Sendable {
  private struct Work {
    let reader: ContentReader
    var wanted: [ChunkReference] = []
    var found: [ChunkName: [UInt8]] = [:]
  }
  private let work: Mutex<Work>
  private let helper: any Helper

  /// - Parameter reader: nobody else's.
  package init(reader: sending ContentReader, helper: any Helper) {
    work = Mutex(Work(reader: reader))
    self.helper = helper
  }

  func start(_ wanted: [ChunkReference]) {
    work.withLock { $0.wanted = wanted }
    helper.run { self.fetch() }
  }

  /// - Returns: what could be read of what was asked for last; who misses any of it reads that by
  ///   itself, and meets what stood in the way.
  func take() -> [ChunkName: [UInt8]] {
    helper.wait()
    return work.withLock { work in
      defer { work.found = [:] }
      return work.found
    }
  }

  private func fetch() {
    work.withLock { work in
      for reference in work.wanted where work.found[reference.name] == nil {
        guard let bytes = try? work.reader.run(reference) else { return }
        work.found[reference.name] = bytes
      }
    }
  }
}

extension Replica {
  /// Calls `body` with each change. What small files hold is read beside it, a portion ahead.
  func forEach(_ changes: [Change], _ body: (Change) throws -> Void) throws {
    guard let fetcher else { return try changes.forEach(body) }
    var portions = Portions(changes)
    var next = portions.next()
    if let next { fetcher.start(next.wanted) }
    defer {
      // Nothing reads the journal once its owner lets it go.
      _ = fetcher.take()
      materials.fetched = [:]
    }
    while let portion = next {
      materials.fetched = fetcher.take()
      next = portions.next()
      if let next { fetcher.start(next.wanted) }
      try changes[portion.range].forEach(body)
    }
  }
}

/// Cuts changes into runs whose content is read at once.
private struct Portions {
  private let changes: [Change]
  private var start = 0

  init(_ changes: [Change]) { self.changes = changes }

  mutating func next() -> (range: Range<Int>, wanted: [ChunkReference])? {
    guard start < changes.count else { return nil }
    var wanted: [ChunkReference] = []
    var bytes: Int64 = 0
    var end = start
    while end < changes.count, bytes < Limits.fetchedBytes {
      if let content = changes[end].entry?.content, content.depth == 0 {
        for reference in content.references where reference.name != .hole {
          guard bytes < Limits.fetchedBytes else { break }
          wanted.append(reference)
          bytes += reference.length
        }
      }
      end += 1
    }
    defer { start = end }
    return (start..<end, wanted)
  }
}
