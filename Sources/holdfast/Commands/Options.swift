import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastAgent
import HoldfastCore
import HoldfastLinux

struct CommonOptions: ParsableArguments {
  @Option(
    name: .long,
    help: "The configuration file (default: HOLDFAST_CONFIG or /etc/holdfast/holdfast.yaml).")
  var config: String?

  var path: String {
    config ?? ProcessInfo.processInfo.environment["HOLDFAST_CONFIG"]
      ?? "/etc/holdfast/holdfast.yaml"
  }

  func load() throws -> Configuration {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CommandFailure(
        .usage, "cannot read \(path): type holdfast init --site NAME, or give --config FILE")
    }
    do {
      return try ConfigurationReader.read(String(decoding: data, as: UTF8.self), file: path)
    } catch let error as ConfigurationError {
      throw CommandFailure(.usage, "\(error)")
    }
  }
}

/// Talks with this site's agent.
struct AgentClient {
  let configuration: Configuration

  init(_ options: CommonOptions) throws { configuration = try options.load() }
  init(configuration: Configuration) { self.configuration = configuration }

  func get<T: Decodable>(
    _ type: T.Type, _ path: String, within: Duration? = nil
  ) async throws -> T {
    try await ask("look.sock", "GET", path, [], within: within)
  }

  func post<T: Decodable>(
    _ type: T.Type, _ path: String, within: Duration? = nil
  ) async throws -> T {
    try await ask("move.sock", "POST", path, [], within: within)
  }

  func post<T: Decodable>(
    _ type: T.Type, _ path: String, _ body: some Encodable, within: Duration? = nil
  ) async throws -> T {
    try await ask("move.sock", "POST", path, JSON.encode(body), within: within)
  }

  /// Hands an order on to this site's controller.
  func orderController(_ path: String, _ body: [UInt8]) async throws -> [UInt8] {
    try await ask(
      ControllerCommand.socket, "POST", path, body, within: nil, unit: "holdfast-controller")
  }

  /// - Parameter within: `nil` waits for as long as the work takes.
  private func ask<T: Decodable>(
    _ socket: String, _ method: String, _ path: String, _ body: [UInt8], within: Duration? = nil
  ) async throws -> T {
    try JSON.decode(
      T.self,
      try await ask(socket, method, path, body, within: within, unit: "holdfast-agent"))
  }

  private func ask(
    _ socket: String, _ method: String, _ path: String, _ body: [UInt8], within: Duration?,
    unit: String
  ) async throws -> [UInt8] {
    let file = "\(configuration.control)/\(socket)"
    let response: ControlResponse
    do {
      response = try await ControlClient.ask(
        socket: file, method: method, path: path, body: body, within: within)
    } catch .cutShort {
      throw CommandFailure(
        .unreachable,
        """
        \(unit) ended before it answered, and what it was told to do may be done or not: see \
        holdfast status and systemctl status \(unit)
        """)
    } catch {
      throw CommandFailure(
        .unreachable,
        """
        nobody answers on \(file): is it running (systemctl status \(unit)), and may you use the \
        socket?
        """)
    }
    if response.status != 200 {
      if let failure = try? JSON.decode(FailureAnswer.self, response.body) {
        throw CommandFailure(
          Outcome(rawValue: failure.code) ?? .failed, failure.message,
          isForLoss: failure.isForLoss == true)
      }
      throw CommandFailure(.failed, "\(unit) answered \(response.status)")
    }
    return response.body
  }
}
