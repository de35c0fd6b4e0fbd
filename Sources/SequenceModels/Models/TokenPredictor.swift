public import Attention

/// What stands between the word vectors and the prediction: a stack of layers that reads from left to right.
public protocol SequenceBody: Layer {
    /// What was read so far.
    associatedtype State: Sendable

    /// The length of the vectors that it takes, `M`.
    var inputDimension: Int { get }
    /// The length of the vectors that it returns, `D`.
    var outputDimension: Int { get }

    /// Returns a vector for each vector, which does not depend on later ones.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, D]`.
    func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor

    /// Returns the state before the first vector.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: The state.
    func initialState(batchCount: Int) -> State

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, M]`.
    ///   - state: What was read so far.
    /// - Returns: `[B, D]`.
    func step(_ inputs: Tensor, state: inout State) -> Tensor
}

/// A body between an embedding and an output layer: a recurrent, convolutional or intra-attention language model.
///
/// Mikolov et al., "Recurrent neural network based language model", 2010.
public struct TokenPredictor<Body: SequenceBody>: SequenceModel {
    /// The vectors of tokens, `[V, M]`.
    public var embedding: Embedding
    /// What reads them.
    public var body: Body
    /// From what was read to the logits, `[V, D]`.
    public var output: Linear
    /// The share of the word vectors' and the body's outputs that is dropped in training.
    public var dropoutRate: Double

    /// Creates a model.
    ///
    /// - Parameters:
    ///   - vocabularySize: `V`.
    ///   - body: What reads the word vectors.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the first parameters come from.
    public init(vocabularySize: Int, body: Body, dropoutRate: Double = 0, random: inout RandomStream) {
        embedding = Embedding(count: vocabularySize, dimension: body.inputDimension, random: &random)
        self.body = body
        output = Linear(inputDimension: body.outputDimension, outputDimension: vocabularySize, random: &random)
        self.dropoutRate = dropoutRate
    }

    /// The number of tokens that there are.
    public var vocabularySize: Int { embedding.weight.shape[0] }

    /// The mean of all tokens' vectors, `[M]`.
    public var meanVector: Tensor { embedding.meanVector }

    /// Calls `visit` with the parameters of embedding, body and output.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &embedding, "embedding", visit)
        try SequenceModels.visitParameters(of: &body, "body", visit)
        try SequenceModels.visitParameters(of: &output, "output", visit)
    }

    /// Returns the vectors of tokens.
    ///
    /// - Parameter tokens: `[B][T]`.
    /// - Returns: `[B, T, M]`.
    public func embed(_ tokens: [[Int]]) -> Tensor { embedding(tokens) }

    /// Returns what the body makes of the vectors.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - source: None.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, D]`.
    public func hiddenStates(
        of inputs: EmbeddedBatch, source: EmbeddedBatch?, dropout: inout RandomStream?
    ) -> Tensor {
        var inputs = inputs
        inputs.vectors = dropped(inputs.vectors, rate: dropoutRate, &dropout)
        return dropped(body(inputs, dropout: &dropout), rate: dropoutRate, &dropout)
    }

    /// Returns the logits.
    ///
    /// - Parameter hiddenStates: `[…, D]`.
    /// - Returns: `[…, V]`.
    public func logits(of hiddenStates: Tensor) -> Tensor { output(hiddenStates) }

    /// Returns the body's state before the first token.
    ///
    /// - Parameters:
    ///   - batchCount: Sequences.
    ///   - source: None.
    /// - Returns: The state.
    public func initialState(batchCount: Int, source: EmbeddedBatch? = nil) -> Body.State {
        body.initialState(batchCount: batchCount)
    }

    /// Reads one token of each sequence.
    ///
    /// - Parameters:
    ///   - tokens: One per sequence.
    ///   - state: What was read so far.
    /// - Returns: `[B, V]`.
    public func step(_ tokens: [Int], state: inout Body.State) -> Tensor {
        let vectors = embed(tokens.map { [$0] }).removing(axis: 1)
        return logits(of: body.step(vectors, state: &state))
    }
}
