import HoldfastCore
import HoldfastWire

/// What the plan will find on the other host.
extension Pair {
  func hear(_ message: Holdfast_Facts) {
    var facts: [String: String] = [:]
    for fact in message.facts.prefix(Limits.factsMax) { facts[fact.name] = fact.value }
    board.update { $0.peerFacts = facts }
  }
}
