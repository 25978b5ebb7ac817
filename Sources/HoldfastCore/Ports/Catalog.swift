/// What the catalog knows of one place.
package struct CatalogRow: Hashable, Sendable {
  package var stamp: Stamp
  package var entry: Entry
  /// Whether equal stamps prove equal content: the file was neither racily clean nor young when
  /// it was read.
  package var isSettled: Bool
  /// Made here without powers that the entry lends: see ``Entry/withPowers(of:)``.
  package var isHarmless: Bool
  package init(stamp: Stamp, entry: Entry, isSettled: Bool, isHarmless: Bool = false) {
    self.stamp = stamp
    self.entry = entry
    self.isSettled = isSettled
    self.isHarmless = isHarmless
  }
}

/// Which point the catalog describes.
package struct CatalogHead: Hashable, Sendable {
  package var number: PointNumber
  package var seal: Seal
  package var tree: TreeDigest
  package var totals: Totals
  package var grade: Grade
  package init(
    number: PointNumber, seal: Seal, tree: TreeDigest, totals: Totals, grade: Grade
  ) {
    self.number = number
    self.seal = seal
    self.tree = tree
    self.totals = totals
    self.grade = grade
  }
  package static let none = CatalogHead(
    number: .none, seal: .none, tree: TreeDigest(), totals: Totals(), grade: .application)
}

/// The protected tree as it was last captured, with the stamps that tell what changed since; on a
/// standby the replica, as applied. It can be deleted: a scan makes it anew. Not shared between
/// threads. Changes since ``commit()`` are lost together, by a crash or by ``rollback()``.
package protocol Catalog: AnyObject {
  func head() throws(IndexError) -> CatalogHead
  func setHead(_ head: CatalogHead) throws(IndexError)
  func row(_ place: Place) throws(IndexError) -> CatalogRow?
  func put(_ place: Place, _ row: CatalogRow) throws(IndexError)
  func remove(_ place: Place) throws(IndexError)
  /// Names of the rows whose parent is this directory.
  func children(_ place: Place) throws(IndexError) -> [[UInt8]]
  /// All rows below a place, itself left out, deepest last.
  func below(_ place: Place) throws(IndexError) -> [Place]
  /// Other names of the same object.
  func places(root: RootNumber, device: UInt64, inode: UInt64) throws(IndexError) -> [Place]
  func unsettled() throws(IndexError) -> [Place]
  func forEach(_ body: (Place, CatalogRow) throws -> Void) throws
  /// Whether the peer holds, or was sent, a chunk whose name begins so.
  func knows(_ prefix: UInt64) throws(IndexError) -> Bool
  /// Kept at once, whatever becomes of the rest.
  func learn(_ prefixes: [UInt64]) throws(IndexError)
  func forgetKnown() throws(IndexError)
  func erase() throws(IndexError)
  func commit() throws(IndexError)
  func rollback() throws(IndexError)
}
