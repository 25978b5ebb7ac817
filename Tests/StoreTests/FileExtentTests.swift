import HoldfastCore
import TestKit
import Testing

@Suite struct `What a file shares with its copy` {
  private func at(_ bytes: Range<Int64>, _ location: UInt64, isFixed: Bool = true) -> FileExtent {
    FileExtent(bytes, at: location, isFixed: isFixed)
  }

  @Test func `is what lies at one place of the disk in both`() {
    let file = [at(0..<40, 1000), at(40..<50, 7), at(60..<100, 2000)]
    let copy = [at(0..<20, 1000), at(20..<45, 1020), at(60..<80, 2000), at(80..<90, 3000)]
    #expect(FileExtent.differences(file, copy, size: 100) == [40..<50, 80..<100])
    #expect(FileExtent.differences(file, file, size: 100) == [])
  }

  @Test func `is no hole that one of them fills`() {
    #expect(FileExtent.differences([], [at(8..<16, 5)], size: 20) == [8..<16])
    #expect(FileExtent.differences([at(8..<16, 5)], [], size: 20) == [8..<16])
    #expect(FileExtent.differences([], [], size: 20) == [])
  }

  @Test func `is nothing that has no place of its own`() {
    let file = [at(0..<10, 0, isFixed: false), at(10..<20, 90)]
    #expect(FileExtent.differences(file, file, size: 20) == [0..<10])
  }

  @Test func `ends where the file does`() {
    #expect(FileExtent.differences([at(0..<64, 5)], [], size: 50) == [0..<50])
    #expect(FileExtent.differences([at(0..<64, 5)], [at(0..<64, 9)], size: 0) == [])
  }

  @Test(arguments: Seeds.take(50))
  func `covers each block that was put elsewhere, and no other`(seed: UInt64) {
    var dice = SeededDice(seed: seed)
    let count = 64
    var file = (0..<count).map { _ in dice.next() % 4 == 0 ? nil : dice.next() % 3 * 100 }
    let copy = file
    for _ in 0..<(dice.next() % 20) {
      let block = Int(dice.next() % UInt64(count))
      file[block] = dice.next() % 3 == 0 ? nil : 100_000 + dice.next() % 9
    }
    // A block's location follows from its number, so that neighbours join.
    func layout(_ blocks: [UInt64?]) -> [FileExtent] {
      var extents: [FileExtent] = []
      for (index, block) in blocks.enumerated() {
        guard let block else { continue }
        let start = Int64(index) * 8
        let location = block * 1000 + UInt64(start)
        if let last = extents.last, last.bytes.upperBound == start,
          last.location + UInt64(last.bytes.count) == location
        {
          extents[extents.count - 1].bytes = last.bytes.lowerBound..<(start + 8)
        } else {
          extents.append(at(start..<(start + 8), location))
        }
      }
      return extents
    }
    let found = FileExtent.differences(layout(file), layout(copy), size: Int64(count) * 8)
    for index in 0..<count {
      let isFound = found.contains { $0.contains(Int64(index) * 8) }
      #expect(isFound == (file[index] != copy[index]), "seed \(seed), block \(index)")
    }
    #expect(zip(found, found.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
  }
}
