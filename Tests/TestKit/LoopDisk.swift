/// A filesystem of its own in a file, mounted until it goes.
package final class LoopDisk {
  package let path: String
  private let image: String

  /// - Parameter kind: what `mkfs` makes: ext4, xfs or btrfs.
  package init(_ kind: String, in scratch: Scratch, named name: String = "disk") {
    path = scratch(name)
    image = scratch(name + ".image")
    let made = Shell.run(
      """
      set -e; truncate -s 8G '\(image)'; mkdir '\(path)'
      mkfs.\(kind) -q '\(image)' 2>&1; mount -o loop '\(image)' '\(path)'
      """)
    precondition(made.code == 0, "mkfs.\(kind): \(made.output)")
  }

  deinit { Shell.run("umount -l '\(path)'; rm -f '\(image)'") }
}
