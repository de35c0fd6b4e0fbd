import Attention
import SequenceModels
import TestSupport
import Testing

/// A parameter of each kind.
private struct Parameters: Layer {
    var weight = Tensor(filledWith: 1, shape: [2, 3])
    var bias = Tensor(filledWith: 1, shape: [2])
    var embedding = Tensor(filledWith: 1, shape: [5, 3])

    mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
        try visit("bias", &bias)
        try visit("embedding.weight", &embedding)
    }
}

// The steps themselves are held against PyTorch's by the conformance suite.
@Suite struct `Optimizers` {
    @Test func `make matrices decay, and neither biases nor embeddings`() {
        var parameters = Parameters()
        let zeros = parameters.parameters.map { Tensor(zeros: $0.value.shape) }
        var optimizer = Optimizer(.adamW(weightDecay: 0.5))
        optimizer.step(&parameters, gradients: zeros, learningRate: 0.1)
        #expect(parameters.weight.floats.allSatisfy { abs($0 - 0.95) < 1e-6 })
        #expect(parameters.bias.floats.allSatisfy { $0 == 1 })
        #expect(parameters.embedding.floats.allSatisfy { $0 == 1 })
    }

    @Test(arguments: [OptimizerKind.sgd(), .sgd(momentum: 0.9), .adam(), .adamW()])
    func `go on from what they remember`(kind: OptimizerKind) {
        var generator = SeededGenerator(seed: 3)
        let gradients = (0..<4).map { _ in
            [[2, 3], [2], [5, 3]].map { Tensor(generator.floats($0.reduce(1, *)), shape: $0) }
        }
        var (whole, resumed) = (Parameters(), Parameters())
        var (first, second) = (Optimizer(kind), Optimizer(kind))
        for step in gradients { first.step(&whole, gradients: step, learningRate: 0.1) }
        for step in gradients {
            second = Optimizer(kind, stepCount: second.stepCount, moments: second.moments)
            second.step(&resumed, gradients: step, learningRate: 0.1)
        }
        #expect(second.stepCount == 4)
        #expect(whole.parameters.map(\.value.floats) == resumed.parameters.map(\.value.floats))
    }

    @Test func `share memory with no copy of the parameters`() {
        let before = Parameters()
        var after = before
        var optimizer = Optimizer(.sgd())
        let ones = before.parameters.map { Tensor(filledWith: 1, shape: $0.value.shape) }
        optimizer.step(&after, gradients: ones, learningRate: 1)
        #expect(before.weight.floats.allSatisfy { $0 == 1 })
        #expect(after.weight.floats.allSatisfy { $0 == 0 })
    }

    @Test func `stop with both shapes where a gradient does not fit`() async {
        await #expect(processExitsWith: .failure) {
            var parameters = Parameters()
            var optimizer = Optimizer(.sgd())
            optimizer.step(
                &parameters, gradients: [[3, 2], [2], [5, 3]].map { Tensor(zeros: $0) }, learningRate: 1)
        }
    }

    @Test func `clip by the norm of all gradients together`() {
        var gradients = [Tensor([3] as [Float], shape: [1]), Tensor([0, 4] as [Float], shape: [2])]
        #expect(clipByGlobalNorm(&gradients, maximumNorm: 10) == 5)
        #expect(gradients[0].floats == [3])
        #expect(clipByGlobalNorm(&gradients, maximumNorm: 1) == 5)
        #expect(abs(globalNorm(gradients) - 1) < 1e-5)
        #expect(abs(gradients[1].floats[1] - 0.8) < 1e-6)
        gradients[0] = Tensor([.nan] as [Float], shape: [1])
        #expect(clipByGlobalNorm(&gradients, maximumNorm: 1).isNaN)
    }
}

@Suite struct `Learning rate schedules` {
    @Test func `of a cosine rise in a line and fall to a tenth`() {
        func factor(_ progress: Double) -> Double {
            LearningRateSchedule.cosine.factor(progress: progress, warmUp: 0.1)
        }
        #expect(factor(0) == 0)
        #expect(abs(factor(0.05) - 0.5) < 1e-12)
        #expect(abs(factor(0.1) - 1) < 1e-12)
        #expect(abs(factor(0.55) - 0.55) < 1e-12)
        #expect(abs(factor(1) - 0.1) < 1e-12)
        #expect(factor(7) == factor(1))
    }

    // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, pct_start=.3, div_factor=25, final_div_factor=1e4): its first, its
    // largest and its last rate.
    @Test func `of one cycle are PyTorch's`() {
        func factor(_ progress: Double) -> Double {
            LearningRateSchedule.oneCycle.factor(progress: progress, warmUp: 0.9)
        }
        #expect(abs(factor(0) - 0.04) < 1e-12)
        #expect(abs(factor(0.3) - 1) < 1e-12)
        #expect(abs(factor(0.15) - 0.52) < 1e-12)
        #expect(abs(factor(1) - 4e-6) < 1e-12)
    }

    @Test func `that are constant are`() {
        #expect(LearningRateSchedule.constant.factor(progress: 0, warmUp: 0.5) == 1)
    }
}
