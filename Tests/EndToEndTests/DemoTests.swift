import Foundation
import Glibc
import HoldfastLinux
import TestKit
import Testing

@Suite(.serialized) struct `The demo` {
  private func folders() -> Set<String> {
    Set(
      Shell.run("ls -d /tmp/holdfast-demo-* 2>/dev/null").output.split(separator: "\n").map(
        String.init))
  }

  @Test func `shows equal trees, and leaves nothing behind`() {
    let before = folders()
    let answer = Shell.run("'\(TestPair.binary)' demo")
    #expect(answer.code == 0, "\(answer.output)")
    #expect(answer.output.contains("replica, journal and seal are equal"), "\(answer.output)")
    #expect(folders().subtracting(before).isEmpty)
  }

  @Test func `protects a copy of a directory, and says what would be lost of it`() {
    let scratch = Scratch()
    let folder = scratch("mine")
    Shell.run("mkdir '\(folder)'; cp -r /usr/include/linux '\(folder)'; mkfifo '\(folder)/fifo'")
    let look = "find '\(folder)' -printf '%P %y %m %s %T@ %C@\\n' | sort | sha256sum"
    let before = Shell.run(look).output
    let answer = Shell.run("'\(TestPair.binary)' demo '\(folder)'")
    #expect(answer.code == 0, "\(answer.output)")
    for row in ["promoted point", "grade", "lost", "(RPO)", "(RTO)", "are equal"] {
      #expect(answer.output.contains(row), "\(row): \(answer.output)")
    }
    #expect(Shell.run(look).output == before)
  }

  @Test func `leaves nothing behind either where it is interrupted`() throws {
    let before = folders()
    let scratch = Scratch()
    let demo = try ChildProcess(
      TestPair.binary, ["demo"], environment: [:], output: .file(scratch("log")))
    let folder = "/tmp/holdfast-demo-\(demo.number)"
    // Not for luck: until it is there, for half a minute at most.
    for _ in 0..<3000 where !FileManager.default.fileExists(atPath: "\(folder)/west.log") {
      usleep(10_000)
    }
    demo.send(SIGTERM)
    #expect(demo.wait() == 128 + SIGINT)
    #expect(folders().subtracting(before).isEmpty)
    #expect(Shell.run("pgrep -f '\(folder)/'").code != 0)
  }
}
