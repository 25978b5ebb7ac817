/// Knows before which moment a message of the other site was not sent, by this site's clock alone:
/// each side sends stamps, and sends the newest that it has heard back, with how long it held it
/// (as NTP does, RFC 5905, section 8). What waits in a slow line, or for a process that stands
/// still, is not taken for new.
package struct EchoClock: Sendable {
  /// What goes along with a message.
  package struct Stamp: Equatable, Sendable {
    /// When it was sent, by the sender's clock.
    package var own: UInt64
    /// The other site's newest that was heard; 0: none yet.
    package var echo: UInt64
    /// For how long that was held.
    package var echoAge: UInt64
    package init(own: UInt64, echo: UInt64, echoAge: UInt64) {
      self.own = own
      self.echo = echo
      self.echoAge = echoAge
    }
  }

  private let begun: Instant
  private var heard: (stamp: UInt64, at: Instant)?

  /// - Parameter begun: when the link was made: no echo is older.
  package init(begun: Instant) { self.begun = begun }

  /// - Parameter now: not later than what the message says was found out.
  package func stamp(_ now: Instant) -> Stamp {
    let age = heard.map { UInt64(max(0, (now - $0.at).nanos)) }
    return Stamp(own: UInt64(max(0, now.nanos)), echo: heard?.stamp ?? 0, echoAge: age ?? 0)
  }

  /// - Returns: what was found out for the message was so at this moment or later; `nil` where it
  ///   does not tell.
  package mutating func heard(_ stamp: Stamp, _ now: Instant) -> Instant? {
    heard = (stamp.own, now)
    guard let echo = Int64(exactly: stamp.echo), let age = Int64(exactly: stamp.echoAge),
      echo > 0, echo >= begun.nanos, echo <= now.nanos, age <= now.nanos - echo
    else { return nil }
    return Instant(nanos: echo + age)
  }
}
