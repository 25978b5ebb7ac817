import FoundationEssentials
package import HoldfastCore
import HoldfastWire
package import Logging

/// Opens links; TLS in production.
package protocol Dialler: Sendable {
  func dial(
    _ address: HostPort, admits: @escaping @Sendable (Fingerprint) -> Bool
  ) async throws -> any Link
}

/// How two sites, or a site and a witness, come to know each other's keys.
package struct Pairing: Sendable {
  private let ownKey: Fingerprint
  private let pins: Pins
  private let host: any Host
  private let dialler: any Dialler
  private let log: Logger

  package init(
    ownKey: Fingerprint, pins: Pins, host: any Host, dialler: any Dialler, log: Logger
  ) {
    self.ownKey = ownKey
    self.pins = pins
    self.host = host
    self.dialler = dialler
    self.log = log
  }

  /// - Parameter listening: where this site can be dialled, unless the request says otherwise.
  package func invite(_ request: InviteRequest, listening: HostPort) throws -> TokenAnswer {
    var address = listening
    if let text = request.address {
      guard let given = HostPort(text) else {
        throw FailureAnswer(code: 2, "\(text) is no address: write host:port")
      }
      address = given
    } else if ["0.0.0.0", "::"].contains(address.host) {
      throw FailureAnswer(
        code: 2,
        """
        `listen` names no address that the other site could dial: add --address HOST:\(address.port)
        """)
    }
    let secret = host.secret(16)
    pins.open(Invitation(secret: secret, now: host.clock.now()), replacing: request.replace)
    return TokenAnswer(
      token: InvitationToken(address: address, key: ownKey, secret: secret).text)
  }

  /// Hears a stranger, who may say one thing: a token.
  /// - Returns: the site whose key is pinned now.
  package func admit(_ link: any Link, as name: String, peers: Set<String>) async -> String? {
    var admitted: String?
    do {
      if let frame = try await link.receive(),
        case .control(.join(let join)) = try Frames.decode(frame)
      {
        let answer = judge(join, link.peer, as: name, peers)
        if answer.refusal.isEmpty { admitted = join.site }
        try await link.send(Frames.encode(.joined(answer)))
      }
    } catch {
      log.warning("a stranger's link ended: \(error)")
    }
    await link.close()
    return admitted
  }

  private func judge(
    _ join: Holdfast_Join, _ key: Fingerprint, as name: String, _ peers: Set<String>
  ) -> Holdfast_Joined {
    var answer = Holdfast_Joined()
    answer.site = name
    switch pins.offered(Array(join.token)) {
    case .admitted: answer.refusal = pin(join.site, key, as: name, peers) ?? ""
    case .wrong(let left): answer.refusal = "wrong token; \(left) tries left"
    case .spent: answer.refusal = "the token was used: type holdfast invite again"
    case .expired: answer.refusal = "the token has expired: type holdfast invite again"
    }
    if !answer.refusal.isEmpty { log.warning("join from \(key) refused: \(answer.refusal)") }
    return answer
  }

  /// - Returns: why the key is not pinned.
  private func pin(
    _ site: String, _ key: Fingerprint, as name: String, _ peers: Set<String>
  ) -> String? {
    guard peers.contains(site) else {
      return """
        site \(name) has no peer named \(site): add it under `peers` there, then type there: \
        holdfast invite
        """
    }
    guard pins.mayPin(site, key) else {
      return """
        site \(name) knows \(site) by another key: if \(site) was made anew, type there: holdfast \
        invite --replace \(site)
        """
    }
    do throws(DiskError) {
      try pins.pin(site, key)
      log.notice("joined with \(site), key \(key)")
      return nil
    } catch {
      return "\(name) cannot keep the key: \(error)"
    }
  }

  /// Brings a token to the site that made it.
  /// - Returns: that site's name, whose key is pinned now.
  package func join(
    _ request: JoinRequest, as name: String, peers: Set<String>
  ) async throws -> String {
    guard let token = InvitationToken(request.token) else {
      throw FailureAnswer(code: 2, "that is no token: copy the last line that invite printed")
    }
    let answer = try await bring(token, as: name)
    guard answer.refusal.isEmpty else { throw FailureAnswer(code: 3, answer.refusal) }
    guard peers.contains(answer.site) else {
      throw FailureAnswer(code: 2, "site \(answer.site) is not under `peers` here: add it")
    }
    guard request.replace == true || (pins.key(of: answer.site) ?? token.key) == token.key else {
      throw FailureAnswer(
        code: 3,
        """
        \(answer.site) is known here by another key: if that site was made anew, get a new token \
        and add --replace
        """)
    }
    try pins.pin(answer.site, token.key)
    return answer.site
  }

  private func bring(_ token: InvitationToken, as name: String) async throws -> Holdfast_Joined {
    let link: any Link
    do {
      link = try await dialler.dial(token.address) { $0 == token.key }
    } catch {
      throw FailureAnswer(
        code: 4,
        """
        cannot reach \(token.address): \(error); is the agent there running, and the token the \
        newest?
        """)
    }
    defer { Task { await link.close() } }
    var join = Holdfast_Join()
    join.token = Data(token.secret)
    join.site = name
    do {
      try await link.send(Frames.encode(.join(join)))
      guard let frame = try await link.receive(),
        case .control(.joined(let joined)) = try Frames.decode(frame)
      else { throw LinkError.closed }
      return joined
    } catch {
      throw FailureAnswer(
        code: 3,
        """
        the other site ended the talk (\(error)): if the token was used or is old, type there: \
        holdfast invite
        """)
    }
  }
}
