package import HoldfastCore

/// An arbiter whose word is what several sites write into a store that they share.
package actor SharedStoreArbiter: Arbiter {
  private let site: Fingerprint
  private let store: any SharedStore
  private let clock: any Timekeeper
  package private(set) var trouble: String?
  /// Of each pair the question that was asked last.
  private var newest: [RandomID: UInt64] = [:]
  private var lastNumber: UInt64 = 0

  /// - Parameter site: this one's key, by which the store's records name it.
  package init(site: Fingerprint, store: any SharedStore, clock: any Timekeeper) {
    self.clock = clock
    self.site = site
    self.store = store
  }

  package func ask(_ request: ArbiterRequest, _ statement: SiteStatement) async -> ArbiterAnswer? {
    do {
      let answer = try await answer(request, statement)
      trouble = nil
      return answer
    } catch {
      trouble = "\(error)"
      return nil
    }
  }

  private struct Contended: Error, CustomStringConvertible {
    let description = "others changed the pair's record again and again meanwhile"
  }

  private func answer(
    _ request: ArbiterRequest, _ statement: SiteStatement
  ) async throws -> ArbiterAnswer? {
    let prefix = SharedLedger.prefix(of: statement.pair)
    // Who asked waits no longer, and may want something else by then.
    let end = clock.now() + LeaseTerms(ttl: statement.ttl).timeout
    lastNumber += 1
    let number = lastNumber
    newest[statement.pair] = number
    for _ in 0..<Limits.sharedTriesMax {
      let ledger: SharedLedger
      do {
        ledger = try SharedLedger(
          site: site, statement, values: try await store.values(below: prefix))
      } catch let error as CodingError {
        throw SharedStoreError.wrong("a value below \(prefix) is not ours (\(error))")
      }
      // What was asked since may be done already: this one, read behind it, would undo it. What was
      // read before it rests on what it changed, and is not done.
      guard newest[statement.pair] == number else { return nil }
      let step = try ledger.decide(request)
      if case .answer(let answer) = step { return answer }
      guard clock.now() < end else { throw SharedStoreError.slow("the store took too long") }
      switch step {
      case .answer(let answer): return answer
      case .change(let change): _ = try await store.commit(change)
      case .last(let change, let answer):
        if try await store.commit(change) { return answer }
        // What was to be given back has changed: it is not given back.
        if request == .release { return nil }
      }
    }
    throw Contended()
  }
}
