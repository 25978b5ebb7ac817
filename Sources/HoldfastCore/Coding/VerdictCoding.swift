extension Writer {
  /// Grade (1), provider (1), microseconds frozen (4), counted reason.
  package mutating func verdict(_ verdict: Verdict) {
    fixed(verdict.grade.rawValue)
    fixed(verdict.provider.rawValue)
    fixed(UInt32(verdict.frozen.nanos / 1000))
    counted(Array(verdict.reason.utf8))
  }
}

extension Reader {
  package mutating func verdict() throws(CodingError) -> Verdict {
    guard let grade = Grade(rawValue: try fixed(UInt8.self)) else { throw .invalid("grade") }
    guard let provider = Provider(rawValue: try fixed(UInt8.self)) else {
      throw .invalid("provider")
    }
    let micros = try fixed(UInt32.self)
    let bytes = try counted(max: Limits.reasonBytesMax)
    let verdict = Verdict(
      grade: grade, provider: provider, frozen: .microseconds(Int64(micros)),
      reason: String(decoding: bytes, as: UTF8.self))
    // It is shown on terminals as it is.
    guard Array(verdict.reason.utf8) == bytes else { throw .invalid("reason of a grade") }
    return verdict
  }
}
