public import Attention

/// Layers of LSTMs that attend to all that they have read: intra-attention.
///
/// The network of the figure in which "chasing" looks back at "FBI". A layer reads the hidden states of the layer below.
///
/// Cheng et al., "Long Short-Term Memory-Networks for Machine Reading", 2016 (arXiv:1601.06733).
public struct LSTMN: SequenceBody {
    /// One of the layers.
    public struct Layer: SequenceModels.Layer {
        /// The parameters.
        public var weights: LSTMNWeights

        /// Creates a layer from its parameters.
        ///
        /// - Parameter weights: The parameters.
        public init(weights: LSTMNWeights) { self.weights = weights }

        /// Creates a layer with parameters evenly distributed within ±1/√H, as PyTorch does an LSTM's, and a forget
        /// gate that starts with the bias 1.
        ///
        /// - Parameters:
        ///   - inputDimension: `D`.
        ///   - hiddenDimension: `H`.
        ///   - attentionDimension: `A`, the units that a score is made from.
        ///   - random: Where the parameters come from.
        public init(inputDimension: Int, hiddenDimension: Int, attentionDimension: Int, random: inout RandomStream) {
            let bound = 1 / Double(max(1, hiddenDimension)).squareRoot()
            let attentionBound = 1 / Double(max(1, attentionDimension)).squareRoot()
            var gate: [Float] { [Float](repeating: 0, count: hiddenDimension) }
            let forget = [Float](repeating: 1, count: hiddenDimension)
            weights = LSTMNWeights(
                inputWeight: random.uniform([4 * hiddenDimension, inputDimension], bound: bound),
                contextWeight: random.uniform([4 * hiddenDimension, hiddenDimension], bound: bound),
                bias: Tensor(gate + forget + gate + gate, shape: [4 * hiddenDimension]),
                tapeWeight: random.uniform([attentionDimension, hiddenDimension], bound: bound),
                queryInputWeight: random.uniform([attentionDimension, inputDimension], bound: bound),
                queryContextWeight: random.uniform([attentionDimension, hiddenDimension], bound: bound),
                scoreWeight: random.uniform([attentionDimension], bound: attentionBound))
        }

        /// Calls `visit` with the parameters, the LSTM's by PyTorch's names.
        ///
        /// - Parameter visit: Gets a parameter's name and the parameter.
        /// - Throws: What `visit` throws.
        public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
            try visit("weight_ih", &weights.inputWeight)
            try visit("weight_hh", &weights.contextWeight)
            try visit("bias", &weights.bias)
            try visit("attention.weight_h", &weights.tapeWeight)
            try visit("attention.weight_x", &weights.queryInputWeight)
            try visit("attention.weight_c", &weights.queryContextWeight)
            try visit("attention.v", &weights.scoreWeight)
        }
    }

    /// What was read so far: a tape per layer.
    public struct State: Sendable {
        /// One per layer.
        public fileprivate(set) var tapes: [LSTMNTape]
    }

    /// From the first to the last.
    public var layers: [Layer]
    /// The share of a layer's outputs that is dropped in training on the way to the next.
    public var dropoutRate: Double

    /// Creates the layers.
    ///
    /// - Parameters:
    ///   - layers: At least one, each taking what the one before returns.
    ///   - dropoutRate: From 0 to less than 1.
    public init(layers: [Layer], dropoutRate: Double = 0) {
        require(!layers.isEmpty, "An LSTMN has at least 1 layer, not 0.")
        for (layer, next) in zip(layers, layers.dropFirst()) {
            require(
                next.weights.inputDimension == layer.weights.hiddenDimension,
                "A layer takes \(next.weights.inputDimension), but the one before returns "
                    + "\(layer.weights.hiddenDimension).")
        }
        self.layers = layers
        self.dropoutRate = dropoutRate
    }

    /// Creates layers of one size.
    ///
    /// - Parameters:
    ///   - inputDimension: `D`.
    ///   - hiddenDimension: `H`.
    ///   - attentionDimension: `A`, the units that a score is made from; `nil` means `H`.
    ///   - layerCount: At least 1.
    ///   - dropoutRate: The share that is dropped between layers in training.
    ///   - random: Where the first parameters come from.
    public init(
        inputDimension: Int, hiddenDimension: Int, attentionDimension: Int? = nil, layerCount: Int = 1,
        dropoutRate: Double = 0, random: inout RandomStream
    ) {
        require(layerCount > 0, "An LSTMN has at least 1 layer, not \(layerCount).")
        var layers: [Layer] = []
        for index in 0..<layerCount {
            layers.append(
                Layer(
                    inputDimension: index == 0 ? inputDimension : hiddenDimension, hiddenDimension: hiddenDimension,
                    attentionDimension: attentionDimension ?? hiddenDimension, random: &random))
        }
        self.init(layers: layers, dropoutRate: dropoutRate)
    }

    /// The length of the vectors that it takes.
    public var inputDimension: Int { layers[0].weights.inputDimension }
    /// The length of the vectors that it returns.
    public var outputDimension: Int { layers[layers.count - 1].weights.hiddenDimension }

    /// Calls `visit` with the parameters of each layer.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &layers, "layers", visit)
    }

    /// Returns the last layer's hidden states.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, D]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, H]`; zeros beyond a sequence's length.
    public func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor {
        read(inputs, returningWeights: false, dropout: &dropout).hiddenStates
    }

    /// Returns how much each position attended to each earlier one, in each layer.
    ///
    /// - Parameter inputs: `[B, T, D]`.
    /// - Returns: `[B, T, T]` per layer: the rows below the diagonal sum to 1, the first is zeros.
    public func attentionWeights(of inputs: EmbeddedBatch) -> [Tensor] {
        var dropout: RandomStream?
        return withoutGradients { read(inputs, returningWeights: true, dropout: &dropout).attentionWeights }
    }

    private func read(
        _ inputs: EmbeddedBatch, returningWeights: Bool, dropout: inout RandomStream?
    ) -> (hiddenStates: Tensor, attentionWeights: [Tensor]) {
        var states = inputs.vectors
        var weights: [Tensor] = []
        for (index, layer) in layers.enumerated() {
            if index > 0 { states = dropped(states, rate: dropoutRate, &dropout) }
            let result = lstmn(
                states, weights: layer.weights, lengths: inputs.lengths, returningWeights: returningWeights)
            states = result.hiddenStates
            if let attentionWeights = result.attentionWeights { weights.append(attentionWeights) }
        }
        return (states, weights)
    }

    /// Returns empty tapes.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: The state before the first vector.
    public func initialState(batchCount: Int) -> State {
        State(tapes: layers.map { LSTMNTape(batchCount: batchCount, weights: $0.weights) })
    }

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, D]`.
    ///   - state: What was read so far.
    /// - Returns: `[B, H]`.
    public func step(_ inputs: Tensor, state: inout State) -> Tensor {
        require(
            state.tapes.count == layers.count,
            "The state has \(state.tapes.count) tapes, but there are \(layers.count) layers.")
        var vectors = inputs
        for index in layers.indices { vectors = state.tapes[index].step(vectors, weights: layers[index].weights) }
        return vectors
    }
}
