internal import ModelFiles
public import SequenceModels

/// How a run turns text into tokens.
public enum TokenizerChoice: Sendable, Hashable, Codable, CustomStringConvertible {
    /// One token per character of the corpus.
    case characters
    /// Byte-level BPE with so many tokens, learned from the corpus.
    case bytePairs(vocabularySize: Int)

    /// Reads `characters` or `bpe:N`.
    ///
    /// - Parameter text: A choice as ``description`` writes it; anything else is none.
    public init?(_ text: String) {
        if text == "characters" {
            self = .characters
        } else if text.hasPrefix("bpe:"), let size = Int(text.dropFirst(4)), size > 0 {
            self = .bytePairs(vocabularySize: size)
        } else {
            return nil
        }
    }

    /// The choice as it is written on the command line.
    public var description: String {
        switch self {
        case .characters: "characters"
        case .bytePairs(let size): "bpe:\(size)"
        }
    }

    /// Returns the choice for a corpus where none is made: enough text for each token to be learned.
    static func automatic(byteCount: Int) -> TokenizerChoice {
        switch byteCount {
        case ..<200_000: .characters
        case ..<3_000_000: .bytePairs(vocabularySize: 1024)
        default: .bytePairs(vocabularySize: 4096)
        }
    }
}

/// What somebody asks of a training run; what is left open gets a default, or on resuming, what the run had.
public struct TrainingRequest: Sendable {
    /// Files and folders of text or pairs; `-` is standard input.
    public var corpus: [String] = []
    /// Which model; a Transformer by default.
    public var architecture: TextModelConfiguration.Architecture?
    /// Width, layers and context by name; small by default.
    public var size: TextModelConfiguration.Size?
    /// The length of the vectors between layers.
    public var width: Int?
    /// The number of layers.
    public var layerCount: Int?
    /// The number of heads of a Transformer.
    public var headCount: Int?
    /// How many tokens are read at once.
    public var contextLength: Int?
    /// How the decoder of an encoder–decoder attends to the source.
    public var attention: TextModelConfiguration.EncoderAttention?
    /// How keys match queries.
    public var similarity: SimilarityKind?
    /// The share that is dropped in training.
    public var dropoutRate: Double?
    /// How text becomes tokens.
    public var tokenizer: TokenizerChoice?
    /// Sequences in a batch; 16 by default.
    public var batchSize: Int?
    /// Batches in a step; 1 by default.
    public var accumulation: Int?
    /// Steps in all; 1,000 by default.
    public var stepCount: Int?
    /// Minutes in all, instead of steps.
    public var minutes: Double?
    /// The largest learning rate.
    public var learningRate: Double?
    /// How the learning rate goes over the run.
    public var schedule: LearningRateSchedule?
    /// How parameters follow their gradients.
    public var optimizer: TrainingSettings.OptimizerName?
    /// How much of the weights decays, with AdamW.
    public var weightDecay: Double?
    /// The largest norm that all gradients together may have; 0 is any.
    public var maximumGradientNorm: Double?
    /// Where all random numbers come from.
    public var seed: UInt64?
    /// Steps between measurements on the examples kept back.
    public var validationInterval: Int?
    /// Steps between checkpoints; there is one each minute as well.
    public var checkpointInterval: Int?

    /// Creates a request that leaves all open.
    public init() {}

    /// What is asked for that would be passed over in silence, or `nil`.
    var problem: String? {
        if let headCount, let architecture, architecture != .transformer {
            return "\(headCount) heads were asked for, but a model of the kind \(architecture.rawValue) has none"
        }
        if weightDecay != nil, let optimizer, optimizer != .adamw {
            return "the weights do not decay with \(optimizer.rawValue); only with adamw"
        }
        return nil
    }
}

/// Everything that decides what a training run does, as its `run.json` holds it.
public struct TrainingSettings: Sendable, Hashable, Codable {
    /// The optimizers by name.
    public enum OptimizerName: String, Sendable, Hashable, Codable, CaseIterable {
        /// Stochastic gradient descent with momentum 0.9.
        case sgd
        /// Kingma and Ba, 2015.
        case adam
        /// Loshchilov and Hutter, 2019.
        case adamw
    }

    /// Files and folders; `-` is standard input.
    public var corpus: [String]
    /// What tells the corpus from every other.
    public var corpusFingerprint: String
    /// How text becomes tokens.
    public var tokenizer: TokenizerChoice
    /// What tells the tokenizer from every other.
    public var tokenizerFingerprint: String
    /// Which model.
    public var architecture: TextModelConfiguration.Architecture
    /// The length of the vectors between layers.
    public var width: Int
    /// The number of layers.
    public var layerCount: Int
    /// The number of heads of a Transformer.
    public var headCount: Int
    /// How many tokens are read at once.
    public var contextLength: Int
    /// How the decoder of an encoder–decoder attends to the source.
    public var attention: TextModelConfiguration.EncoderAttention?
    /// How keys match queries.
    public var similarity: SimilarityKind?
    /// The share that is dropped in training.
    public var dropoutRate: Double
    /// Sequences in a batch.
    public var batchSize: Int
    /// Batches in a step.
    public var accumulation: Int
    /// Steps in all, or `nil` where minutes count.
    public var stepCount: Int?
    /// Minutes in all, or `nil` where steps count.
    public var minutes: Double?
    /// The largest learning rate.
    public var learningRate: Double
    /// How the learning rate goes over the run.
    public var schedule: LearningRateSchedule
    /// How parameters follow their gradients.
    public var optimizer: OptimizerName
    /// How much of the weights decays, with AdamW.
    public var weightDecay: Double
    /// The largest norm that all gradients together may have; 0 is any.
    public var maximumGradientNorm: Double
    /// Where all random numbers come from.
    public var seed: UInt64
    /// Steps between measurements on the examples kept back.
    public var validationInterval: Int
    /// Steps between checkpoints.
    public var checkpointInterval: Int

    /// Fills what a request leaves open.
    init(_ request: TrainingRequest, corpus: Corpus) {
        let size = (request.size ?? .small).dimensions
        self.corpus = request.corpus
        corpusFingerprint = corpus.fingerprint.description
        tokenizer = request.tokenizer ?? .automatic(byteCount: corpus.byteCount)
        tokenizerFingerprint = ""
        architecture = request.architecture ?? .transformer
        width = request.width ?? size.width
        layerCount = request.layerCount ?? size.layerCount
        contextLength = request.contextLength ?? size.contextLength
        let configuration = TextModelConfiguration(
            architecture, vocabularySize: 1, width: width, layerCount: layerCount, contextLength: contextLength,
            headCount: request.headCount, attention: request.attention)
        headCount = configuration.headCount
        attention = configuration.attention
        similarity = request.similarity
        dropoutRate = request.dropoutRate ?? 0
        batchSize = request.batchSize ?? 16
        accumulation = request.accumulation ?? 1
        minutes = request.minutes
        stepCount = request.minutes == nil ? request.stepCount ?? 1000 : nil
        learningRate = request.learningRate ?? configuration.learningRate
        schedule = request.schedule ?? .cosine
        optimizer = request.optimizer ?? .adamw
        weightDecay = request.weightDecay ?? 0.01
        maximumGradientNorm = request.maximumGradientNorm ?? 1
        seed = request.seed ?? 1
        validationInterval = request.validationInterval ?? min(250, max(1, (stepCount ?? 1000) / 10))
        checkpointInterval = request.checkpointInterval ?? 500
    }

    /// Which model, once the tokenizer says how many tokens there are.
    package func configuration(vocabularySize: Int) -> TextModelConfiguration {
        TextModelConfiguration(
            architecture, vocabularySize: vocabularySize, width: width, layerCount: layerCount,
            contextLength: contextLength, headCount: headCount, attention: attention, similarity: similarity,
            dropoutRate: dropoutRate)
    }

    /// How the model is trained.
    var plan: TrainingPlan {
        let kind: OptimizerKind =
            switch optimizer {
            case .sgd: .sgd(momentum: 0.9)
            case .adam: .adam()
            case .adamw: .adamW(weightDecay: weightDecay)
            }
        return TrainingPlan(
            optimizer: kind, learningRate: learningRate, schedule: schedule,
            maximumGradientNorm: maximumGradientNorm > 0 ? maximumGradientNorm : nil, accumulation: accumulation,
            seed: seed)
    }

    /// Returns what a request asks for and the run does not have; what it leaves open does not differ.
    ///
    /// The context that a size names was made longer where pairs needed it. How often is measured and saved may change:
    /// what is learned does not depend on it.
    func differences(from request: TrainingRequest, readsPairs: Bool) -> [TrainingRunError.Difference] {
        let sizedContext = request.size.map { max($0.dimensions.contextLength, readsPairs ? contextLength : 0) }
        var differences: [TrainingRunError.Difference] = []
        func compare<Value: Equatable>(_ name: String, _ wanted: Value?, _ stored: Value?) {
            guard let wanted, wanted != stored else { return }
            differences.append(
                TrainingRunError.Difference(
                    name: name, stored: stored.map { "\($0)" } ?? "none", requested: "\(wanted)"))
        }
        compare("model", request.architecture?.rawValue, architecture.rawValue)
        compare("width", request.width ?? request.size?.dimensions.width, width)
        compare("layers", request.layerCount ?? request.size?.dimensions.layerCount, layerCount)
        compare("heads", request.headCount, headCount)
        compare("context", request.contextLength ?? sizedContext, contextLength)
        compare("attention", request.attention?.rawValue, attention?.rawValue)
        compare("similarity", request.similarity?.rawValue, similarity?.rawValue)
        compare("dropout", request.dropoutRate, dropoutRate)
        compare("tokenizer", request.tokenizer?.description, tokenizer.description)
        compare("batch", request.batchSize, batchSize)
        compare("accumulate", request.accumulation, accumulation)
        compare("steps", request.stepCount, stepCount)
        compare("minutes", request.minutes, minutes)
        compare("learning rate", request.learningRate, learningRate)
        compare("schedule", request.schedule?.rawValue, schedule.rawValue)
        compare("optimizer", request.optimizer?.rawValue, optimizer.rawValue)
        compare("weight decay", request.weightDecay, weightDecay)
        compare("clip", request.maximumGradientNorm, maximumGradientNorm)
        compare("seed", request.seed, seed)
        return differences
    }

    /// Returns what is wrong with the numbers, or `nil`: a `run.json` may say anything.
    package var problem: String? {
        if batchSize < 1 || batchSize > 1 << 16 { return "the batch is \(batchSize); it must be from 1 to 65536" }
        if accumulation < 1 || accumulation > 1 << 16 {
            return "\(accumulation) batches are accumulated; it must be from 1 to 65536"
        }
        if let stepCount, stepCount < 1 || stepCount > 1 << 40 {
            return "there are \(stepCount) steps; there must be from 1 to 2^40"
        }
        if let minutes, !(minutes > 0 && minutes < 1e6) { return "it takes \(minutes) minutes; it must be above 0" }
        if (stepCount == nil) == (minutes == nil) { return "it needs either steps or minutes" }
        if !(learningRate > 0 && learningRate.isFinite) {
            return "the learning rate is \(learningRate); it must be above 0"
        }
        if !(weightDecay >= 0 && weightDecay.isFinite) {
            return "the weight decay is \(weightDecay); it must be at least 0"
        }
        if !(maximumGradientNorm >= 0 && maximumGradientNorm.isFinite) {
            return "the clip is \(maximumGradientNorm); it must be at least 0"
        }
        if !(0..<1 ~= dropoutRate) { return "the dropout is \(dropoutRate); it must be from 0 to less than 1" }
        if validationInterval < 1 || checkpointInterval < 1 { return "an interval is less than 1 step" }
        if let problem = configuration(vocabularySize: 2).problem { return problem }
        // Both are bounded, so that this fits.
        if batchSize * contextLength > 1 << 26 {
            return "a batch of \(batchSize) times \(contextLength) tokens is beyond 2^26"
        }
        return nil
    }
}
