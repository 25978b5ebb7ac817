import HoldfastCore
import Testing

private func reign(_ epoch: UInt64) -> Reign {
  Reign(epoch: Epoch(rawValue: epoch), id: RandomID(high: epoch, low: 7))
}

private let fresh = RandomID(high: 0, low: 9)

@Suite struct `A site that a person has go on` {
  private typealias View = Resumption.ArbiterView

  private func primary(superseded: UInt64? = nil, yielded: UInt64? = nil) -> Standing {
    Standing(
      record: RoleRecord(reign: reign(4), part: .primary), superseded: superseded.map(reign),
      yielded: yielded.map(reign))
  }

  private func resumption(
    _ standing: Standing, isOtherDown: Bool = true, isConnected: Bool = false,
    hasArbiter: Bool = true, _ arbiter: View? = nil, offered: UInt64? = nil,
    isPromoting: Bool = false
  ) -> Resumption {
    Resumption(
      Resumption.Facts(
        standing: standing, isOtherDown: isOtherDown, isConnected: isConnected,
        hasArbiter: hasArbiter, arbiter: arbiter, offered: offered.map(reign),
        isPromoting: isPromoting,
        usedUpTo: PointNumber(rawValue: 11)),
      fresh: fresh)
  }

  private func begins(_ epoch: UInt64) -> [Resumption.Order] {
    let next = Reign(epoch: Epoch(rawValue: epoch), id: fresh)
    return [.commit(next, usedUpTo: PointNumber(rawValue: 11 + Limits.pointsUnheard))]
  }

  @Test(arguments: [true, false])
  func `is what it was where nothing speaks against that`(isOtherDown: Bool) {
    let standby = Standing(record: RoleRecord(reign: reign(4), part: .standby))
    #expect(resumption(standby, isOtherDown: isOtherDown).first == [.goOn(isByWord: false)])
    #expect(
      resumption(primary(), isOtherDown: isOtherDown).first == [.goOn(isByWord: isOtherDown)])
  }

  @Test func `goes on past no other reign unless that is lost`() {
    let past = resumption(primary(superseded: 5), isOtherDown: false)
    #expect(
      past.stage == .refused(.standing(.superseded(mine: reign(4), theirs: reign(5)))))
    #expect(past.first.isEmpty && past.isOver)
    #expect(
      resumption(primary(yielded: 5), isOtherDown: false).stage
        == .refused(.standing(.yielded(reign(5)))))
  }

  @Test func `reigns above both, and leaves room for points that it never heard of`() {
    #expect(resumption(primary(superseded: 5)).first == begins(6))
    #expect(resumption(primary(yielded: 5)).first == begins(6))
    let vacant = View(isSilent: false, vacant: reign(6), isHeldByOther: false)
    #expect(resumption(primary(), vacant).first == begins(7))
    // Of a move that was not followed to its end.
    #expect(resumption(primary(), offered: 5).first == begins(6))
    #expect(resumption(primary(), isConnected: true, offered: 5).first == [.goOn(isByWord: true)])
  }

  @Test func `does not go on by a word that the arbiter speaks against`() {
    let held = View(isSilent: false, vacant: nil, isHeldByOther: true)
    #expect(resumption(primary(), held).stage == .refused(.otherMayServe))
    // Without such a word it waits for its lease, as before.
    #expect(resumption(primary(), isOtherDown: false, held).first == [.goOn(isByWord: false)])
    let silent = View(isSilent: true, vacant: nil, isHeldByOther: true)
    #expect(resumption(primary(), silent).first == [.goOn(isByWord: true)])
  }

  @Test func `never reigns in an epoch that it is past, whatever it is told was lost`() {
    let old = View(isSilent: false, vacant: reign(3), isHeldByOther: false)
    #expect(resumption(primary(), old).first == [.goOn(isByWord: true)])
    let split = met(
      primary(), RoleRecord(reign: Reign(epoch: Epoch(rawValue: 4), id: fresh), part: .primary))
    #expect(resumption(split).first == begins(5))
  }

  private func met(_ standing: Standing, _ theirs: RoleRecord) -> Standing {
    var standing = standing
    _ = standing.on(.peer(theirs, mayServe: false))
    return standing
  }

  @Test func `asks for the arbiter's word that nobody serves, where it answers`() {
    let standing = primary(superseded: 5)
    let words: [(View?, isRefused: Bool)] = [
      (nil, false),
      (View(isSilent: true, vacant: nil, isHeldByOther: true), false),
      (View(isSilent: false, vacant: nil, isHeldByOther: true), true),
      (View(isSilent: false, vacant: nil, isHeldByOther: nil), true),
      (View(isSilent: false, vacant: reign(5), isHeldByOther: false), false),
    ]
    for (word, isRefused) in words {
      let stage = resumption(standing, word).stage
      #expect((stage == .refused(.otherMayServe)) == isRefused, "\(String(describing: word))")
      guard word?.vacant == nil else { continue }
      let offered = resumption(primary(), word, offered: 5).stage
      #expect((offered == .refused(.otherMayServe)) == isRefused, "\(String(describing: word))")
    }
    let held = View(isSilent: false, vacant: nil, isHeldByOther: true)
    #expect(resumption(standing, hasArbiter: false, held).first.count == 1)
  }

  @Test func `is refused while the other is connected, or its own tree is not ready`() {
    #expect(
      resumption(primary(superseded: 5), isConnected: true).stage == .refused(.otherConnected))
    #expect(resumption(primary(yielded: 5), isConnected: true).stage == .refused(.otherConnected))
    let held = View(isSilent: false, vacant: nil, isHeldByOther: true)
    #expect(resumption(primary(yielded: 5), held).stage == .refused(.otherMayServe))
    #expect(
      resumption(primary(superseded: 5), isPromoting: true).stage == .refused(.promoting))
  }

  @Test func `begins once its reign is durable`() {
    var one = resumption(primary(superseded: 5))
    #expect(!one.isOver)
    let next = Reign(epoch: Epoch(rawValue: 6), id: fresh)
    #expect(one.on(.done) == [.begin(next, isByWord: true)])
    #expect(one.isOver && one.stage == .begun(next))
    #expect(one.on(.failed("late")).isEmpty)
    var alone = resumption(primary(superseded: 5), hasArbiter: false)
    #expect(alone.on(.done) == [.begin(next, isByWord: false)])
  }

  @Test func `takes back a reign that may be durable, until that is done`() {
    var one = resumption(primary(superseded: 5))
    #expect(one.on(.failed("no flush")) == [.recall])
    #expect(one.on(.failed("no flush either")) == [.wait])
    #expect(!one.isOver)
    #expect(one.on(.retry) == [.recall])
    #expect(one.on(.done).isEmpty)
    #expect(one.isOver && one.stage == .failed(why: "no flush"))
  }
}
