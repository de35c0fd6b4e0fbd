internal import Attention

/// What a training run is told: everything but the model and the examples.
public struct TrainingPlan: Sendable, Hashable {
    /// How parameters follow their gradients.
    public var optimizer: OptimizerKind
    /// The largest learning rate of the run.
    public var learningRate: Double
    /// How the learning rate goes over the run.
    public var schedule: LearningRateSchedule
    /// The share of the run in which the learning rate rises, from 0 to 1.
    public var warmUp: Double
    /// The largest norm that all gradients together may have; `nil` is any.
    public var maximumGradientNorm: Double?
    /// How many batches are taken together for one step; at least 1.
    public var accumulation: Int
    /// Where dropout's random numbers come from.
    public var seed: UInt64

    /// Creates a plan.
    ///
    /// - Parameters:
    ///   - optimizer: How parameters follow their gradients.
    ///   - learningRate: The largest learning rate of the run.
    ///   - schedule: How the learning rate goes over the run.
    ///   - warmUp: The share of the run in which it rises.
    ///   - maximumGradientNorm: The largest norm that all gradients together may have.
    ///   - accumulation: How many batches are taken together for one step.
    ///   - seed: Where dropout's random numbers come from.
    public init(
        optimizer: OptimizerKind = .adamW(), learningRate: Double = 1e-3, schedule: LearningRateSchedule = .cosine,
        warmUp: Double = 0.05, maximumGradientNorm: Double? = 1, accumulation: Int = 1, seed: UInt64 = 1
    ) {
        self.optimizer = optimizer
        self.learningRate = learningRate
        self.schedule = schedule
        self.warmUp = warmUp
        self.maximumGradientNorm = maximumGradientNorm
        self.accumulation = accumulation
        self.seed = seed
    }
}

/// Why training cannot go on.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
    /// The loss or the gradients of a step are NaN or infinite; the parameters are those before the step.
    case notFinite(step: Int, loss: Double, gradientNorm: Double)

    /// What happened, and what to try.
    public var description: String {
        switch self {
        case .notFinite(let step, let loss, let norm):
            "At step \(step) the loss is \(loss) and the gradients' norm \(norm): training went astray. The parameters "
                + "are those before this step. Try a lower learning rate, or a smaller largest gradient norm."
        }
    }
}

/// A model being trained.
///
/// A value: a copy is a checkpoint. What a step does depends on the model, the optimizer, the number of the step and the
/// sampler alone, and its bits on nothing else, the number of threads included.
public struct Trainer<Model: SequenceModel>: Sendable {
    /// What happened in a step.
    public struct Report: Sendable, Hashable {
        /// Which step, from 1.
        public let step: Int
        /// The mean cross-entropy of the step's targets before the step, in nats.
        public let loss: Double
        /// The gradients' norm before it was limited.
        public let gradientNorm: Double
        /// The learning rate of the step.
        public let learningRate: Double
        /// How many tokens were predicted.
        public let tokenCount: Int
    }

    /// What is trained.
    public private(set) var model: Model
    /// What it remembers of the steps before.
    public private(set) var optimizer: Optimizer
    /// How it is trained.
    public let plan: TrainingPlan

    /// Creates a trainer.
    ///
    /// - Parameters:
    ///   - model: What to train.
    ///   - plan: How.
    ///   - optimizer: What a checkpoint remembers; `nil` starts anew.
    public init(_ model: Model, plan: TrainingPlan, optimizer: Optimizer? = nil) {
        require(plan.accumulation > 0, "A step of \(plan.accumulation) batches is none.")
        self.model = model
        self.plan = plan
        self.optimizer = optimizer ?? Optimizer(plan.optimizer)
    }

    /// How many steps were made.
    public var stepCount: Int { optimizer.stepCount }

    /// Makes one step.
    ///
    /// - Parameters:
    ///   - sampler: Where the step's batches come from: those with the numbers `stepCount · accumulation` on.
    ///   - progress: The place in the run, from 0 to 1, that the learning rate follows.
    /// - Returns: What happened.
    /// - Throws: `TrainingError.notFinite`; the model is then as before.
    public mutating func step(from sampler: BatchSampler, progress: Double) throws(TrainingError) -> Report {
        let first = stepCount * plan.accumulation
        let numbers = first..<first + plan.accumulation
        let tokenCount = numbers.reduce(0) { $0 + sampler.targetCount($1) }
        var loss = 0.0
        var gradients: [Tensor] = []
        for number in numbers {
            let batch = sampler.batch(number)
            // Other numbers than those that pick batches, of the same seed.
            var dropout: RandomStream? = RandomStream(seed: plan.seed ^ 0xD09).stream(for: UInt64(number))
            var part = model.lossAndGradients(on: batch, dropout: &dropout)
            // The mean over all targets, not over the batches' means.
            let share = tokenCount == 0 ? 0 : Double(batch.targetCount) / Double(tokenCount)
            loss += part.loss * share
            if numbers.count > 1 {
                for index in part.gradients.indices { part.gradients[index].scale(by: share) }
            }
            if gradients.isEmpty {
                gradients = part.gradients
            } else {
                for index in gradients.indices { gradients[index].add(part.gradients[index]) }
            }
        }
        let norm = globalNorm(gradients)
        guard loss.isFinite && norm.isFinite else {
            throw .notFinite(step: stepCount + 1, loss: loss, gradientNorm: norm)
        }
        let learningRate = plan.learningRate * plan.schedule.factor(progress: progress, warmUp: plan.warmUp)
        // Clipped as they are used, not in a pass of their own.
        optimizer.step(
            &model, gradients: gradients, learningRate: learningRate,
            gradientScale: plan.maximumGradientNorm.map { Optimizer.gradientScale(norm: norm, maximumNorm: $0) } ?? 1)
        return Report(
            step: stepCount, loss: loss, gradientNorm: norm, learningRate: learningRate, tokenCount: tokenCount)
    }

    /// Returns the mean cross-entropy of batches' targets, in nats, without dropout.
    ///
    /// - Parameter batches: What to predict; `nil` is returned where there is nothing.
    /// - Returns: The mean over all targets.
    public func loss(on batches: [TrainingBatch]) -> Double? {
        var (sum, count) = (0.0, 0)
        for batch in batches {
            var dropout: RandomStream?
            sum += model.loss(of: batch, dropout: &dropout).doubles[0] * Double(batch.targetCount)
            count += batch.targetCount
        }
        return count == 0 ? nil : sum / Double(count)
    }
}
