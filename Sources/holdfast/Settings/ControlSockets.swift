import HoldfastAgent
import HoldfastCore
import HoldfastLinux

/// The sockets that people's commands use.
enum ControlSockets {
  typealias Answer = @Sendable (ControlRequest, _ mayMove: Bool) async throws -> [UInt8]

  /// The two sockets of an agent, or of a witness.
  static func open(_ configuration: Configuration, _ answer: @escaping Answer) async throws
    -> [ControlServer]
  {
    [
      try await open("\(configuration.control)/look.sock", "holdfast", mayMove: false, answer),
      try await open("\(configuration.control)/move.sock", "holdfast-admin", mayMove: true, answer),
    ]
  }

  static func open(
    _ path: String, _ group: String, mayMove: Bool, _ answer: @escaping Answer
  ) async throws -> ControlServer {
    try await ControlServer(path: path, groupName: group) { request in
      do {
        return ControlResponse(status: 200, body: try await answer(request, mayMove))
      } catch let failure as FailureAnswer {
        let status = failure.code == 2 ? 400 : failure.code == 4 ? 503 : 409
        return ControlResponse(status: status, body: JSON.encode(failure))
      } catch {
        return ControlResponse(
          status: 500, body: JSON.encode(FailureAnswer(code: 1, "\(error)")))
      }
    }
  }
}
