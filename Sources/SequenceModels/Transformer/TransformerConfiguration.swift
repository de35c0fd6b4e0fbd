public import Attention

/// The sizes and choices that make a Transformer; families of models differ in nothing else.
public struct TransformerConfiguration: Sendable, Hashable, Codable {
    /// How the position of a token enters.
    public enum Positions: Sendable, Hashable, Codable {
        /// A learned vector for each is added to the embedding, as many as the context is long.
        case learned
        /// Sines and cosines are added to the embedding. Vaswani et al., 2017 (arXiv:1706.03762), section 3.5.
        case sinusoidal
        /// Queries and keys are rotated. Su et al., 2021 (arXiv:2104.09864).
        case rotary(RotaryEmbedding)
        /// Scores fall with the distance. Press et al., 2021 (arXiv:2108.12409).
        case alibi
        /// It does not; only a causal mask tells positions apart.
        case none
    }

    /// The width of the residual stream, `M`.
    public var modelDimension: Int
    /// The number of layers, without those of ``encoderLayerCount``.
    public var layerCount: Int
    /// The number of query heads, `H`.
    public var headCount: Int
    /// The number of key-value heads, `G`, which divides `H`.
    public var keyValueHeadCount: Int
    /// The elements of a head's query, key and value, `D`.
    public var headDimension: Int
    /// The width between the feed-forward block's matrices.
    public var feedForwardDimension: Int
    /// The number of tokens that there are.
    public var vocabularySize: Int
    /// How many tokens the model was trained to see at once.
    public var contextLength: Int
    /// How activations are normalised.
    public var norm: Norm.Kind
    /// Where the norms stand.
    public var normPlacement: TransformerLayer.NormPlacement
    /// Whether there is a norm after the last layer.
    public var hasFinalNorm: Bool
    /// Whether there is a norm after the sum of the embeddings, before the first layer, as in BERT.
    public var hasEmbeddingNorm: Bool
    /// How many types of tokens there are, each with a vector that is added, such as BERT's first and second text; 0 where
    /// tokens have none.
    public var tokenTypeCount: Int
    /// How the position of a token enters.
    public var positions: Positions
    /// What follows attention in each layer.
    public var feedForward: FeedForward.Kind
    /// Whether linear layers and layer norms have biases.
    public var hasBiases: Bool
    /// Whether a token sees no later one, as in a decoder; an encoder's tokens see each other.
    public var isCausal: Bool
    /// How many layers an encoder has that reads a source first; 0 where there is none.
    public var encoderLayerCount: Int
    /// Whether the embedding is multiplied by √M, as in the paper of 2017.
    public var scalesEmbedding: Bool
    /// Whether the matrix of the output is that of the embedding.
    public var tiesEmbedding: Bool
    /// How well a key matches a query.
    public var similarity: SimilarityKind
    /// The share of the embeddings and of each block's output that is dropped in training.
    public var dropoutRate: Double

    /// Creates a configuration; by default a decoder without biases, with a norm before each block.
    ///
    /// - Parameters:
    ///   - modelDimension: The width of the residual stream.
    ///   - layerCount: The number of layers.
    ///   - headCount: The number of query heads.
    ///   - keyValueHeadCount: The number of key-value heads, which divides `headCount`; `nil` means as many.
    ///   - headDimension: The elements of a head's query, key and value; `nil` means the width divided by `headCount`.
    ///   - feedForwardDimension: The width between the feed-forward block's matrices; `nil` means four times the width.
    ///   - vocabularySize: The number of tokens that there are.
    ///   - contextLength: How many tokens the model was trained to see at once.
    ///   - norm: How activations are normalised.
    ///   - normPlacement: Where the norms stand.
    ///   - hasFinalNorm: Whether there is a norm after the last layer; `nil` means if norms stand before the blocks.
    ///   - hasEmbeddingNorm: Whether there is a norm after the sum of the embeddings.
    ///   - tokenTypeCount: How many types of tokens there are, each with a vector that is added; 0 is none.
    ///   - positions: How the position of a token enters.
    ///   - feedForward: What follows attention in each layer.
    ///   - hasBiases: Whether linear layers and layer norms have biases.
    ///   - isCausal: Whether a token sees no later one.
    ///   - encoderLayerCount: How many layers an encoder has that reads a source first; 0 is no encoder.
    ///   - scalesEmbedding: Whether the embedding is multiplied by √M.
    ///   - tiesEmbedding: Whether the matrix of the output is that of the embedding.
    ///   - similarity: How well a key matches a query.
    ///   - dropoutRate: The share that is dropped in training, from 0 to less than 1.
    public init(
        modelDimension: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int? = nil, headDimension: Int? = nil,
        feedForwardDimension: Int? = nil, vocabularySize: Int, contextLength: Int,
        norm: Norm.Kind = .layer(epsilon: 1e-5), normPlacement: TransformerLayer.NormPlacement = .before,
        hasFinalNorm: Bool? = nil, hasEmbeddingNorm: Bool = false, tokenTypeCount: Int = 0,
        positions: Positions = .learned, feedForward: FeedForward.Kind = .geluTanh,
        hasBiases: Bool = false, isCausal: Bool = true, encoderLayerCount: Int = 0, scalesEmbedding: Bool = false,
        tiesEmbedding: Bool = true, similarity: SimilarityKind = .scaledDot, dropoutRate: Double = 0
    ) {
        self.modelDimension = modelDimension
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount ?? headCount
        self.headDimension = headDimension ?? modelDimension / max(1, headCount)
        self.feedForwardDimension = feedForwardDimension ?? 4 * modelDimension
        self.vocabularySize = vocabularySize
        self.contextLength = contextLength
        self.norm = norm
        self.normPlacement = normPlacement
        self.hasFinalNorm = hasFinalNorm ?? (normPlacement == .before)
        self.hasEmbeddingNorm = hasEmbeddingNorm
        self.tokenTypeCount = tokenTypeCount
        self.positions = positions
        self.feedForward = feedForward
        self.hasBiases = hasBiases
        self.isCausal = isCausal
        self.encoderLayerCount = encoderLayerCount
        self.scalesEmbedding = scalesEmbedding
        self.tiesEmbedding = tiesEmbedding
        self.similarity = similarity
        self.dropoutRate = dropoutRate
        if let problem { stop(problem) }
    }

    /// Why no model can be made of this, with the numbers, or `nil` if one can: ask after reading one from a file.
    public var problem: String? {
        let sizes = [
            ("width", modelDimension), ("number of heads", headCount), ("number of key-value heads", keyValueHeadCount),
            ("head dimension", headDimension), ("feed-forward width", feedForwardDimension),
            ("vocabulary", vocabularySize), ("context length", contextLength),
        ]
        for (name, size) in sizes where !(1...Int(Int32.max) ~= size) {
            return "The \(name) is \(size); it must be from 1 to \(Int32.max)."
        }
        if !(1...Self.layerLimit ~= layerCount) || !(0...Self.layerLimit ~= encoderLayerCount) {
            return
                "There are \(layerCount) layers behind \(encoderLayerCount) of an encoder; it must be from 1 and from 0 to "
                + "\(Self.layerLimit)."
        }
        if headCount % keyValueHeadCount != 0 {
            return "\(keyValueHeadCount) key-value heads do not divide \(headCount) heads."
        }
        if !(norm.epsilon > 0 && norm.epsilon.isFinite) {
            return "The norm's epsilon is \(norm.epsilon); it must be above 0."
        }
        if case .rotary(let rotary) = positions {
            if rotary.dimension < 2 || rotary.dimension > headDimension || rotary.dimension % 2 != 0 {
                return "\(rotary.dimension) elements of a head of \(headDimension) cannot be rotated in pairs."
            }
            if !(rotary.base > 0 && rotary.base.isFinite) {
                return "The rotary base is \(rotary.base); it must be above 0."
            }
            if case .perPair(let divisors) = rotary.scaling, divisors.count != rotary.dimension / 2 {
                return "There are \(divisors.count) divisors for \(rotary.dimension / 2) rotated pairs."
            }
        }
        if !(0...Int(Int32.max) ~= tokenTypeCount) {
            return "There are \(tokenTypeCount) types of tokens; it must be from 0 to \(Int32.max)."
        }
        if hasEncoder && (hasEmbeddingNorm || tokenTypeCount > 0) {
            return "An encoder–decoder has neither a norm of its embeddings nor types of tokens."
        }
        if !(0..<1 ~= dropoutRate) { return "The dropout rate is \(dropoutRate); it must be from 0 to less than 1." }
        if encoderLayerCount > 0 && !isCausal { return "What stands behind an encoder has to be causal." }
        return nil
    }

    /// More layers than this are taken for a mistake.
    public static let layerLimit = 4096

    /// Whether an encoder reads a source first.
    public var hasEncoder: Bool { encoderLayerCount > 0 }

    /// How many tokens the model can take; `nil` is any number.
    ///
    /// Learned positions end; with the others a model works beyond what it was trained on, though not well perhaps.
    public var longestSequence: Int? { positions == .learned ? contextLength : nil }

    /// Returns why the model cannot take so many tokens, with both numbers, or `nil` if it can.
    ///
    /// A call with more stops the program: ask first where the text comes from a user.
    ///
    /// - Parameter length: How many tokens there are, those of a state included.
    /// - Returns: A sentence, or `nil`.
    public func problem(forLength length: Int) -> String? {
        guard let longestSequence, length > longestSequence else { return nil }
        return "\(length) tokens are more than the \(longestSequence) positions that the model has learned."
    }
}
