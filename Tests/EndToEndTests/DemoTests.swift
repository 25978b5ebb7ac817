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
