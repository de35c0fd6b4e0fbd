import Attention
import SequenceModels
import TestSupport
import Testing

private func bits(_ model: some SequenceModel) -> [[UInt32]] {
    model.parameters.map { $0.value.floats.map(\.bitPattern) }
}

@Suite struct Trainers {
    /// Pairs of many lengths, for models with and without an encoder.
    private static func pairs(hasEncoder: Bool, batchSize: Int = 2) -> BatchSampler {
        var generator = SeededGenerator(seed: 3)
        func tokens() -> [Int] {
            (0..<Int.random(in: 1...5, using: &generator)).map { _ in Int.random(in: 0..<10, using: &generator) }
        }
        return BatchSampler(
            .pairs((0..<17).map { _ in TokenPair(source: tokens(), target: tokens()) }), batchSize: batchSize,
            length: 12, hasEncoder: hasEncoder, endToken: 10, seed: 1)
    }

    /// A step of plain descent with learning rate 1: the parameters' change is the gradient.
    private static func plan(clip: Double? = nil, accumulation: Int = 1) -> TrainingPlan {
        TrainingPlan(
            optimizer: .sgd(), learningRate: 1, schedule: .constant, maximumGradientNorm: clip,
            accumulation: accumulation)
    }

    private static func change(_ before: some SequenceModel, _ after: some SequenceModel) -> [Tensor] {
        zip(before.parameters, after.parameters).map { $0.value - $1.value }
    }

    // MARK: - A step

    // Sums of float32 in another order: within 1e-5 of each gradient's largest element, and 1e-6.
    @Test(arguments: TextModelCase.architectures)
    func `batches taken together are one large batch`(example: TextModelCase) throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let sampler = Self.pairs(hasEncoder: model.readsSource)
            var trainer = Trainer(model, plan: Self.plan(accumulation: 3))
            let report = try trainer.step(from: sampler, progress: 0.5)
            let parts = (0..<3).map(sampler.batch)
            #expect(Set(parts.map(\.targetCount)).count > 1, "The batches' means would do as well.")
            let rows = parts.flatMap { part in (0..<part.inputs.count).map { part.row($0) } }
            let inputs = TokenBatch(rows.map { $0.inputs.tokens[0] })
            let whole = TrainingBatch(
                source: model.readsSource ? TokenBatch(rows.compactMap { $0.source?.tokens[0] }) : nil,
                inputs: inputs,
                targets: rows.map { $0.targets[0] + [Int](repeating: -1, count: inputs.length - $0.targets[0].count) })
            var none: RandomStream?
            let (loss, gradients) = model.lossAndGradients(on: whole, dropout: &none)
            #expect(report.tokenCount == whole.targetCount)
            #expect(abs(report.loss - loss) < 1e-5)
            #expect(abs(report.gradientNorm - globalNorm(gradients)) < 1e-4 * report.gradientNorm)
            for (index, change) in Self.change(model, trainer.model).enumerated() {
                let expected = gradients[index].doubles
                let scale = expected.map(abs).max() ?? 0
                let difference = zip(change.doubles, expected).map { abs($0 - $1) }.max() ?? 0
                #expect(difference <= 1e-5 * scale + 1e-6, "\(model.parameters[index].name)")
            }
        }
        try check(example.model)
    }

    @Test func `the gradients' norm is limited after the backward pass`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let sampler = Self.pairs(hasEncoder: false)
            var none: RandomStream?
            let gradients = model.lossAndGradients(on: sampler.batch(0), dropout: &none).gradients
            let norm = globalNorm(gradients)
            for clip in [norm / 4, norm * 4] {
                var trainer = Trainer(model, plan: Self.plan(clip: clip))
                let report = try trainer.step(from: sampler, progress: 0.5)
                #expect(report.gradientNorm == norm)
                let length = globalNorm(Self.change(model, trainer.model))
                #expect(abs(length - min(clip, norm)) < 1e-4 * norm)
            }
        }
        try check(TextModelCase(.gru).model)
    }

    @Test func `batches are counted on from the step`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let sampler = Self.pairs(hasEncoder: false)
            var trainer = Trainer(
                model, plan: Self.plan(accumulation: 2), optimizer: Optimizer(.sgd(), stepCount: 3, moments: []))
            let report = try trainer.step(from: sampler, progress: 0)
            #expect(report.step == 4 && trainer.stepCount == 4)
            #expect(report.tokenCount == sampler.batch(6).targetCount + sampler.batch(7).targetCount)
        }
        try check(TextModelCase(.rnn).model)
    }

    @Test func `the learning rate follows the place in the run`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            var plan = Self.plan()
            (plan.schedule, plan.warmUp, plan.learningRate) = (.cosine, 0.5, 0.25)
            var trainer = Trainer(model, plan: plan)
            #expect(try trainer.step(from: Self.pairs(hasEncoder: false), progress: 0.25).learningRate == 0.125)
            let before = bits(trainer.model)
            #expect(try trainer.step(from: Self.pairs(hasEncoder: false), progress: 0).learningRate == 0)
            #expect(bits(trainer.model) == before)
        }
        try check(TextModelCase(.rnn).model)
    }

    @Test func `the loss of some batches is the mean over their targets`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let trainer = Trainer(model, plan: Self.plan())
            let batches = (0..<3).map(Self.pairs(hasEncoder: false).batch)
            var none: RandomStream?
            let sum = batches.reduce(0) {
                $0 + model.loss(of: $1, dropout: &none).doubles[0] * Double($1.targetCount)
            }
            let found = try #require(trainer.loss(on: batches))
            #expect(abs(found - sum / Double(batches.reduce(0) { $0 + $1.targetCount })) < 1e-12)
            #expect(trainer.loss(on: []) == nil)
        }
        try check(TextModelCase(.cnn).model)
    }

    // MARK: - What goes wrong

    @Test(arguments: TextModelCase.architectures)
    func `a loss that is no number stops, and changes nothing`(example: TextModelCase) throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let sampler = Self.pairs(hasEncoder: model.readsSource)
            var trainer = Trainer(model, plan: TrainingPlan(learningRate: 1e-3))
            _ = try trainer.step(from: sampler, progress: 0.5)
            // One parameter goes astray.
            var values = trainer.model.parameters.map(\.value)
            let last = values.count - 1
            var elements = values[last].floats
            elements[0] = .nan
            values[last] = Tensor(elements, shape: values[last].shape)
            var ill = Trainer(
                trainer.model.replacingParameters(with: values), plan: trainer.plan, optimizer: trainer.optimizer)
            let before = bits(ill.model)
            do throws(TrainingError) {
                _ = try ill.step(from: sampler, progress: 0.5)
                Issue.record("A step was made with a loss of NaN.")
            } catch {
                guard case .notFinite(let step, let loss, _) = error else { return }
                #expect(step == 2 && loss.isNaN)
                #expect(error.description.contains("step 2") && error.description.contains("lower learning rate"))
            }
            #expect(bits(ill.model) == before)
            #expect(ill.stepCount == 1)
            for (mine, other) in zip(ill.optimizer.moments.joined(), trainer.optimizer.moments.joined()) {
                #expect(mine.floats == other.floats)
            }
        }
        try check(example.model)
    }

    @Test func `a learning rate beyond all bounds is told at the step that it ruins`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            var plan = Self.plan()
            plan.learningRate = 1e30
            var trainer = Trainer(model, plan: plan)
            let sampler = Self.pairs(hasEncoder: false)
            _ = try trainer.step(from: sampler, progress: 0)
            let before = bits(trainer.model)
            #expect(throws: TrainingError.self) { try trainer.step(from: sampler, progress: 0) }
            #expect(trainer.stepCount == 1 && bits(trainer.model) == before)
        }
        try check(TextModelCase(.cnn).model)
    }

    // MARK: - The same again

    @Test(arguments: TextModelCase.architectures)
    func `steps have the same bits for any number of threads, and a copy is a checkpoint`(
        example: TextModelCase
    ) throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let sampler = Self.pairs(hasEncoder: model.readsSource, batchSize: 5)
            func trained(_ trainer: Trainer<Model>, _ count: Int) throws -> Trainer<Model> {
                var trainer = trainer
                for _ in 0..<count { _ = try trainer.step(from: sampler, progress: 0.5) }
                return trainer
            }
            let before = ComputeThreads.count
            defer { ComputeThreads.count = before }
            ComputeThreads.count = 1
            let start = Trainer(model, plan: TrainingPlan(learningRate: 0.01, accumulation: 2))
            let one = try trained(start, 1)
            let copied = bits(one.model)
            let two = try trained(one, 1)
            // In place, but not in the copy's place.
            #expect(bits(start.model) == bits(model) && bits(one.model) == copied && bits(two.model) != copied)
            for count in [2, 5] {
                ComputeThreads.count = count
                #expect(bits(try trained(start, 2).model) == bits(two.model), "\(count) threads")
                #expect(bits(try trained(one, 1).model) == bits(two.model), "\(count) threads")
            }
        }
        var configuration = example.configuration
        configuration.dropoutRate = 0.25
        var random = RandomStream(seed: 1)
        try check(configuration.model(random: &random))
    }

    @Test func `drops other elements in each batch of each step`() throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            // All batches are the same, and nothing is learned.
            let sampler = BatchSampler(
                .pairs([TokenPair(source: [1, 2], target: [3, 4])]), batchSize: 2, length: 9, hasEncoder: false,
                endToken: 10, seed: 1)
            var plan = Self.plan()
            plan.learningRate = 0
            func losses(_ plan: TrainingPlan) throws -> [Double] {
                var trainer = Trainer(model, plan: plan)
                return try (0..<4).map { _ in try trainer.step(from: sampler, progress: 0.5).loss }
            }
            let all = try losses(plan)
            #expect(Set(all).count == 4)
            #expect(try losses(plan) == all)
            plan.accumulation = 2
            #expect(abs(try losses(plan)[0] - (all[0] + all[1]) / 2) < 1e-6)
            plan.seed = 2
            #expect(try losses(plan)[0] != all[0])
        }
        var configuration = TextModelCase(.gru).configuration
        configuration.dropoutRate = 0.4
        var random = RandomStream(seed: 1)
        try check(configuration.model(random: &random))
    }

    // MARK: - Learning

    // The text repeats itself after 9 tokens, so that the loss can fall from ln 6 = 1.8 to 0.
    @Test(arguments: TextModelCase.architectures)
    func `a small model learns a text that repeats itself`(example: TextModelCase) throws {
        func check<Model: SequenceModel>(_ model: Model) throws {
            let text = (0..<200).map { [0, 1, 2, 0, 3, 4, 0, 1, 5][$0 % 9] }
            let sampler = BatchSampler(
                .text(text), batchSize: 4, length: 9, hasEncoder: model.readsSource, endToken: 0, seed: 1)
            var trainer = Trainer(
                model, plan: TrainingPlan(optimizer: .adam(), learningRate: 0.02, schedule: .constant))
            var losses: [Double] = []
            for step in 0..<40 {
                losses.append(try trainer.step(from: sampler, progress: Double(step) / 40).loss)
            }
            let (first, last) = (losses[0], losses.suffix(5).reduce(0, +) / 5)
            #expect(last < 0.5 * first, "The loss went from \(first) to \(last).")
        }
        var configuration = example.configuration
        (configuration.vocabularySize, configuration.width, configuration.layerCount) = (6, 16, 1)
        (configuration.contextLength, configuration.headCount) = (9, 2)
        var random = RandomStream(seed: 1)
        try check(configuration.model(random: &random))
    }
}
