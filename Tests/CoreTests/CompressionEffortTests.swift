import HoldfastCore
import Testing

@Suite struct `How much work compressing is worth` {
  @Test(arguments: [
    // Compression keeps up: nothing is gained by doing it worse.
    (false, Int64(0), nil as Double?, CompressionEffort.usual),
    // The link idles while records wait to be compressed.
    (true, 0, nil, .quick),
    (true, 4 << 20, 900e6, .quick),
    // Enough waits for the link.
    (true, 64 << 20, 900e6, .usual),
    // It will wait for a minute: smaller is sooner.
    (true, 64 << 20, 1e6, .thorough),
    (false, 64 << 20, 1e6, .thorough),
    // Nobody knows how fast the link is while the standby is away.
    (false, 8 << 30, nil, .usual),
  ])
  func `follows what the capture waits for`(
    isEncoderLate: Bool, backlog: Int64, pace: Double?, expected: CompressionEffort
  ) {
    let effort = CompressionEffort(
      isEncoderLate: isEncoderLate, backlog: backlog, bytesPerSecond: pace)
    #expect(effort == expected)
  }
}
