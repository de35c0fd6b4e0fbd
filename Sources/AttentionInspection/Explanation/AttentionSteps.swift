internal import Attention
internal import SequenceModels

/// Every step of one head at one token, from its query to the average of the values.
///
/// Vectors, weights and the output are those of the forward pass. The scores, which it does not keep, are computed anew
/// from its vectors, in `Double`. Each step recombines to the next.
public struct AttentionSteps: Sendable, Encodable {
    /// One token of the sentence.
    public struct Key: Sendable, Encodable {
        /// The token's position, from 0.
        public let position: Int
        /// Its text, a space in front included.
        public let text: String
        /// Which word it belongs to, from 0.
        public let word: Int
        /// k before the position enters.
        public let keyBeforeRotation: [Float]
        /// k, as attention used it.
        public let key: [Float]
        /// v.
        public let value: [Float]
        /// q·k, computed anew in `Double`.
        public let dotProduct: Double
        /// ``dotProduct`` times the scale.
        public let scaled: Double
        /// The score after the mask; `nil` is −∞: the key is hidden.
        public let masked: Double?
        /// α: the softmax of the scores, as the model used it.
        public let weight: Double
        /// α·v.
        public let weightedValue: [Float]

        private enum CodingKeys: String, CodingKey {
            case position, text, word, keyBeforeRotation, key, value
            case dotProduct, scaled, masked, weight, weightedValue
        }

        /// Writes every field; ``masked`` is `null` where the key is hidden, since JSON has no −∞.
        ///
        /// - Parameter encoder: Where to write.
        /// - Throws: What the encoder throws.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(position, forKey: .position)
            try container.encode(text, forKey: .text)
            try container.encode(word, forKey: .word)
            try container.encode(keyBeforeRotation, forKey: .keyBeforeRotation)
            try container.encode(key, forKey: .key)
            try container.encode(value, forKey: .value)
            try container.encode(dotProduct, forKey: .dotProduct)
            try container.encode(scaled, forKey: .scaled)
            try container.encode(masked, forKey: .masked)
            try container.encode(weight, forKey: .weight)
            try container.encode(weightedValue, forKey: .weightedValue)
        }
    }

    /// The layer, from 0.
    public let layer: Int
    /// The query head, from 0.
    public let head: Int
    /// The head whose keys and values it uses, from 0.
    public let keyValueHead: Int
    /// All query heads that use these keys and values.
    public let headsSharingKeys: [Int]
    /// The target's token whose query it is: the last of the word.
    public let queryPosition: Int
    /// Its text.
    public let queryText: String
    /// What the dot products are multiplied by: 1/√D.
    public let scale: Double
    /// q before the position enters.
    public let queryBeforeRotation: [Float]
    /// q, as attention used it.
    public let query: [Float]
    /// One per token of the sentence.
    public let keys: [Key]
    /// Σ α·v: the head's output, as the model used it.
    public let output: [Float]

    init(
        trace: LayerTrace, layer: Int, head: Int, query: Int, weightRow: Int, tokenTexts: [String], words: [Int]
    ) {
        let groupSize = trace.queries.shape[1] / trace.keys.shape[1]
        let group = head / groupSize
        func vector(_ tensor: Tensor, _ head: Int, _ position: Int) -> [Float] {
            tensor.slice(axis: 1, range: head..<head + 1).slice(axis: 2, range: position..<position + 1).floats
        }
        let query32 = vector(trace.queries, head, query)
        let scale = 1 / Double(query32.count).squareRoot()
        let weights =
            trace.attentionWeights?.slice(axis: 1, range: head..<head + 1)
            .slice(axis: 2, range: weightRow..<weightRow + 1).doubles ?? []
        self.layer = layer
        self.head = head
        keyValueHead = group
        headsSharingKeys = Array(group * groupSize..<(group + 1) * groupSize)
        queryPosition = query
        queryText = tokenTexts[query]
        self.scale = scale
        queryBeforeRotation = vector(trace.unrotatedQueries, head, query)
        self.query = query32
        keys = weights.indices.map { position in
            let key = vector(trace.keys, group, position)
            let value = vector(trace.values, group, position)
            let dotProduct = zip(query32, key).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            return Key(
                position: position, text: tokenTexts[position], word: words[position],
                keyBeforeRotation: vector(trace.unrotatedKeys, group, position), key: key, value: value,
                dotProduct: dotProduct, scaled: dotProduct * scale,
                masked: position <= query ? dotProduct * scale : nil, weight: weights[position],
                weightedValue: value.map { Float(weights[position]) * $0 })
        }
        output = vector(trace.headOutputs, head, query)
    }
}
