package import HoldfastCore

/// Looks before and after whatever reads or writes a root: an unmounted, unreadable or foreign
/// tree is never taken for an empty one.
package struct RootGuard: Sendable {
  package let host: any Host
  package let pair: String
  package let paths: [String]

  package init(host: any Host, pair: String, paths: [String]) {
    self.host = host
    self.pair = pair
    self.paths = paths
  }

  /// Why the roots may not be read, with what to type; `nil` where all is well.
  package func problem(id: RandomID) -> String? {
    for path in paths {
      let report = host.report(path)
      switch report.state {
      case .absent:
        return """
          root \(path) does not exist: mount or restore it; nothing is deleted on the standby \
          meanwhile
          """
      case .notDirectory: return "root \(path) is not a directory: restore it"
      case .unreadable(let why):
        return "root \(path) cannot be read (\(why)): give the agent access to it"
      case .directory: break
      }
      guard let marker = report.marker else {
        return """
          root \(path) carries no marker: is its filesystem mounted? If this is the right tree, \
          type: holdfast adopt \(pair)
          """
      }
      if marker.pair != id {
        return
          "root \(path) is marked for another pair: if it belongs here, type: holdfast adopt \(pair)"
      }
      if !marker.filesystem.isEmpty, marker.filesystem != report.filesystem {
        return """
          root \(path) lies on another filesystem than when it was marked: is the right one \
          mounted? If so, type: holdfast adopt \(pair)
          """
      }
    }
    return nil
  }
}
