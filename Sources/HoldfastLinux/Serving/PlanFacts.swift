import CLinux
import Glibc
package import HoldfastCore

/// What a plan would find on this host, as facts that two hosts can compare: `unit X`, `enabled X`,
/// `user X`, `package X`, `interface X`, `port N`, `owner X`, `group X`, `hierarchy cgroup2`, and
/// of each root by its place in the configuration `size N` and `free N`, in bytes. Runs systemctl
/// and the package manager; blocks.
package enum PlanFacts {
  private static let within = Duration.seconds(10)

  /// - Parameter roots: whose owners' names matter: numbers alone travel.
  package static func look(_ pair: PairConfiguration, roots: [String]) -> [String: String] {
    var facts: [String: String] = [:]
    var ports: Set<Int>?
    for step in pair.plan {
      switch step.kind {
      case .unit(let unit): facts.merge(of(unit: unit)) { old, _ in old }
      case .address(_, let device):
        facts["interface \(device)"] = unsafe if_nametoindex(device) == 0 ? "missing" : "there"
      case .check(let check):
        guard !pair.units.isEmpty, let port = check.localPort else { continue }
        // Where the service runs it is the service itself.
        if ports == nil { ports = isActive(pair.units) ? [] : listening() }
        facts["port \(port)"] = ports?.contains(port) == true ? "taken" : "free"
      case .exec: break
      }
    }
    if !pair.units.isEmpty {
      facts["hierarchy cgroup2"] = Cgroups() == nil ? "missing" : "there"
    }
    for (index, root) in roots.enumerated() {
      var space = statvfs()
      if unsafe statvfs(root, &space) == 0 {
        let block = UInt64(space.f_frsize)
        facts["size \(index + 1)"] = "\(UInt64(space.f_blocks) * block)"
        facts["free \(index + 1)"] = "\(UInt64(space.f_bavail) * block)"
      }
      var answer = stat()
      guard unsafe lstat(root, &answer) == 0 else { continue }
      if let entry = unsafe getpwuid(answer.st_uid) {
        facts["owner \(unsafe String(cString: entry.pointee.pw_name))"] = "\(answer.st_uid)"
      }
      if let entry = unsafe getgrgid(answer.st_gid) {
        facts["group \(unsafe String(cString: entry.pointee.gr_name))"] = "\(answer.st_gid)"
      }
    }
    return facts
  }

  /// With the numbers that names have here which only the other host named.
  package static func completed(
    _ here: [String: String], with theirs: [String: String]
  ) -> [String: String] {
    var all = here
    for name in theirs.keys where all[name] == nil {
      let words = name.split(separator: " ").map(String.init)
      guard words.count == 2 else { continue }
      switch words[0] {
      case "owner":
        let entry = unsafe getpwnam(words[1])
        all[name] = unsafe entry.map { "\(unsafe $0.pointee.pw_uid)" } ?? "missing"
      case "group":
        let entry = unsafe getgrnam(words[1])
        all[name] = unsafe entry.map { "\(unsafe $0.pointee.gr_gid)" } ?? "missing"
      default: break
      }
    }
    return all
  }

  private static func isActive(_ units: [String]) -> Bool {
    let names = units.map { "'\($0)'" }.joined(separator: " ")
    return output("systemctl is-active -- \(names)").contains("active")
  }

  /// Ports on which anything listens (proc_net(5): state 0A).
  private static func listening() -> Set<Int> {
    var found: Set<Int> = []
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
      for line in (readText(table) ?? "").split(separator: "\n").dropFirst() {
        let words = line.split(separator: " ")
        guard words.count > 3, words[3] == "0A", let port = words[1].split(separator: ":").last
        else { continue }
        if let number = Int(port, radix: 16) { found.insert(number) }
      }
    }
    return found
  }

  private static func of(unit: String) -> [String: String] {
    let lines = output(
      """
      systemctl show -p LoadState -p User -p Group -p FragmentPath -- '\(unit)'
      # Also where only what wants it is enabled, as Debian's postgresql.service wants its clusters.
      around=$(systemctl list-dependencies --reverse --plain --no-pager -- '\(unit)' 2>/dev/null |
        grep -oE '[A-Za-z0-9:_.@\\-]+\\.(service|scope|target|socket|timer|path)')
      if [ "$(systemctl is-enabled -- '\(unit)' 2>/dev/null)" = enabled ]; then
        echo 'StartedBy=\(unit)'
      elif echo "$around" | grep -qE '^(multi-user|graphical|default)\\.target$'; then
        for name in $around; do
          [ "$(systemctl is-enabled -- "$name" 2>/dev/null)" = enabled ] || continue
          echo "StartedBy=$name"
          break
        done
      fi
      file=$(systemctl show -P FragmentPath -- '\(unit)')
      [ -n "$file" ] || exit 0
      if command -v dpkg-query >/dev/null; then
        package=$(dpkg-query -S "$file" 2>/dev/null | head -n 1 | cut -d: -f1)
        [ -z "$package" ] || dpkg-query -W -f 'Package=${Package} ${Version}\\n' "$package"
      elif command -v rpm >/dev/null; then
        rpm -qf --qf 'Package=%{NAME} %{VERSION}-%{RELEASE}\\n' "$file"
      fi
      """)
    var facts: [String: String] = [:]
    for line in lines {
      guard let equals = line.firstIndex(of: "=") else { continue }
      let value = String(line[line.index(after: equals)...])
      switch line[..<equals] {
      case "LoadState": facts["unit \(unit)"] = value == "loaded" ? "there" : "missing"
      case "StartedBy": facts["enabled \(unit)"] = value
      case "User":
        guard !value.isEmpty, UInt32(value) == nil else { continue }
        let entry = unsafe getpwnam(value)
        facts["user \(value)"] =
          unsafe entry.map { "\(unsafe $0.pointee.pw_uid)" } ?? "missing"
      case "Group":
        guard !value.isEmpty, UInt32(value) == nil else { continue }
        let entry = unsafe getgrnam(value)
        facts["group \(value)"] =
          unsafe entry.map { "\(unsafe $0.pointee.gr_gid)" } ?? "missing"
      case "Package":
        let words = value.split(separator: " ").map(String.init)
        if words.count == 2 { facts["package \(words[0])"] = words[1] }
      default: break
      }
    }
    return facts
  }

  private static func output(_ script: String) -> [String] {
    var template = Array("/tmp/holdfast-facts-XXXXXX".utf8CString)
    let number = unsafe mkstemp(&template)
    guard number >= 0 else { return [] }
    let file = Descriptor(number)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unsafe _ = unlink(path) }
    guard
      let child = try? ChildProcess(
        "/bin/sh", ["-c", script], environment: ["LC_ALL": "C"], output: .file(path),
        ownGroup: true)
    else { return [] }
    if child.wait(within: within) == nil { child.killGroup() }
    defer { withExtendedLifetime(file) {} }
    return (readText(path) ?? "").split(separator: "\n").map(String.init)
  }
}
