public import Attention

/// A convolution along time, with PyTorch's parameters: see ``Attention/conv1d(_:weight:bias:window:groups:layout:)``.
public struct Conv1d: Layer {
    /// `[O, C / G, K]`.
    public var weight: Tensor
    /// `[O]`, or none.
    public var bias: Tensor?
    /// Stride, dilation and padding.
    public let window: ConvolutionWindow
    /// `G`: outputs of one group see the channels of that group only.
    public let groups: Int
    /// Where the channels stand: `[B, C, T]` by default, as PyTorch has it.
    public let layout: ConvolutionLayout

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - weight: `[O, C / G, K]`.
    ///   - bias: `[O]`, or none.
    ///   - window: Stride, dilation and padding.
    ///   - groups: `G`, which divides `C` and `O`.
    ///   - layout: Where the channels stand.
    public init(
        weight: Tensor, bias: Tensor? = nil, window: ConvolutionWindow = .valid, groups: Int = 1,
        layout: ConvolutionLayout = .channelsFirst
    ) {
        require(weight.rank == 3, "The kernels of a convolution along time are [O, C / G, K], not \(weight.shape).")
        require(
            bias == nil || bias?.shape == [weight.shape[0]],
            "The bias is \(bias?.shape ?? []), but the weight is \(weight.shape).")
        self.weight = weight
        self.bias = bias
        self.window = window
        self.groups = groups
        self.layout = layout
    }

    /// Creates a layer with parameters evenly distributed within `±1/√(C / G · K)`, PyTorch's default.
    ///
    /// - Parameters:
    ///   - inputChannels: `C`.
    ///   - outputChannels: `O`.
    ///   - kernelSize: `K`, at least 1.
    ///   - window: Stride, dilation and padding.
    ///   - groups: `G`, which divides `C` and `O`.
    ///   - hasBias: Whether there is a bias.
    ///   - layout: Where the channels stand.
    ///   - random: Where the parameters come from.
    public init(
        inputChannels: Int, outputChannels: Int, kernelSize: Int, window: ConvolutionWindow = .valid, groups: Int = 1,
        hasBias: Bool = true, layout: ConvolutionLayout = .channelsFirst, random: inout RandomStream
    ) {
        require(
            groups >= 1 && inputChannels % groups == 0 && outputChannels % groups == 0,
            "\(groups) groups do not divide \(inputChannels) channels and \(outputChannels) outputs.")
        let inputs = inputChannels / groups
        let bound = 1 / Double(max(1, inputs * kernelSize)).squareRoot()
        self.init(
            weight: random.uniform([outputChannels, inputs, kernelSize], bound: bound),
            bias: hasBias ? random.uniform([outputChannels], bound: bound) : nil, window: window, groups: groups,
            layout: layout)
    }

    /// Creates a layer that never looks ahead, with channels last: see ``callAsFunction(_:state:)``.
    ///
    /// - Parameters:
    ///   - inputChannels: `C`.
    ///   - outputChannels: `O`.
    ///   - kernelSize: `K`, at least 1.
    ///   - dilation: At least 1.
    ///   - random: Where the parameters come from.
    /// - Returns: A layer from `[B, T, C]` to `[B, T, O]`.
    public static func causal(
        inputChannels: Int, outputChannels: Int, kernelSize: Int, dilation: Int = 1, random: inout RandomStream
    ) -> Conv1d {
        Conv1d(
            inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: kernelSize,
            window: .causal(kernelSize: kernelSize, dilation: dilation), layout: .channelsLast, random: &random)
    }

    /// `K`.
    public var kernelSize: Int { weight.shape[2] }

    /// Calls `visit` with `weight` and `bias`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
        try visitParameter(&bias, "bias", visit)
    }

    /// Returns the convolution of sequences.
    ///
    /// - Parameter x: `[B, C, T]`, or `[B, T, C]` with channels last.
    /// - Returns: `[B, O, T′]`, or `[B, T′, O]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        conv1d(x, weight: weight, bias: bias, window: window, groups: groups, layout: layout)
    }

    /// Returns the convolution of what comes next, going on where the last call ended.
    ///
    /// - Parameters:
    ///   - x: `[B, T, C]`: `T` is often 1. The layer is causal and has its channels last.
    ///   - state: The inputs of earlier calls, `nil` for none; then those that the next call needs.
    /// - Returns: `[B, T, O]`.
    public func callAsFunction(_ x: Tensor, state: inout CausalConvolutionState?) -> Tensor {
        require(
            window == .causal(kernelSize: kernelSize, dilation: window.dilation) && layout == .channelsLast,
            "Only a causal convolution with channels last goes on from a state, not \(window), \(layout).")
        return causalConv1d(x, weight: weight, bias: bias, dilation: window.dilation, groups: groups, state: &state)
    }
}
