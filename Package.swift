// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

/// The Swift runtime goes into the binary, which must run where no Swift is. Given here, for this
/// one product, rather than by `--static-swift-stdlib`: that option compiles every dependency
/// another way than the tests need, and there is no static library of Swift Testing.
let staticSwift: [LinkerSetting] = [
  .unsafeFlags([
    "-static-stdlib", "-Xclang-linker",
    "-Wl,--start-group,-lFoundation,-lFoundationEssentials,-lFoundationInternationalization,"
      + "-l_FoundationICU,-lCoreFoundation,-l_FoundationCShims,-l_FoundationCollections,"
      + "-ldispatch,-lBlocksRuntime,-lstdc++,-lm,--end-group",
  ])
]

/// Why each one is here, and what it costs: docs/dependencies.md.
let dependencies: [Package.Dependency] = [
  .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
  .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
  .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
  .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
  .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
  .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
]

let package = Package(
  name: "holdfast",
  products: [.executable(name: "holdfast", targets: ["holdfast"])],
  dependencies: dependencies,
  targets: [
    .systemLibrary(name: "CCrypto", path: "Sources/C/CCrypto", pkgConfig: "libcrypto"),
    .systemLibrary(name: "CZstd", path: "Sources/C/CZstd", pkgConfig: "libzstd"),
    .systemLibrary(name: "CZlib", path: "Sources/C/CZlib", pkgConfig: "zlib"),
    .target(name: "CLinux", path: "Sources/C/CLinux"),
    .target(name: "CChecksum", path: "Sources/C/CChecksum"),

    .target(name: "HoldfastCore", swiftSettings: settings),
    .target(
      name: "HoldfastBytes", dependencies: ["CCrypto", "CZstd", "CZlib", "CChecksum"],
      swiftSettings: settings),
    .target(
      name: "HoldfastWire",
      dependencies: [
        "HoldfastCore", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ],
      exclude: ["holdfast.proto"], swiftSettings: settings),
    .target(
      name: "HoldfastStore", dependencies: ["HoldfastBytes", "HoldfastCore"],
      swiftSettings: settings),
    .target(
      name: "HoldfastIndex",
      dependencies: [
        "HoldfastCore", .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "GRDBSQLite", package: "GRDB.swift"),
      ],
      swiftSettings: settings),
    .target(
      name: "HoldfastLinux",
      dependencies: [
        "CLinux", "CCrypto", "HoldfastCore",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOTLS", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ],
      swiftSettings: settings),
    .target(
      name: "HoldfastAgent",
      dependencies: [
        "HoldfastStore", "HoldfastBytes", "HoldfastWire", "HoldfastCore",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .target(
      name: "HoldfastController",
      dependencies: [
        "HoldfastWire", "HoldfastCore", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "holdfast",
      dependencies: [
        "HoldfastAgent", "HoldfastController", "HoldfastLinux", "HoldfastIndex", "HoldfastStore",
        "HoldfastBytes",
        "HoldfastWire", "HoldfastCore",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: settings, linkerSettings: staticSwift),

    .target(
      name: "TestKit",
      dependencies: [
        "HoldfastCore", "HoldfastBytes", "HoldfastStore", "HoldfastIndex", "HoldfastLinux",
      ],
      path: "Tests/TestKit", swiftSettings: settings),
    .target(
      name: "HoldfastSimulation", dependencies: ["HoldfastCore"],
      path: "Tests/HoldfastSimulation", swiftSettings: settings),
    .testTarget(
      name: "SimulationTests", dependencies: ["HoldfastSimulation", "HoldfastCore"],
      exclude: ["Transcripts"],
      swiftSettings: settings),
    .testTarget(
      name: "CoreTests", dependencies: ["HoldfastSimulation", "HoldfastCore"],
      swiftSettings: settings),
    .testTarget(name: "BytesTests", dependencies: ["HoldfastBytes"], swiftSettings: settings),
    .testTarget(
      name: "StoreTests",
      dependencies: [
        "TestKit", "HoldfastBytes", "HoldfastCore", "HoldfastIndex", "HoldfastLinux",
        "HoldfastStore", "HoldfastWire",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "AgentTests",
      dependencies: [
        "TestKit", "HoldfastAgent", "HoldfastController", "HoldfastCore", "HoldfastLinux",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "PortTests",
      dependencies: [
        "TestKit", "HoldfastController", "HoldfastCore", "HoldfastLinux", "HoldfastSimulation",
        "HoldfastWire",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "ControllerTests",
      dependencies: [
        "TestKit", "HoldfastController", "HoldfastCore", "HoldfastLinux",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .testTarget(name: "TidyTests", swiftSettings: settings),
    .testTarget(
      name: "EndToEndTests", dependencies: ["TestKit"], swiftSettings: settings),
  ]
)
