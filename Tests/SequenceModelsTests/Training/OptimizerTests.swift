import Attention
import SequenceModels
import TestSupport
import Testing

private func bits(_ tensors: [Tensor]) -> [[UInt32]] { tensors.map { $0.floats.map(\.bitPattern) } }

@Suite struct Optimizers {
    private static func parameter(_ values: [Float]) -> Embedding {
        Embedding(weight: Tensor(values, shape: [1, values.count]))
    }

    /// Which parameters a step with gradients of zero changes: it only decays.
    private static func decayed(_ example: TextModelCase) -> (yes: [String], no: [String]) {
        func names(_ model: some SequenceModel) -> (yes: [String], no: [String]) {
            var model = model
            let before = model.parameters
            var optimizer = Optimizer(.adamW(weightDecay: 0.5))
            optimizer.step(&model, gradients: before.map { Tensor(zeros: $0.value.shape) }, learningRate: 0.25)
            var (yes, no): ([String], [String]) = ([], [])
            for (old, new) in zip(before, model.parameters) {
                let isSame = bits([old.value]) == bits([new.value])
                if isSame { no.append(old.name) } else { yes.append(old.name) }
                // p · (1 - lr · decay)
                let expected = old.value.floats.map { $0 * (isSame ? 1 : 0.875) }
                #expect(
                    zip(new.value.floats, expected).allSatisfy { abs($0 - $1) <= 1e-7 },
                    "\(old.name) has decayed wrongly")
            }
            return (yes, no)
        }
        return names(example.model)
    }

    @Test(arguments: TextModelCase.architectures)
    func `weights decay where they belong`(example: TextModelCase) {
        let (yes, no) = Self.decayed(example)
        #expect(!yes.isEmpty)
        for name in yes {
            let isNone = ["bias", "norm", "embedding", "weight_g"].contains { name.contains($0) }
            #expect(!isNone, "\(name) decays")
        }
        for name in no {
            let isOne = ["bias", "norm", "embedding", "weight_g", "attention.v", "score_weight"].contains {
                name.contains($0)
            }
            #expect(isOne, "\(name) does not decay")
        }
    }

    @Test func `weights of an LSTM and of a Transformer decay by name`() {
        #expect(
            Set(Self.decayed(TextModelCase(.lstm)).yes) == [
                "body.weight_ih_l0", "body.weight_hh_l0", "body.weight_ih_l1", "body.weight_hh_l1", "output.weight",
            ])
        let transformer = Self.decayed(TextModelCase(.transformer))
        #expect(transformer.no.contains("embedding.weight") && transformer.no.contains("position_embedding.weight"))
        #expect(transformer.yes.allSatisfy { $0.hasPrefix("layers.") && $0.hasSuffix("weight") })
        #expect(Self.decayed(TextModelCase(.tcn)).no.contains { $0.hasSuffix("weight_g") })
    }

    @Test func `what decays can be chosen`() {
        var layer = Self.parameter([2, -4])
        var optimizer = Optimizer(.adamW(weightDecay: 0.5))
        optimizer.decays = { _, _ in true }
        optimizer.step(&layer, gradients: [Tensor(zeros: [1, 2])], learningRate: 0.5)
        #expect(layer.weight.floats == [1.5, -3])
    }

    @Test(arguments: [OptimizerKind.sgd(), .sgd(momentum: 0.9), .adam(), .adamW()])
    func `goes on from what it remembers as if it had not stopped`(kind: OptimizerKind) {
        var generator = SeededGenerator(seed: 7)
        let gradients = (0..<5).map { _ in Tensor(generator.floats(3), shape: [1, 3]) }
        var whole = Self.parameter([1, -2, 3])
        var optimizer = Optimizer(kind)
        for gradient in gradients { optimizer.step(&whole, gradients: [gradient], learningRate: 0.1) }

        var parts = Self.parameter([1, -2, 3])
        var first = Optimizer(kind)
        for gradient in gradients[..<2] { first.step(&parts, gradients: [gradient], learningRate: 0.1) }
        // A copy is a checkpoint: what comes later does not change it.
        let (saved, savedParameters) = (first, parts)
        first.step(&parts, gradients: [gradients[0]], learningRate: 9)
        parts = savedParameters
        var second = Optimizer(kind, stepCount: saved.stepCount, moments: saved.moments)
        for gradient in gradients[2...] { second.step(&parts, gradients: [gradient], learningRate: 0.1) }
        #expect(bits([parts.weight]) == bits([whole.weight]))
        #expect(second.stepCount == 5)
        #expect(bits(second.moments.flatMap { $0 }) == bits(optimizer.moments.flatMap { $0 }))
    }

    // v = 0.5 v + g; p -= 0.25 v
    @Test func `momentum is PyTorch's`() {
        var layer = Self.parameter([1])
        var optimizer = Optimizer(.sgd(momentum: 0.5))
        for _ in 0..<3 {
            optimizer.step(&layer, gradients: [Tensor([4] as [Float], shape: [1, 1])], learningRate: 0.25)
        }
        // Velocities 4, 6 and 7.
        #expect(layer.weight.floats == [1 - 1 - 1.5 - 1.75])
    }

    // MARK: - The gradients' norm

    @Test func `gradients are scaled to the largest norm, all together`() {
        let gradients = [Tensor([3, -4] as [Float], shape: [2]), Tensor([12] as [Float], shape: [1, 1])]
        #expect(globalNorm(gradients) == 13)
        var clipped = gradients
        #expect(clipByGlobalNorm(&clipped, maximumNorm: 6.5) == 13)
        for (found, expected) in zip(clipped.flatMap(\.floats), [1.5, -2, 6] as [Float]) {
            #expect(abs(found - expected) < 1e-6)
        }
        #expect(globalNorm(clipped) <= 6.5)
        // Their own tensors are as they were.
        #expect(gradients.map(\.floats) == [[3, -4], [12]])
    }

    @Test func `gradients within the largest norm stay as they are`() {
        var gradients = [Tensor([3, -4] as [Float], shape: [2])]
        #expect(clipByGlobalNorm(&gradients, maximumNorm: 5.1) == 5)
        #expect(gradients[0].floats == [3, -4])
        var zeros = [Tensor(zeros: [3])]
        #expect(clipByGlobalNorm(&zeros, maximumNorm: 1e-30) == 0)
        #expect(zeros[0].floats == [0, 0, 0])
        #expect(globalNorm([]) == 0)
    }

    @Test func `a gradient that is no number is told by the norm`() {
        for bad in [Float.nan, .infinity] {
            var gradients = [Tensor([1, bad] as [Float], shape: [2])]
            #expect(!clipByGlobalNorm(&gradients, maximumNorm: 1).isFinite)
        }
    }

    @Test func `a gradient of another shape stops with both`() async {
        await #expect(processExitsWith: .failure) {
            var layer = Embedding(weight: Tensor(zeros: [1, 2]))
            var optimizer = Optimizer(.adam())
            optimizer.step(&layer, gradients: [Tensor(zeros: [2, 1])], learningRate: 0.1)
        }
        await #expect(processExitsWith: .failure) {
            _ = Optimizer(.adam(), stepCount: 3, moments: [[Tensor(zeros: [2])]])
        }
    }
}
