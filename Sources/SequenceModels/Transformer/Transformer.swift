public import Attention

/// A Transformer: embedding, layers of attention and feed-forward around a residual stream, and the prediction
/// of the next token.
///
/// Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762); the norm stands before each block
/// (Xiong et al., 2020, arXiv:2002.04745).
public struct Transformer: Sendable {
    /// Sizes and choices.
    public let configuration: TransformerConfiguration
    /// `[V, M]`.
    public let embedding: WeightMatrix
    /// The first first.
    public let layers: [TransformerLayer]
    /// Scales the normalised output of the last layer, `[M]`.
    public let finalNorm: Tensor
    /// `[V, M]`; the embedding itself where the two are tied.
    public let outputWeight: WeightMatrix

    /// Creates a model from its weights.
    ///
    /// - Parameters:
    ///   - configuration: Sizes and choices.
    ///   - embedding: `[V, M]`.
    ///   - layers: As many as the configuration says.
    ///   - finalNorm: `[M]`.
    ///   - outputWeight: `[V, M]`; `nil` ties it to the embedding.
    public init(
        configuration: TransformerConfiguration, embedding: WeightMatrix, layers: [TransformerLayer],
        finalNorm: Tensor, outputWeight: WeightMatrix? = nil
    ) {
        require(
            layers.count == configuration.layerCount,
            "There are \(layers.count) layers; the configuration has \(configuration.layerCount).")
        self.configuration = configuration
        self.embedding = embedding
        self.layers = layers
        self.finalNorm = finalNorm
        self.outputWeight = outputWeight ?? embedding
    }

    /// Returns the embeddings of tokens.
    ///
    /// - Parameter tokens: `[B][T]`, each from 0 to less than the vocabulary's size.
    /// - Returns: `[B, T, M]`.
    public func embed(_ tokens: [[Int]]) -> Tensor {
        let length = tokens.first?.count ?? 0
        require(
            tokens.allSatisfy { $0.count == length }, "Sequences of \(tokens.map(\.count)) tokens do not make a batch.")
        return embedding.rows(tokens.flatMap { $0 }).reshaped(to: [tokens.count, length, configuration.modelDimension])
    }

    /// Returns the residual stream after the last layer, normalised, for tokens at positions from 0 on.
    ///
    /// - Parameter embeddings: `[B, T, M]`, from ``embed(_:)`` or changed.
    /// - Returns: `[B, T, M]`.
    public func hiddenStates(of embeddings: Tensor) -> Tensor {
        run(embeddings, tracing: nil).hiddenStates
    }

    /// Returns the residual stream after the last layer, normalised, for tokens that continue a state.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, T, M]`.
    ///   - state: What came before; this call's tokens are appended.
    /// - Returns: `[B, T, M]`.
    public func hiddenStates(of embeddings: Tensor, state: inout TransformerState) -> Tensor {
        run(embeddings, startingAt: state.lengths, tracing: nil) { layer, queries, keys, values, request in
            state.caches[layer].append(keys: keys, values: values)
            return state.caches[layer].attention(
                queries: queries, operation: AttentionOperation(), returning: request)
        }.hiddenStates
    }

    /// Returns the residual stream after the last layer, normalised, and what happened on the way.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, T, M]`.
    ///   - request: What to record.
    /// - Returns: `[B, T, M]`, and the trace.
    public func trace(
        _ embeddings: Tensor, recording request: TraceRequest
    ) -> (hiddenStates: Tensor, trace: TransformerTrace) {
        let (hiddenStates, layers) = run(embeddings, tracing: request)
        return (hiddenStates, TransformerTrace(weightedQueries: request.weights, layers: layers))
    }

    /// Returns how much each token is to be expected next, before the softmax.
    ///
    /// - Parameter hiddenStates: `[B, T, M]`, or a slice of it.
    /// - Returns: `[B, T, V]`.
    public func logits(of hiddenStates: Tensor) -> Tensor {
        matmul(hiddenStates, outputWeight)
    }

    /// Returns the logits after the last of some tokens, and appends the tokens to the state.
    ///
    /// - Parameters:
    ///   - tokens: `[B][T]`, at least one each.
    ///   - state: What came before.
    /// - Returns: `[B, V]`.
    public func nextTokenLogits(after tokens: [[Int]], state: inout TransformerState) -> Tensor {
        let length = tokens.first?.count ?? 0
        require(length > 0, "There is nothing to predict from: \(tokens).")
        let hidden = hiddenStates(of: embed(tokens), state: &state)
        return logits(of: hidden.slice(axis: 1, range: length - 1..<length))
            .reshaped(to: [tokens.count, outputWeight.rowCount])
    }

    /// Returns the state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - capacity: For how many tokens to take memory at once.
    /// - Returns: Empty caches.
    public func initialState(batchCount: Int = 1, capacity: Int = 64) -> TransformerState {
        TransformerState(
            caches: layers.map { _ in
                KeyValueCache(
                    batchCount: batchCount, headCount: configuration.keyValueHeadCount,
                    keyDimension: configuration.headDimension, valueDimension: configuration.headDimension,
                    capacity: capacity)
            })
    }

    private func run(
        _ embeddings: Tensor, startingAt starts: [Int]? = nil, tracing request: TraceRequest?,
        attend: (_ layer: Int, _ queries: Tensor, _ keys: Tensor, _ values: Tensor, _ request: AttentionRequest)
            -> AttentionResult = { _, queries, keys, values, request in
                AttentionOperation(mask: .causal(offset: 0))(
                    queries: queries, keys: keys, values: values, returning: request)
            }
    ) -> (hiddenStates: Tensor, layers: [LayerTrace]) {
        require(
            embeddings.rank == 3 && embeddings.shape[2] == configuration.modelDimension,
            "Embeddings are \(embeddings.shape), not [B, T, \(configuration.modelDimension)].")
        let starts = starts ?? [Int](repeating: 0, count: embeddings.shape[0])
        let positions = starts.map { start in (0..<embeddings.shape[1]).map { start + $0 } }
        var hiddenState = embeddings
        var traces: [LayerTrace] = []
        for (index, layer) in layers.enumerated() {
            let result = layer(
                hiddenState, positions: positions, configuration: configuration, tracing: request
            ) { attend(index, $0, $1, $2, $3) }
            hiddenState = result.hiddenState
            if let trace = result.trace { traces.append(trace) }
        }
        return (norm(hiddenState, weight: finalNorm, configuration), traces)
    }
}

/// What a Transformer has read so far: the keys and values of each layer.
public struct TransformerState: Sendable {
    var caches: [KeyValueCache]

    /// How many tokens each sequence has.
    public var lengths: [Int] { caches.first?.nextPositions ?? [] }
}
