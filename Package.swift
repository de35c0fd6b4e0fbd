// swift-tools-version: 6.3
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "swift-attention",
    products: [
        .library(name: "Attention", targets: ["Attention"]),
        .library(name: "SequenceModels", targets: ["SequenceModels"]),
        .library(name: "ModelFiles", targets: ["ModelFiles"]),
        .library(name: "PretrainedModels", targets: ["PretrainedModels"]),
        // What `attend bench` and the package in Benchmarks time.
        .library(name: "Workloads", targets: ["Workloads"]),
        .library(name: "AttentionInspection", targets: ["AttentionInspection"]),
        // What the package in Fuzzing feeds with bytes.
        .library(name: "FileFuzzing", targets: ["FileFuzzing"]),
        .library(name: "ModelFuzzing", targets: ["ModelFuzzing"]),
        .library(name: "SemanticSearch", targets: ["SemanticSearch"]),
        .executable(name: "attend", targets: ["attend"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.9.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
        // SQLite, for `SemanticSearch` alone.
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // MARK: - The house, from the ground up
        .target(name: "CAttentionKernels"),
        .target(name: "Attention", dependencies: ["CAttentionKernels"], swiftSettings: strict),
        .target(name: "SequenceModels", dependencies: ["Attention"], swiftSettings: strict),
        .target(name: "ModelFiles", swiftSettings: strict),
        .target(
            name: "PretrainedModels", dependencies: ["SequenceModels", "ModelFiles"], swiftSettings: strict),
        .target(
            name: "AttentionInspection", dependencies: ["PretrainedModels"], swiftSettings: strict),
        .target(
            name: "AttentionServer",
            dependencies: [
                "AttentionInspection", "PretrainedModels", "SequenceModels", "Attention",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
            ],
            resources: [.copy("Resources/page")], swiftSettings: strict),
        .target(
            name: "SemanticSearch",
            dependencies: ["AttentionInspection", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),
        .target(name: "Workloads", dependencies: ["PretrainedModels"], swiftSettings: strict),
        .executableTarget(
            name: "attend",
            dependencies: [
                "AttentionInspection", "AttentionServer", "SemanticSearch", "Workloads",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // MARK: - Examples
        .executableTarget(
            name: "digits",
            dependencies: [
                "SequenceModels", "Attention", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Examples/Digits", swiftSettings: strict),
        .executableTarget(
            name: "tokenize", dependencies: ["ModelFiles"], path: "Examples/Tokenize", swiftSettings: strict),

        // MARK: - Tests
        .testTarget(
            name: "DigitsTests", dependencies: ["TestSupport", "digits", "SequenceModels", "Attention"],
            swiftSettings: strict),
        .testTarget(
            name: "AttentionTests", dependencies: ["Attention", "CAttentionKernels", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ModelFilesTests", dependencies: ["ModelFiles", "FileFuzzing", "TestSupport"], swiftSettings: strict),
        .target(
            name: "FileFuzzing", dependencies: ["ModelFiles"], path: "Tests/FileFuzzing", swiftSettings: strict),
        .target(
            name: "ModelFuzzing",
            dependencies: [
                "PretrainedModels", "SequenceModels", "ModelFiles", "FileFuzzing", "Attention", "TestSupport",
            ], path: "Tests/ModelFuzzing", swiftSettings: strict),
        .target(
            name: "TestSupport", dependencies: ["Attention", "ModelFiles"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .testTarget(
            name: "SequenceModelsTests", dependencies: ["SequenceModels", "Attention", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "PretrainedModelsTests",
            dependencies: [
                "PretrainedModels", "SequenceModels", "ModelFiles", "Attention", "ModelFuzzing", "FileFuzzing",
                "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AttentionInspectionTests",
            dependencies: [
                "AttentionInspection", "PretrainedModels", "SequenceModels", "ModelFiles", "Attention", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AttentionServerTests", dependencies: ["AttentionServer", "AttentionInspection", "PretrainedModels"],
            swiftSettings: strict),
        .testTarget(
            name: "SemanticSearchTests",
            dependencies: ["SemanticSearch", "PretrainedModels", "SequenceModels", "Attention", "TestSupport"],
            swiftSettings: strict),
        .testTarget(name: "WorkloadsTests", dependencies: ["Workloads"], swiftSettings: strict),
        .testTarget(
            name: "attendTests", dependencies: ["attend", "Attention", "ModelFiles", "FileFuzzing", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ReadmeTests",
            dependencies: ["Attention", "AttentionInspection", "PretrainedModels", "SequenceModels"],
            swiftSettings: strict),
        .testTarget(
            name: "ConformanceTests", dependencies: ["SequenceModels", "Attention", "ModelFiles"], swiftSettings: strict
        ),
    ]
)

// Tests of the libraries alone, in release as well, need not wait for what the command is built with.
if Context.environment["ATTENTION_LIBRARIES_ONLY"] != nil {
    let command: Set = [
        "attend", "AttentionServer", "SemanticSearch", "digits", "attendTests", "AttentionServerTests",
        "SemanticSearchTests", "DigitsTests",
    ]
    package.targets.removeAll { command.contains($0.name) }
    package.products.removeAll { command.contains($0.name) }
    package.dependencies = []
}
