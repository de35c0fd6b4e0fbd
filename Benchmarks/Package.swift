// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that what it depends on never reaches users.
let package = Package(
    name: "Benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-attention", path: ".."),
        // Without its default traits: they count allocations, which is of no use on Linux.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "AttentionBenchmarks",
            dependencies: [
                .product(name: "Workloads", package: "swift-attention"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/AttentionBenchmarks",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ]
)
