import HoldfastCore
import Testing

/// What `check` and `status` say of a pair whose points would not be what they are to be.
@Suite struct `A pair's capture` {
  private func advice(
    _ capture: [ProviderSettings], require: Grade = .crash, hasUnit: Bool = true
  ) -> String? {
    let unit = PlanStep(kind: .unit("x.service"), within: .seconds(5), onFailure: .stop)
    return PairConfiguration(
      name: "p", primary: "a", standby: "b", roots: [], rpo: .seconds(5), require: require,
      capture: capture, retention: RetentionRule(all: .seconds(1), hourly: .zero, daily: .zero),
      bandwidth: nil, spoolBytes: 0, failover: FailoverConfiguration(),
      plan: hasUnit ? [unit] : [], dormantKeys: []
    ).captureAdvice
  }
  private let freeze = ProviderSettings.freeze(atMost: .milliseconds(500))
  private let quiesce = ProviderSettings.quiesce(
    QuiesceCommands(before: "true", after: "true", within: .seconds(5)))

  @Test func `that no provider makes one instant is told of where the plan starts a unit`() {
    for capture in [[.none], [], [quiesce, .none]] as [[ProviderSettings]] {
      let told = advice(capture) ?? ""
      #expect(told.contains("x.service") && told.contains("freeze"), "\(capture): \(told)")
    }
    for capture in [[.btrfs, .none], [freeze, .none], [quiesce, freeze]] {
      #expect(advice(capture) == nil, "\(capture)")
    }
    #expect(advice([.none], hasUnit: false) == nil)
  }

  @Test func `that nobody asked to make files whole is told of where that is required`() {
    #expect(advice([freeze, .none], require: .application)?.contains("quiesce") == true)
    #expect(advice([quiesce, freeze, .none], require: .application) == nil)
  }

  @Test func `that stops units where the plan has none is told of`() {
    #expect(advice([freeze], hasUnit: false)?.contains("no unit") == true)
    #expect(advice([freeze, .btrfs, .none], hasUnit: false)?.contains("no unit") == true)
  }

  @Test func `that is tried behind one which always gives something is told of`() {
    #expect(advice([.none, .btrfs])?.contains("put none last") == true)
    #expect(advice([freeze, .none, quiesce]) == nil)
  }
}
