/// One open invitation: its token works once, for a while, and survives no fifth wrong try.
package struct Invitation: Equatable, Sendable {
  package enum Outcome: Equatable, Sendable {
    case admitted
    case wrong(triesLeft: Int)
    case spent
    case expired
  }
  private let secret: [UInt8]
  private let expires: Instant
  private var tries = 0
  private var isSpent = false

  package init(secret: [UInt8], now: Instant) {
    self.secret = secret
    expires = now + Limits.tokenLife
  }

  package func isOpen(at now: Instant) -> Bool {
    !isSpent && now < expires && tries < Limits.tokenTriesMax
  }

  package mutating func offered(_ token: [UInt8], at now: Instant) -> Outcome {
    if isSpent || tries >= Limits.tokenTriesMax { return .spent }
    if now >= expires { return .expired }
    // All bytes are compared, so that time tells nothing.
    var difference = UInt8(token.count == secret.count ? 0 : 1)
    for (a, b) in zip(token, secret) { difference |= a ^ b }
    if difference == 0 {
      isSpent = true
      return .admitted
    }
    tries += 1
    return .wrong(triesLeft: Limits.tokenTriesMax - tries)
  }
}
