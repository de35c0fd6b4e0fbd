public import Attention

/// A convolution over images, with PyTorch's parameters: see
/// ``Attention/conv2d(_:weight:bias:vertical:horizontal:groups:layout:)``.
public struct Conv2d: Layer {
    /// `[O, C / G, K, L]`.
    public var weight: Tensor
    /// `[O]`, or none.
    public var bias: Tensor?
    /// Stride, dilation and padding along the height.
    public let vertical: ConvolutionWindow
    /// Stride, dilation and padding along the width.
    public let horizontal: ConvolutionWindow
    /// `G`: outputs of one group see the channels of that group only.
    public let groups: Int
    /// Where the channels stand: `[B, C, H, W]` by default, as PyTorch has it.
    public let layout: ConvolutionLayout

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - weight: `[O, C / G, K, L]`.
    ///   - bias: `[O]`, or none.
    ///   - vertical: Stride, dilation and padding along the height.
    ///   - horizontal: Those along the width.
    ///   - groups: `G`, which divides `C` and `O`.
    ///   - layout: Where the channels stand.
    public init(
        weight: Tensor, bias: Tensor? = nil, vertical: ConvolutionWindow = .valid,
        horizontal: ConvolutionWindow = .valid, groups: Int = 1, layout: ConvolutionLayout = .channelsFirst
    ) {
        require(weight.rank == 4, "The kernels of a convolution over images are [O, C / G, K, L], not \(weight.shape).")
        require(
            bias == nil || bias?.shape == [weight.shape[0]],
            "The bias is \(bias?.shape ?? []), but the weight is \(weight.shape).")
        self.weight = weight
        self.bias = bias
        self.vertical = vertical
        self.horizontal = horizontal
        self.groups = groups
        self.layout = layout
    }

    /// Creates a layer with square kernels and parameters evenly distributed within `±1/√(C / G · K²)`, PyTorch's
    /// default.
    ///
    /// - Parameters:
    ///   - inputChannels: `C`.
    ///   - outputChannels: `O`.
    ///   - kernelSize: `K`, the height and width of a kernel; at least 1.
    ///   - window: Stride, dilation and padding along both dimensions.
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
        let bound = 1 / Double(max(1, inputs * kernelSize * kernelSize)).squareRoot()
        self.init(
            weight: random.uniform([outputChannels, inputs, kernelSize, kernelSize], bound: bound),
            bias: hasBias ? random.uniform([outputChannels], bound: bound) : nil, vertical: window, horizontal: window,
            groups: groups, layout: layout)
    }

    /// Calls `visit` with `weight` and `bias`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
        try visitParameter(&bias, "bias", visit)
    }

    /// Returns the convolution of images.
    ///
    /// - Parameter x: `[B, C, H, W]`, or `[B, H, W, C]` with channels last.
    /// - Returns: `[B, O, H′, W′]`, or `[B, H′, W′, O]`.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        conv2d(
            x, weight: weight, bias: bias, vertical: vertical, horizontal: horizontal, groups: groups, layout: layout)
    }
}
