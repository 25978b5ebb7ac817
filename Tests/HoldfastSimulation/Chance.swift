package import HoldfastCore

/// Numbers from a seed, the same on every machine (SplitMix64: Steele, Lea and Flood, "Fast
/// Splittable Pseudorandom Number Generators", OOPSLA 2014).
package struct Chance: Sendable {
  private var state: UInt64
  package init(seed: UInt64) { state = seed }

  package mutating func word() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Below `bound`, which is positive.
  package mutating func below(_ bound: Int64) -> Int64 { Int64(word() % UInt64(bound)) }
  package mutating func isTrue(oneIn count: Int64) -> Bool { below(count) == 0 }
  package mutating func pick<T>(_ choices: [T]) -> T { choices[Int(below(Int64(choices.count)))] }
  package mutating func duration(_ range: ClosedRange<Duration>) -> Duration {
    let low = range.lowerBound.nanos
    return .nanoseconds(low + below(range.upperBound.nanos - low + 1))
  }
  package mutating func id() -> RandomID { RandomID(high: word(), low: word()) }
}
