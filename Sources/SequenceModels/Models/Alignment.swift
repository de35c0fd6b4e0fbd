public import Attention

/// What an encoder left for the decoder to look at.
public struct AlignmentMemory: Sendable {
    /// `[B, 1, S, K]`: what positions are found by.
    let keys: Tensor
    /// `[B, 1, S, E]`: what is found.
    let values: Tensor
    /// The similarity, for these keys.
    let similarity: any Similarity
    /// How many positions each source has.
    let lengths: [Int]

    /// `S`, the length of the longest source.
    var length: Int { keys.shape[2] }
}

/// Attention from a decoder's states to an encoder's: Bahdanau's, Luong's global one, and his local one.
///
/// Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate", 2014 (arXiv:1409.0473);
/// Luong et al., "Effective Approaches to Attention-based Neural Machine Translation", 2015 (arXiv:1508.04025). Unlike the
/// paper, the local weights are any measure's, and its window is counted from the source's first position as 0.
public struct Alignment: Layer {
    /// `D` of local attention.
    public let window: Int?
    /// How well a source position matches a state.
    public var similarity: LearnedSimilarity
    /// Makes keys as long as states, where the measure needs it and they are not.
    public var keyProjection: Linear?
    /// `W_p`, of local attention: from a state to units, from which the position is predicted.
    public var positionHidden: Linear?
    /// `v_p`, of local attention.
    public var positionScore: Linear?

    /// Creates a layer.
    ///
    /// - Parameters:
    ///   - configuration: Which measure, and which window.
    ///   - stateDimension: The length of the decoder's states.
    ///   - memoryDimension: The length of the encoder's.
    ///   - random: Where the first parameters come from.
    public init(
        _ configuration: AlignmentConfiguration, stateDimension: Int, memoryDimension: Int,
        random: inout RandomStream
    ) {
        window = configuration.window
        let projects = stateDimension != memoryDimension && !configuration.similarity.takesDifferentLengths
        similarity = LearnedSimilarity(
            configuration.similarity, queryDimension: stateDimension,
            keyDimension: projects ? stateDimension : memoryDimension, random: &random)
        if projects {
            keyProjection = Linear(
                inputDimension: memoryDimension, outputDimension: stateDimension, hasBias: false, random: &random)
        }
        if window != nil {
            positionHidden = Linear(
                inputDimension: stateDimension, outputDimension: stateDimension, hasBias: false, random: &random)
            positionScore = Linear(
                inputDimension: stateDimension, outputDimension: 1, hasBias: false, random: &random)
        }
    }

    /// Calls `visit` with what is learned.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &similarity, "similarity", visit)
        try SequenceModels.visitParameters(of: &keyProjection, "key", visit)
        try SequenceModels.visitParameters(of: &positionHidden, "position_hidden", visit)
        try SequenceModels.visitParameters(of: &positionScore, "position_score", visit)
    }

    /// Returns the encoder's states as a memory: what can be computed once for all steps is.
    ///
    /// - Parameters:
    ///   - states: `[B, S, E]`.
    ///   - lengths: How many positions each source has.
    ///   - stateDimension: The length of the decoder's states.
    /// - Returns: The memory.
    public func memory(of states: Tensor, lengths: [Int], stateDimension: Int) -> AlignmentMemory {
        let shape = states.shape
        func headed(_ x: Tensor) -> Tensor { x.reshaped(to: [shape[0], 1, shape[1], x.shape[2]]) }
        let measure = similarity.measure(dimension: stateDimension)
        let form = measure.form(queryDimension: stateDimension)
        let keys = keyProjection.map { $0(states) } ?? states
        guard case .linear(let weight, let bias) = form.keys else {
            return AlignmentMemory(keys: headed(keys), values: headed(states), similarity: measure, lengths: lengths)
        }
        return AlignmentMemory(
            keys: headed(linear(keys, weight: weight, bias: bias)), values: headed(states),
            similarity: ProjectedKeySimilarity(form), lengths: lengths)
    }

    /// Returns what states find in a memory.
    ///
    /// - Parameters:
    ///   - states: `[B, T, H]`.
    ///   - memory: The encoder's.
    ///   - returningWeights: Whether to return the weights.
    /// - Returns: The average of the memory's values, `[B, T, E]`, zeros where a source is empty, and the weights,
    ///   `[B, T, S]`: each row sums to 1, or to at most 1 with a window.
    public func callAsFunction(
        _ states: Tensor, memory: AlignmentMemory, returningWeights: Bool
    ) -> (context: Tensor, weights: Tensor?) {
        let (batchCount, length) = (states.shape[0], states.shape[1])
        let queries = states.reshaped(to: [batchCount, 1, length, states.shape[2]])
        let result =
            if let window {
                local(states, queries, memory, window)
            } else {
                global(queries, memory, returningWeights)
            }
        return (
            result.context.reshaped(to: [batchCount, length, memory.values.shape[3]]),
            returningWeights ? result.weights?.detached.reshaped(to: [batchCount, length, memory.length]) : nil
        )
    }

    private func operation(_ memory: AlignmentMemory) -> AttentionOperation {
        AttentionOperation(similarity: memory.similarity, mask: .lengths(memory.lengths))
    }

    private func global(
        _ queries: Tensor, _ memory: AlignmentMemory, _ returningWeights: Bool
    ) -> (context: Tensor, weights: Tensor?) {
        let result = operation(memory)(
            queries: queries, keys: memory.keys, values: memory.values,
            returning: AttentionRequest(weights: returningWeights ? 0..<queries.shape[2] : nil))
        return (result.output, result.weights)
    }

    private func local(
        _ states: Tensor, _ queries: Tensor, _ memory: AlignmentMemory, _ window: Int
    ) -> (context: Tensor, weights: Tensor?) {
        guard let positionHidden, let positionScore else { stop("Local attention predicts no position.") }
        let (batchCount, length, sourceLength) = (states.shape[0], states.shape[1], memory.length)
        // p_t = S · σ(v_pᵀ tanh(W_p s_t))
        let lengths = Tensor(memory.lengths.map(Double.init), shape: [batchCount, 1]).converted(to: states.elementType)
        let centers =
            sigmoid(positionScore(tanh(positionHidden(states))).reshaped(to: [batchCount, length])) * lengths
        let isNear = centers.doubles.flatMap { center in
            (0..<sourceLength).map { abs(Double($0) - center) <= Double(window) }
        }
        // The weights themselves have to be multiplied by the Gaussian: they are the average of unit vectors.
        let units = Tensor(
            (0..<sourceLength * sourceLength).map { $0 % (sourceLength + 1) == 0 ? Float(1) : 0 },
            shape: [1, 1, sourceLength, sourceLength]
        ).converted(to: states.elementType)
        var operation = operation(memory)
        operation.mask =
            operation.mask & .boolean(Tensor(isNear, shape: [batchCount, 1, length, sourceLength]))
        let weights =
            operation(
                queries: queries, keys: memory.keys,
                values: units.expanded(to: [batchCount, 1, sourceLength, sourceLength]))
            * gaussianWindow(centers: centers, length: sourceLength, deviation: Double(window) / 2)
            .reshaped(to: [batchCount, 1, length, sourceLength])
        return (batchedMatmul(weights, memory.values), weights)
    }
}
