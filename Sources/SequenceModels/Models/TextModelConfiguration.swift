public import Attention

/// Which model to make, and of what size: one description for every architecture.
public struct TextModelConfiguration: Sendable, Hashable {
    /// The line that led to attention.
    public enum Architecture: String, Sendable, Hashable, Codable, CaseIterable {
        /// Causal convolutions with residual connections.
        case cnn
        /// A temporal convolutional network: dilated causal convolutions (Bai et al., 2018).
        case tcn
        /// A recurrent network (Elman, 1990).
        case rnn
        /// Long short-term memory (Hochreiter and Schmidhuber, 1997).
        case lstm
        /// Gated recurrent units (Cho et al., 2014).
        case gru
        /// Gated recurrent units without the recurrence in their gates (Feng et al., 2024).
        case mingru
        /// An encoder–decoder with attention (Bahdanau et al., 2014; Luong et al., 2015).
        case seq2seq
        /// Long short-term memory with attention to its own past (Cheng et al., 2016).
        case lstmn
        /// A decoder of attention alone (Vaswani et al., 2017).
        case transformer
    }

    /// How the decoder of an encoder–decoder attends to the source.
    public enum EncoderAttention: String, Sendable, Hashable, Codable, CaseIterable {
        /// Not at all: all that the decoder knows is the encoder's last state (Sutskever et al., 2014).
        case none
        /// From the state before the step (Bahdanau et al., 2014).
        case bahdanau
        /// From the state after the step, over the whole source (Luong et al., 2015).
        case luong
        /// From the state after the step, around a place that it predicts (Luong et al., 2015, "local-p").
        case local
    }

    /// A size by name.
    public enum Size: String, Sendable, Hashable, Codable, CaseIterable {
        /// For a test, or a text of some pages: seconds to minutes.
        case tiny
        /// For a book: minutes.
        case small
        /// For many books: an hour or more.
        case medium

        /// The width, the number of layers, and how many tokens are read at once.
        public var dimensions: (width: Int, layerCount: Int, contextLength: Int) {
            switch self {
            case .tiny: (64, 2, 64)
            case .small: (128, 3, 128)
            case .medium: (256, 4, 256)
            }
        }
    }

    /// Which model.
    public var architecture: Architecture
    /// The number of tokens that there are.
    public var vocabularySize: Int
    /// The length of the vectors between layers.
    public var width: Int
    /// The number of layers.
    public var layerCount: Int
    /// How many tokens are read at once in training; of models with learned positions, at most.
    public var contextLength: Int
    /// The number of heads of a Transformer, which divides ``width``.
    public var headCount: Int
    /// How the decoder of an encoder–decoder attends to the source; `nil` for other models.
    public var attention: EncoderAttention?
    /// How keys match queries, where there is attention; `nil` is the architecture's own measure.
    public var similarity: SimilarityKind?
    /// The share that is dropped in training, from 0 to less than 1.
    public var dropoutRate: Double

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - architecture: Which model.
    ///   - vocabularySize: The number of tokens that there are.
    ///   - width: The length of the vectors between layers.
    ///   - layerCount: The number of layers.
    ///   - contextLength: How many tokens are read at once in training.
    ///   - headCount: The number of heads of a Transformer; `nil` is one per 32 elements, or 1.
    ///   - attention: How the decoder of an encoder–decoder attends to the source; `nil` is Bahdanau's.
    ///   - similarity: How keys match queries, where there is attention.
    ///   - dropoutRate: The share that is dropped in training.
    public init(
        _ architecture: Architecture, vocabularySize: Int, width: Int, layerCount: Int, contextLength: Int,
        headCount: Int? = nil, attention: EncoderAttention? = nil, similarity: SimilarityKind? = nil,
        dropoutRate: Double = 0
    ) {
        self.architecture = architecture
        self.vocabularySize = vocabularySize
        self.width = width
        self.layerCount = layerCount
        self.contextLength = contextLength
        self.headCount = headCount ?? (architecture == .transformer && width % 32 == 0 ? min(1 << 10, width / 32) : 1)
        self.attention = attention ?? (architecture == .seq2seq ? .bahdanau : nil)
        self.similarity = similarity
        self.dropoutRate = dropoutRate
    }

    /// The learning rate that such models are known to train well with.
    public var learningRate: Double {
        switch architecture {
        case .rnn: 1e-3
        case .cnn, .tcn, .transformer: 1e-3
        case .lstm, .gru, .mingru, .seq2seq, .lstmn: 2e-3
        }
    }
}

extension TextModelConfiguration {
    /// What is wrong with the sizes, or `nil`: ask before ``model(random:)`` where they come from outside.
    public var problem: String? {
        for (name, value) in [
            ("vocabulary", vocabularySize), ("width", width), ("layers", layerCount), ("context", contextLength),
            ("heads", headCount),
        ] where value < 1 {
            return "the number for \(name) is \(value); it must be at least 1"
        }
        if width > 1 << 16 || layerCount > 1 << 10 || contextLength > 1 << 20 {
            return
                "a width of \(width), \(layerCount) layers or a context of \(contextLength) is beyond 65536, 1024 and "
                + "1048576"
        }
        if headCount > 1 << 10 { return "\(headCount) heads are beyond 1024" }
        if architecture == .tcn && layerCount > 17 {
            // The state of one step more has twice the size.
            return "\(layerCount) layers of a tcn see further than any context; 17 are enough"
        }
        if architecture == .transformer && (width % headCount != 0) {
            return "\(headCount) heads do not divide the width \(width)"
        }
        if !(0..<1 ~= dropoutRate) { return "the dropout is \(dropoutRate); it must be from 0 to less than 1" }
        if attention != nil && architecture != .seq2seq {
            return "a model of the kind \(architecture.rawValue) has no encoder to attend to; only seq2seq has"
        }
        if similarity != nil {
            switch architecture {
            case .transformer: return nil
            case .seq2seq where attention == .luong || attention == .local: return nil
            case .seq2seq:
                return "the attention '\(attention?.rawValue ?? "none")' has a measure of its own, or none; "
                    + "a similarity is chosen with the attention luong or local"
            default: return "a model of the kind \(architecture.rawValue) has no similarity to choose"
            }
        }
        return nil
    }

    /// Returns a model with random parameters.
    ///
    /// - Parameter random: Where the parameters come from.
    /// - Returns: A model of these sizes.
    /// - Precondition: There is no ``problem``.
    public func model(random: inout RandomStream) -> any SequenceModel {
        if let problem { stop("A model cannot be made: \(problem).") }
        switch architecture {
        case .cnn:
            return predictor(
                ConvolutionalNetwork(
                    width: width, layerCount: layerCount, dropoutRate: dropoutRate, random: &random), &random)
        case .tcn:
            return predictor(
                TemporalConvolutionalNetwork(
                    inputDimension: width, widths: [Int](repeating: width, count: layerCount),
                    dropoutRate: dropoutRate, random: &random), &random)
        case .rnn:
            return predictor(
                RNN(
                    inputDimension: width, hiddenDimension: width, layerCount: layerCount, dropout: dropoutRate,
                    initialization: .orthogonal, random: &random), &random)
        case .lstm:
            return predictor(
                LSTM(
                    inputDimension: width, hiddenDimension: width, layerCount: layerCount, dropout: dropoutRate,
                    initialization: .forgetBias, random: &random), &random)
        case .gru:
            return predictor(
                GRU(
                    inputDimension: width, hiddenDimension: width, layerCount: layerCount, dropout: dropoutRate,
                    initialization: .orthogonal, random: &random), &random)
        case .mingru:
            return predictor(
                MinGRUNetwork(width: width, layerCount: layerCount, dropoutRate: dropoutRate, random: &random), &random)
        case .lstmn:
            return predictor(
                LSTMN(
                    inputDimension: width, hiddenDimension: width, attentionDimension: width, layerCount: layerCount,
                    dropoutRate: dropoutRate, random: &random), &random)
        case .transformer:
            return Transformer(
                configuration: TransformerConfiguration(
                    modelDimension: width, layerCount: layerCount, headCount: headCount,
                    vocabularySize: vocabularySize, contextLength: contextLength,
                    similarity: similarity ?? .scaledDot, dropoutRate: dropoutRate),
                random: &random)
        case .seq2seq:
            let alignment: AlignmentConfiguration? =
                switch attention ?? .bahdanau {
                case .none: nil
                case .bahdanau: .bahdanau
                case .luong: .luong(similarity ?? .dot)
                case .local: .localPredictive(similarity ?? .dot)
                }
            return Seq2Seq(
                Seq2SeqConfiguration(
                    vocabularySize: vocabularySize, embeddingDimension: width, hiddenDimension: width,
                    layerCount: layerCount, attention: alignment, dropoutRate: dropoutRate),
                random: &random)
        }
    }

    private func predictor<Body: SequenceBody>(
        _ body: Body, _ random: inout RandomStream
    ) -> TokenPredictor<Body> {
        TokenPredictor(vocabularySize: vocabularySize, body: body, dropoutRate: dropoutRate, random: &random)
    }
}

extension TokenPredictor: AttendingModel where Body == LSTMN {
    /// Returns how much each token attends to each token before it.
    ///
    /// - Parameter inputs: `[B, T, M]`.
    /// - Returns: The weights of each layer, `[B, T, T]`.
    public func attentionWeights(of inputs: EmbeddedBatch) -> [Tensor] { body.attentionWeights(of: inputs) }
}
