public import Attention

/// Layers of gated recurrent units: a reset gate and an update gate guard the state.
///
///     r, z = σ(W x + b_ih + U h + b_hh)         n = tanh(W_n x + b_in + r ⊙ (U_n h + b_hn))
///     h' = (1 - z) ⊙ n + z ⊙ h
///
/// Cho et al., 2014 (arXiv:1406.1078). ``GRUOptions/resetsAfterProduct`` tells the two GRUs apart. The order of the
/// gates in the parameters is PyTorch's: reset, update, new.
public struct GRU: RecurrentLayer {
    /// The sizes.
    public let configuration: RecurrentConfiguration
    /// What is done otherwise than usual.
    public let options: GRUOptions
    /// The parameters of each layer and direction: those of the first layer first, forward before reverse.
    public var weights: [RecurrentWeights]

    /// What is computed in each step.
    public var cell: RecurrentCell { .gru(options) }

    /// Creates layers with random parameters.
    ///
    /// - Parameters:
    ///   - inputDimension: The width of an input vector.
    ///   - hiddenDimension: How many units each layer and direction has.
    ///   - layerCount: How many layers lie on one another.
    ///   - direction: Which way each layer goes.
    ///   - hasBias: Whether there are biases.
    ///   - dropout: How much is dropped between layers in training.
    ///   - options: What is done otherwise than usual.
    ///   - initialization: Where the parameters start.
    ///   - random: Where the random numbers come from.
    public init(
        inputDimension: Int, hiddenDimension: Int, layerCount: Int = 1, direction: RecurrentDirection = .forward,
        hasBias: Bool = true, dropout: Double = 0, options: GRUOptions = GRUOptions(),
        initialization: RecurrentInitialization = .uniform, random: inout RandomStream
    ) {
        configuration = RecurrentConfiguration(
            inputDimension: inputDimension, hiddenDimension: hiddenDimension, layerCount: layerCount,
            direction: direction, hasBias: hasBias, dropout: dropout)
        self.options = options
        weights = initialization.weights(for: configuration, cell: .gru(options), random: &random)
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
        options: GRUOptions = GRUOptions()
    ) {
        configuration = RecurrentConfiguration(of: weights, gateCount: 3, direction: direction, dropout: dropout)
        self.options = options
        self.weights = weights
    }
}
