/// Every bound of the system. A queue, frame, retry or buffer without a line here is a defect.
package enum Limits {
  // Names and trees.
  /// PATH_MAX of Linux, without the final NUL.
  package static let pathBytesMax = 4095
  /// NAME_MAX of Linux.
  package static let nameBytesMax = 255
  /// Largest encoded entry: attributes (64 KiB each at most, xattr(7)) and its list of chunks.
  package static let entryBytesMax = 1 << 20
  /// Attributes of one object.
  package static let attributesMax = 512
  /// Levels of lists of chunks; 4 reach past any file size of Linux.
  package static let contentDepthMax: UInt8 = 6
  /// References in one list, whether in an entry or in a chunk that holds a list.
  package static let referencesMax = 1024
  /// References that an entry holds itself before they move into chunks of their own.
  package static let referencesInEntry = 64
  /// Roots of a pair.
  package static let rootsMax = 64

  /// Of what a point says about its grade.
  package static let reasonBytesMax = 240

  // Chunks and records.
  package static let chunkBytesMin = 16 << 10
  package static let chunkBytesMean = 64 << 10
  package static let chunkBytesMax = 256 << 10
  /// Plain bytes of a record of changes when it is closed, unless one entry alone is larger.
  package static let changesBytes = 256 << 10
  /// Plain bytes of any record.
  package static let recordPlainBytesMax = 2 << 20
  /// Of any record as it lies in a segment: with its header, and where compression did not help.
  package static let recordBytesMax = recordPlainBytesMax + (4 << 10)
  /// A file from this size on is told of in parts while it is read, each of so many references.
  package static let partsFromBytes: Int64 = 16 << 20
  package static let partReferences = 64
  /// Of records that are compressed and encrypted together while the next are gathered.
  package static let batchBytes = 1 << 20
  /// What waits longer than that for the link is worth more compression; with less than so much
  /// waiting, the link is not what a capture waits for.
  package static let slowLink = Duration.seconds(10)
  package static let idleLinkBytes = 2 * syncEveryBytes
  /// Read at once for one record of the journal, unless it is longer; and where records are read
  /// one behind the other.
  package static let journalReadBytes = 16 << 10
  package static let journalAheadBytes = 512 << 10
  /// Content written between two notes of what the peer holds: sent again after a crash, at most.
  package static let learnedBytes = 16 << 20
  /// A segment is closed when it has grown to this.
  package static let segmentBytes = 64 << 20
  /// A segment that a peer sends may have at most this.
  package static let segmentBytesMax =
    segmentBytes + batchBytes + recordPlainBytesMax + (1 << 20)

  // Arbitration.
  package static let ttlMin = Duration.seconds(5)
  package static let ttlMax = Duration.seconds(600)
  /// Pairs that a witness hears of from one site without having heard the other, and pairs of a
  /// site that it keeps.
  package static let witnessUnheardMax = 64
  package static let witnessPairsMax = 1024
  /// Nobody was ever promoted so often: what a peer says beyond it is a lie.
  package static let epochMax: UInt64 = 1 << 48
  /// Bytes of what names a boot of a host.
  package static let bootNameMax = 256
  /// More than a site captures while the other hears nothing of it.
  package static let pointsUnheard: UInt64 = 1 << 24
  /// Nor has anybody captured so many points.
  package static let pointMax: UInt64 = 1 << 60
  /// How often a controller looks at its pairs, and asks the agent; in a move it asks as often as
  /// it looks.
  package static let superviseEvery = Duration.milliseconds(50)
  package static let agentAskedEvery = Duration.milliseconds(200)
  /// How long a loss counts that the agent told of.
  package static let reportCountsFor = Duration.seconds(2)
  /// For ending what a controller that is gone left, beyond the time by which it must be over.
  package static let fenceInSteadWithin = Duration.seconds(3)
  /// For a service manager to be done with units whose processes were killed.
  package static let sweptWithin = Duration.seconds(3)
  /// For what a service manager was just starting when that was forbidden.
  package static let sweptAtLeast = Duration.seconds(1)
  /// For a controller that is being killed for hanging: less than `TimeoutAbortSec`.
  package static let abortMillis = 400
  /// How often it is looked whether this host stood still.
  package static let pauseLookEvery = Duration.milliseconds(10)
  /// For a controller that no lease depends on.
  package static let watchdogWithoutLease = Duration.seconds(10)
  package static let bindAgainAfter = Duration.seconds(5)
  /// For so long a site tries to be promoted by itself before it declines the reign that it was
  /// granted, and for so long it then leaves it to the other.
  package static let promotionTriedFor = Duration.seconds(30)
  package static let promotionTriedAgainAfter = Duration.seconds(60)
  /// What was read of an index counts for so long, for who promotes again.
  package static let soundFor = Duration.seconds(120)
  /// Attempts that a standby remembers having refused, for when its index is rebuilt.
  package static let refusedAttemptsMax = 1024
  /// Reigns that an agent never begins, kept until its next start or promotion.
  package static let forgoneMax = 256
  package static let agentAnswersWithin = Duration.seconds(5)
  /// Who ordered a move is told by then that the arbiter does not answer.
  package static let arbiterSilence = Duration.seconds(10)
  /// A person who ordered a move is told by then how far it came.
  package static let moveWithin = Duration.seconds(600)
  /// In a planned move each side says so often that it is at it; one that is silent for longer is
  /// not waited for.
  package static let moveEvery = Duration.milliseconds(250)
  /// Who has not asked for so long may have been started anew.
  package static let moveWanted = Duration.seconds(1)
  package static let moveSilence = Duration.seconds(5)
  /// Once the old primary serves no more, the new one must be granted its reign within this.
  package static let offeredWithin = Duration.seconds(60)
  /// From a failed flush of the spool until it is known to be closed.
  package static let spoolClosedWithin = Duration.milliseconds(100)
  /// Tries for a point after which nothing changed.
  package static let finalPointsMax = 20
  /// Phases of one move that stay on record.
  package static let movePhasesMax = 32
  /// Moves of a pair that stay on record.
  package static let movesKept = 200
  /// Between two rounds of a plan's checks while the service runs.
  package static let healthEvery = Duration.seconds(2)
  /// Until thawing is tried again that failed, and how often once nobody asks for it any more.
  package static let thawAgainAfter = Duration.milliseconds(100)
  package static let thawTriesMax = 100
  /// What a round of checks may take beyond the times of its commands.
  package static let healthRoundMost = Duration.seconds(30)
  /// How often those who have an address's old owner are corrected, at worst.
  package static let announceEvery = Duration.seconds(10)
  /// Rounds that fail one after the other before a service is ill.
  package static let illRoundsMax = 3
  /// A service that was moved because it was ill is not moved for that again before.
  package static let illMovesEvery = Duration.seconds(3600)
  /// Between two tries of a fencing command without which nothing starts.
  package static let fenceAgainAfter = Duration.seconds(10)
  /// Of a plan's step.
  package static let stepWithin = Duration.seconds(60)
  /// Facts that one host tells the other of.
  package static let factsMax = 256
  package static let factBytesMax = 256
  package static let factsEvery = Duration.seconds(60)
  /// How often the files are read by which this site shows itself to a store: while they are good,
  /// and while they are not.
  package static let identityReadEvery = Duration.seconds(60)
  package static let identityTriedEvery = Duration.seconds(2)
  /// Rounds of reading and writing for one question where others write too, and the length of an
  /// answer of the store.
  package static let sharedTriesMax = 8
  package static let sharedAnswerBytesMax = 1 << 20
  /// Questions to an arbiter that wait for an answer.
  package static let arbiterAsksMax = 256

  // Link.
  package static let frameBytesMax = 4 << 20
  /// Payload of one frame of segment bytes.
  package static let dataBytes = 1 << 20
  /// Sent and not yet acknowledged as received.
  package static let windowBytes: Int64 = 16 << 20
  /// Taken from a connection in one call.
  package static let receiveBytesMax = 512 << 10
  /// Chunk-name prefixes in one frame of hints.
  package static let hintsInFrame = 64 << 10
  /// Frames of hints that wait for a capture to end.
  package static let hintFramesMax = 32
  /// Files of several names that `verify` keeps in mind; more are not held against one another.
  package static let linkedNamesMax = 200_000
  /// Missing names in one answer.
  package static let missingNamesMax = 1024
  package static let heartbeatEvery = Duration.milliseconds(250)
  package static let deadAfter = Duration.seconds(5)
  /// For the other side to close a session in order.
  package static let farewellWithin = Duration.seconds(1)
  package static let dialTimeout = Duration.seconds(5)
  package static let backoffFirst = Duration.milliseconds(200)
  package static let backoffMax = Duration.seconds(30)
  /// Two sites' clocks may be so far apart before they say so.
  package static let clockOffsetMax = Duration.seconds(10)
  /// Places in a journal that are told of as damaged at one time.
  package static let damageMax = 1024
  /// By how much the wall's clock may gain on a host's own before that is said to have stood still.
  package static let wallGainMax = Duration.seconds(1)
  /// Between two tries of a pair that its own disk hinders.
  package static let pairRetry = Duration.seconds(5)
  /// Connections that have not yet shown a pinned key, all together.
  package static let unprovenConnectionsMax = 16

  // Pace.
  package static let restBeforeCapture = Duration.milliseconds(50)
  /// Between two looks at what the kernel tells.
  package static let restBetweenEvents = Duration.milliseconds(10)
  package static let captureSpacing = Duration.milliseconds(200)
  /// A store into a mapped page that is already dirty moves no time stamp until write-back.
  package static let youngFor = Duration.seconds(90)
  /// Granularity of file time stamps: a kernel tick at HZ=100, doubled.
  package static let clockTick = Duration.milliseconds(20)
  package static let scanEvery = Duration.seconds(3600)
  /// Distinct dirty places before a pair is scanned as a whole.
  package static let dirtyPlacesMax = 100_000
  package static let readAttemptsMax = 3
  /// What could not be read is tried again, also where nothing else changes.
  package static let deniedAgainAfter = Duration.seconds(30)
  /// For a reader of the journal, or a point that is being received, to end.
  package static let releaseWithin = Duration.seconds(10)
  /// Between two looks whether the spool has room again.
  package static let roomEvery = Duration.milliseconds(20)

  // Providers.
  /// For a command of the administrator's, unless the configuration says otherwise.
  package static let commandWithin = Duration.seconds(30)
  package static let commandWithinMax = Duration.seconds(24 * 3600)
  /// Between two tries to end what commands began that are configured no more.
  package static let orphansEvery = Duration.seconds(60)
  /// Of what such a command printed, in a message.
  package static let commandOutputBytes = 400
  /// Between two scans of roots whose changes are not all told, whatever they cost.
  package static let gapScanEveryMax = Duration.seconds(600)
  /// A file whose blocks take longer to be shared is named where units stood still for too long.
  package static let slowClone = Duration.milliseconds(100)
  /// Between two tries to have units stand still for a file that took longer than they may.
  package static let futileFreezeEvery = Duration.seconds(600)
  /// For the time that units stand still at once.
  package static let freezeAtMost = Duration.milliseconds(500)
  /// After units stood still they run for so many times as long.
  package static let frozenShare = 99
  /// However often people ask for a point, the next that nobody asks for is put off for no longer.
  package static let frozenRestMax = Duration.seconds(600)
  /// Before units stand still what they changed is flushed, until that is done in this time, but no
  /// more often than so.
  package static let flushedWithin = Duration.milliseconds(20)
  package static let flushRoundsMax = 5
  /// Of files from this size on a copy that shares their blocks stays between points, so that only
  /// what changed is shared while units stand still.
  package static let baseBytesMin: Int64 = 32 << 20
  package static let basesMax = 200
  /// Between two looks whether their filesystems have room for what they keep.
  package static let roomLookEvery = Duration.milliseconds(500)
  /// Pieces that such a file may lie in, and what of it is shared in one call: its writers wait.
  package static let extentsMax = 1 << 18
  package static let sharedAtOnce: Int64 = 16 << 20
  /// Of all such files, what is known of their content: some 50 bytes each.
  package static let historyReferencesMax = 1 << 18
  /// A file's content is read as a whole again after so long, whatever is known of it.
  package static let historyCountsFor = Duration.seconds(3600)
  /// Rounds of sharing while units still run, until one takes no longer than so.
  package static let renewRoundsMax = 3
  package static let renewedWithin = Duration.milliseconds(500)
  /// Directories that are watched anew before units are stopped.
  package static let coveredAtOnceMax = 2000
  /// Places that are looked at while units stand still.
  package static let frozenPlacesMax = 2000
  /// Content that is read while units stand still, where blocks cannot be shared.
  package static let frozenBytesMax = 8 << 20
  /// Between two copies of a live cluster's data files, and the WAL that its server keeps for it at
  /// most, unless the configuration says otherwise.
  package static let clusterEvery = Duration.seconds(300)
  package static let clusterWALBytes: Int64 = 10 << 30
  /// WAL since the last copy below which another would say nothing new.
  package static let clusterIdleBytes: Int64 = 1 << 20
  /// For a statement; for one that makes the server write a checkpoint.
  package static let statementWithin = Duration.seconds(10)
  package static let checkpointWithin = Duration.seconds(600)
  /// Between two looks whether anybody still waits for it.
  package static let statementLookEvery = Duration.milliseconds(200)
  /// A server that does not answer is asked again after so long; until then other providers do.
  package static let databaseRetry = Duration.seconds(30)
  /// Of a server's answer to one statement.
  package static let answerBytesMax = 4 << 20
  /// Between two looks at the WAL that is kept while a capture waits for room.
  package static let clusterLookEvery = Duration.seconds(5)
  /// Reads of a cluster's control file until two are equal.
  package static let controlReadsMax = 100
  /// How long a snapshot is kept while nothing leaves a full spool.
  package static let pictureWaitMax = Duration.seconds(60)
  /// Tries to have the snapshots of several subvolumes with no change between them.
  package static let snapshotTriesMax = 3
  /// Between two looks at which files are mapped for writing.
  package static let mappingEveryMin = Duration.seconds(1)
  package static let mappingEveryMax = Duration.seconds(10)
  /// After a capture that hashed mapped files nothing is captured for so many times as long.
  package static let costlyShare = 9

  // Standby.
  package static let syncEveryBytes: Int64 = 16 << 20
  package static let syncEvery = Duration.seconds(2)
  /// With less free an index or catalog is not made anew.
  package static let rebuildRoomMin: Int64 = 32 << 20
  /// Free bytes that receiving leaves on the standby's state and replica.
  package static let freeBytesReserve: Int64 = 256 << 20
  /// Up to so many objects an apply flushes one by one; beyond, their whole filesystems, which also
  /// waits for what others wrote.
  package static let flushedSinglyMax = 64
  /// Bytes of new objects, each counted with a page of its own, after which an apply has its
  /// filesystem written out.
  package static let writeOutBytes: Int64 = 64 << 20
  /// Portions of the journal that the disk begins with before it is flushed.
  package static let flushPortionBytes: Int64 = 2 << 20
  /// Portions in which a large file that is being made goes to the disk.
  package static let passingBytes: Int64 = 8 << 20
  /// Files that are made of what they were before, where their filesystem shares blocks: smaller
  /// ones are as fast made anew, of larger ones too much would be kept in mind.
  package static let revisedBytesMin: Int64 = 1 << 20
  package static let revisedBytesMax = Int64(historyReferencesMax * chunkBytesMean)
  /// Content of small files that is read ahead of the apply; twice that in memory.
  package static let fetchedBytes: Int64 = 2 << 20
  /// Places that the first apply leaves for its end, one by one; beyond, it looks at all.
  package static let deferredMax = 100_000
  /// Live share of a closed segment below which retention rewrites it.
  package static let liveShareMin = 0.5
  /// Points in one note that drops them.
  package static let droppedInNote = 10_000
  package static let retainEvery = Duration.seconds(60)
  /// Bytes that may be nobody's before retention looks for them; beyond, a quarter of what is used.
  package static let garbageBytesMin: Int64 = 64 << 20
  /// How long the space of dropped points may stay taken where it is less than that.
  package static let compactEvery = Duration.seconds(3600)
  /// Live bytes that one pass of retention copies at most: receiving waits for it.
  package static let compactionBytes: Int64 = 256 << 20

  // Trust.
  package static let tokenTriesMax = 5
  package static let tokenLife = Duration.seconds(15 * 60)

  /// From SIGTERM to the end of the agent, whatever it is at.
  package static let stopWithin = Duration.seconds(10)

  // Control sockets.
  package static let requestBytesMax = 64 << 10
  package static let controlConnectionsMax = 64
}
