import Glibc

/// Where this process lives (namespaces(7)).
enum Namespace {
  /// Whether it sees all processes of this kernel: the first namespace of them has a number of its
  /// own (PROC_PID_INIT_INO in the kernel's proc_ns.h). In a container it is another.
  static var isFirstOfProcesses: Bool {
    var room = [UInt8](repeating: 0, count: 64)
    let count = unsafe readlink("/proc/self/ns/pid", &room, room.count)
    return count >= 0 && String(decoding: room[..<count], as: UTF8.self) == "pid:[4026531836]"
  }
}
