import HoldfastController
import HoldfastCore
import Synchronization
import Testing

@Suite(.serialized) struct `A controller` {
  private static let terms = LeaseTerms(ttl: .seconds(10))
  private static let leased = FailoverConfiguration(
    mode: "automatic", arbiter: "w", terms: terms, maxLoss: .seconds(60), onUnhealthy: .release)

  private func word(_ stage: Stage) async -> String { await stage.controller.word().service }

  /// A pair whose service runs under a lease.
  private func serving() async throws -> Stage {
    let stage = try Stage(Self.leased)
    #expect(await stage.wait { await word(stage) == "running" })
    return stage
  }

  @Test(arguments: [FailoverConfiguration(), leased])
  func `holds a plan until the service manager knows who starts its units`(
    _ failover: FailoverConfiguration
  ) async throws {
    let stage = try Stage(failover)
    stage.service.state.withLock { $0.isBindable = false }
    stage.agent.state.withLock { $0.role = failover.hasArbiter ? .unknown : .primary }
    #expect(await stage.wait { await stage.trouble().contains("systemd cannot be told") })
    let now = stage.clock.now()
    _ = await stage.wait(30) { false }
    #expect(stage.clock.now() - now >= .seconds(30))
    #expect(stage.service.state.withLock { $0.steps } == [])
    // Who asks for a lease and cannot start anything keeps the other site from serving.
    #expect(stage.arbiter.state.withLock { $0.questions } == 0)
    stage.service.state.withLock { $0.isBindable = true }
    #expect(await stage.wait { await word(stage) == "running" })
    #expect(stage.service.state.withLock { $0.steps.first } == Stage.unit.kind)
    #expect(await stage.trouble() == "")
  }

  @Test func `takes a service whose checks do not end for ill, and for well once they do`()
    async throws
  {
    let stage = try await serving()
    stage.service.state.withLock { $0.isHanging = true }
    #expect(await stage.wait { await stage.trouble().contains("checks have not ended for") })
    #expect(
      await stage.wait { stage.agent.state.withLock { $0.reasonsToMove.count } == 1 })
    // It is asked again and again, and serves on under its lease meanwhile.
    #expect(await word(stage) == "running")
    stage.service.state.withLock { $0.isHanging = false }
    #expect(await stage.wait { await stage.trouble() == "" })
  }

  @Test func `makes way for one that can go on under its lease, in a moment that allows it`()
    async throws
  {
    let stage = try await serving()
    let same = Stage.pair(Self.leased)
    #expect(await stage.wait { await stage.controller.reasonToStay(same) == nil })
    // Gone from the configuration, or without an arbiter: nobody counts on a lease.
    #expect(await stage.controller.reasonToStay(nil) == nil)
    #expect(await stage.controller.reasonToStay(Stage.pair(FailoverConfiguration())) == nil)
    var shorter = Self.leased
    shorter.terms = LeaseTerms(ttl: .seconds(5))
    var told: Set<String> = []
    _ = await stage.wait(10) {
      told.insert(await stage.controller.reasonToStay(Stage.pair(shorter)) ?? "goes on")
      return false
    }
    #expect(told.count == 1)
    #expect(told.first?.contains("systemctl restart holdfast-controller") == true)
    // One that began now would not have time enough left.
    stage.arbiter.state.withLock { $0.isThere = false }
    #expect(
      await stage.wait {
        await stage.controller.reasonToStay(same) == "the lease is about to be renewed"
      })
  }

  @Test func `without a lease makes no way for one that would need it`() async throws {
    let alone = try Stage(FailoverConfiguration())
    alone.agent.state.withLock { $0.role = .primary }
    #expect(await alone.wait { await word(alone) == "running" })
    #expect(await alone.controller.reasonToStay(Stage.pair(FailoverConfiguration())) == nil)
    let why = await alone.controller.reasonToStay(Stage.pair(Self.leased)) ?? ""
    #expect(why.contains("without an arbiter") && why.contains("systemctl restart"))

    let byWord = try Stage(Self.leased)
    byWord.arbiter.state.withLock { $0.isThere = false }
    byWord.agent.state.withLock { ($0.role, $0.isByWord) = (.primary, true) }
    #expect(await byWord.wait { await word(byWord) == "running" })
    let other = await byWord.controller.reasonToStay(Stage.pair(Self.leased)) ?? ""
    #expect(other.contains("on a person's word") && other.contains("systemctl restart"))
  }

  @Test func `that starts its service makes way for nobody until that is done`() async throws {
    let stage = try Stage(Self.leased)
    stage.service.state.withLock { $0.isHanging = true }
    #expect(await stage.wait { await word(stage) == "starting" })
    let why = await stage.controller.reasonToStay(nil)
    #expect(why == "the service is starting")
  }
}
