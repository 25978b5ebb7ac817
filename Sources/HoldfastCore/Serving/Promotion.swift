/// Decides how a standby is promoted: which point it takes, what is lost by that and who has to
/// agree, and which step follows which. Up to the commit point, where the new reign is durable,
/// whatever fails leads back to receiving; behind it the way is forward, over crashes too.
package struct Promotion: Hashable, Sendable {
  package enum Stage: Hashable, Sendable {
    /// Nothing that comes is taken any more.
    case holding
    case probing(Choice)
    case pinning(Choice)
    /// The new reign is being made durable.
    case committing(Choice)
    /// That failed, and it may be durable all the same: what was on record before is made so anew.
    case recalling(why: String)
    /// Past the commit point: the replica is brought to this point.
    case placing(PointNumber)
    /// It is being made durable that the tree is ready.
    case completing(PointNumber)
    /// A step past the commit point failed, and is tried again.
    case waiting(PointNumber, why: String)
    case done(PointNumber)
    /// Nothing was changed: it was only to be known what would be lost, and what forbids it yet.
    case looked(Choice, Refusal?)
    /// Nothing was changed.
    case refused(Refusal)
    /// Nothing was changed; which step failed, and why.
    case failed(why: String)
  }

  package enum Event: Hashable, Sendable {
    /// What is there, now that nothing comes any more.
    case held(Holding)
    /// What was ordered last is done.
    case done
    case failed(String)
    /// Of the commit: it was not even tried.
    case forbidden(String)
    /// It is time to try again.
    case retry
  }

  /// Each but `release` and `wait` is answered by one event before the next is obeyed.
  package enum Order: Hashable, Sendable {
    /// Take nothing that comes, and say `held`.
    case hold
    /// See whether the replica can be written, and change nothing of it.
    case probe
    /// Keep this point whatever retention says.
    case pin(Choice)
    /// Make durable that this site is primary in the new reign, and that its tree becomes this
    /// point.
    case commit(PointNumber)
    /// Make what was on record before the commit durable anew.
    case recall
    /// Have the replica be this point; those after it become a branch.
    case place(PointNumber)
    /// Make durable that the tree is ready.
    case complete
    /// Capture from now on.
    case serve
    /// Receive again.
    case release
    /// Say `retry` after a while.
    case wait
  }

  package let request: Request
  package private(set) var stage = Stage.holding
  private let terms: Terms

  package init(_ request: Request, _ terms: Terms) {
    self.request = request
    self.terms = terms
  }

  /// One whose commit point was passed before this process began.
  package init(resumedTo point: PointNumber, _ terms: Terms) {
    self.init(Request(), terms)
    stage = .placing(point)
  }

  /// The orders to begin with.
  package var first: [Order] {
    if case .placing(let point) = stage { [.place(point)] } else { [.hold] }
  }

  /// Whether this site is past the commit point, with the tree not yet ready.
  package var isPromoting: Bool {
    switch stage {
    case .placing, .completing, .waiting: true
    case .holding, .probing, .pinning, .committing, .recalling, .done, .looked, .refused,
      .failed:
      false
    }
  }

  /// Whether it waits for better times.
  package var isWaiting: Bool { if case .waiting = stage { true } else { false } }

  /// Whether nothing is yet to come of it.
  package var isOver: Bool {
    switch stage {
    case .done, .looked, .refused, .failed: true
    case .holding, .probing, .pinning, .committing, .recalling, .placing, .completing, .waiting:
      false
    }
  }

  package mutating func on(_ event: Event) -> [Order] {
    switch (stage, event) {
    case (.holding, .held(let holding)): return choose(from: holding)
    case (.probing(let choice), .done): return consider(choice)
    case (.pinning(let choice), .done):
      stage = .committing(choice)
      return [.commit(choice.point.number)]
    case (.committing(let choice), .done): return place(choice.point.number)
    case (.placing(let point), .done):
      stage = .completing(point)
      return [.complete]
    case (.completing(let point), .done):
      stage = .done(point)
      return [.serve]
    case (.recalling(let why), .done): return end(.failed(why: why))
    case (.holding, .failed(let why)), (.probing, .failed(let why)), (.pinning, .failed(let why)):
      return end(.failed(why: why))
    case (.committing, .forbidden(let why)): return end(.failed(why: why))
    case (.committing, .failed(let why)):
      // A flush that failed may have come to the disk, and to no disk twice in the same way.
      stage = .recalling(why: why)
      return [.recall]
    case (.recalling, .failed): return [.wait]
    case (.recalling, .retry): return [.recall]
    case (.placing(let point), .failed(let why)), (.completing(let point), .failed(let why)):
      stage = .waiting(point, why: why)
      return [.wait]
    case (.waiting(let point, _), .retry): return place(point)
    case (.done, _), (.looked, _), (.refused, _), (.failed, _): return []
    case (_, .held), (_, .retry), (_, .forbidden), (.holding, .done), (.waiting, _):
      // Of an order that is over.
      return []
    }
  }

  private mutating func place(_ point: PointNumber) -> [Order] {
    stage = .placing(point)
    return [.place(point)]
  }

  private mutating func end(_ stage: Stage) -> [Order] {
    self.stage = stage
    return [.release]
  }

  private mutating func choose(from holding: Holding) -> [Order] {
    switch Choice.made(of: holding, for: request, terms) {
    case .success(let choice):
      stage = .probing(choice)
      return [.probe]
    case .failure(let refusal): return end(.refused(refusal))
    }
  }

  private mutating func consider(_ choice: Choice) -> [Order] {
    let refusal = refusal(choice.loss)
    if request.isPreview { return end(.looked(choice, refusal)) }
    if let refusal { return end(.refused(refusal)) }
    stage = .pinning(choice)
    return [.pin(choice)]
  }

  /// What a person has to say first, if anything.
  private func refusal(_ loss: Loss) -> Refusal? {
    guard terms.hasArbiter || request.isOtherDown else { return .otherSiteNotDown }
    let isOlder = request.point != nil
    let isLittle = loss.seconds.map { $0 <= terms.maxLoss } ?? false
    if request.isLossAccepted || (!isOlder && isLittle) { return nil }
    return .loss(loss, isOlder: isOlder)
  }
}
