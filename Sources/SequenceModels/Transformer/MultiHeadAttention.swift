public import Attention

/// Attention of several heads side by side, between a projection of queries, keys and values, and one of the heads'
/// outputs.
///
/// Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762), section 3.2.2; heads that share keys and values:
/// Ainslie et al., "GQA", 2023 (arXiv:2305.13245).
///
/// `M` width, `H` query heads, `G` key-value heads (`G` divides `H`), `D` head dimension.
public struct MultiHeadAttention: Layer {
    /// `H`.
    public let headCount: Int
    /// `G`.
    public let keyValueHeadCount: Int
    /// `[H·D, M]`.
    public var query: Projection
    /// `[G·D, M_k]`.
    public var key: Projection
    /// `[G·D_v, M_k]`.
    public var value: Projection
    /// W_O, `[M, H·D_v]`.
    public var output: Projection
    /// How well a key matches a query, the same for all heads.
    public var similarity: LearnedSimilarity

    /// Creates a layer from its parts.
    ///
    /// - Parameters:
    ///   - headCount: `H`.
    ///   - keyValueHeadCount: `G`, which divides `H`; `nil` means `H`.
    ///   - query: `[H·D, M]`.
    ///   - key: `[G·D, M_k]`.
    ///   - value: `[G·D_v, M_k]`.
    ///   - output: W_O, `[M, H·D_v]`.
    ///   - similarity: How well a key matches a query.
    public init(
        headCount: Int, keyValueHeadCount: Int? = nil, query: Projection, key: Projection, value: Projection,
        output: Projection, similarity: LearnedSimilarity = .scaledDot
    ) {
        let groups = keyValueHeadCount ?? headCount
        require(
            groups > 0 && headCount % groups == 0, "\(groups) key-value heads do not divide \(headCount) heads.")
        let widths = [query, key, value].map(\.weight.rowCount)
        require(
            widths[0] % headCount == 0 && widths[1] % groups == 0 && widths[2] % groups == 0,
            "\(headCount) and \(groups) heads do not divide queries, keys and values of \(widths).")
        require(
            output.weight.columnCount == widths[2] / groups * headCount,
            "The output takes \(output.weight.columnCount) elements; the heads give \(widths[2] / groups * headCount).")
        self.headCount = headCount
        self.keyValueHeadCount = groups
        self.query = query
        self.key = key
        self.value = value
        self.output = output
        self.similarity = similarity
    }

    /// Creates a layer with normally distributed weights and biases of zeros.
    ///
    /// - Parameters:
    ///   - dimension: `M`.
    ///   - memoryDimension: `M_k`, of what keys and values are made from; `nil` means `M`.
    ///   - headCount: `H`.
    ///   - keyValueHeadCount: `G`, which divides `H`; `nil` means `H`.
    ///   - headDimension: `D`; `nil` means `M / H`.
    ///   - hasBias: Whether the projections have a bias.
    ///   - similarity: How well a key matches a query.
    ///   - deviation: The weights' standard deviation.
    ///   - outputDeviation: That of W_O; `nil` means `deviation`.
    ///   - random: Where the weights come from.
    public init(
        dimension: Int, memoryDimension: Int? = nil, headCount: Int, keyValueHeadCount: Int? = nil,
        headDimension: Int? = nil, hasBias: Bool = true, similarity: SimilarityKind = .scaledDot,
        deviation: Double = 0.02, outputDeviation: Double? = nil, random: inout RandomStream
    ) {
        require(
            headCount > 0 && (headDimension != nil || dimension % headCount == 0),
            "\(headCount) heads do not divide the width \(dimension).")
        let head = headDimension ?? dimension / headCount
        let groups = keyValueHeadCount ?? headCount
        func projection(_ inputs: Int, _ outputs: Int, _ deviation: Double) -> Projection {
            Projection(
                inputDimension: inputs, outputDimension: outputs, hasBias: hasBias, deviation: deviation,
                random: &random)
        }
        let memory = memoryDimension ?? dimension
        self.init(
            headCount: headCount, keyValueHeadCount: groups, query: projection(dimension, headCount * head, deviation),
            key: projection(memory, groups * head, deviation), value: projection(memory, groups * head, deviation),
            output: projection(headCount * head, dimension, outputDeviation ?? deviation),
            similarity: LearnedSimilarity(similarity, queryDimension: head, random: &random))
    }

    /// The elements of a head's query.
    public var headDimension: Int { query.weight.rowCount / headCount }

    /// Calls `visit` with the parameters of `q_proj`, `k_proj`, `v_proj`, `out_proj` and the similarity.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &query, "q_proj", visit)
        try SequenceModels.visitParameters(of: &key, "k_proj", visit)
        try SequenceModels.visitParameters(of: &value, "v_proj", visit)
        try SequenceModels.visitParameters(of: &output, "out_proj", visit)
        try SequenceModels.visitParameters(of: &similarity, "similarity", visit)
    }

    /// Returns what each query gathers from a memory.
    ///
    /// - Parameters:
    ///   - queries: `[B, T_q, M]`.
    ///   - memory: `[B, T_k, M_k]`, what keys and values are made from; `nil` means `queries`.
    ///   - mask: Which keys a query may see.
    ///   - bias: What is added to the scores.
    /// - Returns: `[B, T_q, M]`.
    public func callAsFunction(
        _ queries: Tensor, memory: Tensor? = nil, mask: AttentionMask = .none, bias: ScoreBias = .none
    ) -> Tensor {
        trace(queries, memory: memory, mask: mask, bias: bias).attentionOutput
    }

    /// Returns what each query gathers from a memory, and how.
    ///
    /// - Parameters:
    ///   - queries: `[B, T_q, M]`.
    ///   - memory: `[B, T_k, M_k]`, what keys and values are made from; `nil` means `queries`.
    ///   - mask: Which keys a query may see.
    ///   - bias: What is added to the scores.
    ///   - weightedQueries: The queries whose weights are returned, none by default.
    /// - Returns: The vectors on the way, and the output.
    public func trace(
        _ queries: Tensor, memory: Tensor? = nil, mask: AttentionMask = .none, bias: ScoreBias = .none,
        recording weightedQueries: Range<Int>? = nil
    ) -> LayerTrace {
        attend(
            queries, to: memory.map { .memory($0) } ?? .itself, rotation: nil, operation(mask: mask, bias: bias),
            AttentionRequest(weights: weightedQueries)
        ) { $0(queries: $1, keys: $2, values: $3, returning: $4) }
    }

    /// The similarity with a mask and a bias.
    func operation(mask: AttentionMask, bias: ScoreBias) -> AttentionOperation {
        var operation = AttentionOperation(mask: mask, bias: bias)
        operation.similarity = similarity.measure(dimension: headDimension)
        return operation
    }

    /// Where a layer's keys and values come from.
    enum Source {
        /// They are made from what the queries are made from.
        case itself
        /// They are made from these vectors, `[B, T_k, M_k]`.
        case memory(Tensor)
        /// They were made before, `[B, G, T_k, D]`.
        case made(keys: Tensor, values: Tensor)
    }

    /// Returns a memory's keys and values, `[B, G, T, D]`.
    func keysAndValues(of memory: Tensor) -> (keys: Tensor, values: Tensor) {
        (key(memory).splittingHeads(keyValueHeadCount), value(memory).splittingHeads(keyValueHeadCount))
    }

    /// Attends, and keeps what led to the output.
    ///
    /// - Parameters:
    ///   - x: What queries are made from, `[B, T_q, M]`.
    ///   - source: Where keys and values come from.
    ///   - rotation: How queries and keys are rotated, if they are.
    ///   - operation: Similarity, mask and bias.
    ///   - request: What to return beside the output.
    ///   - attend: Calls the operation, with keys and values of earlier calls perhaps.
    /// - Returns: The vectors on the way, and the output.
    func attend(
        _ x: Tensor, to source: Source, rotation: Rotation?, _ operation: AttentionOperation,
        _ request: AttentionRequest,
        calling attend: (
            AttentionOperation, _ queries: Tensor, _ keys: Tensor, _ values: Tensor, AttentionRequest
        ) -> AttentionResult
    ) -> LayerTrace {
        let (unrotatedQueries, unrotatedKeys, values): (Tensor, Tensor, Tensor)
        switch source {
        case .itself:
            let products = project(x, by: [query, key, value])
            unrotatedQueries = products[0].splittingHeads(headCount)
            unrotatedKeys = products[1].splittingHeads(keyValueHeadCount)
            values = products[2].splittingHeads(keyValueHeadCount)
        case .memory(let memory):
            unrotatedQueries = query(x).splittingHeads(headCount)
            (unrotatedKeys, values) = keysAndValues(of: memory)
        case .made(let keys, let made):
            (unrotatedQueries, unrotatedKeys, values) = (query(x).splittingHeads(headCount), keys, made)
        }
        let queries = rotation.map { $0(unrotatedQueries) } ?? unrotatedQueries
        let keys = rotation.map { $0(unrotatedKeys) } ?? unrotatedKeys
        let attended = attend(operation, queries, keys, values, request)
        return LayerTrace(
            unrotatedQueries: unrotatedQueries, unrotatedKeys: unrotatedKeys, queries: queries, keys: keys,
            values: values, operation: operation, attentionWeights: attended.weights, headOutputs: attended.output,
            attentionOutput: output(attended.output.mergingHeads()))
    }
}

/// How queries and keys of one pass are rotated: the angles, computed once for all layers.
struct Rotation {
    let cosines: Tensor
    let sines: Tensor
    let layout: RotaryEmbedding.Layout

    init(_ rotary: RotaryEmbedding, positions: [[Int]], elementType: ElementType) {
        (cosines, sines) = rotary.angles(positions: positions, elementType: elementType)
        layout = rotary.layout
    }

    func callAsFunction(_ x: Tensor) -> Tensor { rotate(x, cosines: cosines, sines: sines, layout: layout) }
}
