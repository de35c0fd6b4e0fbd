public import Attention

/// Sequences of tokens, padded to the length of the longest.
public struct TokenBatch: Sendable, Hashable {
    /// `[B][T]`; 0 beyond a sequence's length.
    public let tokens: [[Int]]
    /// How many tokens each sequence has.
    public let lengths: [Int]

    /// Creates a batch.
    ///
    /// - Parameter sequences: One per row, of any lengths.
    public init(_ sequences: [[Int]]) {
        let length = sequences.map(\.count).max() ?? 0
        tokens = sequences.map { $0 + [Int](repeating: 0, count: length - $0.count) }
        lengths = sequences.map(\.count)
    }

    /// `B`, the number of sequences.
    public var count: Int { tokens.count }
    /// `T`, the length of the longest.
    public var length: Int { tokens.first?.count ?? 0 }
}

/// Sequences of vectors, padded to the length of the longest.
public struct EmbeddedBatch: Sendable {
    /// `[B, T, M]`.
    public var vectors: Tensor
    /// How many vectors each sequence has; `nil` means `T`.
    public var lengths: [Int]?

    /// Creates a batch.
    ///
    /// - Parameters:
    ///   - vectors: `[B, T, M]`.
    ///   - lengths: How many vectors each sequence has, from 0 to `T`; `nil` means `T`.
    public init(_ vectors: Tensor, lengths: [Int]? = nil) {
        require(vectors.rank == 3, "A batch of vectors is [B, T, M], not \(vectors.shape).")
        require(
            lengths == nil || lengths?.count == vectors.shape[0],
            "There are \(lengths?.count ?? 0) lengths for \(vectors.shape[0]) sequences.")
        self.vectors = vectors
        self.lengths = lengths
    }
}

/// What a model learns from at once: the tokens it reads and those it has to predict.
public struct TrainingBatch: Sendable, Hashable {
    /// What an encoder reads; `nil` where there is none.
    public let source: TokenBatch?
    /// What the model reads.
    public let inputs: TokenBatch
    /// `[B][T]`: what comes after each input; -1 where nothing is to be predicted.
    public let targets: [[Int]]

    /// Creates a batch.
    ///
    /// - Parameters:
    ///   - source: What an encoder reads.
    ///   - inputs: What the model reads.
    ///   - targets: `[B][T]`: what comes after each input; -1 where nothing is to be predicted, as in padding.
    public init(source: TokenBatch? = nil, inputs: TokenBatch, targets: [[Int]]) {
        require(
            targets.map(\.count) == inputs.tokens.map(\.count),
            "There are targets for \(targets.map(\.count)) tokens, but inputs of \(inputs.tokens.map(\.count)).")
        self.source = source
        self.inputs = inputs
        self.targets = targets
    }

    /// How many tokens are to be predicted.
    public var targetCount: Int { targets.reduce(0) { $0 + $1.count { $0 >= 0 } } }
}

/// A model that predicts the next token.
///
/// It answers three calls: ``nextTokenLogits(for:source:)`` for a batch, ``step(_:state:)`` for one token after the
/// other, and ``loss(of:dropout:)``. All of them are made of the parts between word vectors and logits, so that a word
/// can be replaced, and its effect measured, in every architecture alike.
public protocol SequenceModel: Layer {
    /// What was read so far.
    associatedtype State: Sendable

    /// The number of tokens that there are, `V`.
    var vocabularySize: Int { get }
    /// How many tokens the model takes at most; `nil` where it takes any number.
    var contextLength: Int? { get }
    /// Whether it reads a source before it writes: an encoder–decoder.
    var readsSource: Bool { get }

    /// Returns the vectors of tokens.
    ///
    /// - Parameter tokens: `[B][T]`, each from 0 to less than ``vocabularySize``.
    /// - Returns: `[B, T, M]`.
    func embed(_ tokens: [[Int]]) -> Tensor

    /// The mean of all tokens' vectors, `[M]`: what a word is replaced by to see what changes without it.
    var meanVector: Tensor { get }

    /// The mean of all source tokens' vectors, `[M]`; by default ``meanVector``.
    var meanSourceVector: Tensor { get }

    /// Returns the vectors of a source's tokens; by default ``embed(_:)``.
    ///
    /// - Parameter tokens: `[B][T]`.
    /// - Returns: `[B, T, M]`.
    func embedSource(_ tokens: [[Int]]) -> Tensor

    /// Returns what the prediction after each token is made from; it does not depend on later tokens, nor on padding.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - source: What an encoder reads; of a model with an encoder alone.
    ///   - dropout: Where random numbers come from in training; `nil` outside, where nothing is dropped.
    /// - Returns: `[B, T, D]`.
    func hiddenStates(of inputs: EmbeddedBatch, source: EmbeddedBatch?, dropout: inout RandomStream?) -> Tensor

    /// Returns how much each token is to be expected next, before the softmax.
    ///
    /// - Parameter hiddenStates: `[…, D]`.
    /// - Returns: `[…, V]`.
    func logits(of hiddenStates: Tensor) -> Tensor

    /// Returns the state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - source: What an encoder reads, one sequence per sequence.
    /// - Returns: The state.
    func initialState(batchCount: Int, source: EmbeddedBatch?) -> State

    /// Reads one token of each sequence.
    ///
    /// - Parameters:
    ///   - tokens: One per sequence.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`, the logits after these tokens.
    func step(_ tokens: [Int], state: inout State) -> Tensor

    /// Reads some tokens of each sequence; by default one after the other.
    ///
    /// - Parameters:
    ///   - tokens: `[B][T]`, at least one each.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`, the logits after the last of them.
    func nextTokenLogits(after tokens: [[Int]], state: inout State) -> Tensor
}

extension SequenceModel {
    /// Any number of tokens.
    public var contextLength: Int? { nil }
    /// No source.
    public var readsSource: Bool { false }
    /// ``meanVector``.
    public var meanSourceVector: Tensor { meanVector }

    /// Returns the vectors of tokens.
    ///
    /// - Parameter tokens: `[B][T]`.
    /// - Returns: `[B, T, M]`.
    public func embedSource(_ tokens: [[Int]]) -> Tensor { embed(tokens) }

    /// Reads some tokens of each sequence, one after the other.
    ///
    /// - Parameters:
    ///   - tokens: `[B][T]`, at least one each.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`, the logits after the last of them.
    public func nextTokenLogits(after tokens: [[Int]], state: inout State) -> Tensor {
        let length = tokens.first?.count ?? 0
        require(
            length > 0 && tokens.allSatisfy { $0.count == length },
            "Sequences of \(tokens.map(\.count)) tokens are empty, or do not make a batch.")
        var logits = step(tokens.map { $0[0] }, state: &state)
        for index in 1..<max(1, length) { logits = step(tokens.map { $0[index] }, state: &state) }
        return logits
    }

    /// Returns how much each token is to be expected after each token of a batch, before the softmax.
    ///
    /// - Parameters:
    ///   - batch: What the model reads.
    ///   - source: What an encoder reads.
    /// - Returns: `[B, T, V]`; what stands at padding means nothing.
    public func nextTokenLogits(for batch: TokenBatch, source: TokenBatch? = nil) -> Tensor {
        var dropout: RandomStream?
        return logits(of: hiddenStates(of: batch, source: source, dropout: &dropout))
    }

    /// Returns the mean cross-entropy of a batch's targets, in nats.
    ///
    /// - Parameters:
    ///   - batch: What to predict, from what.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: A tensor without dimensions.
    public func loss(of batch: TrainingBatch, dropout: inout RandomStream?) -> Tensor {
        crossEntropy(
            logits(of: hiddenStates(of: batch.inputs, source: batch.source, dropout: &dropout)),
            targets: batch.targets.flatMap { $0 })
    }

    /// Returns the loss of a batch and its derivatives with respect to the parameters.
    ///
    /// - Parameters:
    ///   - batch: What to predict, from what.
    ///   - dropout: Where random numbers come from.
    /// - Returns: The loss in nats, and a gradient per parameter, in the order that they are visited.
    public func lossAndGradients(
        on batch: TrainingBatch, dropout: inout RandomStream?
    ) -> (loss: Double, gradients: [Tensor]) {
        let tracked = tracked()
        let loss = tracked.loss(of: batch, dropout: &dropout)
        return (loss.doubles[0], loss.gradients(of: tracked.parameters.map(\.value)))
    }

    private func hiddenStates(
        of batch: TokenBatch, source: TokenBatch?, dropout: inout RandomStream?
    ) -> Tensor {
        require(
            (source != nil) == readsSource,
            readsSource ? "The model reads a source, and there is none." : "The model reads no source.")
        return hiddenStates(
            of: EmbeddedBatch(embed(batch.tokens), lengths: batch.lengths),
            source: source.map { EmbeddedBatch(embedSource($0.tokens), lengths: $0.lengths) }, dropout: &dropout)
    }
}

/// A model, no Transformer, that attends to what it has read: its weights can be looked at.
public protocol AttendingModel: SequenceModel {
    /// Returns how much each token attends to each token before it.
    ///
    /// - Parameter inputs: `[B, T, M]`.
    /// - Returns: The weights of each layer, `[B, T, T]`.
    func attentionWeights(of inputs: EmbeddedBatch) -> [Tensor]
}

/// An encoder–decoder that attends to its source: its alignment can be looked at.
public protocol AligningModel: SequenceModel {
    /// Returns how much the prediction after each token attends to each token of the source.
    ///
    /// - Parameter batch: What the model reads.
    /// - Returns: `[B, T, S]`, or `nil` where the decoder does not attend.
    func alignment(of batch: TrainingBatch) -> Tensor?
}
