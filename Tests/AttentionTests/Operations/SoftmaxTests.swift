import Attention
import TestSupport
import Testing

@Suite struct Softmax {
    /// Along the last dimension, by the definition.
    private func expected<Scalar: AttentionScalar>(_ row: [Scalar]) -> [Scalar] {
        let largest = row.max() ?? 0
        let exponentials = row.map { Scalar.exp($0 - largest) }
        let sum = exponentials.reduce(0, +)
        return exponentials.map { $0 / sum }
    }

    @Test(arguments: [0, 1, 2, -1, -2])
    func `agrees with Double along every dimension`(axis: Int) {
        var random = SeededGenerator(seed: 131)
        let x = random.operand([3, 5, 7], in: -9...9)
        let moved = x.transposed(axis, 2)
        let width = moved.shape[2]
        let numbers = moved.doubles
        let rows = stride(from: 0, to: numbers.count, by: width).map { Array(numbers[$0..<$0 + width]) }
        let reference = Tensor(rows.flatMap(expected), shape: moved.shape)
        let plain = rows.flatMap { expected($0.map { Float($0) }) }
        let result = softmax(x, axis: axis)
        #expect(result.isContiguous)
        #expect(result.elementType == .float32)
        expectAgreement(result.transposed(axis, 2), plain: plain, reference: reference)
        let double = softmax(x.converted(to: .float64), axis: axis)
        #expect(double.elementType == .float64)
        expectNear(double.transposed(axis, 2), reference.doubles, within: 1e-14)
    }

    @Test func `a row of nothing but −∞ yields zeros, and one with some weighs the rest`() {
        let x = Tensor([-Float.infinity, -.infinity, -.infinity, 1, -.infinity, 1], shape: [2, 3])
        #expect(softmax(x).floats == [0, 0, 0, 0.5, 0, 0.5])
        #expect(softmax(x, axis: 0).floats == [0, 0, 0, 1, 0, 1])
        #expect(softmax(x.converted(to: .float64)).doubles == [0, 0, 0, 0.5, 0, 0.5])
    }

    @Test func `huge numbers do not overflow, and NaN shows`() {
        expectNear(softmax(Tensor([Float(1e30), 1e30, -1e30], shape: [3])), [0.5, 0.5, 0], within: 1e-6)
        let spoiled = softmax(Tensor([Float(1), .nan, 2, 3, 4, 5], shape: [2, 3])).floats
        #expect(spoiled.prefix(3).allSatisfy { $0.isNaN })
        #expect(spoiled.suffix(3).allSatisfy { $0.isFinite })
    }

    @Test func `rows without elements stay so`() {
        #expect(softmax(Tensor(zeros: [3, 0])).shape == [3, 0])
        #expect(softmax(Tensor(zeros: [0, 3])).shape == [0, 3])
    }
}
