/// Decides what of a plan is done next: one step after the other, each once the one before has
/// ended, up to one whose failure stops the plan. Begun again it does all of it again: what runs
/// already stays as it is.
package struct PlanRun: Hashable, Sendable {
  package enum Event: Hashable, Sendable {
    /// The service may be started now.
    case allowed
    /// The step of this index has ended.
    case done(Int, isFailed: Bool)
  }

  package enum Order: Hashable, Sendable {
    /// Do the step of this index, and say `done`.
    case run(Int)
    /// The service is there: every step was done, but for those whose failure stops nothing.
    case started
    /// What was started stays; the step of this index has to be put right.
    case failed(Int)
  }

  private let onFailures: [PlanStep.OnFailure]
  /// The step that is being done; `nil`: none.
  private var current: Int?

  /// - Parameter onFailures: what a failure of each step leads to, in the order of the plan.
  package init(_ onFailures: [PlanStep.OnFailure]) { self.onFailures = onFailures }

  package mutating func on(_ event: Event) -> [Order] {
    switch event {
    case .allowed: return current == nil ? go(to: 0) : []
    case .done(let index, let isFailed):
      guard index == current else { return [] }
      current = nil
      return isFailed && onFailures[index] == .stop ? [.failed(index)] : go(to: index + 1)
    }
  }

  private mutating func go(to index: Int) -> [Order] {
    guard onFailures.indices.contains(index) else { return [.started] }
    current = index
    return [.run(index)]
  }
}
