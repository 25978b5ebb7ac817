extension Promotion {
  /// What of the pair's configuration counts.
  package struct Terms: Hashable, Sendable {
    /// The grade below which no point is taken unless it is named.
    package var require: Grade
    /// What may be lost without anybody's consent.
    package var maxLoss: Duration
    package var hasArbiter: Bool
    package init(require: Grade, maxLoss: Duration, hasArbiter: Bool) {
      self.require = require
      self.maxLoss = maxLoss
      self.hasArbiter = hasArbiter
    }
  }

  /// What is asked for.
  package struct Request: Hashable, Sendable {
    /// `nil`: the newest of the grade that the pair requires.
    package var point: PointNumber?
    package var isLossAccepted: Bool
    /// Somebody has made sure that the other site serves no more.
    package var isOtherDown: Bool
    /// Only what would be lost is to be known.
    package var isPreview: Bool
    package init(
      point: PointNumber? = nil, isLossAccepted: Bool = false, isOtherDown: Bool = false,
      isPreview: Bool = false
    ) {
      self.point = point
      self.isLossAccepted = isLossAccepted
      self.isOtherDown = isOtherDown
      self.isPreview = isPreview
    }
  }

  /// What a standby knows once nothing comes any more.
  package struct Holding: Hashable, Sendable {
    /// What is kept durably, newest first.
    package var points: [PointRow]
    /// How far the newest point that the pair counts is behind the primary; `nil`: not known.
    package var lag: Duration?
    /// Of the primary, as it said last: places that changed and are in no point yet.
    package var pendingPlaces: Int64?
    package init(points: [PointRow], lag: Duration?, pendingPlaces: Int64?) {
      self.points = points
      self.lag = lag
      self.pendingPlaces = pendingPlaces
    }
  }

  /// What is written and in no point that is kept.
  package struct Loss: Hashable, Sendable {
    /// Of this long; `nil` where the primary was not heard of late: two hosts' clocks do not tell.
    package var seconds: Duration?
    /// In so many places at most, each counted as often as it changed from point to point; `nil`
    /// where that is not known.
    package var places: Int64?
    /// When the point was captured, by the primary's clock.
    package var captured: WallTime
    package init(seconds: Duration?, places: Int64?, captured: WallTime) {
      self.seconds = seconds
      self.places = places
      self.captured = captured
    }
  }

  package enum Refusal: Error, Hashable, Sendable {
    case noSuchPoint(PointNumber)
    case ofBranch(PointNumber)
    case nothingDurable
    /// No point is of the grade that the pair requires.
    case belowGrade(newest: Point)
    /// Without an arbiter a person has to make sure of it.
    case otherSiteNotDown
    /// - Parameter isOlder: a point was asked for by name.
    case loss(Loss, isOlder: Bool)
  }

  package struct Choice: Hashable, Sendable {
    package var point: Point
    package var loss: Loss
    package init(point: Point, loss: Loss) {
      self.point = point
      self.loss = loss
    }

    static func made(
      of holding: Holding, for request: Request, _ terms: Terms
    ) -> Result<Self, Refusal> {
      func wanted() throws(Refusal) -> Point {
        if let number = request.point {
          guard let row = holding.points.first(where: { $0.point.number == number }) else {
            throw .noSuchPoint(number)
          }
          // The tree went on without it: another point's tree would be taken for its.
          guard !row.isBranch else { throw .ofBranch(number) }
          return row.point
        }
        let good = holding.points.first { !$0.isBranch && $0.point.grade >= terms.require }
        if let good { return good.point }
        let newest = holding.points.first { !$0.isBranch }
        throw newest.map { .belowGrade(newest: $0.point) } ?? .nothingDurable
      }
      return Result { () throws(Refusal) in
        let point = try wanted()
        return Self(point: point, loss: loss(of: point, holding, terms))
      }
    }

    private static func loss(of chosen: Point, _ holding: Holding, _ terms: Terms) -> Loss {
      let later = holding.points.filter { !$0.isBranch && $0.point.number > chosen.number }
        .map(\.point)
      let places = holding.pendingPlaces.map { $0 + later.reduce(0) { $0 + $1.changes } }
      guard var seconds = holding.lag else {
        return Loss(seconds: nil, places: places, captured: chosen.time)
      }
      // Lag counts from the newest that is good enough.
      if let newest = later.first(where: { $0.grade >= terms.require }) {
        seconds += max(.zero, newest.time - chosen.time)
      }
      return Loss(seconds: seconds, places: places, captured: chosen.time)
    }
  }
}
