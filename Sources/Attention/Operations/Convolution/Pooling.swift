/// Returns the largest element under each place of a window over an image.
///
/// - Parameters:
///   - x: `[B, C, H, W]`, or `[B, H, W, C]` with channels last; floating-point.
///   - kernelSize: The window's height and width, each at least 1.
///   - vertical: Stride, dilation and padding along the height; `nil` moves the window by its own height. Padding is
///     never the largest.
///   - horizontal: Those along the width.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, C, H′, W′]`, or `[B, H′, W′, C]`: float64 for float64, else float32. NaN is larger than any number;
///   a place that lies in the padding alone yields 0. The gradient goes to the first of equal elements.
public func maxPool2d(
    _ x: Tensor, kernelSize: (height: Int, width: Int), vertical: ConvolutionWindow? = nil,
    horizontal: ConvolutionWindow? = nil, layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    let pooling = Pooling(x, kernelSize, vertical, horizontal, layout)
    let images = layout == .channelsLast ? x : x.channelsLast()
    let output =
        x.elementType == .float64
        ? pooling.maxima(of: images, as: Double.self) : pooling.maxima(of: images, as: Float.self)
    return layout == .channelsLast ? output : output.channelsFirst()
}

/// Returns the mean of the elements under each place of a window over an image.
///
/// - Parameters:
///   - x: `[B, C, H, W]`, or `[B, H, W, C]` with channels last; floating-point.
///   - kernelSize: The window's height and width, each at least 1.
///   - vertical: Stride, dilation and padding along the height; `nil` moves the window by its own height.
///   - horizontal: Those along the width.
///   - countsPadding: Whether the mean is over the whole window, zeros of the padding included, as PyTorch has it; else
///     it is over what lies in the image, as ONNX has it.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, C, H′, W′]`, or `[B, H′, W′, C]`: float64 for float64, else float32. A place that lies in the padding
///   alone yields 0.
public func averagePool2d(
    _ x: Tensor, kernelSize: (height: Int, width: Int), vertical: ConvolutionWindow? = nil,
    horizontal: ConvolutionWindow? = nil, countsPadding: Bool = true, layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    let pooling = Pooling(x, kernelSize, vertical, horizontal, layout)
    let images = layout == .channelsLast ? x : x.channelsLast()
    let output =
        x.elementType == .float64
        ? pooling.averages(of: images, countsPadding, as: Double.self)
        : pooling.averages(of: images, countsPadding, as: Float.self)
    return layout == .channelsLast ? output : output.channelsFirst()
}

/// Returns the largest element under each place of a window along time.
///
/// - Parameters:
///   - x: `[B, C, T]`, or `[B, T, C]` with channels last; floating-point.
///   - kernelSize: The window's length, at least 1.
///   - window: Stride, dilation and padding; `nil` moves the window by its own length.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, C, T′]`, or `[B, T′, C]`, as ``maxPool2d(_:kernelSize:vertical:horizontal:layout:)``.
public func maxPool1d(
    _ x: Tensor, kernelSize: Int, window: ConvolutionWindow? = nil, layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    asImages(x, layout) {
        maxPool2d($0, kernelSize: (1, kernelSize), vertical: .valid, horizontal: window, layout: layout)
    }
}

/// Returns the mean of the elements under each place of a window along time.
///
/// - Parameters:
///   - x: `[B, C, T]`, or `[B, T, C]` with channels last; floating-point.
///   - kernelSize: The window's length, at least 1.
///   - window: Stride, dilation and padding; `nil` moves the window by its own length.
///   - countsPadding: Whether zeros of the padding count.
///   - layout: Where the channels of `x` and of the result stand.
/// - Returns: `[B, C, T′]`, or `[B, T′, C]`, as
///   ``averagePool2d(_:kernelSize:vertical:horizontal:countsPadding:layout:)``.
public func averagePool1d(
    _ x: Tensor, kernelSize: Int, window: ConvolutionWindow? = nil, countsPadding: Bool = true,
    layout: ConvolutionLayout = .channelsFirst
) -> Tensor {
    asImages(x, layout) {
        averagePool2d(
            $0, kernelSize: (1, kernelSize), vertical: .valid, horizontal: window, countsPadding: countsPadding,
            layout: layout)
    }
}

/// Calls `pool` with a sequence as an image of height 1.
private func asImages(_ x: Tensor, _ layout: ConvolutionLayout, _ pool: (Tensor) -> Tensor) -> Tensor {
    require(x.rank == 3, "A sequence to pool has three dimensions, not \(x.shape).")
    let axis = layout == .channelsLast ? 1 : 2
    var shape = x.shape
    shape.insert(1, at: axis)
    return pool(x.reshaped(to: shape)).removing(axis: axis)
}

/// Returns the largest element of each channel over time.
///
/// - Parameters:
///   - x: `[B, T, C]`, floating-point.
///   - lengths: How many steps of each sequence count, from 0 to `T`; `nil` means all. What lies beyond is never read.
/// - Returns: `[B, C]`: float64 for float64, else float32. A sequence without a step yields zeros. The gradient goes to
///   the first of equal elements.
public func maxOverTime(_ x: Tensor, lengths: [Int]? = nil) -> Tensor {
    require(x.rank == 3, "The largest elements over time are those of [B, T, C], not of \(x.shape).")
    let (batch, length, channels) = (x.shape[0], x.shape[1], x.shape[2])
    let lengths = lengths ?? [Int](repeating: length, count: batch)
    require(
        lengths.count == batch && lengths.allSatisfy { 0...length ~= $0 },
        "The lengths \(lengths) do not fit sequences \(x.shape).")
    let rows = x.reshaped(to: [batch, length, 1, channels])
    let pooling = Pooling(rows, (length, 1), nil, nil, .channelsLast)
    let result =
        x.elementType == .float64
        ? pooling.maxima(of: rows, heights: lengths, as: Double.self)
        : pooling.maxima(of: rows, heights: lengths, as: Float.self)
    return result.reshaped(to: [batch, channels])
}

/// Images with channels last, and the window that moves over them.
private struct Pooling: Sendable {
    let batch, height, width, channels: Int
    let outputHeight, outputWidth: Int
    let kernelHeight, kernelWidth: Int
    let vertical, horizontal: ConvolutionWindow

    init(
        _ x: Tensor, _ kernelSize: (height: Int, width: Int), _ vertical: ConvolutionWindow?,
        _ horizontal: ConvolutionWindow?, _ layout: ConvolutionLayout
    ) {
        require(x.rank == 4, "Images to pool have four dimensions, not \(x.shape).")
        let shape = layout == .channelsLast ? x.shape : [x.shape[0], x.shape[2], x.shape[3], x.shape[1]]
        (batch, height, width, channels) = (shape[0], shape[1], shape[2], shape[3])
        // Sequences of no steps have a window of none.
        (kernelHeight, kernelWidth) = kernelSize
        self.vertical = vertical ?? ConvolutionWindow(stride: max(1, kernelHeight))
        self.horizontal = horizontal ?? ConvolutionWindow(stride: max(1, kernelWidth))
        outputHeight = kernelHeight == 0 ? 1 : self.vertical.outputLength(of: height, kernelSize: kernelHeight)
        outputWidth = self.horizontal.outputLength(of: width, kernelSize: kernelWidth)
        require(
            kernelHeight >= 0 && kernelWidth >= 1, "A window of \(kernelHeight) by \(kernelWidth) holds nothing.")
    }

    private var shape: [Int] { [batch, height, width, channels] }
    private var outputShape: [Int] { [batch, outputHeight, outputWidth, channels] }

    /// The inputs under the window at one output, in order, as numbers among all places of all images.
    private func inputs(_ image: Int, _ row: Int, _ column: Int, height: Int) -> [Int] {
        let columns = (0..<kernelWidth).map { horizontal.input(of: $0, output: column) }.filter { 0..<width ~= $0 }
        return (0..<kernelHeight).map { vertical.input(of: $0, output: row) }.filter { 0..<height ~= $0 }
            .flatMap { row in columns.map { (image * self.height + row) * width + $0 } }
    }

    /// Calls `body` with the number of each output among all, and the inputs under the window there.
    ///
    /// In parallel, each image's outputs in order.
    private func forEachOutput(heights: [Int]? = nil, _ body: (_ output: Int, _ inputs: [Int]) -> Void) {
        parallel(batch) { image in
            for row in 0..<outputHeight {
                for column in 0..<outputWidth {
                    body(
                        (image * outputHeight + row) * outputWidth + column,
                        inputs(image, row, column, height: heights?[image] ?? height))
                }
            }
        }
    }

    func maxima<Scalar: KernelScalar>(
        of x: Tensor, heights: [Int]? = nil, as type: Scalar.Type
    ) -> Tensor {
        let input = x.detached.converted(to: Scalar.elementType).contiguous()
        let result = Tensor(uninitialized: outputShape, elementType: Scalar.elementType)
        /// Which of the inputs was the largest; -1 for none.
        let choices = Tensor(uninitialized: outputShape, elementType: .int64)
        let (source, out) = (input.pointer(as: Scalar.self), result.pointer(as: Scalar.self))
        let choice = choices.pointer(as: Int64.self)
        forEachOutput(heights: heights) { place, inputs in
            let (best, chosen) = (out + place * channels, choice + place * channels)
            guard let first = inputs.first else {
                best.update(repeating: 0, count: channels)
                chosen.update(repeating: -1, count: channels)
                return
            }
            best.update(from: source + first * channels, count: channels)
            chosen.update(repeating: Int64(first), count: channels)
            for input in inputs.dropFirst() {
                let candidates = source + input * channels
                for channel in 0..<channels {
                    let candidate = candidates[channel]
                    if candidate > best[channel] || candidate.isNaN && !best[channel].isNaN {
                        best[channel] = candidate
                        chosen[channel] = Int64(input)
                    }
                }
            }
        }
        withExtendedLifetime(input) {}
        return result.recorded(from: [x]) { gradient, _ in
            let gradient = gradient.contiguous()
            let inputGradient = Tensor(zeros: shape, elementType: Scalar.elementType)
            let (source, out) = (gradient.pointer(as: Scalar.self), inputGradient.pointer(as: Scalar.self))
            let choice = choices.pointer(as: Int64.self)
            let places = outputHeight * outputWidth
            parallel(batch) { image in
                for place in image * places..<(image + 1) * places {
                    for channel in 0..<channels where choice[place * channels + channel] >= 0 {
                        // forward: output[place] = input[choice]
                        out[Int(choice[place * channels + channel]) * channels + channel] +=
                            source[place * channels + channel]
                    }
                }
            }
            withExtendedLifetime((gradient, choices)) {}
            return [inputGradient]
        }
    }

    func averages<Scalar: KernelScalar>(
        of x: Tensor, _ countsPadding: Bool, as type: Scalar.Type
    ) -> Tensor {
        let input = x.detached.converted(to: Scalar.elementType).contiguous()
        let result = Tensor(zeros: outputShape, elementType: Scalar.elementType)
        let (source, out) = (input.pointer(as: Scalar.self), result.pointer(as: Scalar.self))
        let whole = kernelHeight * kernelWidth
        forEachOutput { place, inputs in
            let mean = out + place * channels
            for input in inputs {
                for channel in 0..<channels { mean[channel] += source[input * channels + channel] }
            }
            let factor = 1 / Scalar(countsPadding ? whole : max(1, inputs.count))
            for channel in 0..<channels { mean[channel] *= factor }
        }
        withExtendedLifetime(input) {}
        return result.recorded(from: [x]) { gradient, _ in
            let gradient = gradient.contiguous()
            let inputGradient = Tensor(zeros: shape, elementType: Scalar.elementType)
            let (source, out) = (gradient.pointer(as: Scalar.self), inputGradient.pointer(as: Scalar.self))
            forEachOutput { place, inputs in
                let factor = 1 / Scalar(countsPadding ? whole : max(1, inputs.count))
                for input in inputs {
                    // forward: output[place] = Σ input / count
                    for channel in 0..<channels {
                        out[input * channels + channel] += factor * source[place * channels + channel]
                    }
                }
            }
            withExtendedLifetime(gradient) {}
            return [inputGradient]
        }
    }
}
