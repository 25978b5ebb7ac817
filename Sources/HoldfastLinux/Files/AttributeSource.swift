import CLinux
import Glibc
import HoldfastCore

/// Where extended attributes are read from (xattr(7)).
enum AttributeSource {
  case descriptor(Int32)
  /// A path whose last name is not followed.
  case name([UInt8])

  private static let namesBytes = 1024
  private static let valueBytes = 256
  /// XATTR_LIST_MAX and XATTR_SIZE_MAX of limits.h.
  private static let bytesMax = 1 << 16

  /// Sorted by name; empty where the filesystem has none.
  /// - Parameter path: for errors.
  func attributes(of path: TreePath) throws(TreeError) -> [Attribute] {
    let (names, error) = unsafe read(atFirst: Self.namesBytes) { unsafe list($0) }
    if error == ENOTSUP { return [] }
    guard error == 0 else { throw LinuxTree.error(path, "listxattr", error) }
    if names.isEmpty { return [] }
    var found: [Attribute] = []
    for name in names.split(separator: 0).map(Array.init) {
      let (value, error) = unsafe read(atFirst: Self.valueBytes) { unsafe get(name, $0) }
      // It went away meanwhile.
      if error == ENODATA { continue }
      guard error == 0 else { throw LinuxTree.error(path, "getxattr", error) }
      found.append(Attribute(name: name, value: value))
    }
    return found.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  private func read(
    atFirst count: Int, _ call: (UnsafeMutableRawBufferPointer) -> Int
  ) -> (bytes: [UInt8], errno: Int32) {
    let (bytes, result) = unsafe withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) {
      buffer -> ([UInt8], Int) in
      let result = retried { unsafe call(buffer) }
      return unsafe (result > 0 ? Array(buffer[..<result]) : [], result)
    }
    if result == -Int(ERANGE), count < Self.bytesMax {
      return unsafe read(atFirst: Self.bytesMax, call)
    }
    return (bytes, result < 0 ? Int32(-result) : 0)
  }

  private func list(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
    let start = unsafe buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
    switch self {
    case .descriptor(let number): return unsafe flistxattr(number, start, buffer.count)
    case .name(let name):
      return unsafe withCString(name) { unsafe llistxattr($0, start, buffer.count) }
    }
  }

  private func get(_ attribute: [UInt8], _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    unsafe withCString(attribute) { attribute in
      switch self {
      case .descriptor(let number):
        unsafe fgetxattr(number, attribute, buffer.baseAddress, buffer.count)
      case .name(let name):
        unsafe withCString(name) {
          unsafe lgetxattr($0, attribute, buffer.baseAddress, buffer.count)
        }
      }
    }
  }
}
