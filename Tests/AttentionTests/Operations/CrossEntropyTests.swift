import Attention
import Foundation
import TestSupport
import Testing

@Suite struct `Cross-entropy` {
    @Test func `is the mean of negative log-probabilities over the rows that have a target`() {
        var generator = SeededGenerator(seed: 71)
        let logits = generator.tensor([2, 5, 7], bound: 9)
        let targets = [0, 6, -1, 3, 3, -1, 2, 0, 5, 1]
        let numbers = logits.doubles
        var sum = 0.0
        for (row, target) in targets.enumerated() where target >= 0 {
            let x = Array(numbers[row * 7..<row * 7 + 7])
            sum += log(x.reduce(0) { $0 + exp($1) }) - x[target]
        }
        #expect(abs(crossEntropy(logits, targets: targets).doubles[0] - sum / 8) <= 1e-14)
        #expect(abs(Double(crossEntropy(logits.converted(to: .float32), targets: targets).floats[0]) - sum / 8) <= 1e-6)
        #expect(crossEntropy(logits, targets: targets).shape == [])
    }

    @Test func `gradients match central differences`() {
        var generator = SeededGenerator(seed: 72)
        let targets = [4, -1, 0, 10, 4]
        #expect(
            gradientProblems(of: [generator.tensor([5, 11], bound: 3)]) { crossEntropy($0[0], targets: targets) } == [])
        let viewed = generator.tensor([11, 5], bound: 3)
        #expect(gradientProblems(of: [viewed]) { crossEntropy($0[0].transposed(0, 1), targets: targets) * -2 } == [])
    }

    @Test func `gradients in Float are those in Double`() {
        var generator = SeededGenerator(seed: 73)
        let logits = generator.tensor([13, 67], bound: 5)
        let targets = (0..<13).map { $0 % 4 == 3 ? -1 : 5 * $0 }
        func gradient(_ x: Tensor) -> Tensor {
            let x = x.tracked()
            return crossEntropy(x, targets: targets).gradients(of: [x])[0]
        }
        let (single, double) = (gradient(logits.converted(to: .float32)), gradient(logits))
        #expect(single.elementType == .float32 && double.elementType == .float64)
        #expect(zip(single.doubles, double.doubles).allSatisfy { abs($0 - $1) <= 1e-7 })
        #expect(Array(single.floats[3 * 67..<4 * 67]) == [Float](repeating: 0, count: 67))
    }

    @Test func `without any target is 0, and so is its gradient`() {
        let logits = Tensor([1, 2, .infinity, .nan] as [Float], shape: [2, 2]).tracked()
        let loss = crossEntropy(logits, targets: [-1, -1])
        #expect(loss.floats == [0])
        #expect(loss.gradients(of: [logits])[0].floats == [0, 0, 0, 0])
        #expect(crossEntropy(Tensor(zeros: [0, 5]), targets: []).floats == [0])
    }

    @Test func `large logits neither overflow nor lose the loss`() {
        let logits = Tensor([1000, 990, -1000, -990] as [Float], shape: [2, 2])
        let expected = log1p(exp(-10.0))
        #expect(abs(crossEntropy(logits, targets: [0, 1]).doubles[0] - expected) <= 1e-4)
        // Excluded classes have logits of -∞.
        let excluded = Tensor([0, -.infinity, 0] as [Float], shape: [1, 3]).tracked()
        let loss = crossEntropy(excluded, targets: [2])
        #expect(abs(loss.doubles[0] - log(2.0)) <= 1e-7)
        #expect(loss.gradients(of: [excluded])[0].floats == [0.5, 0, -0.5])
    }

    @Test func `a target that is no class stops the program`() async {
        await #expect(processExitsWith: .failure) {
            _ = crossEntropy(Tensor(zeros: [1, 3]), targets: [3])
        }
        await #expect(processExitsWith: .failure) {
            _ = crossEntropy(Tensor(zeros: [2, 3]), targets: [1])
        }
    }
}
