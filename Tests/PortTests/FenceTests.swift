import Glibc
import HoldfastCore
import HoldfastLinux
import TestKit
import Testing

/// Ending a service on the real kernel. As root, where there are control groups.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct `A service that is fenced` {
  private func pair(_ steps: [PlanStep.Kind]) -> PairConfiguration {
    PairConfiguration(
      name: "p", primary: "a", standby: "b", roots: [], rpo: .seconds(5), require: .crash,
      capture: [.none],
      retention: RetentionRule(all: .seconds(1), hourly: .zero, daily: .zero), bandwidth: nil,
      spoolBytes: 0, failover: FailoverConfiguration(),
      plan: steps.map { PlanStep(kind: $0, within: .seconds(5), onFailure: .stop) },
      dormantKeys: [])
  }

  private func service(_ pair: PairConfiguration, _ scratch: Scratch) -> LinuxService {
    LinuxService(
      pair: pair, roots: [], control: scratch.path, folder: scratch.path, lastResort: nil)
  }

  private func count(_ group: ServiceGroup) -> Int {
    let lists = "'\(group.path)/cgroup.procs' '\(group.path)'/*/cgroup.procs"
    return Int(Shell.run("cat \(lists) | wc -l").output.filter(\.isNumber)) ?? -1
  }

  /// Files that this process may have open; what it has open stays so.
  private func limitFiles(to count: rlim_t) -> rlim_t {
    var limit = rlimit()
    unsafe _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let before = limit.rlim_cur
    limit.rlim_cur = count
    unsafe _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return before
  }

  @Test func `is over, address and all, where no file can be opened and no program begun`() {
    let scratch = Scratch()
    let group = ServiceGroup(scratch)
    group.start("sleep 1000 & sleep 1000 & wait")
    // Also below it, and what stops for nobody.
    Shell.run("mkdir '\(group.path)/inner'")
    Shell.run(
      """
      (echo $BASHPID > '\(group.path)/inner/cgroup.procs'
      exec setsid bash -c 'trap "" TERM INT HUP; while :; do read -t 1 < <(:); sleep 0.05; done') &
      """)
    let service = service(
      pair([.address("127.213.0.9/32", device: "lo"), .unit(group.unit)]), scratch)
    #expect(service.allow(in: Epoch(rawValue: 1)) { true })
    Shell.run("ip addr add 127.213.0.9/32 dev lo")
    Shell.run("for n in $(seq 100); do grep -q . '\(group.path)/inner/cgroup.procs' && break; done")
    service.prepare()
    #expect(count(group) > 2)
    let before = limitFiles(to: 0)
    let left = service.fence()
    let isOver = service.isOver
    _ = limitFiles(to: before)
    #expect(left == [])
    #expect(isOver)
    #expect(count(group) == 0)
    #expect(!Shell.run("ip -4 addr show dev lo").output.contains("127.213.0.9"))
    // Nothing that comes into it later runs.
    #expect(group.isFrozen)
    Shell.run("rmdir '\(group.path)/inner'")
  }

  @Test func `is not started again by a plan that was begun before`() {
    let scratch = Scratch()
    let group = ServiceGroup(scratch)
    let service = service(
      pair([.address("127.213.0.10/32", device: "lo"), .unit(group.unit)]), scratch)
    #expect(service.allow(in: Epoch(rawValue: 1)) { true })
    #expect(service.fence() == [])
    let step = PlanStep(
      kind: .address("127.213.0.10/32", device: "lo"), within: .milliseconds(500), onFailure: .stop)
    #expect(throws: StepError.self) { try service.run(step) }
    #expect(!Shell.run("ip -4 addr show dev lo").output.contains("127.213.0.10"))
    // Nor is it allowed where it is wanted no more.
    #expect(!service.allow(in: Epoch(rawValue: 1)) { false })
    #expect(service.isOver)
  }

  @Test func `takes with it what was just being started`() {
    let scratch = Scratch()
    let unit = ServiceGroup.unit(scratch)
    let service = service(pair([.unit(unit)]), scratch)
    #expect(service.allow(in: Epoch(rawValue: 1)) { true })
    #expect(service.fence() == [])
    // A service manager that had looked before makes the group only now.
    let group = ServiceGroup(scratch)
    group.start("sleep 1000")
    Shell.run("for n in $(seq 100); do grep -q . '\(group.path)/cgroup.procs' && break; done")
    #expect(Shell.run("grep -q . '\(group.path)/cgroup.procs'").code == 0)
    service.sweep(atLeast: .milliseconds(200))
    #expect(Shell.run("grep -q . '\(group.path)/cgroup.procs'").code == 1)
  }

  @Test func `has commands know the pair and the epoch that they act for`() throws {
    let scratch = Scratch()
    let told = "echo $HOLDFAST_PAIR $HOLDFAST_EPOCH > '\(scratch("told"))'"
    let service = service(pair([.exec(told)]), scratch)
    #expect(service.allow(in: Epoch(rawValue: 7)) { true })
    try service.run(PlanStep(kind: .exec(told), within: .seconds(5), onFailure: .stop))
    #expect(Shell.run("cat '\(scratch("told"))'").output == "p 7\n")
    let command = FenceCommand(command: told, within: .seconds(5), isRequired: true)
    try service.fenceOther(command, in: Epoch(rawValue: 8))
    #expect(Shell.run("cat '\(scratch("told"))'").output == "p 8\n")
  }
}
