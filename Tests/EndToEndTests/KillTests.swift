import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `An agent that is killed` {
  /// Where each side passes the phase in ordinary work.
  private static let places: [(site: String, phase: String)] = [
    ("a", "reading"), ("a", "sending"), ("a", "sealing"), ("b", "sealing"), ("b", "applying"),
  ]

  @Test(arguments: places.map(\.phase).indices, [1, 4, 9])
  func `loses nothing and goes on`(place: Int, number: Int) throws {
    let (site, phase) = Self.places[place]
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; for i in $(seq 1 20); do seq 1 ${i}00 > f$i; done")
    let first = pair.sync()
    #expect(first > 0, "\(pair.story)")
    pair.kill(site, SIGTERM)
    pair.start(site, probe: "\(phase):\(number)")
    // Work goes on until the phase has been passed often enough.
    let wasHit = pair.wait {
      Shell.run(
        "cd '\(pair.source)'; for i in 1 2 3 4 5; do echo $RANDOM > f$i; done; rm -f f9; mv f8 f9; cp f9 f8"
      )
      pair.run("sync p", on: "a")
      return !pair.isAlive(site)
    }
    #expect(wasHit, "\(phase) was not reached\n\(pair.story)")
    #expect(pair.end(site) == 128 + SIGKILL)
    pair.start(site)
    #expect(pair.wait { pair.status("a").contains("\"role\":\"primary\"") }, "\(pair.story)")
    Shell.run("cd '\(pair.source)'; echo last > last")
    #expect(pair.sync() > first, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
  }

  @Test(arguments: [1, 2, 3])
  func `in a promotion goes forward when it starts again`(number: Int) throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; seq 1 5000 > d/a; echo 1 > b")
    let older = pair.sync()
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("older"))'; rm -r '\(pair.source)/d'")
    #expect(pair.sync() > older)
    pair.kill("a")
    pair.kill("b", SIGTERM)
    pair.start("b", probe: "promoting:\(number)")
    pair.run("failover p --json --point \(older) --accept-loss --other-site-is-down", on: "b")
    #expect(pair.end("b") == 128 + SIGKILL)
    pair.start("b")
    #expect(pair.wait { pair.status("b").contains("\"role\":\"primary\"") }, "\(pair.story)")
    #expect(pair.status("b").contains("\"epoch\":2"))
    #expect(Judge.differences(pair.scratch("older"), pair.replica) == "")
  }
}
