import HoldfastCore

extension Supervisor.Withheld {
  func words(_ pair: PairConfiguration) -> String {
    let why: String
    switch self {
    case .byHand: why = "mode is manual"
    case .loss: why = "more would be lost than max-loss (\(pair.failover.maxLoss)) allows"
    case .unknownLoss: why = "something is held, or what would be lost is not known"
    case .heldBack:
      return """
        nobody serves \(pair.name): this standby has given back what it was granted, so that the \
        other site may serve; where that does not, it is promoted by itself after a minute, as its \
        rules allow
        """
    }
    return """
      nobody serves \(pair.name), and this standby is not promoted by itself: \(why): to promote \
      it, type: holdfast failover \(pair.name)
      """
  }
}

extension Supervisor.Service {
  /// Where a kill is tried.
  var place: ProbePlace? {
    switch self {
    case .stopped: .stopped
    case .starting: .starting
    case .running: .running
    case .stopping: .stopping
    case .failed, .fencing: nil
    }
  }
}

extension Supervisor.Reason {
  var words: String {
    switch self {
    case .began: "nothing runs here before the lease is known"
    case .leaseOver: "the lease is over"
    case .superseded: "the other site was promoted"
    case .paused: "this host stood still while the service was started or ended"
    }
  }
}

extension ArbiterRefusal {
  /// Without the figures that change from one answer to the next.
  var kind: String {
    switch self {
    case .unheard: "unheard"
    case .foreign: "foreign"
    case .quiet: "quiet"
    case .superseded: "superseded"
    case .split: "split"
    }
  }
}

extension PromotionReport {
  /// - Parameter isPlanned: the other site had yielded.
  func words(isPlanned: Bool) -> String {
    let time = lossSeconds.map { "the last \(($0 * 1000).rounded(.up) / 1000) s" }
    let before = lossBefore ?? "the other site wrote no more"
    let loss =
      isPlanned
      ? "nothing lost"
      : "not in it: what was written in \(time ?? "an unknown time") before \(before)"
    return "promoted to epoch \(reign.epoch), point \(point) (\(grade)); \(loss)"
  }
}
