/// Attention with its choices made: similarity, mask, bias, soft-cap and sinks.
///
/// For each query, in this order: `score = similarity(query, key)` (scale included), soft-cap
/// `c · tanh(score / c)`, bias and mask, softmax, and the average of the values by the weights.
public struct AttentionOperation: Sendable {
    /// How well a key matches a query.
    public var similarity: any Similarity
    /// Which keys a query may see.
    public var mask: AttentionMask
    /// What is added to the scores.
    public var bias: ScoreBias
    /// `c` in `c · tanh(score / c)`, above 0; `nil` leaves the scores as they are.
    ///
    /// Gemma Team, "Gemma 2", 2024 (arXiv:2408.00118), section 2.
    public var softCap: Double?
    /// `[H]`: a score per query head that joins the denominator of the softmax alone, so that a head may attend
    /// to nothing; `nil` is none.
    ///
    /// Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023 (arXiv:2309.17453), as a
    /// learned logit.
    public var sinks: Tensor?
    /// How many of the queries of each sequence are no padding, if a cache says so; all of them otherwise.
    var queryCounts: [Int]?

    /// Creates an operation.
    ///
    /// - Parameters:
    ///   - similarity: How well a key matches a query.
    ///   - mask: Which keys a query may see.
    ///   - bias: What is added to the scores.
    ///   - softCap: Limits the scores to ±softCap, smoothly; above 0.
    ///   - sinks: `[H]`, a score per query head that joins the denominator alone.
    public init(
        similarity: some Similarity = .scaledDotProduct, mask: AttentionMask = .none, bias: ScoreBias = .none,
        softCap: Double? = nil, sinks: Tensor? = nil
    ) {
        self.similarity = similarity
        self.mask = mask
        self.bias = bias
        self.softCap = softCap
        self.sinks = sinks
    }

    /// Returns, for each query, the average of the values weighted by how well their keys match.
    ///
    /// Recorded where queries, keys, values, a tensor of the bias, the sinks or a tensor of the measure is tracked.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T_q, D]`, floating-point, any strides.
    ///   - keys: `[B, G, T_k, D_k]`; `G` divides `H`, and query head `h` uses key head `h / (H / G)`.
    ///   - values: `[B, G, T_k, D_v]`.
    /// - Returns: `[B, H, T_q, D_v]`, of the queries' type, laid out in memory as they are.
    public func callAsFunction(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor {
        callAsFunction(queries: queries, keys: keys, values: values, returning: AttentionRequest()).output
    }

    /// Returns the average of the values and, on request, what led to it.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T_q, D]`, floating-point, any strides.
    ///   - keys: `[B, G, T_k, D_k]`.
    ///   - values: `[B, G, T_k, D_v]`.
    ///   - request: What to return beside the output.
    /// - Returns: The output, and what was asked for, through which no gradient passes.
    public func callAsFunction(
        queries: Tensor, keys: Tensor, values: Tensor, returning request: AttentionRequest
    ) -> AttentionResult {
        let shape = validated(queries: queries, keys: keys, values: values)
        return queries.elementType == .float64
            ? run(shape, queries, keys, values, request, as: Double.self)
            : run(shape, queries, keys, values, request, as: Float.self)
    }

    private func run<Scalar: KernelScalar>(
        _ shape: AttentionShape, _ queries: Tensor, _ keys: Tensor, _ values: Tensor, _ request: AttentionRequest,
        as type: Scalar.Type
    ) -> AttentionResult {
        let form = similarity.form(queryDimension: shape.queryDimension)
        if isRecorded([queries, keys, values, sinks] + bias.sources + form.parameters) {
            return recorded(shape, form, queries, keys, values, request, as: type)
        }
        return TiledAttention<Scalar>(self, shape, queries, keys, values, form: form).run(request)
    }

    /// Returns what does not fit together in a call with these operands, or `nil`.
    ///
    /// A call with a problem stops the program: ask first where operands come from a file or a request.
    ///
    /// - Parameters:
    ///   - queries: Should be `[B, H, T_q, D]`.
    ///   - keys: Should be `[B, G, T_k, D_k]`.
    ///   - values: Should be `[B, G, T_k, D_v]`.
    /// - Returns: A sentence with both values, or `nil` if the call can be made.
    public func problem(queries: Tensor, keys: Tensor, values: Tensor) -> String? {
        for (name, tensor) in [("Queries", queries), ("Keys", keys), ("Values", values)]
        where !tensor.elementType.isFloatingPoint {
            return "\(name) are \(tensor.elementType), not numbers."
        }
        if let problem = AttentionShape.problem(queries: queries.shape, keys: keys.shape, values: values.shape) {
            return problem
        }
        let shape = AttentionShape(queries: queries, keys: keys, values: values)
        if let problem = similarity.problem(queryDimension: shape.queryDimension, keyDimension: shape.keyDimension) {
            return problem
        }
        if let softCap, !(softCap > 0 && Float(softCap).isFinite && Float(softCap) > 0) {
            return "The soft-cap is \(softCap); it must be above 0, and a finite float32."
        }
        if let problem = mask.rule?.problem(for: shape) { return problem }
        for rule in bias.rules {
            if let problem = rule.problem(for: shape) { return problem }
        }
        if let sinks, sinks.shape != [shape.headCount] {
            return "Sinks have shape \(sinks.shape), not [\(shape.headCount)], one per query head."
        }
        return nil
    }

    /// Stops the program unless everything fits together.
    func validated(queries: Tensor, keys: Tensor, values: Tensor) -> AttentionShape {
        if let problem = problem(queries: queries, keys: keys, values: values) { stop(problem) }
        return AttentionShape(queries: queries, keys: keys, values: values)
    }
}

/// What to return beside the output; nothing of it changes the output's bits.
public struct AttentionRequest: Sendable {
    /// The logarithm of the softmax's denominator, `[B, H, T_q]`.
    public var logSumExp: Bool
    /// The weights of these queries; the memory is their number times `T_k`.
    public var weights: Range<Int>?
    /// The scores at this stage, `[B, H, T_q, T_k]`.
    public var scores: ScoreStage?
    /// How much attention each key receives from all queries of a head, `[B, H, T_k]`.
    public var keyWeightSums: Bool
    /// The entropy of each query's weights in nats, `[B, H, T_q]`.
    public var rowEntropy: Bool
    /// How many of each query's heaviest keys to return.
    public var topKeyCount: Int?

    /// Creates a request.
    ///
    /// - Parameters:
    ///   - logSumExp: Whether to return the logarithm of the denominator.
    ///   - weights: Whose weights to return; `0..<T_q` is all of them.
    ///   - scores: At which stage to return the scores of all pairs.
    ///   - keyWeightSums: Whether to return how much attention each key receives.
    ///   - rowEntropy: Whether to return the entropy of each query's weights.
    ///   - topKeyCount: How many of each query's heaviest keys to return.
    public init(
        logSumExp: Bool = false, weights: Range<Int>? = nil, scores: ScoreStage? = nil,
        keyWeightSums: Bool = false, rowEntropy: Bool = false, topKeyCount: Int? = nil
    ) {
        self.logSumExp = logSumExp
        self.weights = weights
        self.scores = scores
        self.keyWeightSums = keyWeightSums
        self.rowEntropy = rowEntropy
        self.topKeyCount = topKeyCount
    }

    /// Whether the scores have to be gone through once more, now that the denominators are known.
    var needsSecondPass: Bool {
        weights != nil || scores != nil || keyWeightSums || rowEntropy || topKeyCount != nil
    }
}

/// A stage on the way from the dot product to the weights: modes 0 to 2 of ONNX's `qk_matmul_output_mode`, as ONNX 1.22
/// and later define them.
public enum ScoreStage: Int, Sendable, CaseIterable {
    /// The similarity, scale included. Masked pairs show theirs as well.
    case similarity = 0
    /// After the soft-cap.
    case softCapped = 1
    /// After bias and mask: −∞ where the key is masked.
    case biased = 2
}

/// The output of attention, and what was asked for beside it.
public struct AttentionResult: Sendable {
    /// `[B, H, T_q, D_v]`.
    public var output: Tensor
    /// The logarithm of the softmax's denominator, sink included, `[B, H, T_q]`; −∞ for a query that sees nothing.
    public var logSumExp: Tensor?
    /// The weights of the requested queries, `[B, H, count, T_k]`; each row sums to 1, less what a sink takes, or
    /// to 0 for a query that sees nothing.
    public var weights: Tensor?
    /// The scores at the requested stage, `[B, H, T_q, T_k]`.
    public var scores: Tensor?
    /// How much attention each key receives from all queries of a head, `[B, H, T_k]`.
    public var keyWeightSums: Tensor?
    /// The entropy -Σ w ln w of each query's weights over its keys, in nats, `[B, H, T_q]`.
    public var rowEntropy: Tensor?
    /// The heaviest keys of each query, heaviest first, the earlier of equals first, `[B, H, T_q, count]`, int32;
    /// -1 where a query sees fewer.
    public var topKeys: Tensor?
    /// The weights of ``topKeys``; 0 where a query sees fewer.
    public var topWeights: Tensor?
}

/// Returns, for each query, the average of the values weighted by how well their keys match.
///
/// Computes `softmax(scale · Q Kᵀ + bias + mask) V` one block of keys at a time, so the `T_q × T_k` weights
/// are never stored.
///
/// `B` batch, `H` query heads, `G` key-value heads (`G` divides `H`), `T_q` queries, `T_k` keys, `D` head
/// dimension.
///
/// - Parameters:
///   - queries: `[B, H, T_q, D]`, floating-point, any strides.
///   - keys: `[B, G, T_k, D]`.
///   - values: `[B, G, T_k, D_v]`.
///   - similarity: How well a key matches a query; the dot product divided by √D by default.
///   - mask: Which keys a query may see. `.causal(offset:)` lets query `i` see keys up to `i + offset`. A query
///     that may see nothing yields zeros, never NaN. (A NaN or an overflow in what it does see shows, as it should.)
///   - bias: What is added to the scores.
///   - softCap: Limits the scores to ±softCap before bias and mask.
///   - sinks: `[H]`, a score per head that joins the denominator alone.
/// - Returns: `[B, H, T_q, D_v]`, of the queries' type, laid out in memory as they are.
/// - Precondition: The shapes agree.
/// - Complexity: O(B·H·T_q·T_k·(D + D_v)) time; beyond the result, at most a copy of keys and values and one
///   block of scores per thread.
///
/// Dao et al., "FlashAttention", 2022 (arXiv:2205.14135). Sums are kept in `Float` for every element type but
/// float64, where they are kept in `Double`. The gradients of tracked operands take memory linear in the length too.
public func attention(
    queries: Tensor, keys: Tensor, values: Tensor, similarity: some Similarity = .scaledDotProduct,
    mask: AttentionMask = .none, bias: ScoreBias = .none, softCap: Double? = nil, sinks: Tensor? = nil
) -> Tensor {
    AttentionOperation(similarity: similarity, mask: mask, bias: bias, softCap: softCap, sinks: sinks)(
        queries: queries, keys: keys, values: values)
}

/// Returns attention over heads that lie side by side, `[B, T, H·D]`.
///
/// - Parameters:
///   - queries: `[B, T_q, H·D]`.
///   - keys: `[B, T_k, G·D]`.
///   - values: `[B, T_k, G·D_v]`.
///   - headCount: `H`.
///   - keyValueHeadCount: `G`, which divides `H`; `nil` means `H`.
///   - similarity: How well a key matches a query.
///   - mask: Which keys a query may see.
///   - bias: What is added to the scores.
///   - softCap: Limits the scores to ±softCap before bias and mask.
///   - sinks: `[H]`, a score per head that joins the denominator alone.
/// - Returns: `[B, T_q, H·D_v]`.
/// - Precondition: The shapes agree, and the head counts divide the widths.
public func attention(
    queries: Tensor, keys: Tensor, values: Tensor, headCount: Int, keyValueHeadCount: Int? = nil,
    similarity: some Similarity = .scaledDotProduct, mask: AttentionMask = .none, bias: ScoreBias = .none,
    softCap: Double? = nil, sinks: Tensor? = nil
) -> Tensor {
    let groups = keyValueHeadCount ?? headCount
    return attention(
        queries: queries.splittingHeads(headCount), keys: keys.splittingHeads(groups),
        values: values.splittingHeads(groups), similarity: similarity, mask: mask, bias: bias, softCap: softCap,
        sinks: sinks
    ).mergingHeads()
}
