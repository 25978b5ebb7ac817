import HoldfastCore

/// A point as the index keeps it.
extension Point {
  var stored: [UInt8] {
    var out = Writer()
    out.fixed(number.rawValue)
    out.digest(seal.digest)
    out.digest(parent.digest)
    out.fixed(time.nanos)
    out.verdict(verdict)
    out.fixed(reign.epoch.rawValue)
    out.raw(reign.id.bytes)
    out.digest(tree.sum)
    out.fixed(totals.files)
    out.fixed(totals.bytes)
    out.fixed(changes)
    return out.bytes
  }

  init(stored reader: inout Reader) throws(CodingError) {
    let number = PointNumber(rawValue: try reader.fixed())
    let seal = Seal(try reader.digest())
    let parent = Seal(try reader.digest())
    let time = WallTime(nanos: try reader.fixed())
    let verdict = try reader.verdict()
    let reign = Reign(epoch: Epoch(rawValue: try reader.fixed()), id: try reader.random())
    self.init(
      number: number, seal: seal, parent: parent, time: time, verdict: verdict, reign: reign,
      tree: TreeDigest(sum: try reader.digest()),
      totals: Totals(files: try reader.fixed(), bytes: try reader.fixed()),
      changes: try reader.fixed())
  }
}
