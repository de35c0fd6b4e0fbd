/// Returns a convolution along time: `y[o, t] = bias[o] + Σ w[o, c, k] · x[c, t · stride + k · dilation - padding]`.
///
/// A cross-correlation, as everywhere in this field: the kernel is not reversed. `B` batch, `C` channels, `O` outputs,
/// `G` groups, `K` kernel size.
///
/// - Parameters:
///   - x: `[B, C, T]`, or `[B, T, C]` with channels last; floating-point.
///   - weight: `[O, C / G, K]`, in either layout.
///   - bias: `[O]`, or none.
///   - window: Stride, dilation and padding; `.causal(kernelSize:dilation:)` never looks ahead.
///   - groups: `G`, which divides `C` and `O`: outputs of one group see the channels of that group only.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, O, T′]`, or `[B, T′, O]`: float64 where `x` and `weight` are, else float32. `T′` is
///   `window.outputLength(of: T, kernelSize: K)`.
/// - Complexity: O(B·T′·O·K·C/G) time; no more memory than the operands, the result and one copy of the weights.
public func conv1d(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, window: ConvolutionWindow = .valid, groups: Int = 1,
    layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    require(x.rank == 3, "A sequence to convolve has three dimensions, not \(x.shape).")
    require(weight.rank == 3, "The kernels of a convolution along time are [O, C / G, K], not \(weight.shape).")
    let sequence = layout == .channelsLast ? x : x.transposed(1, 2)
    let (batch, length, channels) = (sequence.shape[0], sequence.shape[1], sequence.shape[2])
    // A sequence is an image of height 1.
    let result = convolved(
        sequence.reshaped(to: [batch, 1, length, channels]),
        weight: weight.reshaped(to: [weight.shape[0], weight.shape[1], 1, weight.shape[2]]), bias: bias, .valid, window,
        groups: groups)
    let output = result.reshaped(to: [batch, result.shape[2], result.shape[3]])
    return layout == .channelsLast ? output : output.transposed(1, 2)
}

/// Returns a convolution over an image.
///
/// `y[o, i, j] = bias[o] + Σ w[o, c, k, l] · x[c, i · stride + k · dilation - padding, j · …]`, each dimension with its
/// own window.
///
/// - Parameters:
///   - x: `[B, C, H, W]`, or `[B, H, W, C]` with channels last; floating-point.
///   - weight: `[O, C / G, K, L]`, in either layout.
///   - bias: `[O]`, or none.
///   - vertical: Stride, dilation and padding along the height.
///   - horizontal: Those along the width.
///   - groups: `G`, which divides `C` and `O`.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, O, H′, W′]`, or `[B, H′, W′, O]`: float64 where `x` and `weight` are, else float32.
public func conv2d(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, vertical: ConvolutionWindow = .valid,
    horizontal: ConvolutionWindow = .valid, groups: Int = 1, layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    require(x.rank == 4, "Images to convolve have four dimensions, not \(x.shape).")
    require(weight.rank == 4, "The kernels of a convolution over images are [O, C / G, K, L], not \(weight.shape).")
    let output = convolved(
        layout == .channelsLast ? x : x.channelsLast(), weight: weight, bias: bias, vertical, horizontal,
        groups: groups)
    return layout == .channelsLast ? output : output.channelsFirst()
}

extension Tensor {
    /// `[B, C, H, W]` as `[B, H, W, C]`.
    func channelsLast() -> Tensor { transposed(1, 2).transposed(2, 3) }

    /// `[B, H, W, C]` as `[B, C, H, W]`.
    func channelsFirst() -> Tensor { transposed(2, 3).transposed(1, 2) }
}

private func convolved(
    _ x: Tensor, weight: Tensor, bias: Tensor?, _ vertical: ConvolutionWindow, _ horizontal: ConvolutionWindow,
    groups: Int
) -> Tensor {
    let (channels, outputs) = (x.shape[3], weight.shape[0])
    require(
        groups >= 1 && channels % groups == 0 && outputs % groups == 0,
        "\(groups) groups do not divide \(channels) channels and \(outputs) outputs.")
    require(
        weight.shape[1] == channels / groups,
        "The kernels \(weight.shape) have \(weight.shape[1]) channels, but \(channels) channels in \(groups) groups have "
            + "\(channels / groups).")
    require(weight.shape[2] >= 1 && weight.shape[3] >= 1, "The kernels \(weight.shape) are empty.")
    require(
        bias == nil || bias?.shape == [outputs],
        "The bias is \(bias?.shape ?? []), but the weights are \(weight.shape).")
    let convolution = Convolution(x.shape, weight.shape, vertical, horizontal, groups: groups)
    return computedType(x, weight) == .float64
        ? convolved(x, weight, bias, convolution, as: Double.self)
        : convolved(x, weight, bias, convolution, as: Float.self)
}

private func convolved<Scalar: KernelScalar>(
    _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ convolution: Convolution, as type: Scalar.Type
) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let weights = weight.detached.converted(to: Scalar.elementType).contiguous()
    let start = bias?.detached.converted(to: Scalar.elementType).contiguous()
    let output = convolution.output(of: input, weights, start, as: type)
    return output.recorded(from: [x, weight, bias]) { gradient, isWanted in
        let gradient = gradient.contiguous()
        return [
            isWanted[0] ? convolution.inputGradient(gradient, weights, as: type) : nil,
            isWanted[1] ? convolution.weightGradient(gradient, input, as: type) : nil,
            isWanted[2] ? gradient.summed(to: [convolution.outputs]) : nil,
        ]
    }
}

/// A convolution's shapes: images with channels last, and a sum of matrix products, one for each element of the kernel.
///
/// An element of the kernel is a matrix `[C / G, O / G]`, and the inputs it meets along a row of outputs are the rows of
/// another, `stride · C` elements apart: no input is copied. Where every channel has a group of its own the matrices
/// are numbers, and rows of all channels are multiplied element by element instead.
private struct Convolution: Sendable {
    let batch, height, width, channels: Int
    let outputHeight, outputWidth, outputs: Int
    let kernelHeight, kernelWidth: Int
    let vertical, horizontal: ConvolutionWindow
    let groups: Int

    /// The shape of the weights, as given.
    let weightShape: [Int]

    init(
        _ shape: [Int], _ weightShape: [Int], _ vertical: ConvolutionWindow, _ horizontal: ConvolutionWindow,
        groups: Int
    ) {
        (batch, height, width, channels) = (shape[0], shape[1], shape[2], shape[3])
        (outputs, kernelHeight, kernelWidth) = (weightShape[0], weightShape[2], weightShape[3])
        outputHeight = vertical.outputLength(of: height, kernelSize: kernelHeight)
        outputWidth = horizontal.outputLength(of: width, kernelSize: kernelWidth)
        (self.vertical, self.horizontal, self.groups) = (vertical, horizontal, groups)
        self.weightShape = weightShape
    }

    private var isDepthwise: Bool { groups == channels && groups == outputs }
    /// What is computed apart: groups, or all channels at once where each is a group.
    private var lanes: Int { isDepthwise ? 1 : groups }
    private var laneChannels: Int { channels / lanes }
    private var laneOutputs: Int { outputs / lanes }
    private var taps: Int { kernelHeight * kernelWidth }
    /// How many places of a row are one item of work.
    private var block: Int { 96 }

    /// Returns `bias + Σ x · w` for every output.
    func output<Scalar: KernelScalar>(
        of input: Tensor, _ weights: Tensor, _ bias: Tensor?, as type: Scalar.Type
    ) -> Tensor {
        let kernels = kernels(of: weights, isForward: true, as: type)
        let result = Tensor(
            uninitialized: [batch, outputHeight, outputWidth, outputs], elementType: Scalar.elementType)
        let x = input.pointer(as: Scalar.self)
        let (out, start) = (result.pointer(as: Scalar.self), bias?.pointer(as: Scalar.self))
        if areTapsGathered && canMeetZeros(kernels.numbers, as: type) {
            gatherTaps(x, kernels.numbers, start, into: out)
            withExtendedLifetime((input, kernels, bias)) {}
            return result
        }
        forEachPiece(rows: outputHeight, columns: outputWidth) { image, lane, row, columns in
            let first = (image * outputHeight + row) * outputWidth
            for column in columns {
                let place = out + (first + column) * outputs + lane * laneOutputs
                if let start {
                    place.update(from: start + lane * laneOutputs, count: laneOutputs)
                } else {
                    place.update(repeating: 0, count: laneOutputs)
                }
            }
            for tap in 0..<taps {
                let (k, l) = (tap / kernelWidth, tap % kernelWidth)
                let y = vertical.input(of: k, output: row)
                let met = horizontal.outputs(of: l, within: columns, length: width)
                guard 0..<height ~= y, !met.isEmpty else { continue }
                let column = horizontal.input(of: l, output: met.lowerBound)
                multiplyAdd(
                    x + ((image * height + y) * width + column) * channels + lane * laneChannels,
                    rowStride: horizontal.stride * channels, kernels, lane * taps + tap, rows: met.count,
                    into: out + (first + met.lowerBound) * outputs + lane * laneOutputs, outStride: outputs)
            }
        }
        withExtendedLifetime((input, kernels, bias)) {}
        return result
    }

    // MARK: - Small images

    /// Whether a row of outputs is too short to be a product of its own for each element of the kernel.
    private var areTapsGathered: Bool { !isDepthwise && taps > 1 && outputWidth < 48 && laneChannels <= 64 }

    /// Whether zeros of the padding may be multiplied: an infinite weight would make NaN of them.
    private func canMeetZeros<Scalar: KernelScalar>(_ kernels: Tensor, as type: Scalar.Type) -> Bool {
        let numbers = UnsafeBufferPointer(start: kernels.pointer(as: Scalar.self), count: kernels.elementCount)
        return numbers.allSatisfy(\.isFinite)
    }

    /// Computes the output by copying what each output meets into a row, zeros for the padding, and one product for many
    /// rows of outputs: the sums are the same, in the same order, and products with zeros beside them.
    private func gatherTaps<Scalar: KernelScalar>(
        _ x: UnsafePointer<Scalar>, _ kernels: Tensor, _ bias: UnsafePointer<Scalar>?,
        into out: UnsafeMutablePointer<Scalar>
    ) {
        let depth = taps * laneChannels
        // kernels: [lanes, taps, O / G, C / G]; the product wants [taps · C / G, O / G].
        let matrices = (0..<lanes).map { lane in
            let turned = Tensor(uninitialized: [depth, laneOutputs], elementType: Scalar.elementType)
            for tap in 0..<taps {
                Scalar.transpose(
                    turned.pointer(as: Scalar.self) + tap * laneChannels * laneOutputs, laneOutputs,
                    kernels.pointer(as: Scalar.self) + (lane * taps + tap) * kernelSize, laneChannels, laneOutputs,
                    laneChannels)
            }
            return PackedMatrix(
                MatrixOperand(rows: UnsafePointer(turned.pointer(as: Scalar.self)), rowStride: laneOutputs),
                depth: depth, columns: laneOutputs)
        }
        let rowsOfImages = batch * outputHeight
        // As many rows of outputs as fill a block of a product, and stay in the second-level cache.
        let length = max(1, min(96 / max(1, outputWidth), (64 << 10) / max(1, depth * outputWidth)))
        parallel(blocks(of: rowsOfImages, by: length) * lanes) { item in
            let lane = item % lanes
            let rows = range(item / lanes, by: length, upTo: rowsOfImages)
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: rows.count * outputWidth * depth) { buffer in
                guard let gathered = buffer.baseAddress else { return }
                for row in rows {
                    gather(
                        x + lane * laneChannels, image: row / outputHeight, row: row % outputHeight,
                        into: gathered + (row - rows.lowerBound) * outputWidth * depth)
                }
                multiply(
                    MatrixOperand(rows: UnsafePointer(gathered), rowStride: depth), matrices[lane],
                    rows: rows.count * outputWidth,
                    into: out + rows.lowerBound * outputWidth * outputs + lane * laneOutputs, outStride: outputs,
                    bias: bias.map { $0 + lane * laneOutputs })
            }
        }
    }

    /// Copies what the outputs of a row meet, one after the other, element of the kernel by element.
    private func gather<Scalar: KernelScalar>(
        _ x: UnsafePointer<Scalar>, image: Int, row: Int, into gathered: UnsafeMutablePointer<Scalar>
    ) {
        let (count, depth) = (laneChannels, taps * laneChannels)
        // Elements of the kernel that meet neighbours along the width are copied at once.
        let areNeighbours = horizontal.dilation == 1 && lanes == 1
        for k in 0..<kernelHeight {
            let y = vertical.input(of: k, output: row)
            let inputs = x + (image * height + y) * width * channels
            for column in 0..<outputWidth {
                let target = gathered + column * depth + k * kernelWidth * count
                let first = horizontal.input(of: 0, output: column)
                guard 0..<height ~= y else {
                    target.update(repeating: 0, count: kernelWidth * count)
                    continue
                }
                if areNeighbours && first >= 0 && first + kernelWidth <= width {
                    target.update(from: inputs + first * channels, count: kernelWidth * count)
                    continue
                }
                for l in 0..<kernelWidth {
                    let met = horizontal.input(of: l, output: column)
                    if 0..<width ~= met {
                        (target + l * count).update(from: inputs + met * channels, count: count)
                    } else {
                        (target + l * count).update(repeating: 0, count: count)
                    }
                }
            }
        }
    }

    /// Returns the gradient of the input, from the output's.
    func inputGradient<Scalar: KernelScalar>(
        _ gradient: Tensor, _ weights: Tensor, as type: Scalar.Type
    ) -> Tensor {
        let kernels = kernels(of: weights, isForward: false, as: type)
        let result = Tensor(zeros: [batch, height, width, channels], elementType: Scalar.elementType)
        let g = gradient.pointer(as: Scalar.self)
        let out = result.pointer(as: Scalar.self)
        forEachPiece(rows: height, columns: width) { image, lane, row, columns in
            for tap in 0..<taps {
                let (k, l) = (tap / kernelWidth, tap % kernelWidth)
                // forward: output[i, j] += input[i · stride + k · dilation - padding, …] · w[k, l]
                let rows = vertical.outputs(of: k, meeting: row..<row + 1, outputLength: outputHeight)
                let met = horizontal.outputs(of: l, meeting: columns, outputLength: outputWidth)
                guard let i = rows.first, !met.isEmpty else { continue }
                let column = horizontal.input(of: l, output: met.lowerBound)
                multiplyAdd(
                    g + ((image * outputHeight + i) * outputWidth + met.lowerBound) * outputs + lane * laneOutputs,
                    rowStride: outputs, kernels, lane * taps + tap, rows: met.count,
                    into: out + ((image * height + row) * width + column) * channels + lane * laneChannels,
                    outStride: horizontal.stride * channels)
            }
        }
        withExtendedLifetime((gradient, kernels)) {}
        return result
    }

    /// Returns the gradient of the weights, from the output's.
    func weightGradient<Scalar: KernelScalar>(
        _ gradient: Tensor, _ input: Tensor, as type: Scalar.Type
    ) -> Tensor {
        let sums = Tensor(zeros: [lanes, taps, kernelSize], elementType: Scalar.elementType)
        let (g, x) = (gradient.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
        let sum = sums.pointer(as: Scalar.self)
        // Each item has outputs of its own, and goes through all images and rows in order: so no bit depends on how many
        // items there are. They are few and large, since each packs the inputs for itself, but enough for all threads.
        let wanted = isDepthwise ? 1 : blocks(of: 4 * ComputeThreads.count, by: lanes * taps)
        let size = max(48, blocks(of: laneOutputs, by: wanted))
        let pieces = isDepthwise ? 1 : blocks(of: laneOutputs, by: size)
        parallel(lanes * taps * pieces) { item in
            let (lane, tap) = (item / pieces / taps, item / pieces % taps)
            let (k, l) = (tap / kernelWidth, tap % kernelWidth)
            let part = isDepthwise ? 0..<laneOutputs : range(item % pieces, by: size, upTo: laneOutputs)
            let met = horizontal.outputs(of: l, within: 0..<outputWidth, length: width)
            let rows = vertical.outputs(of: k, within: 0..<outputHeight, length: height)
            guard !met.isEmpty else { return }
            let out = sum + (lane * taps + tap) * kernelSize + (isDepthwise ? 0 : part.lowerBound * laneChannels)
            for image in 0..<batch {
                for row in rows {
                    // forward: output[i, j] += input[i · stride + k · dilation - padding, …] · w[k, l]
                    let y = vertical.input(of: k, output: row)
                    let column = horizontal.input(of: l, output: met.lowerBound)
                    let gradients =
                        g + ((image * outputHeight + row) * outputWidth + met.lowerBound) * outputs
                        + lane * laneOutputs + part.lowerBound
                    let inputs = x + ((image * height + y) * width + column) * channels + lane * laneChannels
                    if isDepthwise {
                        for place in 0..<met.count {
                            addProduct(
                                gradients + place * outputs, inputs + place * horizontal.stride * channels,
                                count: channels, into: out)
                        }
                    } else {
                        multiply(
                            MatrixOperand(transposed: gradients, rowStride: outputs),
                            MatrixOperand(rows: inputs, rowStride: horizontal.stride * channels), rows: part.count,
                            columns: laneChannels, depth: met.count, into: out, outStride: laneChannels,
                            isAccumulating: true)
                    }
                }
            }
        }
        withExtendedLifetime((gradient, input)) {}
        return weights(of: sums, as: type)
    }

    // MARK: - One element of the kernel

    /// Adds rows times an element of the kernel.
    private func multiplyAdd<Scalar: KernelScalar>(
        _ a: UnsafePointer<Scalar>, rowStride: Int, _ kernels: ConvolutionKernels<Scalar>, _ index: Int, rows: Int,
        into out: UnsafeMutablePointer<Scalar>, outStride: Int
    ) {
        if isDepthwise {
            let kernel = kernels.numbers.pointer(as: Scalar.self) + index * channels
            for row in 0..<rows {
                addProduct(a + row * rowStride, kernel, count: channels, into: out + row * outStride)
            }
        } else {
            multiply(
                MatrixOperand(rows: a, rowStride: rowStride), kernels.matrices[index], rows: rows, into: out,
                outStride: outStride, isAccumulating: true)
        }
    }

    /// Calls `body` with pieces of rows, in parallel, each in one image and one lane.
    private func forEachPiece(
        rows: Int, columns: Int, _ body: (_ image: Int, _ lane: Int, _ row: Int, _ columns: Range<Int>) -> Void
    ) {
        let pieces = blocks(of: columns, by: block)
        parallel(batch * lanes * rows * pieces) { item in
            let (row, rest) = (item / pieces % rows, item / pieces / rows)
            body(rest / lanes, rest % lanes, row, range(item % pieces, by: block, upTo: columns))
        }
    }

    // MARK: - The order of the weights

    /// The elements of a lane's matrix for one element of the kernel.
    private var kernelSize: Int { isDepthwise ? channels : laneChannels * laneOutputs }

    /// The weights `[O, C / G, K]` as they are multiplied by, on the way forward or back.
    private func kernels<Scalar: KernelScalar>(
        of weights: Tensor, isForward: Bool, as type: Scalar.Type
    ) -> ConvolutionKernels<Scalar> {
        let numbers = Tensor(uninitialized: [lanes, taps, kernelSize], elementType: Scalar.elementType)
        let (out, source) = (numbers.pointer(as: Scalar.self), weights.pointer(as: Scalar.self))
        let (rows, columns) = isDepthwise ? (1, channels) : (laneOutputs, laneChannels)
        parallel(lanes * rows) { item in
            let (lane, row) = (item / rows, item % rows)
            for column in 0..<columns {
                let kernel = source + (lane * kernelSize + row * columns + column) * taps
                let place = out + lane * taps * kernelSize + row * columns + column
                for tap in 0..<taps { place[tap * kernelSize] = kernel[tap] }
            }
        }
        withExtendedLifetime(weights) {}
        if isDepthwise { return ConvolutionKernels(numbers: numbers, matrices: []) }
        let matrices = (0..<lanes * taps).map { index in
            let start = UnsafePointer(out + index * kernelSize)
            return isForward
                ? PackedMatrix(MatrixOperand(transposed: start, rowStride: columns), depth: columns, columns: rows)
                : PackedMatrix(MatrixOperand(rows: start, rowStride: columns), depth: rows, columns: columns)
        }
        return ConvolutionKernels(numbers: numbers, matrices: matrices)
    }

    /// The numbers of ``ConvolutionKernels`` as weights `[O, C / G, K]`.
    private func weights<Scalar: KernelScalar>(of kernels: Tensor, as type: Scalar.Type) -> Tensor {
        let result = Tensor(uninitialized: weightShape, elementType: Scalar.elementType)
        let (out, source) = (result.pointer(as: Scalar.self), kernels.pointer(as: Scalar.self))
        let rowCount = isDepthwise ? 1 : laneOutputs
        let columns = kernelSize / max(1, rowCount)
        parallel(lanes * rowCount) { item in
            let (lane, row) = (item / rowCount, item % rowCount)
            for column in 0..<columns {
                let kernel = out + (lane * kernelSize + row * columns + column) * taps
                let place = source + lane * taps * kernelSize + row * columns + column
                for tap in 0..<taps { kernel[tap] = place[tap * kernelSize] }
            }
        }
        withExtendedLifetime(kernels) {}
        return result
    }
}

/// A convolution's weights in the order that they are used in, by lane and element of the kernel.
private struct ConvolutionKernels<Scalar: KernelScalar>: Sendable {
    /// `[lanes, elements, O / G · C / G]`, or a number for each channel where each has a group of its own.
    let numbers: Tensor
    /// The same, to multiply by `[C / G, O / G]` or, on the way back, its transpose; none where they are numbers.
    let matrices: [PackedMatrix<Scalar>]
}

/// Adds the products of pairs of elements.
@inline(__always)
private func addProduct<Scalar: KernelScalar>(
    _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, count: Int, into sum: UnsafeMutablePointer<Scalar>
) {
    for index in 0..<count { sum[index] += x[index] * y[index] }
}
