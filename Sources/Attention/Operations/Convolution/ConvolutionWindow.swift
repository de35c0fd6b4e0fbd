/// How a kernel moves along one dimension: element `k` of the kernel meets, for output `t`, the input
/// `t · stride + k · dilation - paddingBefore`, which is 0 where there is none.
public struct ConvolutionWindow: Sendable, Hashable {
    /// How many inputs the kernel moves on from one output to the next; at least 1.
    public let stride: Int
    /// How far apart the inputs are that neighbouring elements of the kernel meet; at least 1.
    public let dilation: Int
    /// How many zeros are thought before the first input; at least 0.
    public let paddingBefore: Int
    /// How many zeros are thought after the last input; at least 0.
    public let paddingAfter: Int

    /// The kernel moves over the inputs one by one, and never leaves them.
    public static let valid = ConvolutionWindow()

    /// Creates a window with as many zeros before as after, as PyTorch has it.
    ///
    /// - Parameters:
    ///   - stride: At least 1.
    ///   - dilation: At least 1.
    ///   - padding: How many zeros on either side; at least 0.
    public init(stride: Int = 1, dilation: Int = 1, padding: Int = 0) {
        self.init(stride: stride, dilation: dilation, paddingBefore: padding, paddingAfter: padding)
    }

    /// Creates a window.
    ///
    /// - Parameters:
    ///   - stride: At least 1.
    ///   - dilation: At least 1.
    ///   - paddingBefore: How many zeros before the first input; at least 0.
    ///   - paddingAfter: How many zeros after the last input; at least 0.
    public init(stride: Int = 1, dilation: Int = 1, paddingBefore: Int, paddingAfter: Int) {
        require(
            stride >= 1 && dilation >= 1, "The stride \(stride) and the dilation \(dilation) must be at least 1.")
        require(
            paddingBefore >= 0 && paddingAfter >= 0,
            "The padding \(paddingBefore), \(paddingAfter) must be at least 0.")
        self.stride = stride
        self.dilation = dilation
        self.paddingBefore = paddingBefore
        self.paddingAfter = paddingAfter
    }

    /// Returns a window whose output sees its own input and earlier ones only: `(K - 1) · dilation` zeros before.
    ///
    /// - Parameters:
    ///   - kernelSize: `K`, at least 1.
    ///   - dilation: At least 1.
    /// - Returns: A window with as many outputs as inputs.
    public static func causal(kernelSize: Int, dilation: Int = 1) -> ConvolutionWindow {
        ConvolutionWindow(dilation: dilation, paddingBefore: (kernelSize - 1) * dilation, paddingAfter: 0)
    }

    /// On which side the odd zero stands.
    public enum OddPadding: Sendable, Hashable {
        /// Before the first input: ONNX's `SAME_LOWER`.
        case before
        /// After the last input: ONNX's `SAME_UPPER`.
        case after
    }

    /// Returns a window with `⌈length / stride⌉` outputs, its zeros split evenly between the sides.
    ///
    /// - Parameters:
    ///   - length: How many inputs there are.
    ///   - kernelSize: At least 1.
    ///   - stride: At least 1.
    ///   - dilation: At least 1.
    ///   - oddPadding: Where one zero more stands if their number is odd.
    /// - Returns: The window; it is for this length only where the stride is not 1.
    public static func same(
        length: Int, kernelSize: Int, stride: Int = 1, dilation: Int = 1, oddPadding: OddPadding = .after
    ) -> ConvolutionWindow {
        let outputs = (length + stride - 1) / stride
        let total = max(0, (outputs - 1) * stride + (kernelSize - 1) * dilation + 1 - length)
        let smaller = total / 2
        return ConvolutionWindow(
            stride: stride, dilation: dilation, paddingBefore: oddPadding == .before ? total - smaller : smaller,
            paddingAfter: oddPadding == .before ? smaller : total - smaller)
    }

    /// Returns how many places the kernel has: 0 if it is longer than the padded input.
    ///
    /// - Parameters:
    ///   - length: How many inputs there are.
    ///   - kernelSize: At least 1.
    /// - Returns: `⌊(length + padding - (kernelSize - 1) · dilation - 1) / stride⌋ + 1`.
    public func outputLength(of length: Int, kernelSize: Int) -> Int {
        let room = length + paddingBefore + paddingAfter - (kernelSize - 1) * dilation - 1
        return room < 0 ? 0 : room / stride + 1
    }

    /// The outputs within `range` for which an element of the kernel meets one of `length` inputs.
    func outputs(of tap: Int, within range: Range<Int>, length: Int) -> Range<Int> {
        // 0 ≤ t · stride + shift < length
        let shift = tap * dilation - paddingBefore
        let first = max(range.lowerBound, ceiling(-shift, over: stride))
        let end = min(range.upperBound, ceiling(length - shift, over: stride))
        return first..<max(first, end)
    }

    /// The outputs for which an element of the kernel meets an input within `range`.
    func outputs(of tap: Int, meeting range: Range<Int>, outputLength: Int) -> Range<Int> {
        let shift = tap * dilation - paddingBefore
        let first = max(0, ceiling(range.lowerBound - shift, over: stride))
        let end = min(outputLength, ceiling(range.upperBound - shift, over: stride))
        return first..<max(first, end)
    }

    /// The input that an element of the kernel meets for an output; it may be outside.
    func input(of tap: Int, output: Int) -> Int { output * stride + tap * dilation - paddingBefore }
}

private func ceiling(_ number: Int, over divisor: Int) -> Int {
    number > 0 ? (number + divisor - 1) / divisor : -(-number / divisor)
}

/// Where the channels of a sequence or image stand.
public enum ConvolutionLayout: Sendable, Hashable {
    /// `[B, C, T]` or `[B, C, H, W]`, as PyTorch and ONNX have it.
    case channelsFirst
    /// `[B, T, C]` or `[B, H, W, C]`: what is computed with; nothing is copied.
    case channelsLast
}
