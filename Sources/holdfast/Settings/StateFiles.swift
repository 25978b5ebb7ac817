import Glibc
import HoldfastCore
import HoldfastLinux

/// The files of the state directory that are not a pair's.
enum StateFiles {
  private static let keyName = "site.key"
  private static let certificateName = "site.crt"
  private static let siteName = "site.name"

  static func makeDirectory(_ path: String, mode: mode_t) throws {
    var prefix = ""
    for part in path.split(separator: "/") {
      prefix += "/" + part
      let isLast = prefix == path
      guard unsafe mkdir(prefix, isLast ? mode : 0o755) == 0 || errno == EEXIST else {
        throw CommandFailure(.failed, "cannot make \(prefix): \(errnoText(errno))")
      }
    }
  }

  static func lock(_ state: String) throws -> StateLock {
    try makeDirectory(state, mode: 0o700)
    do {
      return try StateLock(path: "\(state)/lock")
    } catch .taken(let process) {
      throw CommandFailure(
        .refused,
        """
        another process of Holdfast's (\(process)) uses \(state): stop it, or give this one its \
        own `state`
        """)
    } catch .failed(let error) {
      throw CommandFailure(.failed, "cannot lock \(state): \(errnoText(error))")
    }
  }

  static func key(_ configuration: Configuration) throws -> SiteKey {
    let disk = try LinuxDisk(configuration.state)
    guard let key = try disk.contents(of: keyName),
      let certificate = try disk.contents(of: certificateName)
    else {
      throw CommandFailure(
        .usage,
        "no site key in \(configuration.state): type holdfast init --site \(configuration.site)")
    }
    let owner = try disk.contents(of: siteName) ?? []
    let name = String(decoding: owner, as: UTF8.self)
    guard name == configuration.site else {
      throw CommandFailure(
        .refused,
        """
        \(configuration.state) holds the key of site \(name), the configuration says \
        \(configuration.site): correct `site` or `state`
        """)
    }
    return SiteKey(privateKey: key, certificate: certificate)
  }

  /// Makes a key where there is none.
  /// - Returns: whether one was made.
  static func makeKey(site: String, state: String) throws -> Bool {
    try makeDirectory(state, mode: 0o700)
    let disk = try LinuxDisk(state)
    if try disk.contents(of: keyName) != nil {
      let name = String(decoding: try disk.contents(of: siteName) ?? [], as: UTF8.self)
      guard name == site else {
        throw CommandFailure(
          .refused,
          "\(state) holds the key of site \(name): use that name, or another --state")
      }
      return false
    }
    let key = try SiteKey.make(name: site)
    try disk.replace(siteName, with: Array(site.utf8))
    try disk.replace(certificateName, with: key.certificate)
    try disk.replace(keyName, with: key.privateKey)
    return true
  }
}
