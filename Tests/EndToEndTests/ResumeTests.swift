import Glibc
import TestKit
import Testing

@Suite(.serialized) struct `A long seed` {
  /// MiB: the default of `memory`.
  static let memoryMax = 150

  @Test func `whose line is cut ten times and whose agents die sends little twice`() throws {
    let pair = TestPair()
    let megabytes = 1024
    let relay = try pair.relay()
    Shell.run("head -c \(megabytes)M /dev/urandom > '\(pair.source)/large'")
    #expect(pair.begin(), "\(pair.story)")
    // What each life of the primary's agent has sent; the last look may be a moment old.
    var lives: [Int64] = [0]
    func look() { lives[lives.count - 1] = max(lives[lives.count - 1], pair.sentBytes("a")) }
    var cuts = 0
    for step in 1...12 {
      let goal = Int64(step) * Int64(megabytes) << 20 / 14
      let isThere = pair.wait {
        look()
        return lives.reduce(0, +) >= goal
      }
      #expect(isThere, "step \(step)\n\(pair.story)")
      if step == 4 {
        pair.kill("b")
        pair.start("b")
      } else if step == 8 {
        look()
        pair.kill("a")
        lives.append(0)
        pair.start("a")
      } else {
        relay.cut()
        cuts += 1
      }
    }
    #expect(cuts == 10)
    #expect(pair.wait { pair.status("a").contains("\"role\":\"primary\"") }, "\(pair.story)")
    #expect(pair.sync(timeout: "300s") > 0, "\(pair.story)")
    look()
    #expect(Judge.differences(pair.source, pair.replica) == "")
    for site in ["a", "b"] { #expect(pair.peakMemory(site) <= Self.memoryMax) }
    // Both ways, with everything that is not content.
    let sent = relay.bytes
    #expect(sent >= Int64(megabytes) << 20, "\(sent)")
    #expect(sent * 100 <= Int64(megabytes) << 20 * 115, "\(sent) bytes, records \(lives)")
  }
}
