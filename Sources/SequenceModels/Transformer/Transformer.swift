public import Attention

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A Transformer: embedding, layers of attention and feed-forward around a residual stream, and the prediction
/// of the next token.
///
/// Encoder, decoder and encoder–decoder are configurations of it. A decoder, the default, sees no later token; an
/// encoder's tokens see each other; an encoder–decoder's second stack attends to what the first made of a source.
///
/// Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762).
public struct Transformer: Layer {
    /// Sizes and choices.
    public let configuration: TransformerConfiguration
    /// `[V, M]`.
    public var embedding: WeightMatrix
    /// A vector for each position, `[T, M]`; of models that learn them alone.
    public var positionEmbedding: Tensor?
    /// A vector for each type of token, `[K, M]`; of models that tell types apart.
    public var tokenTypeEmbedding: Tensor?
    /// After the sum of the embeddings, before the first layer.
    public var embeddingNorm: Norm?
    /// What reads a source first; of an encoder–decoder alone.
    public var encoder: TransformerStack?
    /// The layers of the model itself, and the norm after the last.
    public var stack: TransformerStack
    var untiedOutput: WeightMatrix?
    /// How the keys and values of what was read are stored: float32, or float16 or bfloat16, which take half the memory.
    ///
    /// A model whose weights are float64 keeps them as float64.
    public var cacheType = ElementType.float32 {
        didSet {
            require(
                [.float32, .float16, .bfloat16].contains(cacheType),
                "Keys and values are kept as float32, float16 or bfloat16, not as \(cacheType).")
        }
    }

    /// Creates a model from its weights.
    ///
    /// - Parameters:
    ///   - configuration: Sizes and choices.
    ///   - embedding: `[V, M]`.
    ///   - positionEmbedding: `[T, M]`; of models with learned positions.
    ///   - tokenTypeEmbedding: `[K, M]`; of models that tell types of tokens apart.
    ///   - embeddingNorm: After the sum of the embeddings; of models that have it.
    ///   - encoder: What reads a source first; of an encoder–decoder.
    ///   - stack: As many layers as the configuration says.
    ///   - outputWeight: `[V, M]`; `nil` ties it to the embedding.
    public init(
        configuration: TransformerConfiguration, embedding: WeightMatrix, positionEmbedding: Tensor? = nil,
        tokenTypeEmbedding: Tensor? = nil, embeddingNorm: Norm? = nil,
        encoder: TransformerStack? = nil, stack: TransformerStack, outputWeight: WeightMatrix? = nil
    ) {
        require(
            stack.layers.count == configuration.layerCount
                && encoder?.layers.count ?? 0 == configuration.encoderLayerCount,
            "There are \(stack.layers.count) layers behind \(encoder?.layers.count ?? 0) of an encoder; the configuration "
                + "has \(configuration.layerCount) and \(configuration.encoderLayerCount).")
        let positions =
            configuration.positions == .learned ? [configuration.contextLength, configuration.modelDimension] : nil
        require(
            positionEmbedding?.shape == positions,
            "The learned positions are \(positionEmbedding?.shape ?? []), not \(positions ?? []).")
        let types =
            configuration.tokenTypeCount > 0 ? [configuration.tokenTypeCount, configuration.modelDimension] : nil
        require(
            tokenTypeEmbedding?.shape == types,
            "The types of tokens are \(tokenTypeEmbedding?.shape ?? []), not \(types ?? []).")
        require(
            (embeddingNorm != nil) == configuration.hasEmbeddingNorm,
            configuration.hasEmbeddingNorm ? "The norm of the embeddings is missing." : "The embeddings have no norm.")
        self.configuration = configuration
        self.embedding = embedding
        self.positionEmbedding = positionEmbedding
        self.tokenTypeEmbedding = tokenTypeEmbedding
        self.embeddingNorm = embeddingNorm
        self.encoder = encoder
        self.stack = stack
        untiedOutput = outputWeight
    }

    /// Creates a model to be trained, with first weights as GPT-2 has them: see ``TransformerStack``.
    ///
    /// - Parameters:
    ///   - configuration: Sizes and choices.
    ///   - random: Where the weights come from.
    public init(configuration: TransformerConfiguration, random: inout RandomStream) {
        let shape = [configuration.vocabularySize, configuration.modelDimension]
        let embedding = WeightMatrix(random.normal(shape, deviation: 0.02))
        let positions =
            configuration.positions == .learned
            ? random.normal([configuration.contextLength, configuration.modelDimension], deviation: 0.02) : nil
        let types =
            configuration.tokenTypeCount > 0
            ? random.normal([configuration.tokenTypeCount, configuration.modelDimension], deviation: 0.02) : nil
        let embeddingNorm =
            configuration.hasEmbeddingNorm
            ? Norm(configuration.norm, dimension: configuration.modelDimension, hasBias: configuration.hasBiases) : nil
        let encoder =
            configuration.hasEncoder
            ? TransformerStack(configuration, layerCount: configuration.encoderLayerCount, random: &random) : nil
        let stack = TransformerStack(configuration, attendsToMemory: configuration.hasEncoder, random: &random)
        self.init(
            configuration: configuration, embedding: embedding, positionEmbedding: positions,
            tokenTypeEmbedding: types, embeddingNorm: embeddingNorm, encoder: encoder, stack: stack,
            outputWeight: configuration.tiesEmbedding ? nil : WeightMatrix(random.normal(shape, deviation: 0.02)))
    }

    /// The layers of the model itself, the first first.
    public var layers: [TransformerLayer] { stack.layers }

    /// `[V, M]`; the embedding itself where the two are tied.
    public var outputWeight: WeightMatrix { untiedOutput ?? embedding }

    /// Calls `visit` with the parameters of `embedding`, `position_embedding`, `token_type_embedding`, `embedding_norm`,
    /// `encoder`, `layers`, `norm` and `output`; of tied ones once, as `embedding`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visitParameter(&embedding, "embedding.weight", visit)
        try visitParameter(&positionEmbedding, "position_embedding.weight", visit)
        try visitParameter(&tokenTypeEmbedding, "token_type_embedding.weight", visit)
        try SequenceModels.visitParameters(of: &embeddingNorm, "embedding_norm", visit)
        try SequenceModels.visitParameters(of: &encoder, "encoder", visit)
        try stack.visitParameters(visit)
        if var output = untiedOutput {
            untiedOutput = nil
            defer { untiedOutput = output }
            try visitParameter(&output, "output.weight", visit)
        }
    }

    /// Returns the embeddings of tokens; of models that tell types apart, of tokens of the first type.
    ///
    /// - Parameter tokens: `[B][T]`, each from 0 to less than the vocabulary's size.
    /// - Returns: `[B, T, M]`.
    public func embed(_ tokens: [[Int]]) -> Tensor { embed(tokens, types: nil) }

    /// Returns the embeddings of tokens, with those of their types where there are any.
    ///
    /// - Parameters:
    ///   - tokens: `[B][T]`, each from 0 to less than the vocabulary's size.
    ///   - types: `[B][T]`, each from 0 to less than the number of types; `nil` is the first type for all.
    /// - Returns: `[B, T, M]`.
    public func embed(_ tokens: [[Int]], types: [[Int]]?) -> Tensor {
        let length = tokens.first?.count ?? 0
        require(
            tokens.allSatisfy { $0.count == length }, "Sequences of \(tokens.map(\.count)) tokens do not make a batch.")
        require(
            types == nil || types?.map(\.count) == tokens.map(\.count),
            "There are types for \(types?.map(\.count) ?? []) tokens, but \(tokens.map(\.count)) tokens.")
        let shape = [tokens.count, length, configuration.modelDimension]
        let vectors = embedding.rows(tokens.flatMap { $0 }).reshaped(to: shape)
        guard let tokenTypeEmbedding else {
            require(types == nil, "The model does not tell types of tokens apart.")
            return vectors
        }
        guard let types else {
            return vectors
                + Attention.embedding(weight: tokenTypeEmbedding, indices: [0]).reshaped(to: [shape[2]])
        }
        return vectors
            + Attention.embedding(weight: tokenTypeEmbedding, indices: types.flatMap { $0 }).reshaped(to: shape)
    }

    /// Returns how much each token is to be expected next, before the softmax.
    ///
    /// - Parameter hiddenStates: `[B, T, M]`, or a slice of it.
    /// - Returns: `[B, T, V]`.
    public func logits(of hiddenStates: Tensor) -> Tensor {
        matmul(hiddenStates, outputWeight)
    }

    /// Returns the residual stream after the last layer, normalised, for tokens at positions from 0 on.
    ///
    /// - Parameter embeddings: `[B, T, M]`, from ``embed(_:)`` or changed.
    /// - Returns: `[B, T, M]`.
    public func hiddenStates(of embeddings: Tensor) -> Tensor {
        var dropout: RandomStream?
        return hiddenStates(of: EmbeddedBatch(embeddings), source: nil, dropout: &dropout)
    }

    /// Returns the residual stream after the last layer, normalised, for sequences of several lengths.
    ///
    /// What stands at padding is seen by no token of the sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`, for tokens at positions from 0 on.
    ///   - source: What the encoder reads; of an encoder–decoder alone.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, M]`.
    public func hiddenStates(
        of inputs: EmbeddedBatch, source: EmbeddedBatch?, dropout: inout RandomStream?
    ) -> Tensor {
        var pass = TransformerPass(dropout: dropout)
        defer { dropout = pass.dropout }
        return run(inputs, source: source, &pass)
    }

    /// Returns the residual stream after the last layer, normalised, and what happened on the way.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, T, M]`.
    ///   - source: What the encoder reads; of an encoder–decoder alone.
    ///   - request: What to record.
    /// - Returns: `[B, T, M]`, and the trace.
    public func trace(
        _ embeddings: Tensor, source: EmbeddedBatch? = nil, recording request: TraceRequest
    ) -> (hiddenStates: Tensor, trace: TransformerTrace) {
        var pass = TransformerPass(traceRequest: request)
        let hiddenStates = run(EmbeddedBatch(embeddings), source: source, &pass)
        return (
            hiddenStates,
            TransformerTrace(weightedQueries: request.weights, layers: pass.traces, crossAttention: pass.crossTraces)
        )
    }

    // MARK: - Token by token

    /// Returns the state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - source: What the encoder reads; of an encoder–decoder alone.
    ///   - capacity: For how many tokens to take memory at once.
    /// - Returns: Empty caches, and what the encoder made of the source.
    public func initialState(
        batchCount: Int = 1, source: EmbeddedBatch? = nil, capacity: Int = 64
    ) -> TransformerState {
        require(configuration.isCausal, "A model whose tokens see later ones cannot be run token by token.")
        var state = TransformerState(
            caches: layers.map { layer in
                KeyValueCache(
                    batchCount: batchCount, headCount: configuration.keyValueHeadCount,
                    keyDimension: configuration.headDimension, valueDimension: configuration.headDimension,
                    capacity: capacity,
                    elementType: embedding.tensor?.elementType == .float64 ? .float64 : cacheType)
            })
        var dropout: RandomStream?
        if let memory = encode(source, batchCount: batchCount, dropout: &dropout) {
            state.memoryKeysAndValues = layers.compactMap { $0.crossAttention?.keysAndValues(of: memory) }
            state.memoryMask = source?.lengths.map { .lengths($0) } ?? .none
        }
        return state
    }

    /// Returns the residual stream after the last layer, normalised, for tokens that continue a state.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, T, M]`.
    ///   - state: What came before; this call's tokens are appended.
    /// - Returns: `[B, T, M]`.
    public func hiddenStates(of embeddings: Tensor, state: inout TransformerState) -> Tensor {
        let starts = state.lengths
        var pass = TransformerPass(
            memoryMask: state.memoryMask, caches: state.caches, memoryKeysAndValues: state.memoryKeysAndValues)
        // Given up here, so that keys and values are appended in place.
        state.caches = []
        defer { state.caches = pass.caches }
        return run(embeddings, startingAt: starts, &pass)
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
        let embeddings = embed(tokens)
        if let logits = stepLogits(after: embeddings, state: &state) { return logits }
        let hidden = hiddenStates(of: embeddings, state: &state)
        return logits(of: hidden.slice(axis: 1, range: length - 1..<length))
            .reshaped(to: [tokens.count, outputWeight.rowCount])
    }

    // MARK: - One pass

    private func run(_ inputs: EmbeddedBatch, source: EmbeddedBatch?, _ pass: inout TransformerPass) -> Tensor {
        pass.memory = encode(source, batchCount: inputs.vectors.shape[0], dropout: &pass.dropout)
        pass.memoryMask = source?.lengths.map { .lengths($0) } ?? .none
        if configuration.isCausal {
            // No token sees the padding, which comes after it.
            pass.mask = .causal(offset: 0)
        } else if let lengths = inputs.lengths {
            pass.mask = .lengths(lengths)
        }
        return run(inputs.vectors, startingAt: [Int](repeating: 0, count: inputs.vectors.shape[0]), &pass)
    }

    private func run(_ embeddings: Tensor, startingAt starts: [Int], _ pass: inout TransformerPass) -> Tensor {
        stack.run(withPositions(embeddings, startingAt: starts, &pass), &pass)
    }

    /// Returns what the encoder makes of a source: `nil` where there is none.
    private func encode(_ source: EmbeddedBatch?, batchCount: Int, dropout: inout RandomStream?) -> Tensor? {
        require(
            (source != nil) == configuration.hasEncoder,
            configuration.hasEncoder ? "The encoder needs a source." : "A model without an encoder reads no source.")
        guard let encoder, let source else { return nil }
        require(
            source.vectors.shape[0] == batchCount,
            "There are \(source.vectors.shape[0]) sources for \(batchCount) sequences.")
        var pass = TransformerPass(mask: source.lengths.map { .lengths($0) } ?? .none, dropout: dropout)
        defer { dropout = pass.dropout }
        let starts = [Int](repeating: 0, count: batchCount)
        return encoder.run(withPositions(source.vectors, startingAt: starts, &pass), &pass)
    }

    /// Returns the input of the first layer, and sets how positions enter later.
    private func withPositions(
        _ embeddings: Tensor, startingAt starts: [Int], _ pass: inout TransformerPass
    ) -> Tensor {
        let (batchCount, width) = (embeddings.shape[0], configuration.modelDimension)
        require(
            embeddings.rank == 3 && embeddings.shape[2] == width && starts.count == batchCount,
            "Embeddings are \(embeddings.shape), not [\(starts.count), T, \(width)].")
        let length = embeddings.shape[1]
        if let problem = configuration.problem(forLength: (starts.max() ?? 0) + length) { stop(problem) }
        var stream = configuration.scalesEmbedding ? embeddings * Double(width).squareRoot() : embeddings
        // Sequences that begin at the same position share what is added.
        let isShared = starts.allSatisfy { $0 == starts[0] }
        let positions = (isShared ? Array(starts.prefix(1)) : starts).map { start in (0..<length).map { start + $0 } }
        func rows(_ vectors: Tensor) -> Tensor {
            isShared ? vectors : vectors.reshaped(to: [batchCount, length, width])
        }
        switch configuration.positions {
        case .learned:
            if let positionEmbedding {
                stream =
                    stream
                    + rows(Attention.embedding(weight: positionEmbedding, indices: positions.flatMap { $0 }))
            }
        case .sinusoidal:
            stream =
                stream
                + rows(sinusoids(of: positions.flatMap { $0 }, width: width, elementType: embeddings.elementType))
        case .rotary(let rotary):
            let all = isShared ? [[Int]](repeating: positions.first ?? [], count: batchCount) : positions
            pass.rotation = Rotation(
                rotary, positions: all, elementType: embeddings.elementType == .float64 ? .float64 : .float32)
        case .alibi:
            pass.bias = .alibi(slopes: ScoreBias.alibiSlopes(headCount: configuration.headCount), offsets: starts)
        case .none: break
        }
        if let embeddingNorm { stream = embeddingNorm(stream) }
        return dropped(stream, rate: configuration.dropoutRate, &pass.dropout)
    }
}

/// Returns `sin(p / 10000^(2i/M))` at elements 2i and the cosine at 2i + 1 for each position, `[N, M]`.
///
/// Vaswani et al., 2017, section 3.5.
func sinusoids(of positions: [Int], width: Int, elementType: ElementType) -> Tensor {
    let frequencies = stride(from: 0, to: width, by: 2).map {
        Double.exp(-Double.log(10_000) * Double($0) / Double(width))
    }
    var numbers: [Double] = []
    numbers.reserveCapacity(positions.count * width)
    for position in positions {
        for (pair, frequency) in frequencies.enumerated() {
            let angle = Double(position) * frequency
            numbers.append(sin(angle))
            if 2 * pair + 1 < width { numbers.append(cos(angle)) }
        }
    }
    return Tensor(numbers, shape: [positions.count, width])
        .converted(to: elementType == .float64 ? .float64 : .float32)
}
