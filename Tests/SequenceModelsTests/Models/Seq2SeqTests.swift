import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Encoder–decoder` {
    struct Variant: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let configuration: Seq2SeqConfiguration

        init(
            _ name: String, _ attention: AlignmentConfiguration?, cell: Seq2SeqConfiguration.Cell = .gru,
            direction: RecurrentDirection = .forward, layers: Int = 1
        ) {
            testDescription = name
            configuration = Seq2SeqConfiguration(
                vocabularySize: 5, sourceVocabularySize: 7, embeddingDimension: 2, hiddenDimension: 3,
                layerCount: layers, cell: cell, encoderDirection: direction, attention: attention)
        }
    }

    static let variants = [
        Variant("Cho", nil),
        Variant("Sutskever", nil, cell: .lstm, direction: .reverse, layers: 2),
        Variant("Bahdanau", .bahdanau, direction: .bidirectional),
        Variant("Bahdanau, LSTM", .bahdanau, cell: .lstm, layers: 2),
        Variant("Luong, dot", .luong(.dot)),
        Variant("Luong, general, LSTM", .luong(.general), cell: .lstm, direction: .bidirectional),
        Variant("Luong, concat, reverse", .luong(.additive), direction: .reverse),
        Variant("Luong, cosine", .luong(.cosine)),
        Variant("Luong, local", .localPredictive(.general, window: 2)),
        Variant("local before the step", AlignmentConfiguration(similarity: .dot, placement: .beforeStep, window: 1)),
    ]

    private static func model(_ variant: Variant) -> Seq2Seq {
        var random = RandomStream(seed: 1)
        let model = Seq2Seq(variant.configuration, random: &random)
        var generator = SeededGenerator(seed: 2)
        return model.replacingParameters(with: model.parameters.map { generator.tensor($0.value.shape) })
    }

    private static let sources = [[3, 1, 4, 1, 5], [2], [6, 0, 2]]
    private static let inputs = [[0, 3], [0, 4, 2, 1], [0]]

    private static func batch(
        sources: [[Int]] = sources, inputs: [[Int]] = inputs
    ) -> TrainingBatch {
        let tokens = TokenBatch(inputs)
        let targets = inputs.map { row in
            (0..<tokens.length).map { $0 < row.count ? (row[$0] * 3 + 1) % 5 : -1 }
        }
        return TrainingBatch(source: TokenBatch(sources), inputs: tokens, targets: targets)
    }

    private static func largestDifference(_ x: [Double], _ y: [Double]) -> Double {
        x.count == y.count ? zip(x, y).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }

    private static func part(_ x: Tensor, _ row: Int, _ count: Int) -> [Double] {
        x.slice(axis: 0, range: row..<row + 1).slice(axis: 1, range: 0..<count).doubles
    }

    @Test(arguments: variants)
    func `has the gradients that central differences find`(variant: Variant) {
        let model = Self.model(variant)
        let batch = Self.batch()
        #expect(
            gradientProblems(of: model.parameters.map(\.value)) {
                model.replacingParameters(with: $0).nextTokenLogits(for: batch.inputs, source: batch.source)
            } == [])
    }

    @Test(arguments: variants)
    func `a token at a time gives what the whole sequence gives`(variant: Variant) throws {
        let model = Self.model(variant)
        let batch = Self.batch(inputs: [[0, 3, 1], [0, 4, 2], [0, 1, 1]])
        let source = try #require(batch.source)
        let whole = model.nextTokenLogits(for: batch.inputs, source: source)
        let alignment = model.alignment(of: batch)
        var state = model.initialState(
            batchCount: 3, source: EmbeddedBatch(model.embedSource(source.tokens), lengths: source.lengths))
        #expect(state.alignment == nil && (alignment == nil) == (variant.configuration.attention == nil))
        for t in 0..<3 {
            let logits = model.step(batch.inputs.tokens.map { $0[t] }, state: &state)
            func row(_ x: Tensor?) -> [Double] { x?.slice(axis: 1, range: t..<t + 1).doubles ?? [] }
            #expect(Self.largestDifference(logits.doubles, row(whole)) < 1e-13)
            #expect(Self.largestDifference(state.alignment?.doubles ?? [], row(alignment)) < 1e-13)
        }
    }

    @Test(arguments: variants)
    func `padding of source or target changes nothing`(variant: Variant) {
        let model = Self.model(variant)
        let together = Self.batch()
        let logits = model.nextTokenLogits(for: together.inputs, source: together.source)
        let alignment = model.alignment(of: together)
        for row in 0..<3 {
            let (sourceCount, count) = (Self.sources[row].count, Self.inputs[row].count)
            let alone = Self.batch(sources: [Self.sources[row]], inputs: [Self.inputs[row]])
            let expected = model.nextTokenLogits(for: alone.inputs, source: alone.source)
            #expect(Self.largestDifference(Self.part(logits, row, count), expected.doubles) < 1e-13)
            if let alignment, let expected = model.alignment(of: alone) {
                let weights = alignment.slice(axis: 2, range: 0..<sourceCount)
                #expect(Self.largestDifference(Self.part(weights, row, count), expected.doubles) < 1e-13)
            }
        }
        // The batch's mean loss is the mean over all targets, however they are padded.
        var none: RandomStream?
        let count = Self.inputs.reduce(0) { $0 + $1.count }
        let single = (0..<3).map { row -> (loss: Double, gradients: [Tensor]) in
            let (loss, gradients) = model.lossAndGradients(
                on: Self.batch(sources: [Self.sources[row]], inputs: [Self.inputs[row]]), dropout: &none)
            let share = Double(Self.inputs[row].count) / Double(count)
            return (loss * share, gradients.map { $0 * share })
        }
        let whole = model.lossAndGradients(on: together, dropout: &none)
        #expect(abs(whole.loss - single.reduce(0) { $0 + $1.loss }) < 1e-13)
        for (index, gradient) in whole.gradients.enumerated() {
            let sum = single[0].gradients[index] + single[1].gradients[index] + single[2].gradients[index]
            #expect(Self.largestDifference(gradient.doubles, sum.doubles) < 1e-12)
        }
    }

    @Test(arguments: variants)
    func `a later token never changes an earlier prediction`(variant: Variant) {
        let model = Self.model(variant)
        let (one, other) = (Self.batch(), Self.batch(inputs: [[0, 1], [0, 4, 3, 3], [0]]))
        let before = model.nextTokenLogits(for: one.inputs, source: one.source)
        let after = model.nextTokenLogits(for: other.inputs, source: other.source)
        #expect(Self.part(before, 0, 1) == Self.part(after, 0, 1) && Self.part(before, 1, 2) == Self.part(after, 1, 2))
        #expect(Self.part(before, 0, 2) != Self.part(after, 0, 2) && Self.part(before, 1, 3) != Self.part(after, 1, 3))
    }

    @Test(arguments: variants)
    func `rows of the alignment sum to 1 over the source, those of padding to 0`(
        variant: Variant
    ) {
        guard let alignment = Self.model(variant).alignment(of: Self.batch()) else {
            #expect(variant.configuration.attention == nil)
            return
        }
        #expect(alignment.shape == [3, 4, 5])
        for (row, (source, inputs)) in zip(Self.sources, Self.inputs).enumerated() {
            for t in 0..<4 {
                let weights = (0..<5).map { alignment[row, t, $0] }
                let sum = weights.reduce(0, +)
                #expect(weights[source.count...].allSatisfy { $0 == 0 })
                if t >= inputs.count {
                    #expect(sum == 0)
                } else if variant.configuration.attention?.window == nil {
                    #expect(abs(sum - 1) < 1e-14)
                } else {
                    #expect(0 < sum && sum <= 1)
                }
            }
        }
    }

    @Test(arguments: variants)
    func `an empty source, and empty targets, are well-defined`(variant: Variant) {
        let model = Self.model(variant)
        var none: RandomStream?
        for sources in [[[3, 1], [], [2]], [[], [], []]] {
            let batch = Self.batch(sources: sources, inputs: [[0, 1], [0, 2, 3], []])
            let (loss, gradients) = model.lossAndGradients(on: batch, dropout: &none)
            #expect(loss.isFinite && gradients.allSatisfy { $0.doubles.allSatisfy(\.isFinite) })
            if let alignment = model.alignment(of: batch) {
                #expect(alignment.shape == [3, 3, sources[0].count])
                #expect(Self.part(alignment, 1, 3).allSatisfy { $0 == 0 })
            }
        }
    }

    @Test(arguments: [nil, .bahdanau, AlignmentConfiguration.luong(.general)] as [AlignmentConfiguration?])
    func `an encoder in reverse reads the source from its end, and says where it stands`(
        attention: AlignmentConfiguration?
    ) {
        let forward = Self.model(Variant("forward", attention))
        let reverse = Self.model(Variant("reverse", attention, direction: .reverse))
        let batch = Self.batch()
        let turned = Self.batch(sources: Self.sources.map { $0.reversed() })
        let expected = forward.nextTokenLogits(for: turned.inputs, source: turned.source)
        let logits = reverse.nextTokenLogits(for: batch.inputs, source: batch.source)
        #expect(Self.largestDifference(logits.doubles, expected.doubles) < 1e-13)
        if let alignment = reverse.alignment(of: batch), let other = forward.alignment(of: turned) {
            for j in 0..<5 { #expect(abs(alignment[0, 1, j] - other[0, 1, 4 - j]) < 1e-13) }
        }
    }

    @Test func `any number of threads gives the same bits`() {
        let threadCount = ComputeThreads.count
        defer { ComputeThreads.count = threadCount }
        for variant in Self.variants {
            let model = Self.model(variant)
            let single = model.replacingParameters(with: model.parameters.map { $0.value.converted(to: .float32) })
            func run(threads: Int) -> [[Float]] {
                ComputeThreads.count = threads
                var none: RandomStream?
                let (loss, gradients) = single.lossAndGradients(on: Self.batch(), dropout: &none)
                return [[Float(loss)]] + gradients.map(\.floats)
            }
            #expect(run(threads: 3) == run(threads: 1))
        }
    }

    @Test(arguments: variants)
    func `dropout is the stream's, and none without one`(variant: Variant) {
        var configuration = variant.configuration
        configuration.dropoutRate = 0.5
        var random = RandomStream(seed: 5)
        let dropping = Seq2Seq(configuration, random: &random)
            .replacingParameters(with: Self.model(variant).parameters.map(\.value))
        func loss(_ model: Seq2Seq, seed: UInt64?) -> Double {
            var dropout = seed.map { RandomStream(seed: $0) }
            return model.loss(of: Self.batch(), dropout: &dropout).doubles[0]
        }
        #expect(loss(dropping, seed: 6) == loss(dropping, seed: 6))
        #expect(loss(dropping, seed: 6) != loss(dropping, seed: 7))
        #expect(loss(dropping, seed: nil) == loss(Self.model(variant), seed: 6))
    }

    @Test func `source and target share vectors unless the source has a vocabulary of its own`() {
        var random = RandomStream(seed: 3)
        let shared = Seq2Seq(
            Seq2SeqConfiguration(vocabularySize: 5, embeddingDimension: 2, hiddenDimension: 3), random: &random)
        #expect(shared.embedSource([[1, 4]]).floats == shared.embed([[1, 4]]).floats)
        #expect(!shared.parameters.contains { $0.name.hasPrefix("source_embedding") })
        #expect(Self.model(Variant("own vocabulary", nil)).parameters.first?.name == "source_embedding.weight")
    }

    @Test func `sizes that cannot be are named`() {
        #expect(Variant("", .bahdanau).configuration.problem == nil)
        #expect(
            Variant("", .localPredictive(.dot, window: 0)).configuration.problem
                == "The attention window is 0; it must be at least 1.")
        #expect(Variant("", nil, layers: 0).configuration.problem == "The layer count is 0; it must be at least 1.")
    }

    @Test func `a model without a source stops the program`() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 4)
            let model = Seq2Seq(
                Seq2SeqConfiguration(vocabularySize: 5, embeddingDimension: 2, hiddenDimension: 3), random: &random)
            _ = model.nextTokenLogits(for: TokenBatch([[1, 2]]))
        }
    }
}
