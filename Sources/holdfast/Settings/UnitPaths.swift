import FoundationEssentials
import Glibc
import HoldfastCore
import HoldfastLinux

/// A drop-in for the agent's unit, so that of all files only those of this site's pairs can be
/// written (systemd.exec(5), ProtectSystem=strict and ReadWritePaths=).
enum UnitPaths {
  private static let units = ["/etc", "/usr/local/lib", "/usr/lib", "/lib"].map {
    "\($0)/systemd/system/holdfast-agent.service"
  }
  private static let folder = "/etc/systemd/system/holdfast-agent.service.d"
  private static let file = folder + "/paths.conf"

  static func text(_ configuration: Configuration) -> String {
    let trees = configuration.pairs.flatMap { $0.paths(on: configuration.site) }
    let paths = [configuration.state, configuration.control] + trees.map(present)
    let lines = Set(paths).sorted().map { "ReadWritePaths=-\(quoted($0))\n" }
    return """
      # Written by holdfast init and holdfast check from the configuration.
      [Service]
      ProtectSystem=strict

      """ + (freezes(configuration) ? "ProtectControlGroups=no\n" : "") + lines.joined()
  }

  /// Whether units are stopped for moments, by writing to their control groups.
  private static func freezes(_ configuration: Configuration) -> Bool {
    configuration.pairs.contains(where: \.freezes)
  }

  /// Brings the drop-in up to date, as root on a host that has the unit.
  /// - Returns: what to type for it to take effect; `nil` where nothing changed.
  static func update(_ configuration: Configuration) throws(CommandFailure) -> String? {
    let files = FileManager.default
    guard geteuid() == 0, !configuration.pairs.isEmpty,
      units.contains(where: { files.fileExists(atPath: $0) })
    else { return nil }
    let data = Data(text(configuration).utf8)
    guard files.contents(atPath: file) != data else { return nil }
    do {
      try StateFiles.makeDirectory(folder, mode: 0o755)
      try data.write(to: URL(filePath: file), options: .atomic)
    } catch {
      throw CommandFailure(.failed, "cannot write \(file): \(error)")
    }
    guard unsafe chmod(file, 0o644) == 0 else {
      throw CommandFailure(.failed, "cannot set the mode of \(file): \(errnoText(errno))")
    }
    return """
      wrote \(file): the unit may write only where this configuration says; type: \
      systemctl daemon-reload, and: systemctl try-restart holdfast-agent
      """
  }

  /// Whether there is a drop-in that was written for another configuration.
  static func isStale(_ configuration: Configuration) -> Bool {
    guard let data = FileManager.default.contents(atPath: file) else { return false }
    return data != Data(text(configuration).utf8)
  }

  /// A replica that the agent is still to make needs the directory that it will be in. Where that
  /// is not there either nothing above it is opened, and a person makes it first.
  private static func present(_ path: String) -> String {
    let files = FileManager.default
    guard !files.fileExists(atPath: path), let slash = path.lastIndex(of: "/"),
      slash != path.startIndex
    else { return path }
    let parent = String(path[..<slash])
    return files.fileExists(atPath: parent) ? parent : path
  }

  /// As systemd.syntax(7) reads it back.
  private static func quoted(_ path: String) -> String {
    var out = ""
    for character in path {
      switch character {
      case "\\": out += "\\\\"
      case "\"": out += "\\\""
      case "%": out += "%%"
      default: out.append(character)
      }
    }
    return path.contains(" ") || path.contains("\"") ? "\"\(out)\"" : out
  }
}
