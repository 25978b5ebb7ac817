import CCrypto
import Glibc
import HoldfastCore

/// A site's private key and the certificate that carries its public half. The certificate signs
/// nothing and its dates mean nothing: peers know each other by the key alone.
package struct SiteKey: Sendable {
  /// Both as PEM.
  package let privateKey: [UInt8]
  package let certificate: [UInt8]

  package enum Failure: Error { case libcrypto(String) }

  package init(privateKey: [UInt8], certificate: [UInt8]) {
    self.privateKey = privateKey
    self.certificate = certificate
  }

  /// Makes an ECDSA key on P-256 and a certificate for it.
  /// - Parameter name: of the site, for people who look at the certificate.
  package static func make(name: String) throws(Failure) -> SiteKey {
    guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else {
      throw .libcrypto("no EC keys")
    }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var made: OpaquePointer?
    guard unsafe EVP_PKEY_keygen_init(context) == 1,
      unsafe EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1,
      unsafe EVP_PKEY_keygen(context, &made) == 1, let key = unsafe made
    else { throw .libcrypto("key generation failed") }
    defer { unsafe EVP_PKEY_free(key) }
    guard let certificate = unsafe X509_new() else { throw .libcrypto("out of memory") }
    defer { unsafe X509_free(certificate) }
    unsafe X509_set_version(certificate, 2)
    unsafe ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1)
    unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), 0)
    unsafe X509_time_adj_ex(X509_getm_notAfter(certificate), 36500, 0, nil)
    unsafe X509_set_pubkey(certificate, key)
    let subject = unsafe X509_get_subject_name(certificate)
    unsafe X509_NAME_add_entry_by_txt(
      subject, "CN", MBSTRING_UTF8, Array(name.utf8), Int32(name.utf8.count), -1, 0)
    unsafe X509_set_issuer_name(certificate, subject)
    guard unsafe X509_sign(certificate, key, EVP_sha256()) > 0 else {
      throw .libcrypto("signing failed")
    }
    return unsafe SiteKey(
      privateKey: try pem { unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) },
      certificate: unsafe try pem { unsafe PEM_write_bio_X509($0, certificate) })
  }

  private static func pem(_ write: (OpaquePointer) -> Int32) throws(Failure) -> [UInt8] {
    guard let bio = unsafe BIO_new(BIO_s_mem()) else { throw .libcrypto("out of memory") }
    defer { unsafe BIO_free_all(bio) }
    guard unsafe write(bio) == 1 else { throw .libcrypto("writing PEM failed") }
    var out = [UInt8](repeating: 0, count: 8192)
    let count = unsafe BIO_read(bio, &out, Int32(out.count))
    guard count > 0 else { throw .libcrypto("reading PEM failed") }
    return Array(out[..<Int(count)])
  }
}

/// SHA-256 of a public key's DER.
func fingerprint(ofPublicKey der: [UInt8]) -> Fingerprint {
  var out = [UInt8](repeating: 0, count: 32)
  unsafe _ = SHA256(der, der.count, &out)
  guard let digest = Digest32(out) else { preconditionFailure("SHA-256 gave \(out.count) bytes") }
  return Fingerprint(digest)
}
