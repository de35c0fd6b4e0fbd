import Attention
import TestSupport
import Testing

@Suite struct `Convolution` {
    /// Windows that straddle the blocks of work, skip inputs, leave the input on either side, and do not.
    static let windows: [ConvolutionWindow] = [
        .valid, ConvolutionWindow(stride: 2, dilation: 3, padding: 4),
        ConvolutionWindow(stride: 3, dilation: 1, paddingBefore: 5, paddingAfter: 0), .causal(kernelSize: 3),
        .causal(kernelSize: 3, dilation: 2),
        ConvolutionWindow(stride: 5, dilation: 2, paddingBefore: 0, paddingAfter: 7),
    ]

    @Test(arguments: windows, [1, 3])
    func `along time agrees with its definition`(window: ConvolutionWindow, groups: Int) {
        var generator = SeededGenerator(seed: 1)
        for length in [11, 101] {
            let x = generator.tensor([2, 3 * groups, length])
            let weight = generator.tensor([5 * groups, 3, 3])
            let bias = generator.tensor([5 * groups])
            let expected = plainConvolution(
                x.image, weight: weight.image, bias: bias, .valid, window, groups: groups)
            let actual = conv1d(x, weight: weight, bias: bias, window: window, groups: groups)
            #expect(actual.shape == [2, 5 * groups, window.outputLength(of: length, kernelSize: 3)])
            #expect(largestDifference(actual.image, expected) < 1e-13)
            let rows = conv1d(
                x.transposed(1, 2), weight: weight, bias: bias, window: window, groups: groups, layout: .channelsLast)
            #expect(rows.transposed(1, 2).doubles == actual.doubles)
            let single = conv1d(
                x.converted(to: .float32), weight: weight.converted(to: .float32), bias: bias.converted(to: .float32),
                window: window, groups: groups)
            #expect(single.elementType == .float32)
            #expect(largestDifference(single.image, expected) < 2e-5)
        }
    }

    @Test(arguments: windows, [(1, 2, 3), (2, 2, 3), (7, 1, 1)])
    func `over images agrees with its definition`(window: ConvolutionWindow, sizes: (Int, Int, Int)) {
        var generator = SeededGenerator(seed: 2)
        let (groups, inputs, outputs) = sizes
        let x = generator.tensor([2, inputs * groups, 13, 11])
        let weight = generator.tensor([outputs * groups, inputs, 2, 3])
        let other = ConvolutionWindow(stride: 2, padding: 1)
        let expected = plainConvolution(x, weight: weight, bias: nil, other, window, groups: groups)
        let actual = conv2d(x, weight: weight, vertical: other, horizontal: window, groups: groups)
        #expect(largestDifference(actual, expected) < 1e-13)
    }

    @Test func `gradients match central differences`() {
        var generator = SeededGenerator(seed: 3)
        for window in Self.windows {
            let (x, weight, bias) = (
                generator.tensor([2, 6, 13]), generator.tensor([10, 3, 3]), generator.tensor([10])
            )
            #expect(
                gradientProblems(of: [x, weight, bias]) {
                    conv1d($0[0], weight: $0[1], bias: $0[2], window: window, groups: 2)
                } == [])
            #expect(
                gradientProblems(of: [generator.tensor([2, 13, 5]), generator.tensor([5, 1, 3])]) {
                    conv1d($0[0], weight: $0[1], window: window, groups: 5, layout: .channelsLast)
                } == [])
        }
        let (x, weight) = (generator.tensor([2, 2, 7, 5]), generator.tensor([3, 2, 2, 3]))
        #expect(
            gradientProblems(of: [x, weight]) {
                conv2d(
                    $0[0], weight: $0[1], vertical: ConvolutionWindow(stride: 2, padding: 1),
                    horizontal: ConvolutionWindow(dilation: 2, paddingBefore: 3, paddingAfter: 1))
            } == [])
    }

    @Test func `gradients across blocks of work match central differences`() {
        var generator = SeededGenerator(seed: 4)
        let (x, weight) = (generator.tensor([1, 107, 2]), generator.tensor([3, 2, 5]))
        #expect(
            gradientProblems(of: [x, weight]) {
                conv1d($0[0], weight: $0[1], window: .causal(kernelSize: 5), layout: .channelsLast)
            } == [])
    }

    @Test func `a kernel longer than the padded input has no place`() {
        let x = Tensor(zeros: [2, 3, 4])
        let weight = Tensor(zeros: [5, 3, 7])
        #expect(conv1d(x, weight: weight).shape == [2, 5, 0])
        #expect(conv1d(x, weight: weight, window: ConvolutionWindow(padding: 1)).shape == [2, 5, 0])
        #expect(conv1d(Tensor(zeros: [2, 3, 0]), weight: weight, window: .causal(kernelSize: 7)).shape == [2, 5, 0])
        let gradients = conv1d(x.tracked(), weight: weight.tracked()).sum()
        #expect(gradients.doubles == [0])
    }

    @Test func `what the padding meets is never multiplied`() {
        // An infinite weight times a zero of the padding would be NaN.
        let x = Tensor([1, 2, 3] as [Float], shape: [1, 1, 3])
        let weight = Tensor([.infinity, 1] as [Float], shape: [1, 1, 2])
        #expect(conv1d(x, weight: weight, window: .causal(kernelSize: 2)).floats[0] == 1)
    }

    @Test func `a later input never changes an earlier output of a causal convolution`() {
        var generator = SeededGenerator(seed: 5)
        let (x, weight) = (generator.tensor([1, 2, 17]), generator.tensor([3, 2, 3]))
        for dilation in [1, 2, 4] {
            func outputs(_ x: Tensor) -> Tensor {
                conv1d(x, weight: weight, window: .causal(kernelSize: 3, dilation: dilation))
            }
            let whole = outputs(x)
            for cut in 0..<17 {
                let poisoned = Tensor.concatenated(
                    [
                        x.slice(axis: 2, range: 0..<cut),
                        Tensor(filledWith: .nan, shape: [1, 2, 17 - cut], elementType: .float64),
                    ], axis: 2)
                #expect(
                    outputs(poisoned).slice(axis: 2, range: 0..<cut).doubles
                        == whole.slice(axis: 2, range: 0..<cut).doubles)
            }
        }
    }

    @Test func `evenly padded windows have as many outputs as inputs per stride`() {
        for (length, kernelSize, stride, dilation) in [
            (7, 3, 1, 1), (7, 4, 2, 1), (8, 5, 3, 2), (2, 7, 1, 1), (5, 1, 2, 1),
        ] {
            let upper = ConvolutionWindow.same(
                length: length, kernelSize: kernelSize, stride: stride, dilation: dilation)
            let lower = ConvolutionWindow.same(
                length: length, kernelSize: kernelSize, stride: stride, dilation: dilation, oddPadding: .before)
            #expect(upper.outputLength(of: length, kernelSize: kernelSize) == (length + stride - 1) / stride)
            #expect(upper.paddingBefore == lower.paddingAfter && upper.paddingAfter == lower.paddingBefore)
            #expect(0...1 ~= upper.paddingAfter - upper.paddingBefore)
        }
    }

    @Test func `results and gradients have the same bits with any number of threads`() {
        var generator = SeededGenerator(seed: 6)
        let x = generator.tensor([3, 131, 37]).converted(to: .float32).tracked()
        let weight = generator.tensor([71, 37, 5]).converted(to: .float32).tracked()
        expectSameBits {
            let output = conv1d(x, weight: weight, window: .causal(kernelSize: 5, dilation: 2), layout: .channelsLast)
            return [output] + (output * output).sum().gradients(of: [x, weight])
        }
    }

    @Test func `kernels that do not fit stop the program`() async {
        await #expect(processExitsWith: .failure) {
            _ = conv1d(Tensor(zeros: [1, 4, 5]), weight: Tensor(zeros: [2, 3, 3]))
        }
        await #expect(processExitsWith: .failure) {
            _ = conv1d(Tensor(zeros: [1, 4, 5]), weight: Tensor(zeros: [2, 2, 3]), groups: 3)
        }
        await #expect(processExitsWith: .failure) { _ = ConvolutionWindow(stride: 0) }
    }
}

@Suite struct `Causal convolution from a state` {
    @Test(arguments: [1, 2, 5], [1, 2, 6])
    func `agrees with one pass, in any pieces`(dilation: Int, groups: Int) {
        var generator = SeededGenerator(seed: 7)
        let x = generator.tensor([2, 23, 6])
        let (weight, bias) = (generator.tensor([12, 6 / groups, 4]), generator.tensor([12]))
        let whole = conv1d(
            x, weight: weight, bias: bias, window: .causal(kernelSize: 4, dilation: dilation), groups: groups,
            layout: .channelsLast)
        for pieces in [[Int](repeating: 1, count: 23), [7, 1, 1, 0, 13, 1], [1, 1, 21], [23]] {
            var state: CausalConvolutionState?
            var start = 0
            let outputs = pieces.map { count in
                defer { start += count }
                return causalConv1d(
                    x.slice(axis: 1, range: start..<start + count), weight: weight, bias: bias, dilation: dilation,
                    groups: groups, state: &state)
            }
            #expect(largestDifference(.concatenated(outputs, axis: 1), whole) < 1e-13)
            let last = 3 * dilation
            let before = Tensor.concatenated(
                [Tensor(zeros: [2, last, 6], elementType: .float64), x], axis: 1)
            #expect(state?.inputs.doubles == before.slice(axis: 1, range: 23..<23 + last).doubles)
        }
    }

    @Test func `a copy of a state is not written by the other's steps`() {
        let weight = Tensor([1, 1, 1] as [Float], shape: [1, 1, 3])
        func step(_ x: Float, _ state: inout CausalConvolutionState?) -> Float {
            causalConv1d(Tensor([x], shape: [1, 1, 1]), weight: weight, state: &state).floats[0]
        }
        var state: CausalConvolutionState?
        #expect(step(1, &state) == 1)
        var copy = state
        #expect(step(10, &state) == 11)
        #expect(step(100, &copy) == 101)
        #expect(step(1000, &state) == 1011)
        #expect(step(1000, &copy) == 1101)
    }

    @Test func `gradients go through the state`() {
        var generator = SeededGenerator(seed: 8)
        let (x, weight) = (generator.tensor([2, 5, 3]), generator.tensor([2, 3, 3]))
        #expect(
            gradientProblems(of: [x, weight]) { inputs in
                var state: CausalConvolutionState?
                let steps = (0..<5).map { step in
                    causalConv1d(
                        inputs[0].slice(axis: 1, range: step..<step + 1), weight: inputs[1], dilation: 2, state: &state)
                }
                return .concatenated(steps, axis: 1)
            } == [])
    }
}

@Suite struct `Weight normalisation` {
    @Test func `gives each output its length, whatever the direction's`() {
        var generator = SeededGenerator(seed: 9)
        let (direction, magnitude) = (generator.tensor([3, 5, 2]), generator.tensor([3, 1, 1]))
        let weight = weightNormalized(direction: direction * 7, magnitude: magnitude)
        for (row, length) in zip(weight.unstacked(), magnitude.doubles) {
            #expect(abs(row.doubles.reduce(0) { $0 + $1 * $1 } - length * length) < 1e-12)
        }
        #expect(largestDifference(weight, weightNormalized(direction: direction, magnitude: magnitude)) < 1e-12)
    }

    @Test func `gradients match central differences`() {
        var generator = SeededGenerator(seed: 10)
        #expect(
            gradientProblems(of: [generator.tensor([3, 5, 2]), generator.tensor([3, 1, 1])]) {
                weightNormalized(direction: $0[0], magnitude: $0[1])
            } == [])
    }

    @Test func `a direction of length zero gives zeros`() {
        let direction = Tensor(zeros: [2, 3]).tracked()
        let weight = weightNormalized(direction: direction, magnitude: Tensor([1, 2] as [Float], shape: [2, 1]))
        #expect(weight.floats == [Float](repeating: 0, count: 6))
        #expect(weight.sum().gradients(of: [direction])[0].floats == [Float](repeating: 0, count: 6))
    }
}

/// The definition, in `Double`: every product of the sum, one after the other.
private func plainConvolution(
    _ x: Tensor, weight: Tensor, bias: Tensor?, _ vertical: ConvolutionWindow, _ horizontal: ConvolutionWindow,
    groups: Int
) -> Tensor {
    let (height, width) = (x.shape[2], x.shape[3])
    let (outputs, inputs) = (weight.shape[0], weight.shape[1])
    let rows = vertical.outputLength(of: height, kernelSize: weight.shape[2])
    let columns = horizontal.outputLength(of: width, kernelSize: weight.shape[3])
    var result: [Double] = []
    for image in 0..<x.shape[0] {
        for output in 0..<outputs {
            let group = output / (outputs / groups)
            for row in 0..<rows {
                for column in 0..<columns {
                    var sum = bias?[output] ?? 0
                    for channel in 0..<inputs {
                        for k in 0..<weight.shape[2] {
                            for l in 0..<weight.shape[3] {
                                let i = row * vertical.stride + k * vertical.dilation - vertical.paddingBefore
                                let j = column * horizontal.stride + l * horizontal.dilation - horizontal.paddingBefore
                                guard 0..<height ~= i, 0..<width ~= j else { continue }
                                sum += weight[output, channel, k, l] * x[image, group * inputs + channel, i, j]
                            }
                        }
                    }
                    result.append(sum)
                }
            }
        }
    }
    return Tensor(result, shape: [x.shape[0], outputs, rows, columns])
}

extension Tensor {
    /// A sequence as an image of height 1.
    fileprivate var image: Tensor { reshaped(to: [shape[0], shape[1], 1, shape[2]]) }
}

/// Returns the largest difference of two elements; NaN where shapes differ.
func largestDifference(_ x: Tensor, _ y: Tensor) -> Double {
    x.shape == y.shape ? zip(x.doubles, y.doubles).reduce(0) { max($0, abs($1.0 - $1.1)) } : .nan
}

/// Expects `body` to compute the same bits on one thread and on several.
func expectSameBits(_ body: () -> [Tensor]) {
    let before = ComputeThreads.count
    defer { ComputeThreads.count = before }
    ComputeThreads.count = 1
    let alone = body().map(\.doubles)
    for count in [2, 3, 7] {
        ComputeThreads.count = count
        #expect(body().map(\.doubles) == alone, "\(count) threads")
    }
}
