/// One object of a filesystem (stat(2)).
package struct FileIdentity: Hashable, Sendable {
  package var device: UInt64
  package var inode: UInt64
  package init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

/// What stands at the place of a root or replica.
package struct RootReport: Hashable, Sendable {
  package enum State: Hashable, Sendable {
    case absent
    case notDirectory
    case unreadable(String)
    case directory
  }
  package var state: State
  /// Of the directory; another one in its place has another.
  package var identity: FileIdentity?
  /// Without symbolic links; the given path where nothing is there.
  package var realPath: String
  /// Tells the filesystem from others, over restarts; empty where unknown.
  package var filesystem: String
  /// Anything but `.holdfast` in it.
  package var isEmpty: Bool
  package var marker: Marker?

  package init(
    state: State, identity: FileIdentity? = nil, realPath: String, filesystem: String,
    isEmpty: Bool, marker: Marker?
  ) {
    self.state = state
    self.identity = identity
    self.realPath = realPath
    self.filesystem = filesystem
    self.isEmpty = isEmpty
    self.marker = marker
  }
}

/// Binds a root or replica to its pair and filesystem, so that an unmounted or foreign tree is
/// never taken for it. Kept as `.holdfast/marker`; made only by an explicit command.
package struct Marker: Hashable, Sendable {
  package var pair: RandomID
  package var filesystem: String
  /// Whose agent may write or read it: of two sites on one host, one.
  package var site: Fingerprint
  package init(pair: RandomID, filesystem: String, site: Fingerprint) {
    self.pair = pair
    self.filesystem = filesystem
    self.site = site
  }
}

/// A file that a process can change through a shared mapping.
package struct MappedFile: Hashable, Sendable {
  package enum Name: Hashable, Sendable {
    /// In which root, and where.
    case path(root: Int, [UInt8])
    /// Some object, maybe of a root by another name.
    case object(FileIdentity)
  }
  package var process: Int32
  package var name: Name
  package init(process: Int32, name: Name) {
    self.process = process
    self.name = name
  }
}

/// Which files could be changed with nobody being told.
package struct MappingReport: Hashable, Sendable {
  package var files: [MappedFile] = []
  /// Whether all processes could be looked at.
  package var isComplete = true
  package init() {}
}

/// What an agent asks of the machine that it runs on.
package protocol Host: Sendable {
  var clock: any Timekeeper { get }
  var dice: any Dice { get }
  var probe: any Probe { get }
  /// Whether owners, devices and all attributes can be set.
  var isPrivileged: Bool { get }

  /// One word, another after each boot; empty where it is not known.
  var boot: String { get }
  /// A folder for what counts until the next boot at most, and may be gone then.
  func volatile() throws(DiskError) -> any Disk
  /// A folder below the state directory, made where it is missing.
  func disk(_ folders: [String]) throws(DiskError) -> any Disk
  func tree(_ path: String) throws(TreeError) -> any Tree
  func watch(_ roots: [String], notify: @escaping @Sendable () -> Void) -> any Watch
  /// What is mapped shared and writable: files of the roots by their paths, others as objects.
  func mappings(_ roots: [String]) -> MappingReport
  var snapshots: any Snapshots { get }
  func freezer(pair: String) -> any Freezer
  /// - Parameter connection: a connection string of libpq.
  /// - Throws: why there is no session.
  func database(_ connection: String) throws(ProviderError) -> any DatabaseSession
  func report(_ path: String) -> RootReport
  /// Whether two directories are one, or one lies inside the other: through symbolic links and
  /// bind mounts too. Either may be missing.
  func overlaps(_ a: String, _ b: String) -> Bool
  /// Makes the directory where it is missing, its parents too, and marks it.
  func mark(_ path: String, _ marker: Marker) throws(TreeError)
  func index(
    pair: String, isReader: Bool, digest: @escaping (Place, [UInt8]) -> Digest32
  ) throws(IndexError) -> any Index
  /// Throws away the file of an index that cannot be used.
  func removeIndex(pair: String)
  /// Keeps retention from moving what somebody reads, until the result is released; waits while
  /// retention is at it.
  func readingJournal(pair: String) throws(DiskError) -> any Sendable
  /// The same for retention itself.
  /// - Returns: `nil` while anybody reads.
  func movingJournal(pair: String) throws(DiskError) -> (any Sendable)?
  /// Shared by who compares the replica, exclusive for who changes it; waits.
  func lockReplica(pair: String, exclusive: Bool) throws(DiskError) -> any Sendable
  func catalog(pair: String) throws(IndexError) -> any Catalog
  func removeCatalog(pair: String)
  /// A thread of its own, which blocking calls may block.
  func executor(_ label: String) -> any SerialExecutor
  func helper(_ label: String) -> any Helper
  func secret(_ count: Int) -> [UInt8]
}
