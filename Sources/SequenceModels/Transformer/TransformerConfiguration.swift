public import Attention

/// The sizes and choices that make a Transformer; families of models differ in nothing else.
public struct TransformerConfiguration: Sendable, Hashable {
    /// How activations are normalised before each block.
    public enum Norm: Sendable, Hashable {
        /// By the root of the mean square, `rmsNorm`.
        case rms(epsilon: Double)
    }

    /// How the position of a token enters.
    public enum Positions: Sendable, Hashable {
        /// Queries and keys are rotated.
        case rotary(RotaryEmbedding)
    }

    /// What follows attention in each layer.
    public enum FeedForward: Sendable, Hashable {
        /// `down(silu(gate(x)) · up(x))`. Shazeer, "GLU Variants Improve Transformer", 2020 (arXiv:2002.05202).
        case swiGLU
    }

    /// The width of the residual stream, `M`.
    public var modelDimension: Int
    /// The number of layers.
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
    public var norm: Norm
    /// How the position of a token enters.
    public var positions: Positions
    /// What follows attention in each layer.
    public var feedForward: FeedForward

    /// Creates a configuration.
    ///
    /// - Parameters:
    ///   - modelDimension: The width of the residual stream.
    ///   - layerCount: The number of layers.
    ///   - headCount: The number of query heads.
    ///   - keyValueHeadCount: The number of key-value heads, which divides `headCount`.
    ///   - headDimension: The elements of a head's query, key and value.
    ///   - feedForwardDimension: The width between the feed-forward block's matrices.
    ///   - vocabularySize: The number of tokens that there are.
    ///   - contextLength: How many tokens the model was trained to see at once.
    ///   - norm: How activations are normalised.
    ///   - positions: How the position of a token enters.
    ///   - feedForward: What follows attention in each layer.
    public init(
        modelDimension: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int, headDimension: Int,
        feedForwardDimension: Int, vocabularySize: Int, contextLength: Int, norm: Norm, positions: Positions,
        feedForward: FeedForward
    ) {
        require(
            keyValueHeadCount > 0 && headCount % keyValueHeadCount == 0,
            "\(keyValueHeadCount) key-value heads do not divide \(headCount) heads.")
        self.modelDimension = modelDimension
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
        self.feedForwardDimension = feedForwardDimension
        self.vocabularySize = vocabularySize
        self.contextLength = contextLength
        self.norm = norm
        self.positions = positions
        self.feedForward = feedForward
    }
}
