import Glibc
import TestKit
import Testing

/// Faults that need a real filesystem of their own.
@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `A real fault` {
  /// A filesystem in a file, mounted for as long as it lives.
  private final class Filesystem {
    let path: String
    private let image: String
    init(_ pair: TestPair, at path: String, megabytes: Int) {
      self.path = path
      image = path + ".img"
      Shell.run(
        """
        truncate -s \(megabytes)M '\(image)' && mkfs.ext4 -q '\(image)' && mkdir -p '\(path)'
        """)
      mount()
    }
    func mount() { Shell.run("mount -o loop '\(image)' '\(path)' && rm -rf '\(path)/lost+found'") }
    func unmount() { Shell.run("umount -l '\(path)'") }
    deinit { unmount() }
  }

  @Test func `an unmounted root deletes nothing, and is taken up when it is back`() throws {
    let pair = TestPair()
    let disk = Filesystem(pair, at: pair.source, megabytes: 64)
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; seq 1 5000 > d/a; echo 1 > b")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy"))'")
    disk.unmount()
    let answer = pair.run("sync p", on: "a")
    #expect(answer.code == 3)
    #expect(answer.output.contains(pair.source) && answer.output.contains("mounted?"))
    #expect(Judge.differences(pair.scratch("copy"), pair.replica) == "")
    disk.mount()
    Shell.run("echo 2 > '\(pair.source)/b'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `a first point that was cut short is made where there is no room for a second`() {
    let pair = TestPair()
    let disk = Filesystem(pair, at: pair.replica, megabytes: 700)
    defer { disk.unmount() }
    Shell.run("cd '\(pair.source)'; for n in $(seq 200); do head -c 1M /dev/urandom > $n; done")
    pair.start("a")
    pair.start("b", probe: "applying:180")
    #expect(pair.pair(), "\(pair.story)")
    #expect(pair.wait { !pair.isAlive("b") }, "\(pair.story)")
    _ = pair.end("b")
    let left = Shell.run("ls '\(pair.replica)' | wc -l; df --output=avail -m '\(pair.replica)'")
      .output
      .split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    // Beside what is left, and what is kept free, there is no room for all of it.
    #expect(left.count == 2 && left[0] > 150 && left[1] < 256 + 200, "\(left)")
    pair.start("b")
    #expect(pair.wait(60) { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "", "\(pair.story)")
  }

  @Test func `a mount over a directory changes nothing of what was captured below it`() throws {
    let pair = TestPair()
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir -p sub/e; seq 9 > sub/x; seq 8 > sub/e/y; ln sub/x out")
    #expect(pair.sync() > 0, "\(pair.story)")
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy"))'")
    let sub = pair.source + "/sub"
    Shell.run("mount -t tmpfs none '\(sub)'; mkdir '\(sub)/e'; echo foreign > '\(sub)/e/y'")
    defer { Shell.run("umount -l '\(sub)'") }
    // Leads to the other name of the object, below the mount.
    for tree in [pair.source, pair.scratch("copy")] { Shell.run("chmod 600 '\(tree)/out'") }
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(
      Shell.run("cat '\(pair.replica)/sub/x' '\(pair.replica)/sub/e/y' | wc -l").output == "17\n")
    #expect(pair.status("a").contains("sub is another filesystem"), "\(pair.story)")
    Shell.run("umount '\(sub)'; touch '\(pair.source)/new'")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(Shell.run("cat '\(pair.replica)/sub/x' | wc -l").output == "9\n")
  }

  @Test func `times that no count of nanoseconds holds stop nobody`() {
    let pair = TestPair()
    // Unlike others it takes any time.
    let trees = "'\(pair.source)' '\(pair.replica)'"
    Shell.run("mkdir -p \(trees); for t in \(trees); do mount -t tmpfs none $t; done")
    defer { Shell.run("umount -l \(trees)") }
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      """
      cd '\(pair.source)'; for t in 2400-01-01 2262-04-11T23:47:16Z 1600-01-01 1960-01-01; do
      echo $t > $t; touch -d $t $t; done; mkdir d; touch -d 2500-01-01 d
      """)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.isAlive("a") && pair.isAlive("b"))
    #expect(
      Shell.run("diff -r -x .holdfast '\(pair.source)' '\(pair.replica)'").output == "")
    #expect(
      Shell.run("cd '\(pair.source)'; stat -c %Y 2262* 1960*").output
        == Shell.run("cd '\(pair.replica)'; stat -c %Y 2262* 1960*").output)
    #expect(pair.run("verify p", on: "b").code == 0)
    let far = pair.run(
      "restore p --point 9999-01-01T00:00:00Z --to '\(pair.scratch("to"))'", on: "b")
    #expect(far.code == 0, "\(far.output)")
  }

  @Test func `a root that may not be read deletes nothing, and is taken up when it may`() throws {
    let pair = TestPair()
    // Even root may not, without these capabilities.
    pair.wrappers["a"] = [
      "/usr/bin/setpriv", "--bounding-set", "-dac_override,-dac_read_search",
    ]
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("cd '\(pair.source)'; mkdir d; seq 1 5000 > d/a; echo 1 > b")
    let first = pair.sync()
    #expect(first > 0, "\(pair.story)")
    Shell.run("cp -a '\(pair.source)' '\(pair.scratch("copy"))'")
    Shell.run("chown 1234 '\(pair.source)' && chmod 700 '\(pair.source)'")
    let answer = pair.run("sync p", on: "a")
    #expect(answer.code == 3)
    #expect(answer.output.contains(pair.source), "\(answer.output)")
    #expect(answer.output.contains("give the agent access"), "\(answer.output)")
    #expect(
      Judge.differences(pair.scratch("copy"), pair.replica) == "",
      "\(first) \(pair.kept("b")) \(pair.story)")
    // The sites go on speaking of everything else.
    pair.kill("b")
    pair.start("b")
    #expect(pair.wait { pair.status("a").contains("\"connected\":true") })
    #expect(
      !Shell.run("grep 'ended:' '\(pair.log("a"))' | grep permitted").output.contains("ended"))
    Shell.run("chown 0 '\(pair.source)' && echo 2 > '\(pair.source)/b'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(pair.isAlive("a"))
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test(arguments: ["a", "b"], ["+3y", "-3y"])
  func `a clock that jumps costs no change, and no point that the rule keeps`(
    site: String, jump: String
  ) throws {
    let pair = TestPair()
    let offset = pair.scratch("offset")
    pair.write("+0", to: offset)
    pair.wrappers[site] = TestPair.withClock(offset, isMonotonic: false)
    #expect(pair.begin(), "\(pair.story)")
    for number in 1...3 {
      Shell.run("echo \(number) > '\(pair.source)/f\(number)'")
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    let before = pair.kept("b").map(\.point)
    pair.write(jump, to: offset)
    for number in 4...6 {
      Shell.run("echo \(number) > '\(pair.source)/f\(number)'")
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    #expect(Judge.differences(pair.source, pair.replica) == "")
    pair.kill("b", SIGTERM)
    pair.start("b")
    Shell.run("echo more > '\(pair.source)/f7'")
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    let after = Set(pair.kept("b").map(\.point))
    #expect(before.allSatisfy(after.contains), "\(before) \(after)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  @Test func `a full disk on the standby stops receiving, and nothing is lost`() throws {
    let pair = TestPair()
    let state = pair.state("b")
    Shell.run("mv '\(state)' '\(state).first'")
    let disk = Filesystem(pair, at: state, megabytes: 900)
    Shell.run("cp -a '\(state).first/.' '\(state)'; fallocate -l 450M '\(state)/filler'")
    #expect(pair.begin(), "\(pair.story)")
    Shell.run("echo 1 > '\(pair.source)/small'")
    let first = pair.sync()
    #expect(first > 0, "\(pair.story)")
    Shell.run("head -c 250M /dev/urandom > '\(pair.source)/large'")
    #expect(pair.run("sync p --wait durable --timeout 4s", on: "a").code == 4)
    #expect(pair.wait { pair.status("b").contains("receiving stopped") }, "\(pair.story)")
    #expect(pair.status("b").contains("free space"))
    #expect(pair.isAlive("a") && pair.isAlive("b"))
    #expect(pair.points("b")?.durable == first)
    // The sites stay connected, and the same bytes do not go over and over again.
    let sessions = Shell.run("grep -c 'session with' '\(pair.log("a"))'").output
    #expect((Int(sessions.filter(\.isNumber)) ?? .max) <= 4, "\(pair.story)")
    #expect(pair.sentBytes("a") < 600 << 20)
    Shell.run("rm '\(state)/filler'")
    #expect(pair.sync() > first, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
    #expect(!pair.status("b").contains("receiving stopped"), "\(pair.story)")
    pair.kill("b")
    withExtendedLifetime(disk) {}
  }

  @Test(arguments: [false, true])
  func `a full disk under the replica stops applying, and what is received stays durable`(
    isSeed: Bool
  ) throws {
    let pair = TestPair()
    let disk = Filesystem(pair, at: pair.scratch("disk"), megabytes: 900)
    let replica = disk.path + "/replica"
    Shell.run("sed -i 's|replica: .*|replica: \(replica)|' '\(pair.scratch.path)'/[ab].yaml")
    #expect(pair.begin(), "\(pair.story)")
    if !isSeed {
      Shell.run("echo 1 > '\(pair.source)/small'")
      #expect(pair.sync() > 0, "\(pair.story)")
    }
    let copy = pair.scratch("copy")
    Shell.run("cp -a '\(replica)' '\(copy)'; fallocate -l 750M '\(disk.path)/filler'")
    Shell.run("head -c 250M /dev/urandom > '\(pair.source)/large'; mkdir '\(pair.source)/d'")
    let point = pair.sync("durable")
    #expect(point > 0, "\(pair.story)")
    #expect(pair.wait { pair.status("b").contains("free some") }, "\(pair.story)")
    #expect(pair.wait { pair.status("a").contains("free some") }, "\(pair.story)")
    #expect(pair.isAlive("a") && pair.isAlive("b"))
    if !isSeed { #expect(Judge.differences(copy, replica) == "") }
    Shell.run("rm '\(disk.path)/filler'")
    #expect(pair.wait { (pair.points("b")?.applied ?? 0) >= point }, "\(pair.story)")
    #expect(Judge.differences(pair.source, replica) == "")
    #expect(!pair.status("b").contains("free some"), "\(pair.story)")
    pair.kill("b")
  }

  @Test(arguments: ["OTHER", "OTHER/inner", "SOURCE/inner", "HALF"])
  func `root and replica are never one another, nor inside`(place: String) throws {
    let pair = TestPair()
    let other = pair.scratch("other")
    let half = pair.scratch("half")
    let path = place.replacing("OTHER", with: other).replacing("SOURCE", with: pair.source)
      .replacing("HALF", with: half)
    // The last: the root inside the replica.
    Shell.run(
      """
      echo precious > '\(pair.source)/file'; mkdir -p '\(other)' '\(half)/inner'
      mount --bind '\(pair.source)' '\(other)'; mount --bind '\(pair.source)' '\(half)/inner'
      sed -i 's|replica: .*|replica: \(path)|' '\(pair.scratch.path)'/[ab].yaml
      """)
    if place == "HALF" {
      Shell.run("sed -i 's|path: .*|path: \(half)/inner|' '\(pair.scratch.path)'/[ab].yaml")
    }
    defer { Shell.run("umount -l '\(other)' '\(half)/inner'") }
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync("durable") > 0, "\(pair.story)")
    let isSaid = pair.wait {
      pair.status("b").contains("are one directory or lie inside one another")
    }
    #expect(isSaid, "\(pair.story)")
    #expect(pair.status("b").contains(path))
    #expect(Shell.run("ls -A '\(pair.source)'").output == ".holdfast\nfile\n")
    #expect(Shell.run("ls '\(pair.source)/.holdfast'").output == "marker\n")
    // What it says helps.
    pair.putReplica(at: pair.replica)
    #expect(pair.wait { pair.sync() > 0 }, "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}
