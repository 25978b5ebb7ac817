/// A moment on this host's clock that never stops or jumps (CLOCK_BOOTTIME), in nanoseconds.
/// Moments of two hosts, or of two boots of one host, are never compared.
package struct Instant: Hashable, Comparable, Sendable {
  package let nanos: Int64
  package init(nanos: Int64) { self.nanos = nanos }
  package static func < (a: Self, b: Self) -> Bool { a.nanos < b.nanos }
  package static func + (a: Self, b: Duration) -> Self { Self(nanos: a.nanos + b.nanos) }
  package static func - (a: Self, b: Self) -> Duration { .nanoseconds(a.nanos - b.nanos) }
}

/// A moment of the wall clock, nanoseconds since 1970-01-01 UTC. For people and retention only.
/// From 1677-09-21 to 2262-04-11: what lies beyond, as files' times and words typed may, counts as
/// the last moment on that side.
package struct WallTime: Hashable, Comparable, Sendable {
  package let nanos: Int64
  package init(nanos: Int64) { self.nanos = nanos }
  package init(seconds: Int64, nanos: Int64) {
    let (whole, isBeyond) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    self.nanos = isBeyond ? (seconds < 0 ? .min : .max) : Self.sum(whole, nanos)
  }
  package static func < (a: Self, b: Self) -> Bool { a.nanos < b.nanos }
  package static func - (a: Self, b: Self) -> Duration {
    let (difference, isBeyond) = a.nanos.subtractingReportingOverflow(b.nanos)
    return .nanoseconds(isBeyond ? (a < b ? .min : .max) : difference)
  }
  package static func + (a: Self, b: Duration) -> Self { Self(nanos: sum(a.nanos, b.nanos)) }

  private static func sum(_ a: Int64, _ b: Int64) -> Int64 {
    let (sum, isBeyond) = a.addingReportingOverflow(b)
    return isBeyond ? (b < 0 ? .min : .max) : sum
  }

  /// RFC 3339 in UTC with milliseconds, rounded down.
  package var rfc3339: String {
    let (days, rest) = Self.floorDivide(nanos, 86_400_000_000_000)
    let (year, month, day) = Self.civil(days)
    let millis = rest / 1_000_000
    let parts = [
      Self.pad(year, 4), "-", Self.pad(month, 2), "-", Self.pad(day, 2), "T",
      Self.pad(millis / 3_600_000, 2), ":", Self.pad(millis / 60_000 % 60, 2), ":",
      Self.pad(millis / 1000 % 60, 2), ".", Self.pad(millis % 1000, 3), "Z",
    ]
    return parts.joined()
  }

  /// Reads RFC 3339 (`2026-11-22T10:00:00Z`, fraction and offset allowed, `T` or a space).
  package init?(rfc3339 text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count >= 19, bytes[4] == 0x2D, bytes[7] == 0x2D, bytes[13] == 0x3A,
      bytes[16] == 0x3A, bytes[10] == 0x54 || bytes[10] == 0x20
    else { return nil }
    func number(_ range: Range<Int>) -> Int64? {
      Int64(String(decoding: bytes[range], as: UTF8.self))
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
      (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
    else { return nil }
    var index = 19
    var fraction: Int64 = 0
    if index < bytes.count, bytes[index] == 0x2E {
      index += 1
      var scale: Int64 = 100_000_000
      while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
        fraction += Int64(bytes[index] - 0x30) * scale
        scale /= 10
        index += 1
      }
    }
    var offset: Int64 = 0
    let zone = String(decoding: bytes[index...], as: UTF8.self)
    if !zone.isEmpty, zone != "Z" {
      let digits = zone.dropFirst().filter { $0 != ":" }
      guard let sign = zone.first, sign == "+" || sign == "-", digits.count == 4,
        let value = Int64(digits)
      else { return nil }
      offset = (value / 100 * 3600 + value % 100 * 60) * (sign == "-" ? -1 : 1)
    }
    let seconds = Self.days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    self.init(seconds: seconds, nanos: fraction)
  }

  private static func pad(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.count)) + text
  }
  private static func floorDivide(_ a: Int64, _ b: Int64) -> (Int64, Int64) {
    let quotient = a / b - (a % b < 0 ? 1 : 0)
    // What is left is less than `b`, though the product may lie beyond what is held.
    return (quotient, a &- quotient &* b)
  }
  // Civil dates from day counts and back: Howard Hinnant, "chrono-Compatible Low-Level Date
  // Algorithms".
  private static func civil(_ days: Int64) -> (Int64, Int64, Int64) {
    let z = days + 719_468
    let era = floorDivide(z, 146_097).0
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = floorDivide(y, 400).0
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }
}

extension Duration {
  /// Whole nanoseconds, rounded towards zero; traps beyond 292 years.
  package var nanos: Int64 {
    let (seconds, attoseconds) = components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }
  /// Seconds with a fraction, for people and JSON.
  package var seconds: Double { Double(nanos) / 1e9 }
}
