/// What a causal convolution remembers between calls: the last `(K - 1) · dilation` inputs, which later outputs see.
public struct CausalConvolutionState: Sendable {
    /// `[B, P, C]`, a ring: the oldest input stands at `next`, and the next one takes its place.
    private var ring: Tensor
    private var next = 0

    /// Creates a state from the inputs that came before.
    ///
    /// - Parameter inputs: `[B, (K - 1) · dilation, C]`, the oldest first.
    public init(inputs: Tensor) {
        require(inputs.rank == 3, "The inputs before are [B, (K - 1) · dilation, C], not \(inputs.shape).")
        ring = inputs
    }

    /// The remembered inputs `[B, (K - 1) · dilation, C]`, the oldest first; zeros where there were none.
    public var inputs: Tensor {
        if next == 0 { return ring }
        return .concatenated(
            [ring.slice(axis: 1, range: next..<ring.shape[1]), ring.slice(axis: 1, range: 0..<next)], axis: 1)
    }

    var shape: [Int] { ring.shape }

    var elementType: ElementType { ring.elementType }

    var isTracked: Bool { ring.isTracked }

    /// Writes, for each sequence, the `K` inputs that an output at `x` sees, as the weights `[C, K]` meet them, and
    /// remembers `x` in place of the oldest.
    fileprivate mutating func push<Scalar: KernelScalar>(
        _ x: UnsafePointer<Scalar>, kernelSize: Int, dilation: Int, into window: UnsafeMutablePointer<Scalar>
    ) {
        ring.makeUnique()
        let (batch, length, channels) = (ring.shape[0], ring.shape[1], ring.shape[2])
        let memory = ring.pointer(as: Scalar.self)
        for sequence in 0..<batch {
            let current = x + sequence * channels
            let out = window + sequence * channels * kernelSize
            for tap in 0..<kernelSize {
                // The tap's input is (K - 1 - tap) · dilation steps ago; the oldest one, length steps ago, is at `next`.
                var past = current
                if tap < kernelSize - 1 {
                    let place = (next + tap * dilation) % length
                    past = UnsafePointer(memory + (sequence * length + place) * channels)
                }
                for channel in 0..<channels { out[channel * kernelSize + tap] = past[channel] }
            }
            if length > 0 { (memory + (sequence * length + next) * channels).update(from: current, count: channels) }
        }
        if length > 0 { next = (next + 1) % length }
    }
}

/// Returns a causal convolution along time that goes on where the last call ended.
///
/// Output `t` sees the inputs `t`, `t - dilation`, … `t - (K - 1) · dilation`, those of earlier calls too, and nothing
/// later. Fed token by token or all at once, a sequence has the same outputs to within rounding.
///
/// - Parameters:
///   - x: `[B, T, C]`: what comes next; `T` is often 1.
///   - weight: `[O, C / G, K]`.
///   - bias: `[O]`, or none.
///   - dilation: At least 1.
///   - groups: `G`, which divides `C` and `O`.
///   - state: The inputs of earlier calls, `nil` for none; then those that the next call needs. Gradients go through it.
/// - Returns: `[B, T, O]`: float64 where `x` and `weight` are, else float32.
/// - Complexity: One step reads the weights once; it copies neither them nor the state.
public func causalConv1d(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, dilation: Int = 1, groups: Int = 1,
    state: inout CausalConvolutionState?
) -> Tensor {
    require(x.rank == 3, "A sequence to convolve is [B, T, C], not \(x.shape).")
    require(weight.rank == 3, "The kernels of a convolution along time are [O, C / G, K], not \(weight.shape).")
    require(
        dilation >= 1 && weight.shape[2] >= 1,
        "The dilation is \(dilation) and the kernels are \(weight.shape): both need to reach at least one step.")
    let type = computedType(x, weight)
    let length = (weight.shape[2] - 1) * dilation
    let wanted = [x.shape[0], length, x.shape[2]]
    // Given up here, so that it may be written in place.
    var current = state ?? CausalConvolutionState(inputs: Tensor(zeros: wanted, elementType: type))
    state = nil
    defer { state = current }
    require(
        current.shape == wanted,
        "The state remembers \(current.shape), but kernels \(weight.shape) of dilation \(dilation) need \(wanted).")
    let isRecorded = isRecorded([x, weight, bias]) || current.isTracked && GradientRecording.isOn
    if x.shape[1] == 1, !isRecorded, current.elementType == type {
        return type == .float64
            ? step(x, weight, bias, dilation, groups, &current, as: Double.self)
            : step(x, weight, bias, dilation, groups, &current, as: Float.self)
    }
    let whole = Tensor.concatenated([current.inputs.converted(to: type), x.converted(to: type)], axis: 1)
    // A copy where few remain: a view would keep all inputs alive.
    let kept = whole.slice(axis: 1, range: x.shape[1]..<x.shape[1] + length)
    current = CausalConvolutionState(inputs: isRecorded ? kept.contiguous() : kept.detached.copied(to: type))
    return conv1d(
        whole, weight: weight, bias: bias, window: ConvolutionWindow(dilation: dilation), groups: groups,
        layout: .channelsLast)
}

/// One step: the weights, as they lie, are a matrix times the inputs that the output sees.
private func step<Scalar: KernelScalar>(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ dilation: Int, _ groups: Int,
    _ state: inout CausalConvolutionState, as type: Scalar.Type
) -> Tensor {
    let (batch, channels) = (x.shape[0], x.shape[2])
    let (outputs, groupChannels, kernelSize) = (weight.shape[0], weight.shape[1], weight.shape[2])
    require(
        groups >= 1 && groupChannels * groups == channels && outputs % groups == 0,
        "The kernels \(weight.shape) do not fit \(channels) channels in \(groups) groups.")
    require(
        bias == nil || bias?.shape == [outputs],
        "The bias is \(bias?.shape ?? []), but the weights are \(weight.shape).")
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let weights = weight.detached.converted(to: Scalar.elementType).contiguous()
    let seen = Tensor(uninitialized: [batch, channels, kernelSize], elementType: Scalar.elementType)
    state.push(
        input.pointer(as: Scalar.self), kernelSize: kernelSize, dilation: dilation, into: seen.pointer(as: Scalar.self))
    let result = Tensor(uninitialized: [batch, 1, outputs], elementType: Scalar.elementType)
    let (window, kernels) = (seen.pointer(as: Scalar.self), weights.pointer(as: Scalar.self))
    let out = result.pointer(as: Scalar.self)
    let (depth, columns) = (groupChannels * kernelSize, outputs / groups)
    for group in 0..<groups {
        multiply(
            MatrixOperand(rows: window + group * depth, rowStride: channels * kernelSize),
            MatrixOperand(transposed: kernels + group * columns * depth, rowStride: depth), rows: batch,
            columns: columns, depth: depth, into: out + group * columns, outStride: outputs)
    }
    withExtendedLifetime((input, weights, seen)) {}
    return bias.map { result + $0.detached.converted(to: Scalar.elementType) } ?? result
}
