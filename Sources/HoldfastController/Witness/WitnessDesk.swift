package import HoldfastCore
package import HoldfastWire

/// Answers sites out of one ``Witness``, and keeps durably what it says before it says it.
package actor WitnessDesk {
  /// A record could not be made durable. What is in memory is ahead of the disk then: the process
  /// must end, and begin again from what is on it.
  package struct Lost: Error, CustomStringConvertible {
    package let description: String
  }

  private let disk: any Disk
  private let clock: any Timekeeper
  private var witness: Witness
  private let executor: any SerialExecutor
  package nonisolated var unownedExecutor: UnownedSerialExecutor {
    unsafe executor.asUnownedSerialExecutor()
  }

  /// - Parameter executor: a thread that may block.
  package init(
    disk: any Disk, clock: any Timekeeper, executor: any SerialExecutor
  ) throws {
    self.disk = disk
    self.clock = clock
    self.executor = executor
    let records = try disk.list().map { name in
      guard let bytes = try disk.contents(of: name),
        let record = try? WitnessRecord(decoding: bytes)
      else {
        throw Lost(
          description: """
            the witness's record \(name) is damaged: move it away, never put an old one in its \
            place: nothing is granted then before both sites were heard
            """)
      }
      return record
    }
    witness = Witness(records: records, now: clock.now())
  }

  package var records: [WitnessRecord] { witness.records }

  /// - Parameter site: the key that the link proved.
  package func answer(_ ask: ArbiterAsk, from site: Fingerprint) throws(Lost) -> ArbiterAnswer {
    let orders = witness.on(ask.request, from: site, ask.statement, now: clock.now())
    for order in orders {
      switch order {
      case .persist(let record):
        do {
          try disk.replace(record.pair.description, with: record.encoded)
        } catch {
          throw Lost(description: "\(error)")
        }
      case .answer(let answer): return answer
      }
    }
    preconditionFailure("no answer to \(ask)")
  }
}
