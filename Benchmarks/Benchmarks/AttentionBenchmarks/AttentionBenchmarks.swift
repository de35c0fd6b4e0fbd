import Attention
import Benchmark

// Each benchmark checks a few rows of its result against the reference in Double before it is timed. Throughput is in
// thousands of calls; a call's operations are in its name: 4·B·H·T_q·T_k·D, half of it under a causal mask.

/// A shape that users have: batch, heads, key-value heads, queries, keys, head dimension.
struct Workload {
    let batchCount: Int
    let headCount: Int
    let keyValueHeadCount: Int
    let queryCount: Int
    let keyCount: Int
    let dimension: Int
    var similarity: any Similarity = Dot()
    var mask = AttentionMask.none
    var note = ""

    var name: String {
        "attention b\(batchCount) h\(headCount) g\(keyValueHeadCount) q\(queryCount) k\(keyCount) d\(dimension)\(note)"
    }

    /// Queries, keys and values, the same in every run.
    func operands() -> (queries: Tensor, keys: Tensor, values: Tensor) {
        var state: UInt64 = 42
        func random(_ headCount: Int, _ length: Int) -> Tensor {
            let shape = [batchCount, headCount, length, dimension]
            let numbers = (0..<shape.reduce(1, *)).map { _ -> Float in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
            }
            return Tensor(numbers, shape: shape)
        }
        return (
            random(headCount, queryCount), random(keyValueHeadCount, keyCount), random(keyValueHeadCount, keyCount)
        )
    }

    /// Stops the program if the first head's last query is wrong.
    func check(_ output: Tensor, _ operation: AttentionOperation, _ queries: Tensor, _ keys: Tensor, _ values: Tensor) {
        let last = queryCount - 1..<queryCount
        var alone = operation
        // The last query sees every key under a causal mask without an offset.
        alone.mask = .none
        func first(_ tensor: Tensor) -> Tensor {
            tensor.slice(axis: 0, range: 0..<1).slice(axis: 1, range: 0..<1)
        }
        let expected = alone.reference(
            queries: first(queries).slice(axis: 2, range: last), keys: first(keys), values: first(values)
        ).output.doubles
        let found = first(output).slice(axis: 2, range: last).doubles
        let error = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
        precondition(error < 1e-5, "\(name) is off by \(error).")
    }
}

let workloads: [Workload] = [
    Workload(batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 128, keyCount: 128, dimension: 64),
    Workload(batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 512, keyCount: 512, dimension: 64),
    Workload(
        batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 2048, keyCount: 2048, dimension: 64),
    Workload(
        batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 2048, keyCount: 2048, dimension: 64,
        mask: .causal(offset: 0), note: " causal"),
    Workload(
        batchCount: 1, headCount: 9, keyValueHeadCount: 3, queryCount: 1024, keyCount: 1024, dimension: 64,
        mask: .causal(offset: 0), note: " causal"),
    Workload(
        batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 512, keyCount: 512, dimension: 64,
        similarity: Euclidean(), note: " euclidean"),
    Workload(
        batchCount: 1, headCount: 12, keyValueHeadCount: 12, queryCount: 512, keyCount: 512, dimension: 64,
        similarity: Laplacian(), note: " laplacian"),
    Workload(batchCount: 1, headCount: 9, keyValueHeadCount: 3, queryCount: 1, keyCount: 4096, dimension: 64),
]

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], warmupIterations: 2, maxDuration: .seconds(2), maxIterations: 100_000)
    for workload in workloads {
        Benchmark(workload.name) { benchmark in
            let (queries, keys, values) = workload.operands()
            var operation = AttentionOperation(mask: workload.mask)
            operation.similarity = workload.similarity
            workload.check(
                operation(queries: queries, keys: keys, values: values), operation, queries, keys, values)
            benchmark.startMeasurement()
            for _ in benchmark.scaledIterations {
                blackHole(operation(queries: queries, keys: keys, values: values))
            }
            benchmark.stopMeasurement()
        }
    }
}
