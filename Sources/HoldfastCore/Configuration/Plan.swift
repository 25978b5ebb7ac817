/// One step of starting a pair's service: docs/failover.md.
package struct PlanStep: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    /// With its prefix length, such as 192.0.2.10/24.
    case address(String, device: String)
    case unit(String)
    /// Run by `/bin/sh -c`.
    case exec(String)
    case check(Check)
  }

  package enum Check: Hashable, Sendable {
    /// Something listens.
    case tcp(HostPort)
    /// A GET is answered by a status below 400.
    case http(String)
    /// Ends with 0.
    case exec(String)
  }

  package enum OnFailure: String, Hashable, Sendable, CaseIterable {
    case stop
    case `continue`
  }

  package var kind: Kind
  package var within: Duration
  package var onFailure: OnFailure
  package init(kind: Kind, within: Duration, onFailure: OnFailure) {
    self.kind = kind
    self.within = within
    self.onFailure = onFailure
  }
}

extension PlanStep.Check {
  /// The port that it wants something to listen on, on this host itself.
  /// - Parameter plan: whose addresses are this host's where it serves.
  package func localPort(in plan: [PlanStep]) -> Int? {
    let own = plan.compactMap { step in
      if case .address(let text, _) = step.kind { text.prefix { $0 != "/" } } else { nil }
    }
    func isLocal(_ host: String) -> Bool {
      host == "localhost" || host == "::1" || host.hasPrefix("127.") || own.contains(host[...])
    }
    switch self {
    case .tcp(let place): return isLocal(place.host) ? place.port : nil
    case .http(let url):
      guard url.hasPrefix("http://") else { return nil }
      let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
      let place = HostPort(String(authority)) ?? HostPort(host: String(authority), port: 80)
      return isLocal(place.host) ? place.port : nil
    case .exec: return nil
    }
  }
}

extension PlanStep: CustomStringConvertible {
  package var description: String {
    switch kind {
    case .address(let address, let device): "address \(address) dev \(device)"
    case .unit(let unit): "unit \(unit)"
    case .exec(let command): "exec \(command)"
    case .check(.tcp(let place)): "check tcp \(place)"
    case .check(.http(let url)): "check http \(url)"
    case .check(.exec(let command)): "check exec \(command)"
    }
  }
}
