public import Attention

/// Layers of a plain recurrent network: each state is a function of the input and of the state before.
///
///     h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
///
/// Elman, "Finding Structure in Time", 1990. With ReLU and ``RecurrentInitialization/identity(scale:)`` it is the IRNN.
public struct RNN: RecurrentLayer {
    /// The sizes.
    public let configuration: RecurrentConfiguration
    /// The activation.
    public let options: RNNOptions
    /// The parameters of each layer and direction: those of the first layer first, forward before reverse.
    public var weights: [RecurrentWeights]

    /// What is computed in each step.
    public var cell: RecurrentCell { .rnn(options) }

    /// Creates layers with random parameters.
    ///
    /// - Parameters:
    ///   - inputDimension: The width of an input vector.
    ///   - hiddenDimension: How many units each layer and direction has.
    ///   - layerCount: How many layers lie on one another.
    ///   - direction: Which way each layer goes.
    ///   - hasBias: Whether there are biases.
    ///   - dropout: How much is dropped between layers in training.
    ///   - options: The activation.
    ///   - initialization: Where the parameters start.
    ///   - random: Where the random numbers come from.
    public init(
        inputDimension: Int, hiddenDimension: Int, layerCount: Int = 1, direction: RecurrentDirection = .forward,
        hasBias: Bool = true, dropout: Double = 0, options: RNNOptions = RNNOptions(),
        initialization: RecurrentInitialization = .uniform, random: inout RandomStream
    ) {
        configuration = RecurrentConfiguration(
            inputDimension: inputDimension, hiddenDimension: hiddenDimension, layerCount: layerCount,
            direction: direction, hasBias: hasBias, dropout: dropout)
        self.options = options
        weights = initialization.weights(for: configuration, cell: .rnn(options), random: &random)
    }

    /// Creates layers of given parameters.
    ///
    /// - Parameters:
    ///   - weights: Those of each layer and direction, the first layer's first, forward before reverse.
    ///   - direction: Which way each layer goes.
    ///   - dropout: How much is dropped between layers in training.
    ///   - options: The activation.
    public init(
        weights: [RecurrentWeights], direction: RecurrentDirection = .forward, dropout: Double = 0,
        options: RNNOptions = RNNOptions()
    ) {
        configuration = RecurrentConfiguration(of: weights, gateCount: 1, direction: direction, dropout: dropout)
        self.options = options
        self.weights = weights
    }
}
