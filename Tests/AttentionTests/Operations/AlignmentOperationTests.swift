import Attention
import TestSupport
import Testing

@Suite struct `Operations of alignments` {
    @Test func `a batched product multiplies each matrix by its counterpart`() {
        var generator = SeededGenerator(seed: 1)
        let (left, right) = (generator.tensor([2, 3, 5, 7]), generator.tensor([2, 3, 7, 11]))
        let result = batchedMatmul(left, right)
        #expect(result.shape == [2, 3, 5, 11])
        var largest = 0.0
        for (a, b, m, n) in [(0, 0, 0, 0), (1, 2, 4, 10), (1, 0, 3, 7), (0, 2, 2, 5)] {
            let sum = (0..<7).reduce(0.0) { $0 + left[a, b, m, $1] * right[a, b, $1, n] }
            largest = max(largest, abs(result[a, b, m, n] - sum))
        }
        #expect(largest < 1e-14)
        #expect(batchedMatmul(left.converted(to: .float32), right).elementType == .float32)
    }

    @Test func `a batched product has the gradients that central differences find`() {
        var generator = SeededGenerator(seed: 2)
        let operands = [generator.tensor([3, 2, 5]), generator.tensor([3, 5, 7])]
        #expect(gradientProblems(of: operands) { batchedMatmul($0[0], $0[1]) } == [])
        #expect(
            gradientProblems(of: [operands[0], generator.tensor([3, 7, 5])]) {
                batchedMatmul($0[0], $0[1].transposed(1, 2))
            } == [])
    }

    @Test func `a batched product over no columns is zeros`() {
        #expect(
            batchedMatmul(Tensor(zeros: [2, 3, 0]), Tensor(zeros: [2, 0, 5])).floats == [Float](repeating: 0, count: 30)
        )
    }

    @Test func `matrices that do not fit stop the program`() async {
        await #expect(processExitsWith: .failure) {
            _ = batchedMatmul(Tensor(zeros: [2, 3, 5]), Tensor(zeros: [2, 7, 5]))
        }
    }

    @Test func `a Gaussian window is 1 at its centre, and falls on both sides`() {
        let window = gaussianWindow(centers: Tensor([2, 0.5] as [Double], shape: [2]), length: 5, deviation: 1)
        #expect(window.shape == [2, 5] && window[0, 2] == 1)
        #expect(abs(window[0, 4] - Double.exp(-2)) < 1e-15 && abs(window[0, 0] - Double.exp(-2)) < 1e-15)
        #expect(abs(window[1, 0] - window[1, 1]) < 1e-15)
    }

    @Test func `a Gaussian window has the gradient that central differences find`() {
        var generator = SeededGenerator(seed: 4)
        let centers = generator.tensor([2, 3], bound: 4)
        #expect(gradientProblems(of: [centers]) { gaussianWindow(centers: $0[0], length: 7, deviation: 1.5) } == [])
    }
}
