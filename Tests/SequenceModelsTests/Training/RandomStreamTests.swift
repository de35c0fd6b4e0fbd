import Attention
import Testing

@Suite struct `Random numbers` {
    private static func numbers(_ stream: RandomStream, _ count: Int) -> [UInt64] {
        var stream = stream
        return (0..<count).map { _ in stream.next() }
    }

    @Test func `a place in the stream is one number`() {
        var stream = RandomStream(seed: 5)
        let all = Self.numbers(stream, 20)
        for taken in 0..<20 {
            #expect(stream.position == UInt64(taken))
            #expect(Self.numbers(RandomStream(seed: 5, position: UInt64(taken)), 20 - taken) == Array(all[taken...]))
            _ = stream.next()
        }
    }

    @Test func `streams of other seeds and parts share nothing`() {
        var seen: Set<UInt64> = []
        var count = 0
        for seed in [0, 1, 2, .max] as [UInt64] {
            let stream = RandomStream(seed: seed)
            for part in [stream] + ([0, 1, 2, .max] as [UInt64]).map({ stream.stream(for: $0) }) {
                seen.formUnion(Self.numbers(part, 50))
                count += 50
            }
        }
        #expect(seen.count == count)
        // A part does not depend on how far the stream is.
        var advanced = RandomStream(seed: 7)
        _ = advanced.next()
        #expect(advanced.stream(for: 3) == RandomStream(seed: 7).stream(for: 3))
    }

    @Test func `numbers are spread as they say`() {
        var stream = RandomStream(seed: 11)
        let count = 20_000
        let uniform = stream.uniform([count], bound: 3).doubles
        #expect(uniform.allSatisfy { abs($0) <= 3 })
        func mean(_ x: [Double]) -> Double { x.reduce(0, +) / Double(count) }
        // Mean 0 and variance 3²/3, within four deviations.
        #expect(abs(mean(uniform)) < 4 * (3 / Double(count)).squareRoot())
        #expect(abs(mean(uniform.map { $0 * $0 }) - 3) < 0.08)
        let normal = stream.normal([count], deviation: 2).doubles
        #expect(abs(mean(normal)) < 4 * 2 / Double(count).squareRoot())
        #expect(abs(mean(normal.map { $0 * $0 }) - 4) < 4 * 4 * (2 / Double(count)).squareRoot())
        // 4.6 % lie beyond two deviations.
        let beyond = Double(normal.count { abs($0) > 4 }) / Double(count)
        #expect(abs(beyond - 0.0455) < 0.006)
    }

    // By the definition in Steele et al., 2014, in Python:
    //
    //     def mixed(z):
    //         z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M; z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    //         return z ^ (z >> 31)
    //     [mixed((mixed(seed) + n * 0x9E3779B97F4A7C15) & M) for n in (1, 2)], seed = 42
    @Test func `numbers are the same on every machine`() {
        #expect(Self.numbers(RandomStream(seed: 42), 2) == [0x989B_3F13_0A06_3869, 0x290D_B4BF_2570_DED7])
    }
}
