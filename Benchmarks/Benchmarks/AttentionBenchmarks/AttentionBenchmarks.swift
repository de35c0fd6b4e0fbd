import Benchmark
import Workloads

// The work of `attend bench`, each checked before it is timed, with this tool's statistics and comparisons: what became
// slower since a baseline. Name some of them with `--filter`.

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], warmupIterations: 2, maxDuration: .seconds(2), maxIterations: 100_000)
    for workload in WorkloadSubject.allCases.flatMap(\.workloads) {
        Benchmark(workload.name) { benchmark in
            let run = try workload.prepared()
            benchmark.startMeasurement()
            for _ in benchmark.scaledIterations { run() }
            benchmark.stopMeasurement()
        }
    }
}
