import Attention
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite struct `Rotary embedding` {
    /// Each pair as a complex number, times e^(i · position · frequency).
    private func rotated(_ row: [Double], _ rotary: RotaryEmbedding, position: Int, frequencies: [Double])
        -> [Double]
    {
        var result = row
        for pair in 0..<rotary.dimension / 2 {
            let (first, second) =
                switch rotary.layout {
                case .half: (pair, pair + rotary.dimension / 2)
                case .interleaved: (2 * pair, 2 * pair + 1)
                }
            let angle = Double(position) * frequencies[pair]
            result[first] = row[first] * cos(angle) - row[second] * sin(angle)
            result[second] = row[first] * sin(angle) + row[second] * cos(angle)
        }
        return result
    }

    @Test(arguments: [RotaryEmbedding.Layout.half, .interleaved], [12, 8, 2])
    func `rotates pairs as complex numbers and leaves the rest`(
        layout: RotaryEmbedding.Layout, dimension: Int
    ) {
        var random = SeededGenerator(seed: 161)
        let x = random.operand([2, 3, 5, 12])
        let rotary = RotaryEmbedding(dimension: dimension, base: 500, layout: layout)
        let frequencies = (0..<dimension / 2).map { pow(500, -2 * Double($0) / Double(dimension)) }
        let positions = [[0, 1, 2, 3, 100_003], [7, 7, 0, 1, 9]]
        let result = rotary(x, positions: positions)
        var expected: [Double] = []
        for batch in 0..<2 {
            for head in 0..<3 {
                for token in 0..<5 {
                    let row = (0..<12).map { x[batch, head, token, $0] }
                    expected += rotated(
                        row, rotary, position: positions[batch][token], frequencies: frequencies)
                }
            }
        }
        // Cosine, sine, two products and a sum, each rounded once.
        expectNear(result, expected, within: 0x1p-22)
        let columns = x.transposed(2, 3).contiguous().transposed(2, 3)
        #expect(bits(rotary(columns, positions: positions)) == bits(result))
        #expect(
            result.slice(axis: 3, range: dimension..<12).floats
                == x.slice(axis: 3, range: dimension..<12).floats)
    }

    @Test(arguments: [RotaryEmbedding.Layout.half, .interleaved])
    func `the product of rotated queries and keys depends on their distance alone`(
        layout: RotaryEmbedding.Layout
    ) {
        var random = SeededGenerator(seed: 162)
        let rotary = RotaryEmbedding(dimension: 16, layout: layout)
        let (query, key) = (random.operand([1, 1, 1, 16]), random.operand([1, 1, 1, 16]))
        func product(_ queryPosition: Int, _ keyPosition: Int) -> Double {
            let (q, k) = (
                rotary(query, positions: [[queryPosition]]), rotary(key, positions: [[keyPosition]])
            )
            return zip(q.doubles, k.doubles).reduce(0) { $0 + $1.0 * $1.1 }
        }
        for distance in [0, 1, 17] {
            for start in [1, 50, 4000] {
                #expect(abs(product(start + distance, start) - product(distance, 0)) < 1e-5)
            }
        }
        #expect(abs(product(1, 0) - product(0, 0)) > 1e-3)
    }

    @Test func `frequencies fall from 1 as the paper has them`() {
        let frequencies = RotaryEmbedding(dimension: 8, layout: .half).frequencies
        for (frequency, expected) in zip(frequencies, [1, 0.1, 0.01, 0.001]) {
            #expect(abs(frequency - expected) < 1e-15)
        }
    }

    @Test func `scaling slows the angles down`() {
        func frequencies(_ scaling: RotaryEmbedding.Scaling) -> [Double] {
            RotaryEmbedding(dimension: 64, base: 500_000, layout: .half, scaling: scaling).frequencies
        }
        let plain = frequencies(.none)
        for (frequency, slowed) in zip(plain, frequencies(.linear(factor: 4))) {
            #expect(abs(slowed - frequency / 4) < 1e-15)
        }
        // The fastest pair stays, the slowest turns `factor` times as slowly.
        let ntk = frequencies(.ntk(factor: 4))
        #expect(ntk[0] == plain[0])
        #expect(abs(ntk[31] * 4 / plain[31] - 1) < 1e-12)
        // As Llama 3.1's configuration has it: wavelengths below 8,192 / 4 stay, those above 8,192 / 1 are
        // divided by 8, and between them the two are blended.
        let llama = frequencies(
            .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, trainedLength: 8192))
        for (frequency, scaled) in zip(plain, llama) {
            let wavelength = 2 * Double.pi / frequency
            if wavelength < 2048 {
                #expect(scaled == frequency)
            } else if wavelength > 8192 {
                #expect(abs(scaled * 8 / frequency - 1) < 1e-12)
            } else {
                let blend = (8192 / wavelength - 1) / 3
                let expected = blend * frequency + (1 - blend) * frequency / 8
                #expect(abs(scaled - expected) < 1e-15)
            }
        }
        #expect(Set(llama).count == 32)
    }

    @Test func `a scaled embedding rotates by its own frequencies`() {
        var random = SeededGenerator(seed: 163)
        let x = random.operand([1, 1, 1, 8])
        let rotary = RotaryEmbedding(dimension: 8, layout: .interleaved, scaling: .linear(factor: 2))
        let plain = RotaryEmbedding(dimension: 8, layout: .interleaved)
        #expect(bits(rotary(x, positions: [[6]])) == bits(plain(x, positions: [[3]])))
    }

    @Test func `angles may be given, fewer than half the elements`() {
        let x = Tensor([Float(1), 2, 3, 4, 5], shape: [1, 1, 1, 5])
        let (cosines, sines) = (
            Tensor([Float(0), 0], shape: [1, 1, 2]), Tensor([Float(1), 1], shape: [1, 1, 2])
        )
        #expect(rotate(x, cosines: cosines, sines: sines, layout: .half).floats == [-3, -4, 1, 2, 5])
        #expect(rotate(x, cosines: cosines, sines: sines, layout: .interleaved).floats == [-2, 1, -4, 3, 5])
    }
}
