public import Attention

/// Layers of long short-term memory: a cell that gates guard carries what is remembered.
///
///     i, f, o = σ(W x + b_ih + U h + b_hh)      g = tanh(W_g x + b_ig + U_g h + b_hg)
///     c' = f ⊙ c + i ⊙ g                        h' = o ⊙ tanh(c')
///
/// Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997. The order of the gates in the parameters is PyTorch's:
/// input, forget, candidate, output.
public struct LSTM: RecurrentLayer {
    /// The sizes.
    public let configuration: RecurrentConfiguration
    /// What is done otherwise than usual.
    public let options: LSTMOptions
    /// The parameters of each layer and direction: those of the first layer first, forward before reverse.
    public var weights: [RecurrentWeights]

    /// What is computed in each step.
    public var cell: RecurrentCell { .lstm(options) }

    /// Creates layers with random parameters.
    ///
    /// - Parameters:
    ///   - inputDimension: The width of an input vector.
    ///   - hiddenDimension: How many units each layer and direction has.
    ///   - layerCount: How many layers lie on one another.
    ///   - direction: Which way each layer goes.
    ///   - hasBias: Whether there are biases.
    ///   - projectionDimension: What the output is projected to, PyTorch's `proj_size`; `nil` means no projection.
    ///   - hasPeepholes: Whether the gates see the cell.
    ///   - dropout: How much is dropped between layers in training.
    ///   - options: What is done otherwise than usual.
    ///   - initialization: Where the parameters start.
    ///   - random: Where the random numbers come from.
    public init(
        inputDimension: Int, hiddenDimension: Int, layerCount: Int = 1, direction: RecurrentDirection = .forward,
        hasBias: Bool = true, projectionDimension: Int? = nil, hasPeepholes: Bool = false, dropout: Double = 0,
        options: LSTMOptions = LSTMOptions(), initialization: RecurrentInitialization = .uniform,
        random: inout RandomStream
    ) {
        configuration = RecurrentConfiguration(
            inputDimension: inputDimension, hiddenDimension: hiddenDimension, projectionDimension: projectionDimension,
            layerCount: layerCount, direction: direction, hasBias: hasBias, dropout: dropout)
        self.options = options
        weights = initialization.weights(
            for: configuration, cell: .lstm(options), hasPeepholes: hasPeepholes, random: &random)
    }

    /// Creates layers of given parameters.
    ///
    /// - Parameters:
    ///   - weights: Those of each layer and direction, the first layer's first, forward before reverse.
    ///   - direction: Which way each layer goes.
    ///   - dropout: How much is dropped between layers in training.
    ///   - options: What is done otherwise than usual.
    public init(
        weights: [RecurrentWeights], direction: RecurrentDirection = .forward, dropout: Double = 0,
        options: LSTMOptions = LSTMOptions()
    ) {
        configuration = RecurrentConfiguration(of: weights, gateCount: 4, direction: direction, dropout: dropout)
        self.options = options
        self.weights = weights
    }
}
