import HoldfastCore
import HoldfastLinux
package import HoldfastStore

extension TestPair {
  /// Flips a bit of the newest record of a kind in the standby's journal; `nil`: of the head of the
  /// first segment in which one lies.
  /// - Returns: whether there was one.
  package func flip(_ kind: RecordKind?) throws -> Bool {
    let folder = state("b") + "/pairs/p"
    guard let kept = try LinuxDisk(folder).contents(of: "secret"),
      let secret = PairSecret(Array(kept[16...]))
    else { preconditionFailure("secret of \(folder)") }
    let disk = try LinuxDisk(folder + "/journal")
    let journal = Journal(reading: disk, secret: secret)
    var place: RecordPosition?
    try journal.forEach(
      [kind ?? .changes], from: .start,
      upTo: try end(disk)
    ) { position, _, _ in
      if kind != nil || place == nil { place = position }
    }
    guard let place else { return false }
    // Behind its length, its checksum and what its head says.
    let offset = kind == nil ? 40 : Int(place.offset) + 60
    let name = Shell.run(
      "ls '\(folder)/journal' | grep -i '^0*\(String(place.segment, radix: 16))[.-]'")
    let file = "\(folder)/journal/\(name.output.split(separator: "\n").first ?? "")"
    return Shell.run(
      """
      old=$(dd if='\(file)' bs=1 skip=\(offset) count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
      printf "\\\\x$(printf %02x $((old ^ 1)))" | dd of='\(file)' bs=1 seek=\(offset) conv=notrunc
      """
    ).code == 0
  }

  private func end(_ disk: LinuxDisk) throws -> RecordPosition {
    // Names begin with the number, in as many digits each.
    guard let name = try disk.list().filter({ $0.hasSuffix(".seg") }).max(),
      let number = UInt64(name.prefix(16), radix: 16)
    else { return .start }
    return RecordPosition(segment: number, offset: try disk.open(name, writable: false).size())
  }
}
