package import HoldfastCore
import HoldfastWire

/// One link between a site and a witness: a hello each, then questions and answers.
package enum WitnessSession {
  /// Answers until the link ends.
  /// - Throws: ``WitnessDesk/Lost``, after which the witness must not go on.
  package static func serve(
    _ link: any Link, name: String, desk: WitnessDesk
  ) async throws(WitnessDesk.Lost) {
    let session = await desk.begin(link.peer)
    do {
      try await greet(link, name)
      while let frame = try await link.receive() {
        guard case .control(.arbiterAsk(let message)) = try Frames.decode(frame),
          let ask = message.ask
        else { break }
        guard let answer = try await desk.answer(ask, from: link.peer, by: session) else { break }
        try await link.send(
          Frames.encode(.arbiterSays(Holdfast_ArbiterSays(number: ask.number, answer))))
      }
    } catch let lost as WitnessDesk.Lost {
      await link.close()
      throw lost
    } catch {
      // The site dials again.
    }
    await desk.end(session, of: link.peer)
    await link.close()
  }

  /// Says hello and reads the other's.
  static func greet(_ link: any Link, _ name: String) async throws {
    var hello = Holdfast_Hello()
    hello.version = Frames.version
    hello.versionMin = Frames.version
    hello.site = name
    try await link.send(Frames.encode(.hello(hello)))
    guard let frame = try await link.receive() else { throw LinkError.closed }
    guard case .control(.hello(let theirs)) = try Frames.decode(frame),
      theirs.versionMin <= Frames.version, Frames.version <= theirs.version
    else { throw LinkError.broken("versions do not meet") }
  }
}
