import HoldfastCore
import Testing

@Suite struct `A moment of the wall clock` {
  @Test func `counts as the last one that can be held where it lies beyond`() throws {
    let last = WallTime(nanos: .max)
    let first = WallTime(nanos: .min)
    #expect(WallTime(seconds: 13_569_465_600, nanos: 5) == last)
    #expect(WallTime(seconds: 9_223_372_036, nanos: 999_999_999) == last)
    #expect(WallTime(seconds: -62_135_596_800, nanos: 0) == first)
    #expect(try #require(WallTime(rfc3339: "9999-12-31T23:59:59Z")) == last)
    #expect(try #require(WallTime(rfc3339: "0001-01-01T00:00:00Z")) == first)
    #expect(last + .seconds(90) == last && first + .seconds(-90) == first)
    #expect(last - first > .seconds(0) && first - last < .seconds(0))
    #expect(last.rfc3339 == "2262-04-11T23:47:16.854Z")
    #expect(first.rfc3339 == "1677-09-21T00:12:43.145Z")
  }
}
