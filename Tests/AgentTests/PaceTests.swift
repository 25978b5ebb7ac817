import HoldfastAgent
import HoldfastCore
import Testing

@Suite struct `The pace of sending` {
  private func at(_ seconds: Double) -> Instant { Instant(nanos: Int64(seconds * 1e9)) }

  @Test func `is that of the time in which there was something to send`() {
    var pace = SendingPace(at(0))
    pace.sent(1000, at: at(0.5))
    #expect(pace.bytesPerSecond == nil)
    pace.sent(1000, at: at(1))
    #expect(pace.bytesPerSecond == 2000)
    // A minute later: what was sent then says nothing of the minute.
    pace.rest()
    pace.sent(10, at: at(61))
    #expect(pace.bytesPerSecond == 2000)
    pace.sent(4000, at: at(62))
    #expect(pace.bytesPerSecond == 4000)
  }

  @Test func `is known of a link so slow that each frame takes seconds`() {
    var pace = SendingPace(at(0))
    for second in [4.0, 8, 12] { pace.sent(1000, at: at(second)) }
    #expect(pace.bytesPerSecond == 250)
  }
}
