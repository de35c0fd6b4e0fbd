public import Attention

/// Two dilated causal convolutions with a residual connection.
///
/// `ReLU(residual(x) + f(f(x)))`, where `f` is a weight-normalised convolution, ReLU and dropout.
public struct TemporalBlock: Layer {
    /// From `[B, T, C]` to `[B, T, O]`.
    public var first: WeightNormalizedConv1d
    /// From `[B, T, O]` to `[B, T, O]`.
    public var second: WeightNormalizedConv1d
    /// From `C` to `O` channels where they differ, with kernels of length 1.
    public var downsampling: Conv1d?
    /// The share of each convolution's outputs that is dropped in training.
    public let dropoutRate: Double

    /// What a block remembers, and its weights, which are made of their parameters once.
    public struct State: Sendable {
        fileprivate let weights: [Tensor]
        fileprivate var inputs: [CausalConvolutionState?] = [nil, nil]
    }

    /// Creates a block.
    ///
    /// - Parameters:
    ///   - inputChannels: `C`.
    ///   - outputChannels: `O`.
    ///   - kernelSize: At least 1.
    ///   - dilation: At least 1.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the parameters come from.
    public init(
        inputChannels: Int, outputChannels: Int, kernelSize: Int, dilation: Int, dropoutRate: Double,
        random: inout RandomStream
    ) {
        first = WeightNormalizedConv1d(
            inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: kernelSize, dilation: dilation,
            random: &random)
        second = WeightNormalizedConv1d(
            inputChannels: outputChannels, outputChannels: outputChannels, kernelSize: kernelSize, dilation: dilation,
            random: &random)
        if inputChannels != outputChannels {
            var convolution = Conv1d(
                inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: 1, layout: .channelsLast,
                random: &random)
            convolution.weight = random.normal(convolution.weight.shape, deviation: 0.01)
            downsampling = convolution
        }
        self.dropoutRate = dropoutRate
    }

    /// Calls `visit` with the parameters of `conv1`, `conv2` and `downsample`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &first, "conv1", visit)
        try SequenceModels.visitParameters(of: &second, "conv2", visit)
        if var convolution = downsampling {
            downsampling = nil
            defer { downsampling = convolution }
            try SequenceModels.visitParameters(of: &convolution, "downsample", visit)
        }
    }

    /// Returns a vector for each vector, which does not depend on later ones.
    ///
    /// - Parameters:
    ///   - x: `[B, T, C]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, O]`.
    public func callAsFunction(_ x: Tensor, dropout: inout RandomStream?) -> Tensor {
        let inner = dropped(relu(first(x)), rate: dropoutRate, &dropout)
        let outer = dropped(relu(second(inner)), rate: dropoutRate, &dropout)
        return relu((downsampling?(x) ?? x) + outer)
    }

    /// Returns the state before the first vector: no inputs.
    ///
    /// - Returns: A state for this block with these parameters.
    public func initialState() -> State { State(weights: [first.weight, second.weight]) }

    /// Reads what comes next.
    ///
    /// - Parameters:
    ///   - x: `[B, T, C]`; `T` is often 1.
    ///   - state: What was read so far.
    /// - Returns: `[B, T, O]`.
    public func callAsFunction(_ x: Tensor, state: inout State) -> Tensor {
        let inner = relu(
            causalConv1d(
                x, weight: state.weights[0], bias: first.bias, dilation: first.dilation, state: &state.inputs[0]))
        let outer = relu(
            causalConv1d(
                inner, weight: state.weights[1], bias: second.bias, dilation: second.dilation, state: &state.inputs[1]))
        return relu((downsampling?(x) ?? x) + outer)
    }
}

/// A temporal convolutional network: blocks of dilated causal convolutions, each seeing twice as far back.
///
/// Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
/// Modeling", 2018 (arXiv:1803.01271). Weights are normally distributed with deviation 0.01, as theirs. Level `i` has
/// the dilation 2ⁱ. What lies before ``receptiveField`` has no influence at all.
public struct TemporalConvolutionalNetwork: SequenceBody {
    /// The levels, the first of dilation 1.
    public var network: [TemporalBlock]

    /// Creates a network.
    ///
    /// - Parameters:
    ///   - inputDimension: `M`.
    ///   - widths: The channels of each level; at least one level.
    ///   - kernelSize: `K`, at least 1. Where a network has to remember, 6 or more serve better than 3.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the parameters come from.
    public init(
        inputDimension: Int, widths: [Int], kernelSize: Int = 6, dropoutRate: Double = 0, random: inout RandomStream
    ) {
        require(!widths.isEmpty, "A network of no levels computes nothing.")
        require(widths.count < 60, "The dilation of \(widths.count) levels is no number.")
        network = []
        var channels = inputDimension
        for (level, width) in widths.enumerated() {
            network.append(
                TemporalBlock(
                    inputChannels: channels, outputChannels: width, kernelSize: kernelSize, dilation: 1 << level,
                    dropoutRate: dropoutRate, random: &random))
            channels = width
        }
    }

    /// Returns how many levels it takes to see so far.
    ///
    /// - Parameters:
    ///   - length: How many steps an output has to depend on, its own included.
    ///   - kernelSize: `K`, at least 2.
    /// - Returns: The smallest number of levels whose receptive field is at least `length`; at least 1.
    public static func levelCount(seeing length: Int, kernelSize: Int) -> Int {
        require(kernelSize >= 2, "With kernels of length \(kernelSize) nothing earlier is seen.")
        var levels = 1
        while 1 + 2 * (kernelSize - 1) * ((1 << levels) - 1) < length { levels += 1 }
        return levels
    }

    /// The length of the vectors that it takes, `M`.
    public var inputDimension: Int { network[0].first.direction.shape[1] }

    /// The length of the vectors that it returns.
    public var outputDimension: Int { network[network.count - 1].second.direction.shape[0] }

    /// How many steps an output depends on, its own included: `1 + 2 (K - 1) (2ⁿ - 1)` for `n` levels.
    public var receptiveField: Int {
        1 + 2 * (network[0].first.kernelSize - 1) * ((1 << network.count) - 1)
    }

    /// Calls `visit` with the parameters of each level.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &network, "network", visit)
    }

    /// Returns a vector for each vector, which does not depend on later ones, nor on padding.
    ///
    /// - Parameters:
    ///   - inputs: `[B, T, M]`.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, T, D]`.
    public func callAsFunction(_ inputs: EmbeddedBatch, dropout: inout RandomStream?) -> Tensor {
        network.reduce(inputs.vectors) { $1($0, dropout: &dropout) }
    }

    /// Returns the state before the first vector: no inputs.
    ///
    /// - Parameter batchCount: Sequences.
    /// - Returns: A state for this network with these parameters.
    public func initialState(batchCount: Int) -> [TemporalBlock.State] { network.map { $0.initialState() } }

    /// Reads one vector of each sequence.
    ///
    /// - Parameters:
    ///   - inputs: `[B, M]`.
    ///   - state: What was read so far.
    /// - Returns: `[B, D]`.
    public func step(_ inputs: Tensor, state: inout [TemporalBlock.State]) -> Tensor {
        var hiddenState = inputs.reshaped(to: [inputs.shape[0], 1, inputs.shape[1]])
        for level in network.indices { hiddenState = network[level](hiddenState, state: &state[level]) }
        return hiddenState.removing(axis: 1)
    }
}
