public import Attention

/// An encoder–decoder of recurrent layers, without attention or with Bahdanau's or Luong's.
///
/// The encoder reads the source; the decoder starts from the encoder's last state and predicts token after token. With
/// attention it looks at all of the encoder's states, before or after each step, and
///
/// ```
/// h̃_t = tanh(W_c [c_t; s_t])
/// ```
///
/// of what it found and its own state is what the prediction is made from; without, its state is.
///
/// Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014 (arXiv:1406.1078); Sutskever et al.,
/// "Sequence to Sequence Learning with Neural Networks", 2014 (arXiv:1409.3215); Bahdanau et al., 2014
/// (arXiv:1409.0473), whose maxout layer before the prediction is Luong's `tanh` here; Luong et al., 2015
/// (arXiv:1508.04025), section 3, without input feeding.
public struct Seq2Seq: AligningModel {
    /// What was read so far.
    public struct State: Sendable {
        fileprivate var recurrent: RecurrentState
        fileprivate let memory: AlignmentMemory?
        /// How much the last step looked at each source position, `[B, S]`; `nil` without attention or before a step.
        public fileprivate(set) var alignment: Tensor?
    }

    /// What the model is made of.
    public let configuration: Seq2SeqConfiguration
    /// The vectors of source tokens; `nil` where they are the decoder's.
    public var sourceEmbedding: Embedding?
    /// The vectors of the decoder's tokens.
    public var embedding: Embedding
    /// What reads the source.
    public var encoder: any RecurrentLayer
    /// From both directions' last hidden states to the decoder's first, of each layer.
    public var hiddenBridge: Linear?
    /// From both directions' last cell states to the decoder's first, of each layer of LSTMs.
    public var cellBridge: Linear?
    /// What writes.
    public var decoder: any RecurrentLayer
    /// How the decoder looks at the source.
    public var alignment: Alignment?
    /// `W_c`.
    public var combination: Linear?
    /// To the logits.
    public var output: Linear

    /// Creates a model.
    ///
    /// - Parameters:
    ///   - configuration: What it is made of.
    ///   - random: Where the first parameters come from.
    public init(_ configuration: Seq2SeqConfiguration, random: inout RandomStream) {
        if let problem = configuration.problem { stop(problem) }
        let (hidden, memory) = (configuration.hiddenDimension, configuration.memoryDimension)
        let embedded = configuration.embeddingDimension
        self.configuration = configuration
        sourceEmbedding = configuration.sourceVocabularySize.map {
            Embedding(count: $0, dimension: embedded, random: &random)
        }
        embedding = Embedding(count: configuration.vocabularySize, dimension: embedded, random: &random)
        encoder = configuration.layers(
            inputDimension: embedded, direction: configuration.encoderDirection, random: &random)
        if configuration.encoderDirection == .bidirectional {
            hiddenBridge = Linear(inputDimension: memory, outputDimension: hidden, random: &random)
            if configuration.cell == .lstm {
                cellBridge = Linear(inputDimension: memory, outputDimension: hidden, random: &random)
            }
        }
        let readsContext = configuration.attention?.placement == .beforeStep
        decoder = configuration.layers(
            inputDimension: embedded + (readsContext ? memory : 0), direction: .forward, random: &random)
        if let attention = configuration.attention {
            alignment = Alignment(attention, stateDimension: hidden, memoryDimension: memory, random: &random)
            combination = Linear(
                inputDimension: memory + hidden, outputDimension: hidden, hasBias: false, random: &random)
        }
        output = Linear(inputDimension: hidden, outputDimension: configuration.vocabularySize, random: &random)
    }

    /// The number of the decoder's tokens.
    public var vocabularySize: Int { configuration.vocabularySize }
    /// Always: it is an encoder–decoder.
    public var readsSource: Bool { true }

    /// The mean of the decoder's tokens' vectors, `[M]`.
    public var meanVector: Tensor { embedding.meanVector }
    /// The mean of the source's tokens' vectors, `[M]`.
    public var meanSourceVector: Tensor { (sourceEmbedding ?? embedding).meanVector }

    /// Calls `visit` with all parameters.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &sourceEmbedding, "source_embedding", visit)
        try SequenceModels.visitParameters(of: &embedding, "embedding", visit)
        try SequenceModels.visitParameters(of: &encoder, "encoder", visit)
        try SequenceModels.visitParameters(of: &hiddenBridge, "hidden_bridge", visit)
        try SequenceModels.visitParameters(of: &cellBridge, "cell_bridge", visit)
        try SequenceModels.visitParameters(of: &decoder, "decoder", visit)
        try SequenceModels.visitParameters(of: &alignment, "attention", visit)
        try SequenceModels.visitParameters(of: &combination, "combination", visit)
        try SequenceModels.visitParameters(of: &output, "output", visit)
    }

    /// Returns the vectors of the decoder's tokens.
    ///
    /// - Parameter tokens: `[B][T]`.
    /// - Returns: `[B, T, M]`.
    public func embed(_ tokens: [[Int]]) -> Tensor { embedding(tokens) }

    /// Returns the vectors of a source's tokens.
    ///
    /// - Parameter tokens: `[B][S]`.
    /// - Returns: `[B, S, M]`.
    public func embedSource(_ tokens: [[Int]]) -> Tensor { (sourceEmbedding ?? embedding)(tokens) }

    // MARK: - Whole sequences

    /// Returns what the prediction after each token is made from.
    ///
    /// Attention after the step lets the decoder run over all tokens at once; attention before it, step by step.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - source: What the encoder reads, `[B, S, M]`, one sequence per sequence.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, H]`.
    public func hiddenStates(
        of inputs: EmbeddedBatch, source: EmbeddedBatch?, dropout: inout RandomStream?
    ) -> Tensor {
        decode(inputs, source: source, returningWeights: false, dropout: &dropout).hiddenStates
    }

    /// Returns how much each step looks at each position of the source, in the forward pass that predicts a batch.
    ///
    /// - Parameter batch: What the model reads.
    /// - Returns: `[B, T, S]`: the rows of a sequence's tokens sum to 1 over its source, or to at most 1 with a window;
    ///   those of padding, and of an empty source, are zeros. `nil` without attention.
    public func alignment(of batch: TrainingBatch) -> Tensor? {
        var dropout: RandomStream?
        return withoutGradients {
            decode(
                EmbeddedBatch(embed(batch.inputs.tokens), lengths: batch.inputs.lengths),
                source: batch.source.map { EmbeddedBatch(embedSource($0.tokens), lengths: $0.lengths) },
                returningWeights: true, dropout: &dropout
            ).alignment.map { alignment in
                let (length, lengths) = (alignment.shape[1], batch.inputs.lengths)
                let isToken = lengths.flatMap { count in (0..<length).map { $0 < count ? Float(1) : 0 } }
                return alignment
                    * Tensor(isToken, shape: [lengths.count, length, 1]).converted(to: alignment.elementType)
            }
        }
    }

    private func decode(
        _ inputs: EmbeddedBatch, source: EmbeddedBatch?, returningWeights: Bool, dropout: inout RandomStream?
    ) -> (hiddenStates: Tensor, alignment: Tensor?) {
        let start = encode(source, batchCount: inputs.vectors.shape[0], dropout: &dropout)
        var inputs = inputs
        inputs.vectors = dropped(inputs.vectors, rate: configuration.dropoutRate, &dropout)
        let (states, weights) = decode(inputs, from: start, returningWeights, &dropout)
        return (dropped(states, rate: configuration.dropoutRate, &dropout), weights)
    }

    private func decode(
        _ inputs: EmbeddedBatch, from start: State, _ returningWeights: Bool, _ dropout: inout RandomStream?
    ) -> (Tensor, Tensor?) {
        let looksBefore = configuration.attention?.placement == .beforeStep
        if let memory = start.memory, let alignment, looksBefore {
            return decodeStepByStep(inputs.vectors, start.recurrent, memory, alignment, returningWeights, &dropout)
        }
        let states = decoder(
            inputs.vectors, lengths: inputs.lengths, initialState: start.recurrent, dropout: &dropout
        ).outputs
        guard let memory = start.memory, let alignment else { return (states, nil) }
        let found = alignment(states, memory: memory, returningWeights: returningWeights)
        return (combine(found.context, states), found.weights)
    }

    private func decodeStepByStep(
        _ vectors: Tensor, _ start: RecurrentState, _ memory: AlignmentMemory, _ alignment: Alignment,
        _ returningWeights: Bool, _ dropout: inout RandomStream?
    ) -> (Tensor, Tensor?) {
        var recurrent = start
        var (contexts, states, weights): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
        for index in 0..<vectors.shape[1] {
            let vector = vectors.slice(axis: 1, range: index..<index + 1)
            let found = alignment(query(recurrent), memory: memory, returningWeights: returningWeights)
            let (output, next) = decoder(
                .concatenated([vector, found.context], axis: 2), lengths: nil, initialState: recurrent,
                dropout: &dropout)
            recurrent = next
            contexts.append(found.context)
            states.append(output)
            if let row = found.weights { weights.append(row) }
        }
        guard !states.isEmpty else {
            let shape = [vectors.shape[0], 0]
            return (
                Tensor(zeros: shape + [configuration.hiddenDimension], elementType: vectors.elementType),
                Tensor(zeros: shape + [memory.length], elementType: vectors.elementType)
            )
        }
        return (
            combine(.concatenated(contexts, axis: 1), .concatenated(states, axis: 1)),
            returningWeights ? .concatenated(weights, axis: 1) : nil
        )
    }

    /// Returns the last layer's state as a query, `[B, 1, H]`.
    private func query(_ state: RecurrentState) -> Tensor {
        let last = state.hidden.shape[0] - 1
        return state.hidden.slice(axis: 0, range: last..<last + 1).transposed(0, 1)
    }

    /// Returns `tanh(W_c [c; s])`.
    private func combine(_ context: Tensor, _ states: Tensor) -> Tensor {
        guard let combination else { stop("A model with attention has a layer that combines.") }
        return tanh(combination(.concatenated([context, states], axis: context.rank - 1)))
    }

    /// Returns the logits.
    ///
    /// - Parameter hiddenStates: `[…, H]`.
    /// - Returns: `[…, V]`.
    public func logits(of hiddenStates: Tensor) -> Tensor { output(hiddenStates) }

    // MARK: - The source

    private func encode(_ source: EmbeddedBatch?, batchCount: Int, dropout: inout RandomStream?) -> State {
        guard let source else { stop("The model reads a source, and there is none.") }
        require(
            source.vectors.shape[0] == batchCount,
            "There are \(source.vectors.shape[0]) sources for \(batchCount) sequences.")
        let lengths = source.lengths ?? [Int](repeating: source.vectors.shape[1], count: batchCount)
        let vectors = dropped(source.vectors, rate: configuration.dropoutRate, &dropout)
        let (outputs, final) = encoder(vectors, lengths: lengths, initialState: nil, dropout: &dropout)
        let memory = alignment?.memory(
            of: outputs, lengths: lengths, stateDimension: configuration.hiddenDimension)
        return State(recurrent: bridged(final), memory: memory)
    }

    /// Returns the decoder's first state.
    private func bridged(_ final: RecurrentState) -> RecurrentState {
        guard let hiddenBridge else { return final }
        // [layers · 2, B, H] → [layers, B, 2H]
        func sideBySide(_ state: Tensor) -> Tensor {
            let (count, batchCount, width) = (state.shape[0] / 2, state.shape[1], state.shape[2])
            return state.reshaped(to: [count, 2, batchCount, width]).transposed(1, 2)
                .reshaped(to: [count, batchCount, 2 * width])
        }
        return RecurrentState(
            hidden: tanh(hiddenBridge(sideBySide(final.hidden))),
            cell: final.cell.flatMap { cell in cellBridge.map { $0(sideBySide(cell)) } })
    }

    // MARK: - Token by token

    /// Reads the source, and returns the state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - source: What the encoder reads, one sequence per sequence.
    /// - Returns: The state.
    public func initialState(batchCount: Int, source: EmbeddedBatch?) -> State {
        var dropout: RandomStream?
        return encode(source, batchCount: batchCount, dropout: &dropout)
    }

    /// Reads one token of each sequence.
    ///
    /// - Parameters:
    ///   - tokens: One per sequence.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`.
    public func step(_ tokens: [Int], state: inout State) -> Tensor {
        let vectors = embed(tokens.map { [$0] })
        var found: (context: Tensor, weights: Tensor?)?
        if let memory = state.memory, let alignment, configuration.attention?.placement == .beforeStep {
            found = alignment(query(state.recurrent), memory: memory, returningWeights: true)
        }
        let inputs = found.map { Tensor.concatenated([vectors, $0.context], axis: 2) } ?? vectors
        var hidden = decoder.step(inputs.removing(axis: 1), state: &state.recurrent)
        if let memory = state.memory, let alignment {
            let query = hidden.reshaped(to: [hidden.shape[0], 1, hidden.shape[1]])
            let found = found ?? alignment(query, memory: memory, returningWeights: true)
            hidden = combine(found.context, query).removing(axis: 1)
            state.alignment = found.weights?.removing(axis: 1)
        }
        return logits(of: hidden)
    }
}

extension Seq2SeqConfiguration {
    /// Returns the encoder's or the decoder's layers.
    fileprivate func layers(
        inputDimension: Int, direction: RecurrentDirection, random: inout RandomStream
    ) -> any RecurrentLayer {
        switch cell {
        case .gru:
            GRU(
                inputDimension: inputDimension, hiddenDimension: hiddenDimension, layerCount: layerCount,
                direction: direction, dropout: dropoutRate, random: &random)
        case .lstm:
            LSTM(
                inputDimension: inputDimension, hiddenDimension: hiddenDimension, layerCount: layerCount,
                direction: direction, dropout: dropoutRate, initialization: .forgetBias, random: &random)
        }
    }
}
