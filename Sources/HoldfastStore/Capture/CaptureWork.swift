package import HoldfastCore

/// Why no point was captured. Nothing is lost: what was to be read stays to be read.
package enum CaptureError: Error, Sendable {
  /// The root's marker is gone or another's: the tree may be unmounted.
  case unmarked(RootNumber, String)
  case unreadable(RootNumber, TreeError)
  /// A user's own `.holdfast` inside the tree, where it cannot be told from ours.
  case reserved(Place)
  case store(any Error)
}

/// What one capture is to look at.
package struct CaptureWork: Sendable {
  /// With all below.
  package var scans: [Place] = []
  package var places: [Place] = []
  /// Read whatever their stamps say: stores into mapped pages need not move them.
  package var forced: Set<Place> = []
  package init(scans: [Place] = [], places: [Place] = [], forced: Set<Place> = []) {
    self.scans = scans
    self.places = places
    self.forced = forced
  }

  package var isEmpty: Bool { scans.isEmpty && places.isEmpty && forced.isEmpty }
}

/// What is read in place of the roots themselves.
package struct Pictures {
  /// By root number; their objects carry the devices of the roots.
  package var trees: [any ReadableTree]
  /// Where other filesystems are mounted below the roots, which a picture does not show.
  package var mounts: Set<Place>
  /// Before they were made: a later change within one tick of the clock may carry the same stamp.
  /// `nil` where they show the roots as they are, not how all of them were at one moment.
  package var madeAt: WallTime?
  /// All that they show; `nil` where they show everything.
  package var extent: Set<Place>?
  package init(
    trees: [any ReadableTree], mounts: Set<Place> = [], madeAt: WallTime?,
    extent: Set<Place>? = nil
  ) {
    self.trees = trees
    self.mounts = mounts
    self.madeAt = madeAt
    self.extent = extent
  }
}

/// What a capture read.
package struct CaptureOutcome: Sendable {
  /// Places that changed while they were read; to be read again.
  package var torn: [Place] = []
  /// What was left as it was captured last: see ``ReadableTree/isLeft(_:)``.
  package var left = CaptureWork()
  /// Places on another filesystem, which are not followed.
  package var mounts: [Place] = []
  /// Places that may not be read: kept as they were, the point is not one instant.
  package var denied: [(place: Place, error: TreeError)] = []
  /// A place that is excluded, and needed: see ``ReadableTree/isNeeded(_:)``.
  package var lacking: Place?
  /// Directories that cannot be watched.
  package var unwatched: String?
  package var filesRead: Int64 = 0
  /// What it took to read those that were forced.
  package var forcedTime = Duration.zero
  package init() {}
}
