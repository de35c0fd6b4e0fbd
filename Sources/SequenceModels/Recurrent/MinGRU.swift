public import Attention

/// A minimal GRU: gates and candidates are made of the inputs alone.
///
/// `h = (1 - z) h_before + z h̃` with `z = σ(W_z x + b_z)` and `h̃ = W_h x + b_h`. Feng et al., "Were RNNs All We Needed?",
/// 2024 (arXiv:2410.01201).
public struct MinGRU: Layer {
    /// `W_z`, `[H, M]`.
    public var gate: Linear
    /// `W_h`, `[H, M]`.
    public var candidate: Linear

    /// Creates a layer from its parts.
    ///
    /// - Parameters:
    ///   - gate: `[H, M]`.
    ///   - candidate: `[H, M]`.
    public init(gate: Linear, candidate: Linear) {
        require(
            gate.weight.shape == candidate.weight.shape,
            "The gate's weight is \(gate.weight.shape), the candidate's \(candidate.weight.shape).")
        self.gate = gate
        self.candidate = candidate
    }

    /// Creates a layer with PyTorch's parameters of linear layers.
    ///
    /// - Parameters:
    ///   - inputDimension: `M`.
    ///   - hiddenDimension: `H`.
    ///   - random: Where the parameters come from.
    public init(inputDimension: Int, hiddenDimension: Int, random: inout RandomStream) {
        gate = Linear(inputDimension: inputDimension, outputDimension: hiddenDimension, random: &random)
        candidate = Linear(inputDimension: inputDimension, outputDimension: hiddenDimension, random: &random)
    }

    /// Calls `visit` with the parameters of `linear_z` and `linear_h`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &gate, "linear_z", visit)
        try SequenceModels.visitParameters(of: &candidate, "linear_h", visit)
    }

    /// Returns the hidden state after each step.
    ///
    /// - Parameters:
    ///   - x: `[B, T, M]`.
    ///   - initialState: `[B, H]`: the hidden state before the first step; `nil` means zeros.
    /// - Returns: `[B, T, H]`; the last step's is the state to go on from.
    public func callAsFunction(_ x: Tensor, initialState: Tensor? = nil) -> Tensor {
        minGRU(gates: gate(x), candidates: candidate(x), initialState: initialState)
    }

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - x: `[B, M]`.
    ///   - state: `[B, H]`: the hidden state before, then after.
    /// - Returns: `[B, H]`: the state.
    public func step(_ x: Tensor, state: inout Tensor) -> Tensor {
        state = self(x.reshaped(to: [x.shape[0], 1, x.shape[1]]), initialState: state).removing(axis: 1)
        return state
    }
}

/// A minimal GRU that is added to what it reads: `x + minGRU(norm(x))`.
public struct MinGRUBlock: Layer {
    /// `[M]`: what the normalised vectors are multiplied by.
    public var norm: Tensor
    /// From `[B, T, M]` to `[B, T, M]`.
    public var cell: MinGRU

    /// Creates a block.
    ///
    /// - Parameters:
    ///   - width: `M`.
    ///   - random: Where the parameters come from.
    public init(width: Int, random: inout RandomStream) {
        norm = Tensor(filledWith: 1, shape: [width])
        cell = MinGRU(inputDimension: width, hiddenDimension: width, random: &random)
    }

    /// Calls `visit` with `norm.weight` and the parameters of `cell`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("norm.weight", &norm)
        try SequenceModels.visitParameters(of: &cell, "cell", visit)
    }
}

/// Minimal GRUs one upon the other.
///
/// The gates of one layer do not see what the layer remembers, so one alone cannot tell orders apart: two or three do.
public struct MinGRUNetwork: SequenceBody {
    /// From `[B, T, M]` to `[B, T, M]` each.
    public var layers: [MinGRUBlock]
    /// The share of each layer's outputs that is dropped in training.
    public let dropoutRate: Double

    /// Creates a network.
    ///
    /// - Parameters:
    ///   - width: `M`.
    ///   - layerCount: At least 1.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the parameters come from.
    public init(width: Int, layerCount: Int, dropoutRate: Double = 0, random: inout RandomStream) {
        require(layerCount >= 1, "A network of \(layerCount) layers computes nothing.")
        layers = []
        for _ in 0..<layerCount { layers.append(MinGRUBlock(width: width, random: &random)) }
        self.dropoutRate = dropoutRate
    }

    /// The length of the vectors that it takes, `M`.
    public var inputDimension: Int { layers[0].norm.shape[0] }

    /// The length of the vectors that it returns, `M`.
    public var outputDimension: Int { inputDimension }

    /// Calls `visit` with the parameters of each layer.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &layers, "layers", visit)
    }

    /// Returns a vector for each vector, which does not depend on later ones, nor on padding.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, M]`.
    public func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor {
        layers.reduce(inputs.vectors) { x, layer in
            x + dropped(layer.cell(rmsNorm(x, weight: layer.norm)), rate: dropoutRate, &dropout)
        }
    }

    /// Returns the state before the first vector: zeros.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: `[B, M]` for each layer.
    public func initialState(batchCount: Int) -> [Tensor] {
        layers.map { Tensor(zeros: [batchCount, $0.cell.gate.weight.shape[0]]) }
    }

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, M]`.
    ///   - state: The hidden state of each layer.
    /// - Returns: `[B, M]`.
    public func step(_ inputs: Tensor, state: inout [Tensor]) -> Tensor {
        var x = inputs
        for index in layers.indices {
            x = x + layers[index].cell.step(rmsNorm(x, weight: layers[index].norm), state: &state[index])
        }
        return x
    }
}
