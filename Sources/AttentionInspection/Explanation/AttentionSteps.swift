internal import Attention
internal import SequenceModels

/// Every step of one head at one token, from its query to the average of the values.
///
/// Vectors, weights and the output are those of the forward pass. The scores, which it does not keep, are computed anew
/// from its vectors, in `Double`, by the similarity, bias and mask that it used. Each step recombines to the next.
public struct AttentionSteps: Sendable, Encodable {
    /// One token of the sentence.
    public struct Key: Sendable, Encodable {
        /// The token's position, from 0.
        public let position: Int
        /// Its text, a space in front included.
        public let text: String
        /// Which word it belongs to, from 0.
        public let word: Int
        /// k before it is rotated by its position; ``key`` itself where the model rotates nothing.
        public let keyBeforeRotation: [Float]
        /// k, as attention used it.
        public let key: [Float]
        /// v.
        public let value: [Float]
        /// The similarity before the scale, computed anew in `Double`: q·k, or what the model's measure has in its place.
        public let dotProduct: Double
        /// ``dotProduct`` times the scale.
        public let scaled: Double
        /// The score after soft-cap, bias and mask, as far as the model has them; `nil` is −∞: the key is hidden.
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
    /// The measure of similarity by its name, as ``/SequenceModels/SimilarityKind`` has it.
    public let similarity: String
    /// What ``Key/dotProduct`` is multiplied by: 1/√D for the scaled dot product, the reciprocal of the temperature for
    /// the cosine, and 1 for measures that are no products.
    public let scale: Double
    /// Whether queries and keys are rotated by their positions.
    public let isRotated: Bool
    /// q before it is rotated by its position; ``query`` itself where the model rotates nothing.
    public let queryBeforeRotation: [Float]
    /// q, as attention used it.
    public let query: [Float]
    /// One per token of the sentence.
    public let keys: [Key]
    /// Σ α·v: the head's output, as the model used it.
    public let output: [Float]
    /// What the head adds to the residual stream: ``output`` times its part of W_O.
    public let projectedOutput: [Float]
    private let outputWeight: WeightMatrix
    private let outputColumns: Range<Int>

    private enum CodingKeys: String, CodingKey {
        case layer, head, keyValueHead, headsSharingKeys, queryPosition, queryText, similarity, scale
        case queryBeforeRotation, query, keys, output, projectedOutput
    }

    init(
        _ pass: Inspection.ForwardPass, layer: Int, head: Int, query: Int, tokenTexts: [String], words: [Int]
    ) {
        let trace = pass.trace.layers[layer]
        let attention = pass.transformer.layers[layer].attention
        let groupSize = trace.queries.shape[1] / trace.keys.shape[1]
        let group = head / groupSize
        func vector(_ tensor: Tensor, _ head: Int, _ position: Int) -> [Float] {
            tensor.slice(axis: 1, range: head..<head + 1).slice(axis: 2, range: position..<position + 1).floats
        }
        let query32 = vector(trace.queries, head, query)
        let query64 = query32.map(Double.init)
        let operation = trace.operation
        let scale = operation.similarity.form(queryDimension: query32.count).productScale ?? 1
        let weights = pass.attentionWeights(layer: layer, queries: query..<query + 1)
            .slice(axis: 1, range: head..<head + 1).doubles
        self.layer = layer
        self.head = head
        keyValueHead = group
        headsSharingKeys = Array(group * groupSize..<(group + 1) * groupSize)
        queryPosition = query
        queryText = tokenTexts[query]
        similarity = attention.similarity.kind.rawValue
        self.scale = scale
        isRotated = if case .rotary = pass.transformer.configuration.positions { true } else { false }
        queryBeforeRotation = vector(trace.unrotatedQueries, head, query)
        self.query = query32
        keys = weights.indices.map { position in
            let key = vector(trace.keys, group, position)
            let value = vector(trace.values, group, position)
            let key64 = key.map(Double.init)
            let scaled = operation.similarity.score(query: query64.span, key: key64.span)
            let capped = operation.softCap.map { $0 * .tanh(scaled / $0) } ?? scaled
            let bias = operation.bias.value(batch: 0, head: head, query: query, key: position)
            let isAllowed = operation.mask.rule?.allows(batch: 0, head: head, query: query, key: position) ?? true
            return Key(
                position: position, text: tokenTexts[position], word: words[position],
                keyBeforeRotation: vector(trace.unrotatedKeys, group, position), key: key, value: value,
                dotProduct: scaled / scale, scaled: scaled,
                masked: isAllowed && bias != -.infinity ? capped + bias : nil,
                weight: weights[position], weightedValue: value.map { Float(weights[position]) * $0 })
        }
        output = vector(trace.headOutputs, head, query)
        // W_O takes all heads' outputs, one behind the other: what this head adds is the product with the others at 0.
        let width = output.count
        outputWeight = attention.output.weight
        outputColumns = head * width..<(head + 1) * width
        var padded = [Float](repeating: 0, count: trace.queries.shape[1] * width)
        padded.replaceSubrange(outputColumns, with: output)
        projectedOutput = matmul(Tensor(padded, shape: [1, padded.count]), outputWeight).floats
    }

    /// Returns what one component of ``projectedOutput`` multiplies ``output`` by: the head's part of that row of W_O.
    func outputWeights(ofComponent component: Int) -> [Float] {
        Array(outputWeight.rows([component]).floats[outputColumns])
    }
}

extension ScoreForm {
    /// What the product of the features is multiplied by; `nil` where the measure is no product.
    fileprivate var productScale: Double? {
        switch operation {
        case .product: scale
        case .squaredDistance, .absoluteDistance, .additive, .pairwise: nil
        }
    }
}
