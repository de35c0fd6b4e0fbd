public import Attention

/// One layer of a Transformer: attention, attention to an encoder's output if there is one, and feed-forward, each added
/// to the residual stream.
public struct TransformerLayer: Layer {
    /// Where the norms stand.
    public enum NormPlacement: String, Sendable, Hashable, Codable {
        /// `x + F(norm(x))`: trains without a slow start. Xiong et al., 2020 (arXiv:2002.04745).
        case before
        /// `norm(x + F(x))`, as in the paper of 2017.
        case after
    }

    /// Where the norms stand.
    public let normPlacement: NormPlacement
    /// The norm of ``attention``.
    public var attentionNorm: Norm
    /// Attention of the tokens to each other.
    public var attention: MultiHeadAttention
    /// The norm of ``crossAttention``.
    public var crossAttentionNorm: Norm?
    /// Attention to an encoder's output; of a decoder behind an encoder alone.
    public var crossAttention: MultiHeadAttention?
    /// The norm of ``feedForward``.
    public var feedForwardNorm: Norm
    /// What follows, token by token.
    public var feedForward: FeedForward
    /// The share of each block's output that is dropped in training.
    public var dropoutRate: Double

    /// Creates a layer from its parts.
    ///
    /// - Parameters:
    ///   - normPlacement: Where the norms stand.
    ///   - attentionNorm: The norm of `attention`.
    ///   - attention: Attention of the tokens to each other.
    ///   - crossAttentionNorm: The norm of `crossAttention`; they come together.
    ///   - crossAttention: Attention to an encoder's output.
    ///   - feedForwardNorm: The norm of `feedForward`.
    ///   - feedForward: What follows, token by token.
    ///   - dropoutRate: The share of each block's output that is dropped in training.
    public init(
        normPlacement: NormPlacement = .before, attentionNorm: Norm, attention: MultiHeadAttention,
        crossAttentionNorm: Norm? = nil, crossAttention: MultiHeadAttention? = nil, feedForwardNorm: Norm,
        feedForward: FeedForward, dropoutRate: Double = 0
    ) {
        require(
            (crossAttentionNorm == nil) == (crossAttention == nil),
            "Attention to an encoder and its norm come together.")
        self.normPlacement = normPlacement
        self.attentionNorm = attentionNorm
        self.attention = attention
        self.crossAttentionNorm = crossAttentionNorm
        self.crossAttention = crossAttention
        self.feedForwardNorm = feedForwardNorm
        self.feedForward = feedForward
        self.dropoutRate = dropoutRate
    }

    /// Calls `visit` with the parameters of `self_attn`, `multihead_attn`, `linear1`, `linear2`, `gate` and the norms,
    /// which are numbered in the order that they are used.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &attention, "self_attn", visit)
        try SequenceModels.visitParameters(of: &crossAttention, "multihead_attn", visit)
        try feedForward.visitParameters(visit)
        try SequenceModels.visitParameters(of: &attentionNorm, "norm1", visit)
        try SequenceModels.visitParameters(of: &crossAttentionNorm, "norm2", visit)
        try SequenceModels.visitParameters(of: &feedForwardNorm, crossAttention == nil ? "norm2" : "norm3", visit)
    }

    /// Returns the residual stream after this layer.
    ///
    /// - Parameters:
    ///   - x: `[B, T, M]`.
    ///   - pass: What all layers have in common, and what they leave behind.
    /// - Returns: `[B, T, M]`.
    func callAsFunction(_ x: Tensor, _ pass: inout TransformerPass) -> Tensor {
        var stream = added(to: x, attentionNorm, &pass) { input, pass in
            let trace = attention.attend(
                input, to: .itself, rotation: pass.rotation,
                attention.operation(mask: pass.mask, bias: pass.bias), pass.request
            ) { pass.attend($0, $1, $2, $3, $4) }
            if pass.isTracing { pass.traces.append(trace) }
            return trace.attentionOutput
        }
        if let crossAttention, let crossAttentionNorm {
            stream = added(to: stream, crossAttentionNorm, &pass) { input, pass in
                let trace = crossAttention.attend(
                    input, to: pass.memorySource(of: crossAttention), rotation: nil,
                    crossAttention.operation(mask: pass.memoryMask, bias: .none), pass.request
                ) { $0(queries: $1, keys: $2, values: $3, returning: $4) }
                if pass.isTracing { pass.crossTraces.append(trace) }
                return trace.attentionOutput
            }
        }
        return added(to: stream, feedForwardNorm, &pass) { input, _ in feedForward(input) }
    }

    /// Adds a block's output to the stream, with the norm before the block or after the sum.
    private func added(
        to x: Tensor, _ norm: Norm, _ pass: inout TransformerPass,
        block: (_ input: Tensor, _ pass: inout TransformerPass) -> Tensor
    ) -> Tensor {
        let output = block(normPlacement == .before ? norm(x) : x, &pass)
        let sum = x + dropped(output, rate: dropoutRate, &pass.dropout)
        return normPlacement == .before ? sum : norm(sum)
    }
}

/// What all layers of one forward pass have in common, and what they leave behind.
struct TransformerPass {
    /// Which keys a token may see, of its own sequence.
    var mask = AttentionMask.none
    var bias = ScoreBias.none
    var rotation: Rotation?
    /// What an encoder returned, `[B, T, M]`, and which of it may be seen.
    var memory: Tensor?
    var memoryMask = AttentionMask.none
    /// Keys and values of earlier tokens, by layer; empty where there are none.
    var caches: [KeyValueCache] = []
    /// Keys and values of the memory, by layer, where they were made before.
    var memoryKeysAndValues: [(keys: Tensor, values: Tensor)] = []
    /// Where random numbers come from; `nil` where nothing is dropped.
    var dropout: RandomStream?
    var traceRequest: TraceRequest?
    var traces: [LayerTrace] = []
    var crossTraces: [LayerTrace] = []
    /// Which layer computes.
    var layer = 0

    var isTracing: Bool { traceRequest != nil }
    var request: AttentionRequest { AttentionRequest(weights: traceRequest?.weights) }

    /// Lets queries attend to keys and values, and to those of earlier calls if there are any.
    mutating func attend(
        _ operation: AttentionOperation, _ queries: Tensor, _ keys: Tensor, _ values: Tensor,
        _ request: AttentionRequest
    ) -> AttentionResult {
        guard !caches.isEmpty else {
            return operation(queries: queries, keys: keys, values: values, returning: request)
        }
        caches[layer].append(keys: keys, values: values)
        return caches[layer].attention(queries: queries, operation: operation, returning: request)
    }

    func memorySource(of attention: MultiHeadAttention) -> MultiHeadAttention.Source {
        if !memoryKeysAndValues.isEmpty {
            return .made(keys: memoryKeysAndValues[layer].keys, values: memoryKeysAndValues[layer].values)
        }
        guard let memory else { stop("A layer that attends to an encoder's output got none.") }
        return .memory(memory)
    }
}
