public import Attention

// Recurrent layers whose direction is forward read from left to right: each of them is a language model's body.

extension RNN: SequenceBody {}
extension LSTM: SequenceBody {}
extension GRU: SequenceBody {}

extension RecurrentLayer {
    /// The length of the vectors that it takes.
    public var inputDimension: Int { configuration.inputDimension }
    /// The length of the vectors that it returns.
    public var outputDimension: Int { configuration.outputDimension }

    /// Returns the last layer's state after each vector.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, D]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, P]`.
    /// - Precondition: The direction is forward: the others see what comes later.
    public func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor {
        require(
            configuration.direction == .forward,
            "A layer whose direction is \(configuration.direction) sees what it would have to predict.")
        return self(inputs.vectors, lengths: inputs.lengths, dropout: &dropout).outputs
    }

    /// Returns the state in which nothing was seen yet.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: Zeros.
    public func initialState(batchCount: Int) -> RecurrentState {
        zeroState(batchCount: batchCount, elementType: weights[0].input.elementType == .float64 ? .float64 : .float32)
    }
}
