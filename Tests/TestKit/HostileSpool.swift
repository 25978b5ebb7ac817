import HoldfastBytes
import HoldfastCore
import HoldfastLinux
import HoldfastStore

extension TestPair {
  /// Puts a record of changes into the spool of the primary, whose agent does not run, as one who
  /// holds its keys could: it names a path that no honest agent can write down.
  /// - Parameter path: as many bytes as Linux takes for a path, whatever they are.
  package func plant(_ path: String) throws {
    let folder = state("a") + "/pairs/p"
    let kept = try LinuxDisk(folder)
    guard let secretBytes = try kept.contents(of: "secret"),
      let secret = PairSecret(Array(secretBytes[16...])),
      let honest = TreePath(String(repeating: "x", count: path.utf8.count))
    else { preconditionFailure("secret of \(folder)") }
    let spool = try Journal(disk: try LinuxDisk(folder + "/spool"), secret: secret) { _, _ in }
    guard var header = spool.lastNumber.flatMap({ spool.segments[$0]?.header }) else {
      preconditionFailure("no segment in \(folder)")
    }
    let dice = SystemDice()
    header.id = RandomID(dice)
    header.salt = Digest32(words: SIMD4(dice.word(), dice.word(), dice.word(), dice.word()))
    var changes = Writer()
    ChangesHead(attempt: RandomID(dice), number: PointNumber(rawValue: 1 << 20), isWhole: false)
      .encode(into: &changes)
    let start = changes.bytes.count
    Change(
      place: Place(root: RootNumber(rawValue: 0), path: honest),
      entry: Entry(
        kind: .symlink, mode: 0o777, owner: 0, group: 0, modified: WallTime(nanos: 0),
        target: Array("/etc/passwd".utf8))
    ).encode(into: &changes)
    var bytes = changes.bytes
    guard let at = bytes[start...].firstIndex(of: UInt8(ascii: "x")) else {
      preconditionFailure("no path in a change")
    }
    bytes.replaceSubrange(at..<(at + path.utf8.count), with: path.utf8)
    var record: [UInt8] = []
    SegmentEncoder(header: header, secret: secret).append(
      .changes, name: .hole, bytes, 0..<bytes.count, compressor: Compressor(codec: .none),
      codec: .none, into: &record)
    let segment = try spool.begin(header)
    try spool.append(segment, record, 0..<record.count)
    try spool.flush()
  }
}
