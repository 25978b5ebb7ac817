import Glibc
import TestKit
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0))
struct `What nobody tells of` {
  private func text(_ path: String) -> String { Shell.run("cat '\(path)'").output }

  /// Writes each line that it reads into the file, by io_submit(2), and prints it once it is there.
  private static let asynchronousWriter = """
    #include <fcntl.h>
    #include <linux/aio_abi.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(int count, char **arguments) {
      int file = open(arguments[1], O_RDWR);
      aio_context_t context = 0;
      syscall(SYS_io_setup, 8, &context);
      char line[64];
      while (fgets(line, sizeof line, stdin)) {
        struct iocb order;
        memset(&order, 0, sizeof order);
        order.aio_lio_opcode = IOCB_CMD_PWRITE;
        order.aio_fildes = file;
        order.aio_buf = (unsigned long)line;
        order.aio_nbytes = strlen(line);
        struct iocb *orders[] = {&order};
        struct io_event ended;
        syscall(SYS_io_submit, context, 1, orders);
        syscall(SYS_io_getevents, context, 1, 1, &ended, 0);
        fputs(line, stdout);
        fflush(stdout);
      }
    }

    """

  @Test func `is captured where it was written asynchronously to a file that stays open`() {
    let pair = TestPair(extra: ["rpo: 1s"])
    let (source, program) = (pair.scratch("writer.c"), pair.scratch("writer"))
    pair.write(Self.asynchronousWriter, to: source)
    let made = Shell.run("cc '\(source)' -o '\(program)' || clang '\(source)' -o '\(program)'")
    #expect(made.code == 0, "\(made.output)")
    let lines = pair.scratch("lines")
    Shell.run("echo 0000 > '\(pair.source)/file'; touch '\(lines)'")
    #expect(pair.begin(), "\(pair.story)")
    Shell.run(
      "tail -f '\(lines)' | '\(program)' '\(pair.source)/file' > '\(pair.scratch("said"))' 2>&1 &")
    defer { Shell.run("pkill -f '\(lines)'; pkill -f '\(program)'") }
    for value in ["1111", "2222", "3333"] {
      Shell.run("echo \(value) >> '\(lines)'")
      #expect(pair.wait { text(pair.scratch("said")).hasSuffix("\(value)\n") })
      #expect(pair.wait { text("\(pair.replica)/file") == "\(value)\n" }, "\(pair.story)")
    }
  }

  @Test func `is captured where it was stored into a mapped file`() {
    let pair = TestPair(extra: ["rpo: 1s"])
    let path = "\(pair.source)/mapped"
    Shell.run("truncate -s 8192 '\(path)'")
    #expect(pair.begin(), "\(pair.story)")
    let file = unsafe open(path, O_RDWR)
    guard let bytes = unsafe mmap(nil, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) else {
      Issue.record("mmap: \(errno)")
      return
    }
    func store(_ value: UInt8) { unsafe bytes.storeBytes(of: value, as: UInt8.self) }
    func arrives(_ value: String) -> Bool {
      pair.wait { Shell.run("head -c 1 '\(pair.replica)/mapped'").output == value }
    }
    store(UInt8(ascii: "1"))
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(arrives("1"))
    // The page is dirty already: this moves no time stamp, and nothing tells of it.
    store(UInt8(ascii: "2"))
    #expect(arrives("2"), "\(pair.story)")
    store(UInt8(ascii: "3"))
    unsafe munmap(bytes, 8192)
    _ = close(file)
    #expect(arrives("3"), "\(pair.story)")
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }

  /// The kernel goes on to tell of the name by which the file was opened.
  @Test(arguments: ["source", "outside"])
  func `is captured where it was written by a descriptor whose name is gone`(folder: String) {
    let pair = TestPair()
    Shell.run("mkdir -p '\(pair.scratch("outside"))'")
    #expect(pair.begin(), "\(pair.story)")
    let (begun, kept) = (pair.scratch(folder + "/begun"), "\(pair.source)/kept")
    let file = unsafe open(begun, O_CREAT | O_WRONLY, 0o644)
    defer { _ = close(file) }
    func write(_ text: String) {
      #expect(unsafe Glibc.write(file, text, text.utf8.count) == text.utf8.count)
    }
    write("one\n")
    #expect(unsafe link(begun, kept) == 0)
    #expect(unsafe unlink(begun) == 0)
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(text("\(pair.replica)/kept") == "one\n")
    write("two\n")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(text("\(pair.replica)/kept") == "one\ntwo\n")
    write("three\n")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(text("\(pair.replica)/kept") == "one\ntwo\nthree\n")
  }

  @Test func `because the kernel's queue overflowed is captured, and makes no instant`() {
    // Of fanotify's the agent asks for one without a bound.
    let bound = "/proc/sys/fs/inotify/max_queued_events"
    let usual = text(bound)
    // Read when an agent begins to watch.
    Shell.run("echo 16 > \(bound)")
    defer { Shell.run("echo \(usual) > \(bound)") }
    let pair = TestPair(extra: ["rpo: 1s"])
    pair.isAlone = true
    pair.wrappers["a"] = TestPair.withoutFanotify
    Shell.run("cd '\(pair.source)'; mkdir $(seq 300); echo 0 | tee $(seq -f %g/file 300)")
    #expect(pair.begin(), "\(pair.story)")
    #expect(pair.sync() > 0, "\(pair.story)")
    #expect(pair.status("a").contains("\"watch\":\"inotify\""), "\(pair.status("a"))")
    for value in ["one", "two", "three"] {
      let agent = Shell.run("pgrep -n -f 'agent --config \(pair.configuration("a"))'").output
      let process = agent.filter(\.isNumber)
      Shell.run("kill -STOP \(process)")
      Shell.run("cd '\(pair.source)'; echo \(value) | tee $(seq -f %g/file 300)")
      Shell.run("kill -CONT \(process)")
      // What was lost is not known to be in any point until a scan has ended.
      #expect(pair.sync() > 0, "\(pair.story)")
      #expect(Judge.differences(pair.source, pair.replica) == "")
    }
    // Round after round, one file after the other: at any instant those up to one file are a round
    // ahead of the rest, and one may be empty.
    let writer = pair.scratch("writer")
    Shell.run(
      """
      (cd '\(pair.source)'; for round in {1..100000}; do
        for n in {1..300}; do echo $round > $n/file; done
      done) > /dev/null 2>&1 & echo $! > '\(writer)'
      """)
    let first = pair.kept("b").first?.point ?? 0
    #expect(pair.wait { (pair.kept("b").first?.point ?? 0) > first + 5 }, "\(pair.story)")
    Shell.run("kill -9 $(cat '\(writer)')")
    let points = pair.kept("b").filter { $0.point > first + 1 }
    #expect(points.contains { $0.grade == "fuzzy" }, "\(points)")
    for point in points where point.grade != "fuzzy" {
      let tree = pair.scratch("point-\(point.point)")
      #expect(pair.run("restore p --point \(point.point) --to '\(tree)'", on: "b").code == 0)
      let rounds = Shell.run(
        "cd '\(tree)'; for n in {1..300}; do r=$(cat $n/file); echo ${r:-0}; done"
      ).output.split(separator: "\n").compactMap { Int($0) }
      let written = rounds.filter { $0 > 0 }
      #expect(rounds.count == 300 && written.count >= 299)
      #expect(written == written.sorted(by: >), "\(point)")
      #expect((written.first ?? 0) - (written.last ?? 0) <= 1, "\(point)")
    }
    #expect(points.allSatisfy { $0.grade != "fuzzy" || !$0.reason.isEmpty }, "\(points)")
    #expect(pair.wait { pair.sync() > 0 && pair.kept("b").first?.grade == "crash" })
    #expect(Judge.differences(pair.source, pair.replica) == "")
  }
}
