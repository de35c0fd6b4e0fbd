public import Attention

/// The weights of one layer of a Transformer: attention and feed-forward, each added to the residual stream.
public struct TransformerLayer: Sendable {
    /// Scales the normalised input of attention, `[M]`.
    public var attentionNorm: Tensor
    /// `[H·D, M]`.
    public var queryWeight: WeightMatrix
    /// `[G·D, M]`.
    public var keyWeight: WeightMatrix
    /// `[G·D, M]`.
    public var valueWeight: WeightMatrix
    /// W_O, `[M, H·D]`.
    public var outputWeight: WeightMatrix
    /// Scales the normalised input of the feed-forward block, `[M]`.
    public var feedForwardNorm: Tensor
    /// `[F, M]`.
    public var gateWeight: WeightMatrix
    /// `[F, M]`.
    public var upWeight: WeightMatrix
    /// `[M, F]`.
    public var downWeight: WeightMatrix

    /// Creates a layer from its weights.
    ///
    /// - Parameters:
    ///   - attentionNorm: `[M]`.
    ///   - queryWeight: `[H·D, M]`.
    ///   - keyWeight: `[G·D, M]`.
    ///   - valueWeight: `[G·D, M]`.
    ///   - outputWeight: `[M, H·D]`.
    ///   - feedForwardNorm: `[M]`.
    ///   - gateWeight: `[F, M]`.
    ///   - upWeight: `[F, M]`.
    ///   - downWeight: `[M, F]`.
    public init(
        attentionNorm: Tensor, queryWeight: WeightMatrix, keyWeight: WeightMatrix, valueWeight: WeightMatrix,
        outputWeight: WeightMatrix, feedForwardNorm: Tensor, gateWeight: WeightMatrix, upWeight: WeightMatrix,
        downWeight: WeightMatrix
    ) {
        self.attentionNorm = attentionNorm
        self.queryWeight = queryWeight
        self.keyWeight = keyWeight
        self.valueWeight = valueWeight
        self.outputWeight = outputWeight
        self.feedForwardNorm = feedForwardNorm
        self.gateWeight = gateWeight
        self.upWeight = upWeight
        self.downWeight = downWeight
    }

    /// Returns the residual stream after this layer.
    ///
    /// - Parameters:
    ///   - hiddenState: `[B, T, M]`.
    ///   - positions: The position of each token, `[B][T]`.
    ///   - configuration: The model's.
    ///   - traceRequest: What to record.
    ///   - attend: Lets queries attend to keys and values, and to those of earlier calls if there are any.
    /// - Returns: `[B, T, M]`, and what was recorded.
    func callAsFunction(
        _ hiddenState: Tensor, positions: [[Int]], configuration: TransformerConfiguration,
        tracing traceRequest: TraceRequest?, attend: SelfAttention
    ) -> (hiddenState: Tensor, trace: LayerTrace?) {
        let normalized = norm(hiddenState, weight: attentionNorm, configuration)
        let unrotatedQueries = matmul(normalized, queryWeight).splittingHeads(configuration.headCount)
        let unrotatedKeys = matmul(normalized, keyWeight).splittingHeads(configuration.keyValueHeadCount)
        let values = matmul(normalized, valueWeight).splittingHeads(configuration.keyValueHeadCount)
        let queries: Tensor
        let keys: Tensor
        switch configuration.positions {
        case .rotary(let rotary):
            queries = rotary(unrotatedQueries, positions: positions)
            keys = rotary(unrotatedKeys, positions: positions)
        }

        let attended = attend(queries, keys, values, AttentionRequest(weights: traceRequest?.weights))
        let attentionOutput = matmul(attended.output.mergingHeads(), outputWeight)
        let afterAttention = hiddenState + attentionOutput

        let feedForwardInput = norm(afterAttention, weight: feedForwardNorm, configuration)
        let feedForwardOutput: Tensor
        switch configuration.feedForward {
        case .swiGLU:
            let gated = silu(matmul(feedForwardInput, gateWeight)) * matmul(feedForwardInput, upWeight)
            feedForwardOutput = matmul(gated, downWeight)
        }
        let trace = traceRequest.map { _ in
            LayerTrace(
                unrotatedQueries: unrotatedQueries, unrotatedKeys: unrotatedKeys, queries: queries, keys: keys,
                values: values, attentionWeights: attended.weights, headOutputs: attended.output,
                attentionOutput: attentionOutput)
        }
        return (afterAttention + feedForwardOutput, trace)
    }
}

/// Attention of a layer's queries to its keys and values, `[B, H, T, D]` and `[B, G, T, D]`.
typealias SelfAttention = (
    _ queries: Tensor, _ keys: Tensor, _ values: Tensor, _ request: AttentionRequest
) -> AttentionResult

func norm(_ x: Tensor, weight: Tensor, _ configuration: TransformerConfiguration) -> Tensor {
    switch configuration.norm {
    case .rms(let epsilon): rmsNorm(x, weight: weight, epsilon: epsilon)
    }
}
