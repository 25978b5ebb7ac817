package import HoldfastCore

/// What stands in a replica and belongs neither to a point nor to an exclusion.
package struct Strangers {
  private let trees: [any Tree]
  private let exclusions: [Exclusion]
  private let index: any Index

  package init(trees: [any Tree], exclusions: [Exclusion], index: any Index) {
    self.trees = trees
    self.exclusions = exclusions
    self.index = index
  }

  /// - Returns: each with all that is below it. A directory that holds something excluded is none
  ///   of them, but what else is in it is.
  package func find(at point: PointNumber) throws -> [Place] {
    var found: [Place] = []
    for root in trees.indices {
      _ = try find(
        in: Place(root: RootNumber(rawValue: root), path: .top), isWanted: true, point, &found)
    }
    return found
  }

  /// - Parameter isWanted: whether the directory itself stays.
  /// - Returns: whether all that is in it may go.
  private func find(
    in directory: Place, isWanted: Bool, _ point: PointNumber, _ found: inout [Place]
  ) throws -> Bool {
    let tree = trees[directory.root.rawValue]
    let exclusion = exclusions[directory.root.rawValue]
    var mayGo = true
    for name in try tree.list(directory.path) {
      guard let path = directory.path.appending(name), !path.isWithin(.reserved),
        let status = try tree.status(path)
      else { continue }
      let place = Place(root: directory.root, path: path)
      let isDirectory = status.kind == .directory
      if exclusion.excludesWithParents(path, isDirectory: isDirectory) {
        mayGo = false
        continue
      }
      let wanted = isWanted ? try index.entry(place, at: point) : nil
      let stays = wanted.map { ($0.kind == .directory) == isDirectory } ?? false
      let before = found.count
      let isEmptied = isDirectory ? try find(in: place, isWanted: stays, point, &found) : true
      if stays { continue }
      if isEmptied {
        // Gone with all that is in it.
        found.removeLast(found.count - before)
        found.append(place)
      } else {
        mayGo = false
      }
    }
    return mayGo
  }
}
