package import HoldfastCore
import NIOSSL
import Synchronization

/// How this site shows itself to the members of etcd, and whom it takes for one, as its files say.
/// They are read now and then, on a thread of their own: a certificate that was renewed is in use
/// before the old one has run out, and a disk that hangs holds no renewal of a lease up.
package final class EtcdIdentity: Sendable {
  private struct Known {
    var found: Result<NIOSSLContext, SharedStoreError>
    var readAt: Instant
    var isReading = false
  }

  private let files: EtcdSettings.TLS
  private let clock: any Timekeeper
  private let reader: any Helper
  private let known: Mutex<Known>

  /// Reads the files.
  /// - Parameter reader: a thread that may block.
  package init(_ files: EtcdSettings.TLS, clock: any Timekeeper, reader: any Helper) {
    self.files = files
    self.clock = clock
    self.reader = reader
    known = Mutex(Known(found: Self.read(files), readAt: clock.now()))
  }

  /// - Throws: why the files cannot be used.
  package static func examine(_ files: EtcdSettings.TLS) throws(SharedStoreError) {
    _ = try read(files).get()
  }

  /// - Throws: why the files could not be used when they were read last.
  func context() throws(SharedStoreError) -> NIOSSLContext {
    let now = clock.now()
    let (found, isDue) = known.withLock { known in
      let isGood = if case .success = known.found { true } else { false }
      let pause = isGood ? Limits.identityReadEvery : Limits.identityTriedEvery
      let isDue = !known.isReading && now - known.readAt >= pause
      if isDue { known.isReading = true }
      return (known.found, isDue)
    }
    if isDue { readAgain() }
    return try found.get()
  }

  private func readAgain() {
    reader.run { [self] in
      let read = Self.read(files)
      known.withLock { known in
        // One that still serves is better than files that are being replaced.
        if case .failure = read, case .success = known.found {} else { known.found = read }
        known.readAt = clock.now()
        known.isReading = false
      }
    }
  }

  private static func read(_ files: EtcdSettings.TLS) -> Result<NIOSSLContext, SharedStoreError> {
    do {
      var configuration = TLSConfiguration.makeClientConfiguration()
      configuration.trustRoots = .file(files.authority)
      configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(files.certificate).map {
        .certificate($0)
      }
      configuration.privateKey = .privateKey(
        try NIOSSLPrivateKey(file: files.key, format: .pem))
      return .success(try NIOSSLContext(configuration: configuration))
    } catch {
      return .failure(
        .untrusted("\(files.authority), \(files.certificate) or \(files.key): \(error)"))
    }
  }
}
