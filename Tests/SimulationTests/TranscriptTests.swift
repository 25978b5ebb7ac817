import Foundation
import HoldfastCore
import HoldfastSimulation
import Testing

/// Failovers told in full, to be read: what happened when, and who served.
@Suite struct `The story` {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Transcripts")

  /// - Parameter plan: at which moments, by the true time, what happens.
  private func tell(
    _ name: String, for duration: Duration = .seconds(90), isAutomatic: Bool = true,
    _ plan: (World) -> Void
  ) throws {
    let world = World(seed: 1, terms: LeaseTerms(ttl: .seconds(10)), isAutomatic: isAutomatic)
    plan(world)
    #expect(world.run(for: duration))
    let told = world.transcript.joined(separator: "\n") + "\n"
    let file = Self.folder.appending(path: "\(name).txt")
    if ProcessInfo.processInfo.environment["HOLDFAST_TELL"] != nil {
      try told.write(to: file, atomically: true, encoding: .utf8)
    }
    let expected = try String(contentsOf: file, encoding: .utf8)
    #expect(told == expected, "HOLDFAST_TELL=1 writes it anew: read what changed")
  }

  @Test func `of a primary that loses power`() throws {
    try tell("power-lost") { $0.plan(.seconds(40), .powerLost($0.sites[0])) }
  }

  @Test func `of a primary that is cut off and comes back`() throws {
    try tell("cut-off") { world in
      world.plan(.seconds(40), .cutOff(world.sites[0]))
      world.plan(.seconds(70), .linesWhole)
    }
  }

  @Test func `of a line between the sites that is cut`() throws {
    try tell("sites-cut") { world in
      world.plan(.seconds(40), .sitesCut)
      world.plan(.seconds(70), .linesWhole)
    }
  }

  @Test func `of a witness that nobody reaches`() throws {
    try tell("witness-cut") { world in
      world.plan(.seconds(40), .witnessCut)
      world.plan(.seconds(70), .linesWhole)
    }
  }

  @Test func `of a primary that loses power while nobody reaches the witness`() throws {
    try tell("witness-cut-and-power-lost", for: .seconds(120)) { world in
      world.plan(.seconds(40), .witnessCut)
      world.plan(.seconds(50), .powerLost(world.sites[0]))
      world.plan(.seconds(90), .linesWhole)
    }
  }

  @Test func `of a controller that stands still`() throws {
    try tell("controller-stands") { world in
      world.plan(.seconds(40), .controllerStands(world.sites[0], .seconds(60)))
    }
  }

  @Test func `of a controller that is killed`() throws {
    try tell("controller-killed") { $0.plan(.seconds(40), .controllerKilled($0.sites[0])) }
  }

  @Test func `of a person who promotes the standby while the primary serves`() throws {
    try tell("ordered") { $0.plan(.seconds(40), .failoverOrdered($0.sites[1])) }
  }

  @Test func `of a person who promotes the standby of a primary that is cut off`() throws {
    try tell("ordered-cut-off", isAutomatic: false) { world in
      world.plan(.seconds(40), .cutOff(world.sites[0]))
      world.plan(.seconds(42), .failoverOrdered(world.sites[1]))
      world.plan(.seconds(70), .linesWhole)
    }
  }

  @Test func `of a standby that cannot be promoted when the primary loses power`() throws {
    try tell("not-promoted", for: .seconds(140)) { world in
      world.plan(.seconds(35), .diskFull(world.sites[1], .seconds(90)))
      world.plan(.seconds(40), .powerLost(world.sites[0]))
    }
  }

  @Test func `of an order that is withdrawn before the witness hears of it`() throws {
    try tell("withdrawn", isAutomatic: false) { world in
      world.plan(.seconds(40), .witnessCut)
      world.plan(.seconds(42), .failoverOrdered(world.sites[1]))
      world.plan(.seconds(50), .failoverWithdrawn(world.sites[1]))
      world.plan(.seconds(60), .linesWhole)
    }
  }

  @Test func `of a planned move there and back`() throws {
    try tell("switchover") { world in
      world.plan(.seconds(40), .switchoverOrdered(world.sites[1]))
      world.plan(.seconds(60), .switchoverOrdered(world.sites[0]))
    }
  }

  @Test func `of a planned move while nobody reaches the witness`() throws {
    try tell("switchover-witness-cut") { world in
      world.plan(.seconds(40), .witnessCut)
      world.plan(.seconds(50), .switchoverOrdered(world.sites[1]))
      world.plan(.seconds(80), .linesWhole)
    }
  }

  @Test func `of a planned move whose standby is cut off in its midst`() throws {
    try tell("switchover-cut-off") { world in
      world.plan(.seconds(40), .switchoverOrdered(world.sites[1]))
      world.plan(.milliseconds(40_300), .cutOff(world.sites[1]))
      world.plan(.seconds(80), .linesWhole)
    }
  }

  @Test func `of a primary whose host stands still for a moment`() throws {
    try tell("host-stands") { world in
      world.plan(.seconds(40), .hostStands(world.sites[0], .seconds(2), isCounted: true))
    }
  }

  @Test func `of a primary whose host and clock stand still until the other serves`() throws {
    try tell("host-stands-long") { world in
      world.plan(.seconds(40), .hostStands(world.sites[0], .seconds(30), isCounted: false))
    }
  }

  @Test func `of both sites that lose power`() throws {
    try tell("both-lost", for: .seconds(120)) { world in
      world.plan(.seconds(40), .powerLost(world.sites[0]))
      world.plan(.milliseconds(40_100), .powerLost(world.sites[1]))
    }
  }
}
