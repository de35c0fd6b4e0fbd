// swift-tools-version: 6.3
import PackageDescription

// A file alone would otherwise be a script, with a beginning of its own.
let library: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

// A package of its own, since it has to be built with -sanitize=fuzzer: see Scripts/fuzz.
let package = Package(
    name: "Fuzzing",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "swift-attention", path: "..")],
    targets: [
        .target(name: "FuzzDriver", dependencies: [.product(name: "FileFuzzing", package: "swift-attention")]),
        // Apart from the other, which is much larger: libFuzzer goes through all counters after each input.
        .executableTarget(
            name: "fuzz-files",
            dependencies: ["FuzzDriver", .product(name: "FileFuzzing", package: "swift-attention")],
            swiftSettings: library),
        .executableTarget(
            name: "fuzz-models",
            dependencies: ["FuzzDriver", .product(name: "ModelFuzzing", package: "swift-attention")],
            swiftSettings: library),
    ]
)
