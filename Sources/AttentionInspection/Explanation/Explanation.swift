/// What a model does at one word of a sentence.
///
/// How much it attends to each word, how much each contributes, and what changes without it. The terminal, JSON and
/// every other picture are renderings of this one value.
public struct Explanation: Sendable, Encodable {
    /// The word or token that is explained.
    public struct Target: Sendable, Encodable {
        /// Its position, from 0.
        public let index: Int
        /// Its text.
        public let text: String
    }

    /// What the target has to do with one word.
    public struct Word: Sendable, Encodable {
        /// Its text.
        public let text: String
        /// How much the target attends to it, from 0 to 1.
        ///
        /// The mean weight over the layers and heads looked at; the sum over all words is 1, or less
        /// with a window. `nil` where there is no attention, or nothing to attend to.
        public let attention: Double?
        /// The same as a share of what is left without the sink; `nil` for the sink, and where there is none.
        public let attentionWithoutSink: Double?
        /// How much it contributes to what attention adds at the target, as a share from 0 to 1.
        ///
        /// Per layer the norm of Σ_heads α·v·W_O, as a share over the words, averaged over the layers. `nil` where the
        /// model is no Transformer.
        public let contribution: Double?
        /// How much the prediction at the target changes without it; `nil` where this was left out.
        ///
        /// The Kullback-Leibler divergence in bits, at least 0, of the prediction with this word's input embedding
        /// replaced by the mean embedding.
        public let effect: Double?
        /// Whether it is an attention sink: the first word, with 0.3 of the attention and more from a later one.
        public let isSink: Bool
        /// Whether the target can see it: a causal model does not see what comes later.
        public let isVisible: Bool

        private enum CodingKeys: String, CodingKey {
            case text, attention, attentionWithoutSink, contribution, effect, isSink, isVisible
        }

        /// Writes every field, `null` where there is no value: a reader need not ask which fields there are.
        ///
        /// - Parameter encoder: Where to write.
        /// - Throws: What the encoder throws.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(text, forKey: .text)
            try container.encode(attention, forKey: .attention)
            try container.encode(attentionWithoutSink, forKey: .attentionWithoutSink)
            try container.encode(contribution, forKey: .contribution)
            try container.encode(effect, forKey: .effect)
            try container.encode(isSink, forKey: .isSink)
            try container.encode(isVisible, forKey: .isVisible)
        }
    }

    /// A token that the model expects next.
    public struct Prediction: Sendable, Encodable {
        /// Its text, a space in front included.
        public let text: String
        /// From 0 to 1.
        public let probability: Double
    }

    /// How the words that a model wrote attend to those that it read.
    public struct Alignment: Sendable, Encodable {
        /// What was written, token by token.
        public let written: [String]
        /// `[written][read]`: the weights of each token written on the tokens read.
        public let weights: [[Double]]
        /// What was read, token by token.
        public let read: [String]
    }

    /// Which model spoke.
    public let model: String
    /// Which layers and heads the figures *attention* and *contribution* are of.
    public let scope: String
    /// What a line is: `words` or `tokens`.
    public let unit: String
    /// The word that is explained.
    public let target: Target
    /// All words of the sentence, in order.
    public let words: [Word]
    /// What the model expects after the target, the most likely first.
    public let nextWords: [Prediction]
    /// Each step of one head at the target, if a layer and a head were named.
    public let steps: AttentionSteps?
    /// How the words that an encoder–decoder with attention wrote attend to those that it read; `nil` for others.
    public let alignment: Alignment?
    /// What the reader has to know: what was left out, and why.
    public let notes: [String]
}

/// What to explain, and how far.
public struct ExplanationOptions: Sendable {
    /// When to compute *effect*, which takes one more run per word.
    public enum Effect: String, Sendable, CaseIterable {
        /// Unless the sentence is long.
        case automatic = "auto"
        /// However long it takes.
        case always
        /// Not.
        case never
    }

    /// The only layer to look at, from 0; `nil` is all.
    public var layer: Int?
    /// The only head to look at, from 0, which needs a layer; `nil` is all.
    public var head: Int?
    /// Whether to show tokens as they are, not merged to words.
    public var showsTokens: Bool
    /// How many predictions to return.
    public var predictionCount: Int
    /// When to compute *effect*.
    public var effect: Effect

    /// Creates options.
    ///
    /// - Parameters:
    ///   - layer: The only layer to look at, from 0.
    ///   - head: The only head to look at, from 0; needs a layer.
    ///   - showsTokens: Whether to show tokens as they are, not merged to words.
    ///   - predictionCount: How many predictions to return; at least 0.
    ///   - effect: When to compute *effect*.
    public init(
        layer: Int? = nil, head: Int? = nil, showsTokens: Bool = false, predictionCount: Int = 5,
        effect: Effect = .automatic
    ) {
        self.layer = layer
        self.head = head
        self.showsTokens = showsTokens
        self.predictionCount = predictionCount
        self.effect = effect
    }
}
