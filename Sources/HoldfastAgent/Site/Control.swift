import FoundationEssentials
import HoldfastCore

/// What the control sockets answer: docs/api.md.
package struct Control: Sendable {
  /// Hands a request to the controller of this site: its path and body.
  /// - Throws: ``FailureAnswer``: its refusal, or that it does not answer.
  package typealias Forward = @Sendable (String, [UInt8]) async throws -> [UInt8]

  private let site: Site
  private let toController: Forward

  package init(site: Site, toController: @escaping Forward) {
    self.site = site
    self.toController = toController
  }

  /// - Parameters:
  ///   - mayMove: whether the request came through `move.sock`.
  ///   - user: who asks, as the kernel knows it.
  /// - Returns: a JSON body.
  /// - Throws: ``FailureAnswer``, or what went wrong inside.
  package func answer(
    method: String, path: String, body: [UInt8], mayMove: Bool, user: UInt32
  ) async throws -> [UInt8] {
    if mayMove, method == "POST", let answer = try await forwarded(path, body, user) {
      return answer
    }
    return try await route(method, path, body, mayMove, user)
  }

  /// Where an arbiter decides who serves, failovers are the controller's; the word of a person who
  /// has made sure that the other site is down needs no arbiter.
  private func forwarded(
    _ path: String, _ body: [UInt8], _ user: UInt32
  ) async throws -> [UInt8]? {
    let parts = path.split(separator: "/").map(String.init)
    guard parts.count == 3, parts[0] == "pairs" else { return nil }
    if parts[2] == "start" { return try await toController(path, body) }
    guard parts[2] == "failover",
      try await site.pair(parts[1]).configuration.failover.hasArbiter
    else { return nil }
    var request: FailoverRequest = try decode(body)
    if request.preview || request.granted != nil || request.otherSiteIsDown { return nil }
    // Whoever asks: a controller that was granted the reign asks nobody any more.
    request.preview = true
    let preview = try await site.pair(parts[1]).failover(request, by: "")
    if let refusal = preview.refusal { throw FailureAnswer(code: 3, refusal) }
    let answer = try await site.pair(parts[1]).failover(by: await person(user)) {
      [toController] in
      try JSON.decode(FailoverAnswer.self, try await toController(path, body))
    }
    return encode(answer)
  }

  private func person(_ user: UInt32) async -> String {
    "user \(user) on \(await site.configuration.site)"
  }

  private func route(
    _ method: String, _ path: String, _ body: [UInt8], _ mayMove: Bool, _ user: UInt32
  ) async throws -> [UInt8] {
    let parts = path.split(separator: "/").map(String.init)
    if method == "GET" {
      if parts == ["status"] { return encode(await site.status()) }
      if parts.count == 3, parts[0] == "pairs", parts[2] == "points" {
        return encode(try await site.pair(parts[1]).points())
      }
      if parts.count == 3, parts[0] == "pairs", parts[2] == "facts" {
        return encode(try await site.pair(parts[1]).knownFacts())
      }
      if parts.count == 3, parts[0] == "pairs", parts[2] == "moves" {
        return encode(MovesAnswer(pair: parts[1], moves: try await site.pair(parts[1]).moves.moves))
      }
    }
    guard method == "POST" else {
      throw FailureAnswer(code: 2, "no such request: \(method) \(path)")
    }
    guard mayMove else {
      throw FailureAnswer(code: 3, "look.sock only answers questions: use move.sock")
    }
    if parts == ["invite"] { return encode(try await site.invite(decode(body))) }
    if parts == ["join"] { return encode(try await site.join(decode(body))) }
    if parts.count == 3, parts[0] == "pairs", parts[2] == "serving" {
      return encode(try await site.serving(parts[1], decode(body)))
    }
    if parts.count == 3, parts[0] == "pairs", parts[2] == "approve" {
      return encode(TextAnswer(message: try await site.approve(parts[1])))
    }
    if parts.count == 3, parts[0] == "pairs" {
      return try await move(parts[2], try await site.pair(parts[1]), body, await person(user))
    }
    throw FailureAnswer(code: 2, "no such request: \(method) \(path)")
  }

  private func move(
    _ verb: String, _ pair: Pair, _ body: [UInt8], _ by: String
  ) async throws -> [UInt8] {
    switch verb {
    case "sync": return encode(try await pair.sync())
    case "adopt":
      let key = site.pins.key(of: pair.peer)
      return encode(TextAnswer(message: try await pair.adopt(otherKey: key)))
    case "resume":
      let request = body.isEmpty ? ResumeRequest(otherSiteIsDown: false) : try decode(body)
      let message = try await pair.recorded("resume", by: by) { try await pair.resume(request) }
      return encode(TextAnswer(message: message))
    case "release": return encode(try await pair.release(decode(body)))
    case "repair": return encode(TextAnswer(message: try await pair.repair(decode(body))))
    case "failover":
      let request: FailoverRequest = try decode(body)
      let cause = request.granted == nil ? by : "the controller on \(pair.site)"
      return encode(try await pair.failover(request, by: cause))
    case "switchover":
      let request: SwitchoverRequest = body.isEmpty ? SwitchoverRequest() : try decode(body)
      guard let illness = request.illness else {
        return encode(try await pair.switchover(by: by))
      }
      return encode(try await pair.moveAway(illness))
    case "failback": return encode(TextAnswer(message: try await pair.failback(by: by)))
    case "grant":
      try await pair.granted(reign(body))
      return encode(TextAnswer(message: "granted"))
    case "forgo": return encode(ForgoReply(forgone: await pair.forgo(try reign(body))))
    case "promise":
      let request: PromiseRequest = try decode(body)
      guard let reign = request.reign.value, let ttl = request.ttl else {
        throw FailureAnswer(code: 2, "that is no reign and ttl")
      }
      return encode(PromiseReply(promised: await pair.askPromise(reign, for: ttl)))
    default: throw FailureAnswer(code: 2, "no such request: \(verb)")
    }
  }

  private func reign(_ body: [UInt8]) throws -> Reign {
    let request: ReignRequest = try decode(body)
    guard let reign = request.value else { throw FailureAnswer(code: 2, "that is no reign") }
    return reign
  }

  private func decode<T: Decodable>(_ body: [UInt8]) throws -> T {
    do {
      return try JSONDecoder().decode(T.self, from: Data(body))
    } catch {
      throw FailureAnswer(code: 2, "request body: \(error)")
    }
  }

  private func encode<T: Encodable>(_ value: T) -> [UInt8] { JSON.encode(value) }
}

/// JSON with sorted keys.
package enum JSON {
  package static func encode(_ value: some Encodable, pretty: Bool = false) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      pretty
      ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
      : [.sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(value))
    } catch {
      preconditionFailure("answer that does not encode: \(error)")
    }
  }
  package static func decode<T: Decodable>(_ type: T.Type, _ bytes: [UInt8]) throws -> T {
    try JSONDecoder().decode(type, from: Data(bytes))
  }
}
