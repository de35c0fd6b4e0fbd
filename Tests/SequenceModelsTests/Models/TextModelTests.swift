import Attention
import SequenceModels
import TestSupport
import Testing

/// Float32 sums in another order: of some dozens of products of numbers below 10.
private let tolerance = 2e-5

private func largestDifference(_ x: [Double], _ y: [Double]) -> Double {
    x.count == y.count ? zip(x, y).map { abs($0 - $1) }.max() ?? 0 : .infinity
}

@Suite struct `Models of text` {
    @Test(arguments: TextModelCase.architectures)
    func `a token at a time gives what the batch gives`(example: TextModelCase) {
        func check(_ model: some SequenceModel) {
            let batch = example.batch(lengths: [7, 7, 7])
            let whole = model.nextTokenLogits(for: batch.inputs, source: batch.source)
            #expect(whole.shape == [3, 7, 11])
            let source = batch.source.map { EmbeddedBatch(model.embedSource($0.tokens), lengths: $0.lengths) }
            let start = model.initialState(batchCount: 3, source: source)
            var state = start
            for t in 0..<7 {
                let logits = model.step(batch.inputs.tokens.map { $0[t] }, state: &state)
                #expect(logits.shape == [3, 11])
                let expected = whole.slice(axis: 1, range: t..<t + 1).doubles
                #expect(largestDifference(logits.doubles, expected) < tolerance, "at \(t)")
            }
            // A state is a value: the first still stands at the beginning. And pieces may be of any length.
            state = start
            for piece in [0..<1, 1..<4, 4..<7] {
                let logits = model.nextTokenLogits(after: batch.inputs.tokens.map { Array($0[piece]) }, state: &state)
                let expected = whole.slice(axis: 1, range: piece.upperBound - 1..<piece.upperBound).doubles
                #expect(largestDifference(logits.doubles, expected) < tolerance, "after \(piece)")
            }
        }
        check(example.model)
    }

    @Test(arguments: TextModelCase.architectures + TextModelCase.similarities)
    func `a later token never changes an earlier prediction`(example: TextModelCase) {
        func check(_ model: some SequenceModel) {
            let batch = example.batch(lengths: [7, 7])
            var changed = batch.inputs.tokens
            for row in 0..<2 { changed[row][4] = (changed[row][4] + 3) % 11 }
            let before = model.nextTokenLogits(for: batch.inputs, source: batch.source)
            let after = model.nextTokenLogits(for: TokenBatch(changed), source: batch.source)
            func part(_ x: Tensor, _ range: Range<Int>) -> [Double] { x.slice(axis: 1, range: range).doubles }
            #expect(part(before, 0..<4) == part(after, 0..<4))
            #expect(largestDifference(part(before, 4..<5), part(after, 4..<5)) > 1e-3)
        }
        check(example.model)
    }

    @Test(arguments: TextModelCase.architectures)
    func `padding changes nothing`(example: TextModelCase) {
        func check(_ model: some SequenceModel) {
            let batch = example.batch(lengths: [5, 2, 7])
            let together = model.nextTokenLogits(for: batch.inputs, source: batch.source)
            for row in 0..<3 {
                let alone = batch.row(row)
                let expected = model.nextTokenLogits(for: alone.inputs, source: alone.source).doubles
                let found = together.slice(axis: 0, range: row..<row + 1)
                    .slice(axis: 1, range: 0..<alone.inputs.length).doubles
                #expect(largestDifference(found, expected) < tolerance, "sequence \(row)")
            }
        }
        check(example.model)
    }

    @Test(arguments: TextModelCase.architectures)
    func `the loss is the cross-entropy of the logits, whatever is padded`(example: TextModelCase) {
        func check(_ model: some SequenceModel) {
            let batch = example.batch(lengths: [5, 2, 7])
            var none: RandomStream?
            let loss = model.loss(of: batch, dropout: &none).doubles[0]
            let logits = model.nextTokenLogits(for: batch.inputs, source: batch.source).doubles
            let expected = plainCrossEntropy(logits, batch.targets.flatMap { $0 }, vocabularySize: 11)
            #expect(abs(loss - expected) < 1e-6 * expected)
            #expect(abs(model.lossAndGradients(on: batch, dropout: &none).loss - expected) < 1e-6 * expected)
            let parts = (0..<3).map { row -> Double in
                let alone = batch.row(row)
                return model.loss(of: alone, dropout: &none).doubles[0] * Double(alone.targetCount)
            }
            #expect(abs(parts.reduce(0, +) / 14 - expected) < tolerance)
        }
        check(example.model)
    }

    @Test(arguments: TextModelCase.architectures + TextModelCase.similarities)
    func `every parameter has a name of its own, and is learned`(example: TextModelCase) {
        func check(_ model: some SequenceModel) {
            let names = model.parameters.map(\.name)
            #expect(Set(names).count == names.count)
            #expect(!names.contains(""))
            var none: RandomStream?
            let gradients = model.lossAndGradients(on: example.batch(lengths: [7, 5, 7]), dropout: &none).gradients
            #expect(gradients.map(\.shape) == model.parameters.map(\.value.shape))
            for (name, gradient) in zip(names, gradients) {
                #expect(gradient.doubles.allSatisfy { $0.isFinite }, "\(name)")
                // The query has no say in w_q·q + w_k·k: what is added to all scores of a row changes no weight.
                let isOfQuery = name.hasSuffix("similarity.query_weight") || name.hasSuffix("q_proj.weight")
                let isIdle = example.configuration.similarity == .linearAdditive && isOfQuery
                if !isIdle { #expect(gradient.doubles.contains { abs($0) > 1e-8 }, "\(name) is not learned") }
            }
        }
        check(example.model)
    }

    @Test(arguments: TextModelCase.architectures)
    func `dropout depends on the numbers alone, and is nothing outside training`(example: TextModelCase) {
        func check(_ model: some SequenceModel, without plain: some SequenceModel) {
            let batch = example.batch(lengths: [7, 5])
            func loss(_ seed: UInt64?) -> Double {
                var numbers = seed.map { RandomStream(seed: $0) }
                return model.loss(of: batch, dropout: &numbers).doubles[0]
            }
            #expect(loss(1) == loss(1))
            #expect(loss(1) != loss(2))
            #expect(loss(1) != loss(nil))
            var none: RandomStream?
            #expect(plain.loss(of: batch, dropout: &none).doubles[0] == loss(nil))
        }
        var configuration = example.configuration
        configuration.dropoutRate = 0.4
        var (first, second) = (RandomStream(seed: 3), RandomStream(seed: 3))
        check(
            configuration.model(random: &first), without: example.configuration.model(random: &second))
    }

    // MARK: - Configurations

    @Test func `what cannot be made is said beforehand`() {
        func problem(_ change: (inout TextModelConfiguration) -> Void, _ architecture: TextModelCase) -> String? {
            var configuration = architecture.configuration
            change(&configuration)
            return configuration.problem
        }
        let (transformer, lstm) = (TextModelCase(.transformer), TextModelCase(.lstm))
        #expect(transformer.configuration.problem == nil && lstm.configuration.problem == nil)
        #expect(problem({ $0.headCount = 4 }, transformer) == "4 heads do not divide the width 6")
        #expect(problem({ $0.headCount = 4 }, lstm) == nil)
        #expect(problem({ $0.similarity = .cosine }, lstm)?.contains("lstm has no similarity") == true)
        #expect(problem({ $0.attention = .luong }, lstm)?.contains("only seq2seq has") == true)
        #expect(
            problem({ $0.similarity = .cosine }, TextModelCase(.seq2seq, attention: .bahdanau))?
                .contains("'bahdanau' has a measure of its own") == true)
        #expect(problem({ $0.dropoutRate = 1 }, lstm)?.contains("dropout") == true)
        #expect(problem({ $0.dropoutRate = .nan }, lstm)?.contains("dropout") == true)
        for (change, name) in [
            ({ $0.width = 0 }, "width"), ({ $0.layerCount = 0 }, "layers"), ({ $0.contextLength = 0 }, "context"),
            ({ $0.vocabularySize = 0 }, "vocabulary"), ({ $0.headCount = 0 }, "heads"),
            ({ $0.width = 65_537 }, "65537"),
        ] as [((inout TextModelConfiguration) -> Void, String)] {
            #expect(problem(change, lstm)?.contains(name) == true, "\(name)")
        }
    }

    @Test func `an attention that only an encoder–decoder has is not passed over`() {
        let configuration = TextModelConfiguration(
            .gru, vocabularySize: 7, width: 5, layerCount: 1, contextLength: 3, attention: .luong)
        #expect(configuration.problem?.contains("only seq2seq has") == true)
        #expect(TextModelCase(.gru).configuration.attention == nil)
        #expect(TextModelCase(.seq2seq).configuration.attention == .bahdanau)
    }

    @Test(arguments: TextModelConfiguration.Size.allCases)
    func `every size makes every architecture`(size: TextModelConfiguration.Size) {
        let (width, layerCount, contextLength) = size.dimensions
        for architecture in TextModelConfiguration.Architecture.allCases {
            let configuration = TextModelConfiguration(
                architecture, vocabularySize: 3, width: width, layerCount: layerCount, contextLength: contextLength)
            #expect(configuration.problem == nil)
            if size == .tiny {
                var random = RandomStream(seed: 1)
                #expect(configuration.model(random: &random).vocabularySize == 3)
            }
        }
    }
}
