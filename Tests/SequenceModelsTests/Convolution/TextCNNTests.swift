import Attention
import SequenceModels
import Testing

@Suite struct `Text CNN` {
    private static let model: TextCNN = {
        var random = RandomStream(seed: 1)
        return TextCNN(
            vocabularySize: 23, classCount: 3, dimension: 7, widths: [2, 3, 5], kernelCount: 11, random: &random)
    }()

    @Test func `has Kim's parts`() {
        #expect(
            Self.model.parameters.map(\.name) == [
                "embedding.weight", "convs.0.weight", "convs.0.bias", "convs.1.weight", "convs.1.bias",
                "convs.2.weight",
                "convs.2.bias", "fc.weight", "fc.bias",
            ])
        #expect(Self.model.output.weight.shape == [3, 33])
    }

    @Test func `padding changes nothing`() {
        var dropout: RandomStream?
        let texts = [[3, 1, 4, 1, 5, 9, 2, 6, 5], [3, 5], [], [8, 9, 7, 9]]
        let together = Self.model.logits(of: TokenBatch(texts), dropout: &dropout)
        #expect(together.shape == [4, 3])
        for (text, logits) in zip(texts, together.unstacked()) {
            let alone = Self.model.logits(of: TokenBatch([text]), dropout: &dropout)
            #expect(zip(alone.floats, logits.floats).allSatisfy { abs($0 - $1) < 1e-5 })
        }
    }

    @Test func `what it finds, it finds anywhere`() {
        var dropout: RandomStream?
        let filler = [Int](repeating: 2, count: 8)
        let early = filler + [5, 11, 7, 13, 17] + filler + filler
        let late = filler + filler + [5, 11, 7, 13, 17] + filler
        let logits = Self.model.logits(of: TokenBatch([early, late]), dropout: &dropout).unstacked()
        #expect(zip(logits[0].floats, logits[1].floats).allSatisfy { abs($0 - $1) < 1e-5 })
    }

    @Test func `every parameter has a gradient`() {
        let tracked = Self.model.tracked()
        var dropout: RandomStream?
        let logits = tracked.logits(of: TokenBatch([[1, 2, 3], [4, 5, 6, 7, 8, 9]]), dropout: &dropout)
        let gradients = (logits * logits).sum().gradients(of: tracked.parameters.map(\.value))
        for (parameter, gradient) in zip(tracked.parameters, gradients) {
            #expect(gradient.floats.contains { $0 != 0 }, "\(parameter.name)")
        }
    }

    @Test func `norms are limited where they are too large`() {
        var model = Self.model
        model.output.weight = Tensor(
            (0..<99).map { $0 < 33 ? Float(2) : $0 < 66 ? 0.1 : 0 }, shape: [3, 33])
        model.limitNorms()
        let norms = model.output.weight.unstacked().map { $0.doubles.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        #expect(abs(norms[0] - 3) < 1e-5)
        #expect(abs(norms[1] - 0.1 * 33.0.squareRoot()) < 1e-6)
        #expect(norms[2] == 0)
    }
}
