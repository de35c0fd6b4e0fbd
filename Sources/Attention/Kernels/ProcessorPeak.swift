internal import CAttentionKernels

/// What the processor and its memory can do at most, measured on the threads that compute: what a computation's speed is a
/// share of.
public struct ProcessorPeak: Sendable, Hashable {
    /// Multiply-adds of float32, as two operations each, per second; 0 where the processor has no vectors.
    public let float32: Double
    /// Products of bfloat16 added in float32, per second; 0 where the processor has none.
    public let bfloat16: Double
    /// Products of bytes added in int32, per second; 0 where the processor has none.
    public let int8: Double
    /// Bytes read from memory, not from a cache, per second.
    public let memoryBandwidth: Double

    /// Measures, in about a second.
    ///
    /// The best of several tries counts, since whatever disturbs makes them slower.
    ///
    /// - Returns: What ``ComputeThreads/count`` threads do together.
    public static func measured() -> ProcessorPeak {
        ProcessorPeak(
            float32: rate(of: sattn_peak_float32), bfloat16: rate(of: sattn_peak_bfloat16),
            int8: rate(of: sattn_peak_int8), memoryBandwidth: bandwidth())
    }

    private static func rate(of chain: @Sendable (Int) -> Int) -> Double {
        let threadCount = ComputeThreads.count
        let operationCount = threadCount * chain(1)
        guard operationCount > 0 else { return 0 }
        func time(_ rounds: Int, tries: Int) -> Double {
            shortestTime(of: tries) { parallel(threadCount) { _ in _ = chain(rounds) } }
        }
        // Long enough for the clock, and for the threads to find processors of their own.
        var rounds = 1000
        while time(rounds, tries: 1) < 0.005 { rounds *= 2 }
        return Double(operationCount * rounds) / time(rounds, tries: 12)
    }

    private static func bandwidth() -> Double {
        // More than any cache of these processors holds.
        let byteCount = 512 << 20
        let pieceSize = 1 << 20
        // Not from the pool of buffers, which would keep it.
        let start = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
        defer { start.deallocate() }
        parallel(byteCount / pieceSize) { piece in
            (start + piece * pieceSize).initializeMemory(as: UInt8.self, repeating: 1, count: pieceSize)
        }
        return Double(byteCount)
            / shortestTime(of: 5) {
                parallel(byteCount / pieceSize) { piece in _ = sattn_read(start + piece * pieceSize, pieceSize) }
            }
    }

    private static func shortestTime(of count: Int, _ body: () -> Void) -> Double {
        let clock = ContinuousClock()
        return (0..<count).map { _ in clock.measure(body) / .seconds(1) }.min() ?? .infinity
    }
}
