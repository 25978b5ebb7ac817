import HoldfastCore

/// Reads the steps of a pair's plan.
struct PlanReader {
  private let reader: ConfigurationReader
  private let keys: Keys
  private var place: String { "\(keys.place).plan" }

  init(_ reader: ConfigurationReader, _ keys: Keys) {
    self.reader = reader
    self.keys = keys
  }

  func steps() throws -> [PlanStep] {
    try keys.list("plan").map { node in
      let step = try Keys(reader, node, place, KnownKeys.step)
      let kinds = ["address", "unit", "exec", "check"].filter(step.has)
      guard kinds.count == 1 else {
        throw reader.error(node, "\(place): a step is one of address, unit, exec, check")
      }
      var within = try step.duration("within", min: .milliseconds(100))
      var onFailure = try onFailure(step)
      let kind: PlanStep.Kind
      switch kinds[0] {
      case "address": kind = try address(step)
      case "unit": kind = .unit(try unit(step))
      case "exec": kind = .exec(try step.command("exec"))
      default:
        guard let check = try step.map("check", KnownKeys.check) else {
          throw reader.error(node, "\(place).check: write tcp, http or exec")
        }
        within = try check.duration("within", min: .milliseconds(100)) ?? within
        onFailure = try self.onFailure(check) ?? onFailure
        kind = .check(try self.check(check))
      }
      return PlanStep(
        kind: kind, within: within ?? Limits.stepWithin, onFailure: onFailure ?? .stop)
    }
  }

  /// Of a step, or of what is in it.
  private func onFailure(_ keys: Keys) throws -> PlanStep.OnFailure? {
    try keys.word("on-failure", PlanStep.OnFailure.allCases.map(\.rawValue))
      .flatMap(PlanStep.OnFailure.init)
  }

  /// As `ip address add` takes it: `192.0.2.10/24 dev eth0`.
  private func address(_ step: Keys) throws -> PlanStep.Kind {
    let words = (try step.text("address") ?? "").split(separator: " ").map(String.init)
    guard words.count == 3, words[1] == "dev", words[0].split(separator: "/").count == 2,
      words[2].utf8.count < 16
    else {
      throw reader.error(step.node, "\(place).address: write 192.0.2.10/24 dev eth0")
    }
    return .address(words[0], device: words[2])
  }

  private func unit(_ step: Keys) throws -> String {
    let text = try step.text("unit") ?? ""
    // systemd.unit(5), "DESCRIPTION": what a name may consist of.
    let isName = text.utf8.allSatisfy { byte in
      (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
        || ":-_.\\@".utf8.contains(byte)
    }
    // What else there is has no processes of its own that could be stopped.
    let isService = text.hasSuffix(".service") || text.hasSuffix(".scope")
    guard isService, isName, !text.hasPrefix("-"), text.utf8.count < 256 else {
      throw reader.error(step.node, "\(place).unit: write a unit such as nginx.service")
    }
    return text
  }

  private func check(_ check: Keys) throws -> PlanStep.Check {
    let kinds = ["tcp", "http", "exec"].filter(check.has)
    guard kinds.count == 1 else {
      throw reader.error(check.node, "\(place).check: write one of tcp, http, exec")
    }
    switch kinds[0] {
    case "tcp":
      guard let place = try check.address("tcp") else { preconditionFailure("tcp is there") }
      return .tcp(place)
    case "http":
      let url = try check.text("http") ?? ""
      guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
        throw reader.error(check.node, "\(place).check.http: write http://host/path")
      }
      return .http(url)
    default: return .exec(try check.command("exec"))
    }
  }
}
