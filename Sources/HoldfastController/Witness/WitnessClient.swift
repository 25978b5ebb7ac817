package import HoldfastCore
import HoldfastWire

/// A witness, asked over one link for all pairs of a site. The link is made when it is needed.
package actor WitnessClient: Arbiter {
  package typealias Dial = @Sendable () async throws -> any Link

  private let name: String
  private let dial: Dial
  private let clock: any Timekeeper
  private var link: (any Link)?
  private var isDialling = false
  private var waiting: [UInt64: CheckedContinuation<ArbiterAnswer?, Never>] = [:]
  private var lastNumber: UInt64 = 0
  private var nextDial = Instant(nanos: .min)
  package private(set) var trouble: String?

  /// - Parameters:
  ///   - name: of this site.
  ///   - dial: makes a link to the witness, whose key it checks.
  package init(name: String, clock: any Timekeeper, dial: @escaping Dial) {
    self.name = name
    self.clock = clock
    self.dial = dial
  }

  package func ask(_ request: ArbiterRequest, _ statement: SiteStatement) async -> ArbiterAnswer? {
    guard let link = await connected(), waiting.count < Limits.arbiterAsksMax else { return nil }
    lastNumber += 1
    let number = lastNumber
    let ask = ArbiterAsk(number: number, request: request, statement: statement)
    let limit = LeaseTerms(ttl: statement.ttl).timeout
    return await withCheckedContinuation { continuation in
      waiting[number] = continuation
      Task {
        do {
          try await link.send(Frames.encode(.arbiterAsk(Holdfast_ArbiterAsk(ask))))
          try await clock.sleep(until: clock.now() + limit)
        } catch {}
        // No answer in time: the link may be dead without knowing.
        if settle(number, nil) { await drop(link, "no answer within \(limit)") }
      }
    }
  }

  private func connected() async -> (any Link)? {
    if let link { return link }
    guard !isDialling, clock.now() >= nextDial else { return nil }
    isDialling = true
    defer { isDialling = false }
    nextDial = clock.now() + Limits.backoffFirst
    let isSilent = SharedFlag()
    do {
      let fresh = try await dial()
      // Who takes the link and then says nothing is no arbiter.
      let patience = Task { [clock] in
        try await clock.sleep(until: clock.now() + Limits.dialTimeout)
        isSilent.set(true)
        await fresh.close()
      }
      defer { patience.cancel() }
      try await WitnessSession.greet(fresh, name)
      link = fresh
      trouble = nil
      Task { await self.read(fresh) }
      return fresh
    } catch {
      trouble =
        isSilent.isSet ? "it took the link and says nothing: does it hang?" : Self.say(error)
      return nil
    }
  }

  private static func say(_ error: any Error) -> String {
    switch error {
    case LinkError.closed:
      "it ended the link: has this site joined? Type holdfast invite there, holdfast join here"
    case LinkError.silent: "it says nothing: does it hang?"
    case LinkError.broken(let why): why
    default: "\(error)"
    }
  }

  private func read(_ link: any Link) async {
    do {
      while let frame = try await link.receive() {
        guard case .control(.arbiterSays(let message)) = try Frames.decode(frame),
          let answer = message.answer
        else { break }
        _ = settle(message.number, answer)
      }
      await drop(link, "the arbiter ended the link")
    } catch {
      await drop(link, Self.say(error))
    }
  }

  private func drop(_ old: any Link, _ why: String) async {
    if let link, link as AnyObject === old as AnyObject {
      self.link = nil
      trouble = why
      for number in waiting.keys { _ = settle(number, nil) }
    }
    // A peer that is gone is said goodbye to for seconds: the next question does not wait for it.
    await old.close()
  }

  /// - Returns: whether somebody waited for it.
  private func settle(_ number: UInt64, _ answer: ArbiterAnswer?) -> Bool {
    guard let continuation = waiting.removeValue(forKey: number) else { return false }
    continuation.resume(returning: answer)
    return true
  }
}
