public import Attention

/// Causal convolutions one upon the other, each added to what it reads: `h ← h + ReLU(conv(h))`.
///
/// The plain convolutional language model: every layer sees `K - 1` steps further back, so that the network sees
/// ``receptiveField`` steps and not one more.
public struct ConvolutionalNetwork: SequenceBody {
    /// From `[B, T, M]` to `[B, T, M]` each.
    public var convolutions: [Conv1d]
    /// The share of each layer's outputs that is dropped in training.
    public let dropoutRate: Double

    /// Creates a network.
    ///
    /// - Parameters:
    ///   - width: `M`.
    ///   - layerCount: At least 1.
    ///   - kernelSize: `K`, at least 1.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the parameters come from.
    public init(
        width: Int, layerCount: Int, kernelSize: Int = 5, dropoutRate: Double = 0, random: inout RandomStream
    ) {
        require(layerCount >= 1, "A network of \(layerCount) layers computes nothing.")
        convolutions = []
        for _ in 0..<layerCount {
            convolutions.append(
                .causal(inputChannels: width, outputChannels: width, kernelSize: kernelSize, random: &random))
        }
        self.dropoutRate = dropoutRate
    }

    /// The length of the vectors that it takes, `M`.
    public var inputDimension: Int { convolutions[0].weight.shape[1] }

    /// The length of the vectors that it returns, `M`.
    public var outputDimension: Int { inputDimension }

    /// How many steps an output depends on, its own included: `1 + layers · (K - 1)`.
    public var receptiveField: Int { 1 + convolutions.reduce(0) { $0 + $1.kernelSize - 1 } }

    /// Calls `visit` with the parameters of each convolution.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &convolutions, "convolutions", visit)
    }

    /// Returns a vector for each vector, which does not depend on later ones, nor on padding.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, M]`.
    public func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor {
        convolutions.reduce(inputs.vectors) { hiddenState, convolution in
            hiddenState + dropped(relu(convolution(hiddenState)), rate: dropoutRate, &dropout)
        }
    }

    /// Returns the state before the first vector: no inputs.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: A state for each convolution.
    public func initialState(batchCount: Int) -> [CausalConvolutionState?] {
        [CausalConvolutionState?](repeating: nil, count: convolutions.count)
    }

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, M]`.
    ///   - state: What was read so far.
    /// - Returns: `[B, M]`.
    public func step(_ inputs: Tensor, state: inout [CausalConvolutionState?]) -> Tensor {
        var hiddenState = inputs.reshaped(to: [inputs.shape[0], 1, inputs.shape[1]])
        for index in convolutions.indices {
            hiddenState = hiddenState + relu(convolutions[index](hiddenState, state: &state[index]))
        }
        return hiddenState.removing(axis: 1)
    }
}
