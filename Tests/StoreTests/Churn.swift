import TestKit

/// Changes of a tree as real tools make them.
func churn(_ path: String, _ dice: inout SeededDice, steps: Int) {
  var script = "cd '\(path)' || exit 1; RANDOM=\(UInt16.random(in: 1..<32768, using: &dice))\n"
  for _ in 0..<steps {
    let a = Int.random(in: 0..<12, using: &dice)
    let b = Int.random(in: 0..<12, using: &dice)
    let size = [0, 1, 4096, 70_000, 400_000].randomElement(using: &dice) ?? 0
    let seed = Int.random(in: 0..<1000, using: &dice)
    let make = "head -c \(size) < <(yes \(seed) | sed 's/$/ '$RANDOM'/')"
    switch Int.random(in: 0..<14, using: &dice) {
    case 0, 1, 2: script += "rm -rf f\(a); \(make) > f\(a)\n"
    case 3: script += "mkdir -p d\(a); \(make) > d\(a)/x\(b)\n"
    case 4: script += "[ -d d\(a) ] && rm -rf d\(b)x && mv d\(a) d\(b)x\n"
    case 5: script += "rm -rf f\(b); mv f\(a) f\(b) 2>/dev/null\n"
    case 6: script += "[ -f f\(a) ] && rm -rf h\(b) && ln f\(a) h\(b)\n"
    case 7: script += "rm -rf s\(a); ln -s f\(b) s\(a)\n"
    case 8: script += "[ -f f\(a) ] && truncate -s \(size * 3) f\(a)\n"
    case 9: script += "rm -rf d\(a)\n"
    case 10:
      script +=
        "[ -f f\(a) ] && chmod \(["600", "755", "4711"].randomElement(using: &dice) ?? "600") f\(a)\n"
    case 11: script += "[ -f f\(a) ] && setfattr -n user.k\(b) -v v\(seed) f\(a)\n"
    case 12: script += "rm -rf p\(a); mkfifo p\(a)\n"
    default:
      script +=
        "[ -f f\(a) ] && printf x\(seed) | dd of=f\(a) bs=1 seek=\(b * 100) conv=notrunc 2>/dev/null\n"
    }
  }
  Shell.run(script + "true")
}
