public import Attention

/// A causal convolution along time whose weights are a length and a direction for each output.
///
/// Salimans and Kingma, "Weight Normalization", 2016 (arXiv:1602.07868): see
/// ``Attention/weightNormalized(direction:magnitude:)``. Parameters have the names that PyTorch's `weight_norm` gives.
public struct WeightNormalizedConv1d: Layer {
    /// `[O]`.
    public var bias: Tensor
    /// `[O, 1, 1]`: the length of each output's weights.
    public var magnitude: Tensor
    /// `[O, C, K]`: their direction.
    public var direction: Tensor
    /// How far apart the inputs are that neighbouring elements of a kernel meet.
    public let dilation: Int

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - direction: `[O, C, K]`.
    ///   - magnitude: `[O, 1, 1]`; `nil` takes the lengths of the directions, so that they are the weights.
    ///   - bias: `[O]`.
    ///   - dilation: At least 1.
    public init(direction: Tensor, magnitude: Tensor? = nil, bias: Tensor, dilation: Int = 1) {
        require(
            direction.rank == 3, "The kernels of a convolution along time are [O, C, K], not \(direction.shape).")
        let outputs = direction.shape[0]
        require(bias.shape == [outputs], "The bias is \(bias.shape), but the directions are \(direction.shape).")
        self.direction = direction
        self.magnitude =
            magnitude
            ?? Tensor(
                direction.unstacked().map { output in
                    Float(output.doubles.reduce(0) { $0 + $1 * $1 }.squareRoot())
                }, shape: [outputs, 1, 1])
        require(
            self.magnitude.shape == [outputs, 1, 1],
            "The magnitudes are \(self.magnitude.shape), but the directions are \(direction.shape).")
        self.bias = bias
        self.dilation = dilation
    }

    /// Creates a layer with normally distributed weights.
    ///
    /// - Parameters:
    ///   - inputChannels: `C`.
    ///   - outputChannels: `O`.
    ///   - kernelSize: `K`, at least 1.
    ///   - dilation: At least 1.
    ///   - deviation: The standard deviation of a weight.
    ///   - random: Where the parameters come from.
    public init(
        inputChannels: Int, outputChannels: Int, kernelSize: Int, dilation: Int = 1, deviation: Double = 0.01,
        random: inout RandomStream
    ) {
        let bound = 1 / Double(max(1, inputChannels * kernelSize)).squareRoot()
        self.init(
            direction: random.normal([outputChannels, inputChannels, kernelSize], deviation: deviation),
            bias: random.uniform([outputChannels], bound: bound), dilation: dilation)
    }

    /// `K`.
    public var kernelSize: Int { direction.shape[2] }

    /// The weights `[O, C, K]`.
    public var weight: Tensor { weightNormalized(direction: direction, magnitude: magnitude) }

    /// Calls `visit` with `bias`, `weight_g` and `weight_v`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("bias", &bias)
        try visit("weight_g", &magnitude)
        try visit("weight_v", &direction)
    }

    /// Returns the convolution of sequences; an output depends on no later input.
    ///
    /// - Parameter x: `[B, T, C]`.
    /// - Returns: `[B, T, O]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        conv1d(
            x, weight: weight, bias: bias, window: .causal(kernelSize: kernelSize, dilation: dilation),
            layout: .channelsLast)
    }
}
