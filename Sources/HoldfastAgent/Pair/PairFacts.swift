import HoldfastCore
import HoldfastWire

/// `GET /pairs/P/facts`: what the plan will find on each host, as far as the controllers said.
package struct FactsAnswer: Codable, Sendable {
  package var pair: String
  package var here: [String: String]
  package var peer: [String: String]
}

extension Pair {
  package func knownFacts() -> FactsAnswer {
    let view = board.view
    return FactsAnswer(pair: name, here: view.facts ?? [:], peer: view.peerFacts ?? [:])
  }

  /// The controller has looked.
  func tell(facts: [String: String]) async {
    board.update { $0.facts = facts }
    await sendFacts()
  }

  func sendFacts() async {
    guard let link, let facts = board.view.facts else { return }
    var message = Holdfast_Facts()
    message.pair = name
    message.facts = facts.prefix(Limits.factsMax).map { name, value in
      var fact = Holdfast_Fact()
      fact.name = name
      fact.value = value
      return fact
    }
    try? await link.send(Frames.encode(.facts(message)))
  }

  func hear(_ message: Holdfast_Facts) {
    var facts: [String: String] = [:]
    for fact in message.facts.prefix(Limits.factsMax)
    where fact.name.utf8.count + fact.value.utf8.count <= Limits.factBytesMax {
      facts[fact.name] = fact.value
    }
    board.update { $0.peerFacts = facts }
  }
}
