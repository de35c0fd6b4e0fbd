internal import Attention

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
        self.headCount = headCount ?? (width % 32 == 0 ? width / 32 : 1)
        self.attention = architecture == .seq2seq ? attention ?? .bahdanau : nil
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
