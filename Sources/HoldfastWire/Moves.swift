package import FoundationEssentials
package import HoldfastCore

/// A planned move, as it travels.
extension Holdfast_YieldWanted {
  /// - Parameter isAlone: the sender cannot ask the arbiter.
  package init(pair: String, _ next: Reign, isWithdrawn: Bool, isAlone: Bool, by: String) {
    self.init()
    self.pair = pair
    epoch = next.epoch.rawValue
    reign = Data(next.id.bytes)
    self.isWithdrawn = isWithdrawn
    self.isAlone = isAlone
    self.by = by
  }

  /// - Returns: `nil` where it is none.
  package var next: Reign? { Reign(epoch: epoch, id: reign) }
}

extension Holdfast_YieldStage {
  package init(pair: String, _ next: Reign, _ stage: Yielding.Stage) {
    self.init()
    self.pair = pair
    epoch = next.epoch.rawValue
    reign = Data(next.id.bytes)
    switch stage {
    case .catchingUp: kind = 1
    case .stopping: kind = 2
    case .finishing: kind = 3
    case .ready(let point): (kind, self.point) = (4, point.rawValue)
    case .yielded(let point): (kind, self.point) = (5, point.rawValue)
    case .ended(let why): (kind, reason) = (6, why)
    }
  }

  package var next: Reign? { Reign(epoch: epoch, id: reign) }

  /// - Returns: `nil` where it is no stage.
  package var stage: Yielding.Stage? {
    guard point <= Limits.pointMax else { return nil }
    let number = PointNumber(rawValue: point)
    switch kind {
    case 1: return .catchingUp
    case 2: return .stopping
    case 3: return .finishing
    case 4: return .ready(number)
    case 5: return .yielded(number)
    case 6: return .ended(Verdict.bounded(reason))
    default: return nil
    }
  }
}

extension Reign {
  /// - Returns: `nil` where nobody can have sent it in earnest.
  package init?(epoch: UInt64, id: Data) {
    guard epoch <= Limits.epochMax, let id = RandomID(id) else { return nil }
    self.init(epoch: Epoch(rawValue: epoch), id: id)
  }
}
