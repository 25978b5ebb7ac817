import HoldfastCore
import Testing

@Suite struct `A plan` {
  @Test func `is done step by step, each once the one before has ended`() {
    var run = PlanRun([.stop, .continue, .stop])
    #expect(run.on(.allowed) == [.run(0)])
    #expect(run.on(.allowed) == [])
    #expect(run.on(.done(1, isFailed: false)) == [])
    #expect(run.on(.done(0, isFailed: false)) == [.run(1)])
    #expect(run.on(.done(0, isFailed: false)) == [])
    #expect(run.on(.done(1, isFailed: true)) == [.run(2)])
    #expect(run.on(.done(2, isFailed: false)) == [.started])
  }

  @Test func `ends at a step whose failure stops it, and begins anew from the first`() {
    var run = PlanRun([.stop, .stop])
    _ = run.on(.allowed)
    _ = run.on(.done(0, isFailed: false))
    #expect(run.on(.done(1, isFailed: true)) == [.failed(1)])
    #expect(run.on(.done(1, isFailed: false)) == [])
    #expect(run.on(.allowed) == [.run(0)])
  }

  @Test func `without steps is there at once`() {
    var run = PlanRun([])
    #expect(run.on(.allowed) == [.started])
  }
}
