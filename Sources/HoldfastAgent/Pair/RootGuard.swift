package import HoldfastCore

/// Looks before and after whatever reads or writes a root: an unmounted, unreadable or foreign
/// tree is never taken for an empty one.
package struct RootGuard: Sendable {
  package let host: any Host
  package let pair: String
  package let paths: [String]
  /// Where the other site has its side: on another host as a rule.
  package let others: [String]
  package let site: Fingerprint

  /// - Parameter paths: on this site.
  package init(
    host: any Host, pair: PairConfiguration, paths: [String], site: Fingerprint
  ) {
    self.host = host
    self.pair = pair.name
    self.paths = paths
    self.site = site
    let roots = pair.roots.map(\.path)
    others = roots == paths ? pair.roots.map(\.replica) : roots
  }

  /// Which directories the roots are just now; in the place of one another may come at any time.
  package enum Look: Hashable, Sendable {
    case sound([FileIdentity])
    /// Why the roots may not be read, with what to type.
    case problem(String)

    var words: String {
      if case .problem(let problem) = self { problem } else { "the roots are as they should be" }
    }
  }

  package func look(id: RandomID) -> Look {
    let reports = paths.map { ($0, host.report($0)) }
    if let problem = problem(id: id, reports) { return .problem(problem) }
    return .sound(reports.compactMap(\.1.identity))
  }

  private func problem(id: RandomID, _ reports: [(String, RootReport)]) -> String? {
    if let problem = overlap(id: id) { return problem }
    for (path, report) in reports {
      switch report.state {
      case .absent:
        return """
          root \(path) does not exist: mount or restore it; nothing is deleted on the standby \
          meanwhile
          """
      case .notDirectory:
        return "root \(path) is not a directory (links are not followed): name or restore it"
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
      if let problem = problem(path, marker, report, id) { return problem }
    }
    return nil
  }

  /// What is wrong with a marker.
  package func problem(
    _ path: String, _ marker: Marker, _ report: RootReport, _ id: RandomID
  ) -> String? {
    if marker.pair != id {
      return "\(path) is marked for another pair: if it belongs here, type: holdfast adopt \(pair)"
    }
    if marker.site != site {
      return """
        \(path) is marked by an agent with another key: root and replica may not be one directory: \
        if both sites can reach it, give `replica` another path; if it was carried here, or this \
        host's key is new, type: holdfast adopt \(pair), which says what it takes
        """
    }
    if !marker.filesystem.isEmpty, marker.filesystem != report.filesystem {
      return """
        \(path) lies on another filesystem than when it was marked: is the right one mounted? \
        If so, type: holdfast adopt \(pair)
        """
    }
    return nil
  }

  /// Of a tree that may be the other site's own, as it serves it: it is not taken from it.
  /// - Parameter other: the other site's key; `nil` before the sites were joined.
  package func taken(from other: Fingerprint?, id: RandomID) -> String? {
    for path in paths {
      let report = host.report(path)
      guard let marker = report.marker, marker.pair == id, let other, marker.site == other,
        marker.filesystem == report.filesystem
      else { continue }
      return """
        the other site's agent has marked \(path), on this very filesystem: what it wrote since \
        the last point would be lost: give `replica` another path; only where the disk was carried \
        here, and the other site has it no more, remove \(path)/.holdfast, then type: holdfast \
        adopt \(pair)
        """
    }
    return nil
  }

  /// Where both sites are on one host, neither side may be or lie inside the other.
  package func overlap(id: RandomID) -> String? {
    for other in others {
      guard let marker = host.report(other).marker, marker.pair == id, marker.site != site else {
        continue
      }
      for path in paths where path != other && host.overlaps(path, other) {
        return """
          \(path) and \(other), the other side of pair \(pair), are one directory or lie inside \
          one another on this host: give `replica` another path
          """
      }
    }
    return nil
  }
}
