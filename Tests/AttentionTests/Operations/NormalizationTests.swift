import Attention
import TestSupport
import Testing

@Suite struct Normalization {
    /// `(x - mean) / √(variance + epsilon) · weight + bias` of rows, or without the mean.
    private func normalized<Scalar: AttentionScalar>(
        _ x: [Scalar], rowLength: Int, weight: [Scalar], bias: [Scalar], epsilon: Scalar, centred: Bool
    ) -> [Scalar] {
        stride(from: 0, to: x.count, by: rowLength).flatMap { start -> [Scalar] in
            let row = x[start..<start + rowLength]
            let mean = centred ? row.reduce(0, +) / Scalar(rowLength) : 0
            var squares: Scalar = 0
            for element in row { squares += (element - mean) * (element - mean) }
            let deviation = (squares / Scalar(rowLength) + epsilon).squareRoot()
            return row.enumerated().map { ($1 - mean) / deviation * weight[$0] + bias[$0] }
        }
    }

    @Test(arguments: [-1, 1, 0], [0.0, 1000.0])
    func `layer and RMS norm agree with Double over the last dimensions`(axis: Int, offset: Double) {
        var random = SeededGenerator(seed: 141)
        let x = random.operand([3, 5, 7], in: offset - 2...offset + 2)
        let shape = Array(x.shape.suffix(axis < 0 ? -axis : 3 - axis))
        let (weight, bias) = (random.operand(shape), random.operand(shape))
        let zeros = [Double](repeating: 0, count: weight.elementCount)
        for (result, isCentred) in [
            (layerNorm(x, weight: weight, bias: bias, axis: axis, epsilon: 1e-3), true),
            (rmsNorm(x, weight: weight, axis: axis, epsilon: 1e-3), false),
        ] {
            let shift = isCentred ? bias.doubles : zeros
            let reference = normalized(
                x.doubles, rowLength: weight.elementCount, weight: weight.doubles, bias: shift, epsilon: 1e-3,
                centred: isCentred)
            let plain = normalized(
                x.floats, rowLength: weight.elementCount, weight: weight.floats,
                bias: shift.map { Float($0) },
                epsilon: 1e-3, centred: isCentred)
            expectAgreement(result, plain: plain, reference: Tensor(reference, shape: x.shape))
        }
    }

    @Test func `the statistics are those of each row`() {
        let x = Tensor([Float(1), 3, 5, 7, -2, -2, -2, -2], shape: [2, 4])
        let result = layerNormWithStatistics(
            x, weight: Tensor([Float(1)], shape: [1]), bias: nil, epsilon: 0.25)
        #expect(result.mean.shape == [2, 1])
        #expect(result.mean.floats == [4, -2])
        expectNear(result.inverseDeviation, [1 / 5.25.squareRoot(), 2], within: 1e-6)
        #expect(result.output.floats.suffix(4) == [0, 0, 0, 0])
    }

    @Test func `weights of one number broadcast, and views and halves are taken`() {
        var random = SeededGenerator(seed: 142)
        let x = random.operand([7, 5])
        let one = Tensor([Float(1)], shape: [1])
        let ones = Tensor([Float](repeating: 1, count: 7), shape: [7])
        let view = x.transposed(0, 1)
        #expect(bits(rmsNorm(view, weight: one)) == bits(rmsNorm(view.contiguous(), weight: ones)))
        let halves = x.converted(to: .bfloat16)
        #expect(
            bits(layerNorm(halves, weight: one))
                == bits(layerNorm(halves.converted(to: .float32), weight: one)))
    }

    @Test func `rows without elements stay so`() {
        #expect(layerNorm(Tensor(zeros: [3, 0]), weight: Tensor(zeros: [0])).shape == [3, 0])
        #expect(rmsNorm(Tensor(zeros: [0, 3]), weight: Tensor(zeros: [3])).shape == [0, 3])
    }
}
