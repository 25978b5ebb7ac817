import HoldfastCore

/// Files that processes can change through shared mappings: nothing tells when they do, so that
/// they are hashed at each capture as long as they are mapped, and once more.
extension CaptureWorker {
  /// Looks which files are mapped now.
  /// - Returns: what is to be hashed: these, and those of the look before.
  func lookForMapped(_ now: Instant) -> Set<Place> {
    let before = mapped
    nextMappingLook = now + mappingEvery
    mapped = Set(host.mappings(paths).files.flatMap { places(of: $0) })
    return mapped.union(before)
  }

  private var mappingEvery: Duration {
    min(max(pair.rpo / 2, Limits.mappingEveryMin), Limits.mappingEveryMax)
  }

  /// Where a mapped file lies in the roots; nowhere, as a rule.
  func places(of file: MappedFile) -> [Place] {
    switch file.name {
    case .path(let root, let bytes):
      // A name of a file that was removed does no harm: nothing is there.
      return TreePath(bytes).map { [Place(root: RootNumber(rawValue: root), path: $0)] } ?? []
    case .object(let object): return places(of: object)
    }
  }

  /// All names in the roots that an object is known by.
  func places(of object: FileIdentity) -> [Place] {
    paths.indices.flatMap { root in
      (try? catalog?.places(
        root: RootNumber(rawValue: root), device: object.device, inode: object.inode)) ?? []
    }
  }
}
