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

@Suite struct Activations {
    /// From -∞ to ∞ by way of tails, zeros and denormals.
    private let inputs: [Float] =
        [0, -0.0, 0x1p-140, -0x1p-140, 100, -100, 1e30, -1e30, .infinity]
        + (-300...300).map { Float($0) / 23 }

    /// Errors relative to each number: an activation's small values count as its large ones do.
    private func expectDigits(
        _ actual: Tensor, _ expected: (Double) -> Double, within relative: Double,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for (input, result) in zip(inputs, actual.floats) {
            let wanted = expected(Double(input))
            if Double(result) == wanted { continue }
            // x / (1 + eᵃ) is 0 where eᵃ overflows: |x| · 2⁻¹²⁸, with |x| up to 89.
            let floor = 89 * 0x1p-128
            #expect(
                abs(Double(result) - wanted) <= relative * abs(wanted) + floor,
                "\(result), not \(wanted), for \(input)", sourceLocation: sourceLocation)
        }
    }

    @Test func `GELU is x times the normal distribution, to the last digits of its tail`() {
        expectDigits(
            gelu(Tensor(inputs, shape: [inputs.count])), { $0 * 0.5 * erfc(-$0 / 2.squareRoot()) },
            within: 0x1p-21)
        // 1 + erf would cancel.
        #expect(gelu(Tensor([Float(-10)], shape: [1])).floats[0] < 0)
    }

    // The argument 2u of the exponential is good to one part in 2²³ and up to 90: so are its digits.
    @Test func `GELU by tanh and SiLU agree with Double`() {
        let x = Tensor(inputs, shape: [inputs.count])
        expectDigits(
            geluTanh(x),
            { x in
                let inner = (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
                return x / (1 + Double.exp(-2 * inner))
            }, within: 90 * 0x1p-22)
        expectDigits(silu(x), { $0 / (1 + Double.exp(-$0)) }, within: 0x1p-21)
    }

    @Test func `NaN shows in its own place alone`() {
        for activation in [gelu, geluTanh, silu] {
            let result = activation(Tensor([Float(1), .nan, -1], shape: [3])).floats
            #expect(result.map(\.isNaN) == [false, true, false])
        }
    }

    @Test func `views and halves are taken, and any length`() {
        var random = SeededGenerator(seed: 151)
        let x = random.operand([67, 131])
        for activation in [gelu, geluTanh, silu] {
            let whole = activation(x)
            #expect(whole.shape == [67, 131])
            #expect(activation(x.transposed(0, 1)).transposed(0, 1).floats == whole.floats)
            let halves = x.converted(to: .float16)
            #expect(bits(activation(halves)) == bits(activation(halves.converted(to: .float32))))
            #expect(activation(Tensor(zeros: [0])).shape == [0])
        }
    }
}
