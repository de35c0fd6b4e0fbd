import Attention
import SequenceModels
import TestSupport
import Testing

/// What holds for a model of every architecture, through the three calls that all of them answer.
@Suite struct `Every model` {
    private static let vocabularySize = 13

    /// Each architecture, and the variants of those that have some.
    static let configurations: [TextModelConfiguration] = {
        func make(
            _ architecture: TextModelConfiguration.Architecture,
            attention: TextModelConfiguration.EncoderAttention? = nil, similarity: SimilarityKind? = nil
        ) -> TextModelConfiguration {
            TextModelConfiguration(
                architecture, vocabularySize: vocabularySize, width: 8, layerCount: 2, contextLength: 11, headCount: 2,
                attention: attention, similarity: similarity)
        }
        let plain = TextModelConfiguration.Architecture.allCases.map { make($0) }
        let attentions = TextModelConfiguration.EncoderAttention.allCases.map { make(.seq2seq, attention: $0) }
        return plain + attentions
            + [make(.transformer, similarity: .cosine), make(.seq2seq, attention: .luong, similarity: .additive)]
    }()

    private static func model(_ configuration: TextModelConfiguration, seed: UInt64 = 5) -> any SequenceModel {
        var random = RandomStream(seed: seed)
        return configuration.model(random: &random)
    }

    private static func source(_ model: any SequenceModel, rows: Int) -> TokenBatch? {
        model.readsSource ? TokenBatch((0..<rows).map { row in (0..<3 + row).map { ($0 * 5 + row) % 13 } }) : nil
    }

    /// Rows of logits of a batch, `[B][T]`.
    private static func logits(_ model: some SequenceModel, _ tokens: TokenBatch) -> [[[Float]]] {
        let all = model.nextTokenLogits(for: tokens, source: source(model, rows: tokens.count))
        #expect(all.shape == [tokens.count, tokens.length, vocabularySize])
        return all.unstacked().map { $0.unstacked().map(\.floats) }
    }

    private static func expectNear(_ actual: [Float], _ expected: [Float], _ what: String = "") {
        // Sums of some tens of float32 products in another order.
        let scale = expected.map(abs).max() ?? 0
        let distance = zip(actual, expected).map { abs($0 - $1) }.max() ?? 0
        #expect(distance <= 1e-5 * max(1, scale), "\(what)")
    }

    private static let tokens = TokenBatch([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8]])

    @Test(arguments: configurations) func `streams what it says of a batch`(configuration: TextModelConfiguration) {
        func check(_ model: some SequenceModel) {
            let whole = Self.logits(model, Self.tokens)
            for row in 0..<2 {
                let source = Self.source(model, rows: 2).map {
                    EmbeddedBatch(model.embedSource([Array($0.tokens[row].prefix($0.lengths[row]))]))
                }
                var state = model.initialState(batchCount: 1, source: source)
                for place in 0..<Self.tokens.lengths[row] {
                    let step = model.step([Self.tokens.tokens[row][place]], state: &state)
                    #expect(step.shape == [1, Self.vocabularySize])
                    Self.expectNear(step.floats, whole[row][place], "row \(row), token \(place)")
                }
            }
        }
        check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `predicts without what comes later`(configuration: TextModelConfiguration) {
        func check(_ model: some SequenceModel) {
            let first = Self.logits(model, TokenBatch([[3, 1, 4, 1, 5], [6, 5, 3, 5, 8]]))
            let changed = Self.logits(model, TokenBatch([[3, 1, 4, 7, 0], [6, 5, 3, 11, 12]]))
            for row in 0..<2 {
                for place in 0..<3 { #expect(first[row][place] == changed[row][place]) }
                #expect(first[row][3] != changed[row][3])
            }
        }
        check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `is not changed by padding`(configuration: TextModelConfiguration) {
        func check(_ model: some SequenceModel) {
            let padded = Self.logits(model, Self.tokens)
            let source = Self.source(model, rows: 2).map { TokenBatch([Array($0.tokens[1].prefix($0.lengths[1]))]) }
            let alone = model.nextTokenLogits(for: TokenBatch([Self.tokens.tokens[1].dropLast(2)]), source: source)
                .unstacked()[0].unstacked().map(\.floats)
            for place in 0..<5 { Self.expectNear(alone[place], padded[1][place], "token \(place)") }
        }
        check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `has the cross-entropy of its logits as its loss`(
        configuration: TextModelConfiguration
    ) {
        func check(_ model: some SequenceModel) {
            let targets = [[1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, -1, -1]]
            let batch = TrainingBatch(
                source: Self.source(model, rows: 2), inputs: Self.tokens, targets: targets)
            var dropout: RandomStream?
            let loss = model.loss(of: batch, dropout: &dropout).doubles[0]
            var sum = 0.0
            for (rows, targets) in zip(Self.logits(model, Self.tokens), targets) {
                for (row, target) in zip(rows, targets) where target >= 0 {
                    let total = row.reduce(0.0) { $0 + Double.exp(Double($1)) }
                    sum += Double.log(total) - Double(row[target])
                }
            }
            #expect(abs(loss - sum / 12) < 1e-5)
        }
        check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `names each parameter once, and takes others`(
        configuration: TextModelConfiguration
    ) {
        func check(_ model: some SequenceModel) {
            let names = model.parameters.map(\.name)
            #expect(Set(names).count == names.count && !names.isEmpty)
            let other = model.replacingParameters(with: Self.model(configuration, seed: 6).parameters.map(\.value))
            #expect(Self.logits(other, Self.tokens) != Self.logits(model, Self.tokens))
            let same = other.replacingParameters(with: model.parameters.map(\.value))
            #expect(Self.logits(same, Self.tokens) == Self.logits(model, Self.tokens))
        }
        check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `learns a rhythm`(configuration: TextModelConfiguration) throws {
        func check(_ model: some SequenceModel) throws {
            let text = (0..<400).map { [1, 4, 2, 8, 5, 7][$0 % 6] }
            let sampler = BatchSampler(
                .text(text), batchSize: 4, length: 9, hasEncoder: model.readsSource, endToken: 0, seed: 1)
            var trainer = Trainer(model, plan: TrainingPlan(learningRate: 0.02, schedule: .constant))
            var losses: [Double] = []
            for _ in 0..<90 { losses.append(try trainer.step(from: sampler, progress: 0).loss) }
            // ln 13 = 2.56 where nothing is known; the six tokens alone are worth ln 6 = 1.79.
            #expect(abs(losses[0] - 2.56) < 0.7)
            #expect((losses.last ?? 9) < 1.5)
        }
        try check(Self.model(configuration))
    }

    @Test(arguments: configurations) func `is trained to the same bits by any number of threads`(
        configuration: TextModelConfiguration
    ) throws {
        func trained(_ model: some SequenceModel, threads: Int) throws -> [[Float]] {
            let count = ComputeThreads.count
            ComputeThreads.count = threads
            defer { ComputeThreads.count = count }
            let sampler = BatchSampler(
                .text((0..<300).map { $0 * $0 % 13 }), batchSize: 3, length: 9, hasEncoder: model.readsSource,
                endToken: 0, seed: 1)
            var trainer = Trainer(model, plan: TrainingPlan(learningRate: 0.01))
            for _ in 0..<3 { _ = try trainer.step(from: sampler, progress: 0.5) }
            return trainer.model.parameters.map(\.value.floats)
        }
        let one = try trained(Self.model(configuration), threads: 1)
        #expect(try trained(Self.model(configuration), threads: 2) == one)
        #expect(try trained(Self.model(configuration), threads: 5) == one)
    }

    @Test func `that cannot be says why`() {
        func problem(_ change: (inout TextModelConfiguration) -> Void) -> String {
            var configuration = TextModelConfiguration(
                .transformer, vocabularySize: 13, width: 8, layerCount: 2, contextLength: 11, headCount: 2)
            change(&configuration)
            return configuration.problem ?? ""
        }
        #expect(problem { _ in } == "")
        #expect(problem { $0.headCount = 3 }.contains("3 heads do not divide the width 8"))
        #expect(problem { $0.layerCount = 0 }.contains("layers"))
        #expect(problem { $0.dropoutRate = 1 }.contains("dropout"))
        #expect(problem { $0.attention = .luong }.contains("no encoder"))
        #expect(
            problem {
                $0.architecture = .lstm
                $0.similarity = .cosine
            }.contains("no similarity"))
    }
}

@Suite struct `A trainer` {
    private static func model() -> TokenPredictor<GRU> {
        var random = RandomStream(seed: 2)
        let body = GRU(inputDimension: 5, hiddenDimension: 7, random: &random)
        return TokenPredictor(vocabularySize: 11, body: body, random: &random)
    }

    private static func sampler(batchSize: Int) -> BatchSampler {
        BatchSampler(
            .text((0..<200).map { $0 * $0 % 11 }), batchSize: batchSize, length: 6, hasEncoder: false, endToken: 0,
            seed: 4)
    }

    @Test func `leaves the model as it was where the loss is no number`() throws {
        var model = Self.model()
        model.output.weight = Tensor(filledWith: .nan, shape: model.output.weight.shape)
        var trainer = Trainer(model, plan: TrainingPlan())
        #expect(throws: TrainingError.self) { try trainer.step(from: Self.sampler(batchSize: 2), progress: 0.5) }
        #expect(trainer.stepCount == 0)
        #expect(trainer.model.embedding.weight.floats == model.embedding.weight.floats)
    }

    @Test func `takes the mean over all targets of the batches that it accumulates`() throws {
        var plan = TrainingPlan(optimizer: .sgd(), learningRate: 0.5, schedule: .constant, maximumGradientNorm: nil)
        plan.accumulation = 3
        var accumulated = Trainer(Self.model(), plan: plan)
        let report = try accumulated.step(from: Self.sampler(batchSize: 2), progress: 0)
        // The same six windows as one batch.
        let batches = (0..<3).map { Self.sampler(batchSize: 2).batch($0) }
        let whole = TrainingBatch(
            inputs: TokenBatch(batches.flatMap(\.inputs.tokens)), targets: batches.flatMap(\.targets))
        var dropout: RandomStream?
        let expected = Self.model().lossAndGradients(on: whole, dropout: &dropout)
        #expect(abs(report.loss - expected.loss) < 1e-6)
        #expect(report.tokenCount == 36)
        for (index, parameter) in Self.model().parameters.enumerated() {
            let step = zip(parameter.value.floats, expected.gradients[index].floats).map { $0 - 0.5 * $1 }
            let actual = accumulated.model.parameters[index].value.floats
            #expect(zip(step, actual).allSatisfy { abs($0 - $1) < 1e-6 }, "\(parameter.name)")
        }
    }

    @Test func `goes on from a copy as if there had been none`() throws {
        var whole = Trainer(Self.model(), plan: TrainingPlan(learningRate: 0.01))
        for _ in 0..<6 { _ = try whole.step(from: Self.sampler(batchSize: 3), progress: 0.5) }
        var first = Trainer(Self.model(), plan: TrainingPlan(learningRate: 0.01))
        for _ in 0..<3 { _ = try first.step(from: Self.sampler(batchSize: 3), progress: 0.5) }
        let optimizer = Optimizer(
            first.plan.optimizer, stepCount: first.stepCount, moments: first.optimizer.moments)
        var second = Trainer(first.model, plan: first.plan, optimizer: optimizer)
        for _ in 0..<3 { _ = try second.step(from: Self.sampler(batchSize: 3), progress: 0.5) }
        #expect(whole.model.parameters.map(\.value.floats) == second.model.parameters.map(\.value.floats))
    }

    @Test func `drops the same elements for the same step, and others for the next`() throws {
        var random = RandomStream(seed: 2)
        let body = GRU(inputDimension: 5, hiddenDimension: 7, random: &random)
        let model = TokenPredictor(vocabularySize: 11, body: body, dropoutRate: 0.5, random: &random)
        let batch = Self.sampler(batchSize: 2).batch(0)
        func loss(_ seed: UInt64) -> Double {
            var dropout: RandomStream? = RandomStream(seed: seed)
            return model.loss(of: batch, dropout: &dropout).doubles[0]
        }
        var none: RandomStream?
        #expect(loss(1) == loss(1))
        #expect(loss(1) != loss(2))
        #expect(loss(1) != model.loss(of: batch, dropout: &none).doubles[0])
    }
}

@Suite struct `Token samplers` {
    @Test func `pick the most likely at temperature 0, the first of equals`() {
        var sampler = TokenSampler(temperature: 0)
        #expect(sampler.token(from: [1, 3, 3, -.infinity, .nan]) == 1)
    }

    @Test func `pick by probability, from the likeliest only, and the same for the same seed`() {
        var counts = [Int](repeating: 0, count: 4)
        var sampler = TokenSampler(temperature: 1, topCount: 2, seed: 7)
        var other = TokenSampler(temperature: 1, topCount: 2, seed: 7)
        for _ in 0..<2000 {
            let token = sampler.token(from: [0, Float.log(3), -1, -.infinity])
            #expect(other.token(from: [0, Float.log(3), -1, -.infinity]) == token)
            counts[token] += 1
        }
        #expect(counts[2] == 0 && counts[3] == 0)
        // 1500 expected, of deviation 19.
        #expect(abs(counts[1] - 1500) < 100)
    }
}
