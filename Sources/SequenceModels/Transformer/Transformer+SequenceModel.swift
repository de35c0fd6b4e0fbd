public import Attention

extension Transformer: SequenceModel {
    /// The number of tokens that there are.
    public var vocabularySize: Int { configuration.vocabularySize }

    /// How many tokens the model takes at most: as many as it has learned positions; `nil` with other positions.
    public var contextLength: Int? { configuration.longestSequence }

    /// Whether it has an encoder.
    public var readsSource: Bool { configuration.hasEncoder }

    /// The mean of all tokens' vectors, `[M]`.
    public var meanVector: Tensor { embedding.meanRow }

    /// Returns the state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - source: What the encoder reads; of an encoder–decoder alone.
    /// - Returns: Empty caches, and what the encoder made of the source.
    public func initialState(batchCount: Int, source: EmbeddedBatch?) -> TransformerState {
        initialState(batchCount: batchCount, source: source, capacity: 64)
    }

    /// Reads one token of each sequence.
    ///
    /// - Parameters:
    ///   - tokens: One per sequence.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`, the logits after these tokens.
    public func step(_ tokens: [Int], state: inout TransformerState) -> Tensor {
        nextTokenLogits(after: tokens.map { [$0] }, state: &state)
    }
}
