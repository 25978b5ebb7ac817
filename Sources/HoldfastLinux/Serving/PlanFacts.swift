import CLinux
import Glibc
package import HoldfastCore

/// What a plan would find on this host, as facts that two hosts can compare: `unit X`, `enabled X`,
/// `user X`, `package X`, `interface X`, `port N`, `owner X`, `group X`, `hierarchy cgroup2`,
/// `watchdog systemd`, and of each root by its place in the configuration `size N` and `free N`, in
/// bytes. Runs systemctl and the package manager; blocks.
package enum PlanFacts {
  private static let within = Duration.seconds(10)
  /// Of each unit's that are looked at.
  private static let processesMax = 64
  /// Of each root: entries that are looked at, and names that are told.
  private static let entriesMax = 4096
  private static let ownersMax = 32

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
        guard !pair.units.isEmpty, let port = check.localPort(in: pair.plan) else { continue }
        // Where the service runs it is the service itself.
        if ports == nil { ports = isActive(pair.units) ? [] : listening() }
        facts["port \(port)"] = ports?.contains(port) == true ? "taken" : "free"
      case .exec: break
      }
    }
    if !pair.units.isEmpty {
      facts["hierarchy cgroup2"] = Cgroups() == nil ? "missing" : "there"
    }
    if pair.failover.hasArbiter, let watchdog { facts["watchdog systemd"] = watchdog }
    for (index, root) in roots.enumerated() {
      var space = statvfs()
      if unsafe statvfs(root, &space) == 0 {
        let block = UInt64(space.f_frsize)
        facts["size \(index + 1)"] = "\(UInt64(space.f_blocks) * block)"
        facts["free \(index + 1)"] = "\(UInt64(space.f_bavail) * block)"
      }
      facts.merge(owners(in: root)) { old, _ in old }
    }
    return facts
  }

  /// Of a root and what lies directly in it.
  private static func owners(in root: String) -> [String: String] {
    var (users, groups): (Set<uid_t>, Set<gid_t>) = ([], [])
    func look(_ path: String) {
      var answer = stat()
      guard unsafe lstat(path, &answer) == 0 else { return }
      users.insert(answer.st_uid)
      groups.insert(answer.st_gid)
    }
    look(root)
    if let folder = unsafe opendir(root) {
      defer { unsafe _ = closedir(folder) }
      var left = entriesMax
      while left > 0, let entry = unsafe readdir(folder) {
        left -= 1
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
          unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 1) {
            unsafe String(cString: $0)
          }
        }
        if name != "..", name != ".holdfast" { look("\(root)/\(name)") }
      }
    }
    var facts: [String: String] = [:]
    for user in users.sorted().prefix(ownersMax) {
      guard let entry = unsafe getpwuid(user) else { continue }
      facts["owner \(unsafe String(cString: entry.pointee.pw_name))"] = "\(user)"
    }
    for group in groups.sorted().prefix(ownersMax) {
      guard let entry = unsafe getgrgid(group) else { continue }
      facts["group \(unsafe String(cString: entry.pointee.gr_name))"] = "\(group)"
    }
    return facts
  }

  /// With the numbers that names have here which only the other host named, and the versions of the
  /// packages that it runs.
  package static func completed(
    _ here: [String: String], with theirs: [String: String]
  ) -> [String: String] {
    var all = here
    let packages = theirs.keys.filter { all[$0] == nil && $0.hasPrefix("package ") }
      .map { String($0.dropFirst("package ".count)) }.filter(isPackage)
    for (name, version) in versions(of: packages) { all["package \(name)"] = version }
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

  /// Nothing else than a name goes into a command.
  private static func isPackage(_ name: String) -> Bool {
    let isPlain = name.unicodeScalars.allSatisfy {
      $0.isASCII
        && ($0.properties.isAlphabetic || ("0"..."9").contains($0)
          || "+.-_".unicodeScalars.contains($0))
    }
    return isPlain && !name.isEmpty && !name.hasPrefix("-")
  }

  private static func versions(of packages: [String]) -> [String: String] {
    guard !packages.isEmpty else { return [:] }
    let names = packages.joined(separator: " ")
    let lines = output(
      """
      if command -v dpkg-query >/dev/null; then
        dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' \(names) 2>/dev/null
      elif command -v rpm >/dev/null; then
        rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE} installed\\n' \(names) | grep ' installed$'
      else exit; fi
      echo .
      """)
    // Without a package manager nothing is known.
    guard lines.last == "." else { return [:] }
    var found = Dictionary(packages.map { ($0, "missing") }) { old, _ in old }
    for line in lines {
      let words = line.split(separator: " ").map(String.init)
      if words.count == 3, words[2] == "installed" { found[words[0]] = words[1] }
    }
    return found
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

  /// Whether the hardware restarts a host whose systemd hangs; `nil` where there is none for it.
  private static var watchdog: String? {
    guard unsafe access("/dev/watchdog0", F_OK) == 0 else { return nil }
    let time = output("systemctl show -P RuntimeWatchdogUSec").first
    return time.map { $0 == "0" || $0 == "infinity" ? "off" : "on" }
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
      # What runs is often of another package than its unit, as PostgreSQL's server is.
      group=$(systemctl show -P ControlGroup -- '\(unit)')
      for process in $(head -n \(processesMax) "/sys/fs/cgroup$group/cgroup.procs" 2>/dev/null); do
        for word in $(tr '\\0' ' ' < /proc/$process/cmdline 2>/dev/null); do
          case $word in /*) [ ! -f "$word" ] || [ ! -x "$word" ] || file="$file $word"; break ;; esac
        done
      done
      files=$(echo $file | tr ' ' '\\n' | sort -u)
      if command -v dpkg-query >/dev/null; then
        packages=$(dpkg-query -S $files 2>/dev/null | cut -d: -f1 | sort -u)
        [ -z "$packages" ] || dpkg-query -W -f 'Package=${Package} ${Version}\\n' $packages
      elif command -v rpm >/dev/null; then
        rpm -qf --qf 'Package=%{NAME} %{VERSION}-%{RELEASE}\\n' $files | sort -u
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
