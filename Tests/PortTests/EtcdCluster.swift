import Glibc
import HoldfastCore
import HoldfastLinux
import TestKit

/// Three members of etcd on loopback, each a process, with mutual TLS.
final class EtcdCluster {
  let scratch = Scratch()
  private var members: [ChildProcess?] = []
  private var ports: [(client: Int, peer: Int)] = []

  init() {
    for _ in 0..<3 { ports.append((Ports.take(), Ports.take())) }
    makeCertificates()
    for index in 0..<3 { members.append(start(index)) }
  }

  private func makeCertificates() {
    Shell.run(
      """
      cd '\(scratch.path)'
      for name in ca other; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
          -subj /CN=$name -keyout $name.key -out $name.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=site \
          -keyout site-$name.key -out site-$name.csr
        openssl x509 -req -in site-$name.csr -CA $name.pem -CAkey $name.key -CAcreateserial -days 2 \
          -extfile <(echo subjectAltName=IP:127.0.0.1) -out site-$name.pem
      done
      """)
  }

  private func start(_ index: Int) -> ChildProcess? {
    let all = ports.enumerated().map { "m\($0)=http://127.0.0.1:\($1.peer)" }
    let here = ports[index]
    return try? ChildProcess(
      "/usr/bin/etcd",
      [
        "--name", "m\(index)", "--data-dir", scratch("m\(index)"),
        "--listen-client-urls", "https://127.0.0.1:\(here.client)",
        "--advertise-client-urls", "https://127.0.0.1:\(here.client)",
        "--listen-peer-urls", "http://127.0.0.1:\(here.peer)",
        "--initial-advertise-peer-urls", "http://127.0.0.1:\(here.peer)",
        "--initial-cluster", all.joined(separator: ","), "--initial-cluster-state", "new",
        "--client-cert-auth", "--trusted-ca-file", scratch("ca.pem"),
        "--cert-file", scratch("site-ca.pem"), "--key-file", scratch("site-ca.key"),
        "--log-level", "error", "--unsafe-no-fsync",
      ].filter { $0 != "--unsafe-no-fsync" }, environment: ["ETCD_UNSUPPORTED_ARCH": "arm64"],
      output: .file(scratch("m\(index).log")))
  }

  /// - Parameters:
  ///   - authority: whose certificates are shown and trusted: `ca` is right.
  func settings(authority: String = "ca", trusted: String = "ca") -> EtcdSettings {
    EtcdSettings(
      endpoints: ports.map { HostPort(host: "127.0.0.1", port: $0.client) },
      tls: .init(
        authority: scratch("\(trusted).pem"), certificate: scratch("site-\(authority).pem"),
        key: scratch("site-\(authority).key")))
  }

  func store(_ settings: EtcdSettings? = nil) -> EtcdStore {
    EtcdStore(
      settings ?? self.settings(), clock: SystemClock(), timeout: .seconds(2),
      reader: ThreadHelper(label: "etcd files"))
  }

  /// Answers once a majority has come together.
  func isReady() async -> Bool {
    let store = store()
    for _ in 0..<100 {
      if (try? await store.values(below: "holdfast/")) != nil { return true }
      try? await Task.sleep(for: .milliseconds(100))
    }
    return false
  }

  func kill(_ index: Int) {
    members[index]?.send(SIGKILL)
    members[index]?.wait()
    members[index] = nil
  }

  func signal(_ number: Int32, of index: Int) { members[index]?.send(number) }
  func signal(_ number: Int32) { for member in members { member?.send(number) } }

  deinit { for index in members.indices { kill(index) } }
}
