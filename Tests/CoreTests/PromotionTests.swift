import HoldfastCore
import Testing

private func point(
  _ number: UInt64, _ grade: Grade = .crash, at seconds: Int64 = 0, changes: Int64 = 0
) -> Point {
  Point(
    number: PointNumber(rawValue: number), seal: .none, parent: .none,
    time: WallTime(seconds: seconds, nanos: 0), verdict: Verdict(grade: grade),
    reign: Reign(epoch: Epoch(rawValue: 1), id: RandomID(high: 0, low: 1)), tree: TreeDigest(),
    totals: Totals(), changes: changes)
}

private func held(_ points: [Point], lag: Duration? = .zero) -> Promotion.Event {
  .held(
    Promotion.Holding(
      points: points.map { PointRow(point: $0) }, lag: lag, pendingPlaces: 2))
}

private let seven = PointNumber(rawValue: 7)

@Suite struct `A standby that is promoted` {
  private func begun(
    _ request: Promotion.Request = Promotion.Request(), hasArbiter: Bool = true,
    maxLoss: Duration = .seconds(30)
  ) -> Promotion {
    Promotion(
      request, Promotion.Terms(require: .crash, maxLoss: maxLoss, hasArbiter: hasArbiter))
  }

  /// Told each of the events; `events[n]` is answered by the order before it.
  private func told(
    _ promotion: inout Promotion, _ events: [Promotion.Event]
  ) -> [[Promotion.Order]] {
    events.map { promotion.on($0) }
  }

  private var choice: Promotion.Choice {
    Promotion.Choice(
      point: point(7), loss: Promotion.Loss(seconds: .zero, places: 2, captured: WallTime(nanos: 0))
    )
  }

  @Test func `takes each step once the one before is done`() {
    var promotion = begun()
    #expect(promotion.first == [.hold])
    let orders = told(&promotion, [held([point(7)]), .done, .done, .done, .done, .done])
    #expect(
      orders == [
        [.probe], [.pin(choice)], [.commit(seven)], [.place(seven)], [.complete], [.serve],
      ])
    #expect(promotion.stage == .done(seven))
    #expect(promotion.on(.done).isEmpty)
  }

  @Test(arguments: 0..<3)
  func `receives again where a step before the commit point fails`(after steps: Int) {
    var promotion = begun()
    _ = told(&promotion, Array([held([point(7)]), .done, .done].prefix(steps)))
    #expect(!promotion.isPromoting)
    #expect(promotion.on(.failed("no room")) == [.release])
    #expect(promotion.stage == .failed(why: "no room"))
  }

  @Test func `whose new reign may be on the disk makes durable first what was there before`() {
    var promotion = begun()
    _ = told(&promotion, [held([point(7)]), .done, .done])
    #expect(promotion.on(.failed("no flush")) == [.recall])
    #expect(!promotion.isOver && !promotion.isPromoting)
    #expect(promotion.on(.failed("no flush")) == [.wait])
    #expect(promotion.on(.retry) == [.recall])
    #expect(promotion.on(.done) == [.release])
    #expect(promotion.stage == .failed(why: "no flush"))
  }

  @Test func `goes forward once its reign is durable, whatever fails and however often`() {
    var promotion = begun()
    _ = told(&promotion, [held([point(7)]), .done, .done, .done])
    for _ in 0..<3 {
      #expect(promotion.isPromoting)
      #expect(promotion.on(.failed("no room")) == [.wait])
      #expect(promotion.stage == .waiting(seven, why: "no room"))
      #expect(promotion.on(.retry) == [.place(seven)])
      #expect(promotion.on(.done) == [.complete])
    }
    #expect(promotion.on(.done) == [.serve])
    #expect(!promotion.isPromoting && promotion.isOver)
  }

  @Test func `and was killed behind the commit point begins there`() {
    var promotion = Promotion(
      resumedTo: seven, Promotion.Terms(require: .crash, maxLoss: .zero, hasArbiter: true))
    #expect(promotion.isPromoting && promotion.first == [.place(seven)])
    #expect(told(&promotion, [.done, .done]) == [[.complete], [.serve]])
  }

  @Test func `takes the newest point of the grade that the pair requires, and of no branch`() {
    var promotion = begun(Promotion.Request(isLossAccepted: true))
    let points = [
      PointRow(point: point(9), isBranch: true), PointRow(point: point(8, .fuzzy)),
      PointRow(point: point(7)), PointRow(point: point(6, .application)),
    ]
    let holding = Promotion.Holding(
      points: points, lag: .seconds(1), pendingPlaces: nil)
    _ = told(&promotion, [.held(holding)])
    guard case .probing(let choice) = promotion.stage else { return #expect(Bool(false)) }
    #expect(choice.point.number == seven)
  }

  @Test func `names the point to take where none is good enough`() {
    var fuzzy = begun()
    #expect(fuzzy.on(held([point(8, .fuzzy)])) == [.release])
    #expect(fuzzy.stage == .refused(.belowGrade(newest: point(8, .fuzzy))))
    var empty = begun()
    _ = empty.on(held([]))
    #expect(empty.stage == .refused(.nothingDurable))
    var absent = begun(Promotion.Request(point: seven))
    _ = absent.on(held([point(8)]))
    #expect(absent.stage == .refused(.noSuchPoint(seven)))
  }

  /// What is wanted, the lag that is known; what is lost, in how many places.
  private static let losses: [(UInt64?, Duration?, Duration?, Int64)] = [
    // Of the newest that counts it is the lag alone.
    (nil, .seconds(5), .seconds(5), 2),
    // Of an older one it is what was captured since, too.
    (6, .seconds(5), .seconds(25), 12),
    // With nothing heard from the primary two clocks do not tell.
    (nil, nil, nil, 2),
    (6, nil, nil, 12),
  ]

  @Test(arguments: losses)
  func `states what is lost by the point that it takes`(
    wanted: UInt64?, lag: Duration?, seconds: Duration?, places: Int64
  ) {
    var promotion = begun(
      Promotion.Request(point: wanted.map { PointNumber(rawValue: $0) }, isPreview: true))
    let points = [point(7, at: 40, changes: 10), point(6, at: 20, changes: 100)]
    #expect(told(&promotion, [held(points, lag: lag), .done]).last == [.release])
    guard case .looked(let choice, _) = promotion.stage else { return #expect(Bool(false)) }
    let captured = WallTime(nanos: (wanted == nil ? 40 : 20) * 1_000_000_000)
    #expect(choice.loss == Promotion.Loss(seconds: seconds, places: places, captured: captured))
  }

  @Test func `asks for consent where more is lost than the pair allows, or an older point wanted`()
  {
    var far = begun(maxLoss: .seconds(4))
    _ = told(&far, [held([point(7)], lag: .seconds(5)), .done])
    let start = WallTime(nanos: 0)
    let loss = Promotion.Loss(seconds: .seconds(5), places: 2, captured: start)
    #expect(far.stage == .refused(.loss(loss, isOlder: false)))
    var older = begun(Promotion.Request(point: PointNumber(rawValue: 6)))
    _ = told(&older, [held([point(7), point(6)]), .done])
    let none = Promotion.Loss(seconds: .zero, places: 2, captured: start)
    #expect(older.stage == .refused(.loss(none, isOlder: true)))
    // What nobody knows is not little.
    var unknown = begun(maxLoss: .seconds(3600))
    _ = told(&unknown, [held([point(7)], lag: nil), .done])
    let all = Promotion.Loss(seconds: nil, places: 2, captured: start)
    #expect(unknown.stage == .refused(.loss(all, isOlder: false)))
    var agreed = begun(Promotion.Request(isLossAccepted: true), maxLoss: .seconds(4))
    #expect(told(&agreed, [held([point(7)], lag: .seconds(5)), .done]).last?.count == 1)
    #expect(!agreed.isOver)
  }

  @Test func `does not take a point of a branch`() {
    let six = PointNumber(rawValue: 6)
    var promotion = begun(Promotion.Request(point: six, isLossAccepted: true))
    let rows = [PointRow(point: point(7)), PointRow(point: point(6), isBranch: true)]
    let holding = Promotion.Holding(points: rows, lag: .zero, pendingPlaces: nil)
    #expect(promotion.on(.held(holding)) == [.release])
    #expect(promotion.stage == .refused(.ofBranch(six)))
  }

  @Test(arguments: [false, true])
  func `without an arbiter wants to hear that the other site is down`(isSaid: Bool) {
    var alone = begun(Promotion.Request(isOtherDown: isSaid), hasArbiter: false)
    _ = told(&alone, [held([point(7)]), .done])
    #expect(alone.stage == (isSaid ? .pinning(choice) : .refused(.otherSiteNotDown)))
  }

  @Test func `changes nothing where it is only to be known what would be lost`() {
    var preview = begun(Promotion.Request(isPreview: true), hasArbiter: false)
    #expect(told(&preview, [held([point(7)]), .done]) == [[.probe], [.release]])
    #expect(preview.stage == .looked(choice, .otherSiteNotDown))
  }
}
