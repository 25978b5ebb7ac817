import HoldfastCore

/// Files that processes can change through shared mappings: nothing tells when they do, so that
/// they are hashed at each capture as long as they are mapped, and once more.
extension CaptureWorker {
  /// Looks which files of the roots are mapped now, and keeps their places.
  /// - Parameter isHarmless: whether a process cannot change what was read.
  @discardableResult
  func lookForMapped(
    _ now: Instant, isHarmless: (Int32) -> Bool = { _ in false }
  ) -> CaptureFacts.Mapping {
    nextMappingLook =
      now + min(max(pair.rpo / 2, Limits.mappingEveryMin), Limits.mappingEveryMax)
    let report = host.mappings(paths)
    var answer = CaptureFacts.Mapping.none
    var found: Set<Place> = []
    for file in report.files {
      let places = places(of: file)
      if !places.isEmpty, !isHarmless(file.process) { answer = .mapped(process: file.process) }
      found.formUnion(places)
    }
    // Who else has what mapped nobody knows.
    if !report.isComplete { answer = .unknown }
    unmapped.formUnion(mapped.subtracting(found))
    mapped = found
    return answer
  }

  /// Where a mapped file lies in the roots; nowhere, as a rule.
  private func places(of file: MappedFile) -> [Place] {
    switch file.name {
    case .path(let root, let bytes):
      // A name of a file that was removed does no harm: nothing is there.
      return TreePath(bytes).map { [Place(root: RootNumber(rawValue: root), path: $0)] } ?? []
    case .object(let object): return places(of: object)
    }
  }

  /// All names in the roots that an object is known by.
  func places(of object: FileIdentity) -> [Place] {
    do {
      return try paths.indices.flatMap { root in
        try catalog?.places(
          root: RootNumber(rawValue: root), device: object.device, inode: object.inode) ?? []
      }
    } catch {
      scanAll()
      return []
    }
  }
}
