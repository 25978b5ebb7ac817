import HoldfastCore

/// Letting go what retention keeps for ever: branches, and points that a promotion pinned.
extension Pair {
  /// - Throws: `FailureAnswer`, with what to do instead.
  package func release(_ request: ReleaseRequest) async throws -> ReleaseAnswer {
    guard let receiver else {
      throw FailureAnswer(
        code: 3, "\(name) has no journal here: type it where holdfast points shows the point")
    }
    let point = PointNumber(rawValue: request.point)
    let reign = standing?.record.reign ?? .none
    let end = host.clock.now() + Limits.releaseWithin
    while true {
      do {
        if let release = try await receiver.release(
          point, reign: reign, isPreview: request.preview)
        {
          return ReleaseAnswer(release)
        }
      } catch ReleaseRefusal.notKept {
        throw FailureAnswer(
          code: 3,
          """
          point \(point) of \(name) is neither on a branch nor pinned, or not here: holdfast \
          points \(name)
          """)
      } catch ReleaseRefusal.inUse {
        throw FailureAnswer(
          code: 3,
          """
          the replica of \(name) is still a point of this branch: once it has followed the other \
          site (holdfast status \(name)), type it again
          """)
      }
      guard host.clock.now() < end else {
        throw FailureAnswer(
          code: 1,
          """
          point \(point) of \(name) was not released: the journal is being read, or a point is \
          being received; type it again once that is over
          """)
      }
      try await host.clock.sleep(until: host.clock.now() + Limits.roomEvery)
    }
  }
}

/// `POST /pairs/P/release`.
package struct ReleaseRequest: Codable, Sendable {
  package var point: UInt64
  /// Only say what would be released.
  package var preview: Bool
  package init(point: UInt64, preview: Bool) {
    self.point = point
    self.preview = preview
  }
}

package struct ReleaseAnswer: Codable, Sendable {
  /// `branch` or `pin`.
  package var kind: String
  /// Oldest first. Those of a branch are gone.
  package var points: [UInt64]

  init(_ release: Branches.Release) {
    switch release {
    case .branch(let numbers): (kind, points) = ("branch", numbers.map(\.rawValue))
    case .pin(let number): (kind, points) = ("pin", [number.rawValue])
    }
  }
}
