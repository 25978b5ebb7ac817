import FoundationEssentials
import HoldfastCore

/// What the control sockets answer: docs/api.md.
package struct Control: Sendable {
  private let site: Site

  package init(site: Site) { self.site = site }

  /// - Parameters:
  ///   - mayMove: whether the request came through `move.sock`.
  /// - Returns: an HTTP status and a JSON body.
  package func answer(
    method: String, path: String, body: [UInt8], mayMove: Bool
  ) async -> (status: Int, body: [UInt8]) {
    do {
      return (200, try await route(method, path, body, mayMove))
    } catch let failure as FailureAnswer {
      return (failure.code == 2 ? 400 : failure.code == 4 ? 503 : 409, encode(failure))
    } catch {
      return (500, encode(FailureAnswer(code: 1, "\(error)")))
    }
  }

  private func route(
    _ method: String, _ path: String, _ body: [UInt8], _ mayMove: Bool
  ) async throws -> [UInt8] {
    let parts = path.split(separator: "/").map(String.init)
    if method == "GET" {
      if parts == ["status"] { return encode(await site.status()) }
      if parts.count == 3, parts[0] == "pairs", parts[2] == "points" {
        return encode(try await site.pair(parts[1]).points())
      }
    }
    guard method == "POST" else {
      throw FailureAnswer(code: 2, "no such request: \(method) \(path)")
    }
    guard mayMove else {
      throw FailureAnswer(code: 3, "look.sock only answers questions: use move.sock")
    }
    if parts == ["invite"] { return try await invite(decode(body)) }
    if parts == ["join"] {
      let request: JoinRequest = try decode(body)
      return encode(
        TextAnswer(message: try await site.join(request.token, replacing: request.replace ?? false))
      )
    }
    if parts.count == 3, parts[0] == "pairs", parts[2] == "approve" {
      return encode(TextAnswer(message: try await site.approve(parts[1])))
    }
    if parts.count == 3, parts[0] == "pairs" {
      return try await move(parts[2], try await site.pair(parts[1]), body)
    }
    throw FailureAnswer(code: 2, "no such request: \(method) \(path)")
  }

  private func move(_ verb: String, _ pair: Pair, _ body: [UInt8]) async throws -> [UInt8] {
    switch verb {
    case "sync": return encode(try await pair.sync())
    case "adopt": return encode(TextAnswer(message: try await pair.adopt()))
    case "resume": return encode(TextAnswer(message: try await pair.resume()))
    case "repair": return encode(TextAnswer(message: try await pair.repair(decode(body))))
    case "failover": return encode(try await pair.failover(decode(body)))
    default: throw FailureAnswer(code: 2, "no such request: \(verb)")
    }
  }

  private func invite(_ request: InviteRequest) async throws -> [UInt8] {
    var address = await site.listening
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
    return encode(TokenAnswer(token: await site.invite(address, replacing: request.replace).text))
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
