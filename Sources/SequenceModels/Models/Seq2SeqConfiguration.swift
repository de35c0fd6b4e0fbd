/// How a decoder finds its place in the source.
public struct AlignmentConfiguration: Sendable, Hashable, Codable {
    /// When the source is looked at.
    public enum Placement: String, Sendable, Hashable, Codable, CaseIterable {
        /// Before a step, by the state before it: what is found is read together with the token.
        ///
        /// Bahdanau et al., 2014 (arXiv:1409.0473), section 3.1.
        case beforeStep = "before-step"
        /// After a step, by the state after it.
        ///
        /// Luong et al., 2015 (arXiv:1508.04025), section 3.
        case afterStep = "after-step"
    }

    /// How well a source position matches the decoder's state.
    public var similarity: SimilarityKind
    /// When the source is looked at.
    public var placement: Placement
    /// `D` of local attention, at least 1; `nil` looks at the whole source.
    ///
    /// Only positions at most so far from a predicted one are looked at, the nearer the more.
    /// Luong et al., 2015 (arXiv:1508.04025), section 3.2: "local-p".
    public var window: Int?

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - similarity: How well a source position matches the decoder's state.
    ///   - placement: When the source is looked at.
    ///   - window: `D` of local attention, at least 1; `nil` looks at the whole source.
    public init(similarity: SimilarityKind, placement: Placement = .afterStep, window: Int? = nil) {
        self.similarity = similarity
        self.placement = placement
        self.window = window
    }

    /// Bahdanau's: the additive score of the state before the step.
    public static let bahdanau = AlignmentConfiguration(similarity: .additive, placement: .beforeStep)

    /// Luong's global attention, by the state after the step.
    ///
    /// - Parameter similarity: `.dot`, `.general` or `.additive`, which the paper calls concat, or any other.
    /// - Returns: The configuration.
    public static func luong(_ similarity: SimilarityKind) -> AlignmentConfiguration {
        AlignmentConfiguration(similarity: similarity)
    }

    /// Luong's local attention around a predicted position.
    ///
    /// - Parameters:
    ///   - similarity: How well a source position matches the decoder's state.
    ///   - window: `D`, at least 1.
    /// - Returns: The configuration.
    public static func localPredictive(_ similarity: SimilarityKind, window: Int = 10) -> AlignmentConfiguration {
        AlignmentConfiguration(similarity: similarity, window: window)
    }
}

/// What an encoder–decoder of recurrent layers is made of.
public struct Seq2SeqConfiguration: Sendable, Hashable, Codable {
    /// The recurrent layers' kind.
    public enum Cell: String, Sendable, Hashable, Codable, CaseIterable {
        /// Cho et al., 2014.
        case gru
        /// Sutskever et al., 2014.
        case lstm
    }

    /// How many tokens the decoder knows.
    public var vocabularySize: Int
    /// How many tokens the encoder knows; `nil` where they are the decoder's, and have the same vectors.
    public var sourceVocabularySize: Int?
    /// The length of a token's vector.
    public var embeddingDimension: Int
    /// The length of a hidden state, of each direction.
    public var hiddenDimension: Int
    /// How many layers encoder and decoder have each.
    public var layerCount: Int
    /// The recurrent layers' kind.
    public var cell: Cell
    /// Which way the encoder reads: `.reverse` brings the beginnings of source and target close together (Sutskever et
    /// al., 2014, arXiv:1409.3215, section 3.3), `.bidirectional` tells each position what is around it (Bahdanau).
    public var encoderDirection: RecurrentDirection
    /// How the decoder looks at the source; `nil` where it knows the encoder's last state alone.
    public var attention: AlignmentConfiguration?
    /// The share that is dropped in training, of the tokens' vectors, between layers, and of the decoder's result.
    public var dropoutRate: Double

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - vocabularySize: How many tokens the decoder knows.
    ///   - sourceVocabularySize: How many the encoder knows; `nil` where they are the decoder's.
    ///   - embeddingDimension: The length of a token's vector.
    ///   - hiddenDimension: The length of a hidden state.
    ///   - layerCount: How many layers encoder and decoder have each.
    ///   - cell: The recurrent layers' kind.
    ///   - encoderDirection: Which way the encoder reads.
    ///   - attention: How the decoder looks at the source.
    ///   - dropoutRate: From 0 to less than 1.
    public init(
        vocabularySize: Int, sourceVocabularySize: Int? = nil, embeddingDimension: Int, hiddenDimension: Int,
        layerCount: Int = 1, cell: Cell = .gru, encoderDirection: RecurrentDirection = .forward,
        attention: AlignmentConfiguration? = .bahdanau, dropoutRate: Double = 0
    ) {
        self.vocabularySize = vocabularySize
        self.sourceVocabularySize = sourceVocabularySize
        self.embeddingDimension = embeddingDimension
        self.hiddenDimension = hiddenDimension
        self.layerCount = layerCount
        self.cell = cell
        self.encoderDirection = encoderDirection
        self.attention = attention
        self.dropoutRate = dropoutRate
    }

    /// The length of what the encoder says of a source position.
    public var memoryDimension: Int { hiddenDimension * encoderDirection.count }

    /// What is wrong with the configuration, or `nil`.
    public var problem: String? {
        for (name, value) in [
            ("vocabulary size", vocabularySize), ("source vocabulary size", sourceVocabularySize ?? 1),
            ("embedding dimension", embeddingDimension), ("hidden dimension", hiddenDimension),
            ("layer count", layerCount), ("attention window", attention?.window ?? 1),
        ] where value < 1 {
            return "The \(name) is \(value); it must be at least 1."
        }
        return 0..<1 ~= dropoutRate ? nil : "The dropout rate is \(dropoutRate); it must be from 0 to less than 1."
    }
}

extension RecurrentDirection: Codable {}
