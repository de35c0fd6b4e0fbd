public import Attention

/// What to record of a forward pass.
public struct TraceRequest: Sendable {
    /// The queries whose attention weights are recorded; each takes `T_k` numbers per layer and head.
    public var weights: Range<Int>

    /// Creates a request.
    ///
    /// - Parameter weights: The queries whose attention weights are recorded.
    public init(weights: Range<Int>) {
        self.weights = weights
    }
}

/// What happened in a forward pass: the operands and results of every attention, as they were computed with.
public struct TransformerTrace: Sendable {
    /// The queries whose weights were recorded.
    public let weightedQueries: Range<Int>
    /// One per layer, the first first.
    public internal(set) var layers: [LayerTrace]
    /// One per layer that attends to an encoder's output, the first first; empty where there is no encoder.
    public internal(set) var crossAttention: [LayerTrace] = []
}

/// What happened in one layer's attention.
public struct LayerTrace: Sendable {
    /// `[B, H, T, D]`, before they are rotated, where positions enter so.
    public let unrotatedQueries: Tensor
    /// `[B, G, T, D]`, before they are rotated, where positions enter so.
    public let unrotatedKeys: Tensor
    /// `[B, H, T, D]`, as attention used them.
    public let queries: Tensor
    /// `[B, G, T, D]`, as attention used them.
    public let keys: Tensor
    /// `[B, G, T, D]`.
    public let values: Tensor
    /// What queries and keys were compared with: similarity, bias and mask.
    public let operation: AttentionOperation
    /// The weights of the recorded queries, `[B, H, count, T_k]`.
    public let attentionWeights: Tensor?
    /// The average of the values, `[B, H, T, D]`.
    public let headOutputs: Tensor
    /// What was added to the residual stream: the heads' outputs times W_O, `[B, T, M]`.
    public let attentionOutput: Tensor
}
