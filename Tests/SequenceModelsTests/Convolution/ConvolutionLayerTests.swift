import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Convolution layers` {
    @Test func `have PyTorch's parameters`() {
        var random = RandomStream(seed: 1)
        let sequence = Conv1d(inputChannels: 6, outputChannels: 4, kernelSize: 3, groups: 2, random: &random)
        #expect(sequence.parameters.map(\.name) == ["weight", "bias"])
        #expect(sequence.parameters.map(\.value.shape) == [[4, 3, 3], [4]])
        #expect(sequence.weight.floats.allSatisfy { abs($0) <= Float(1.0 / 3) })
        #expect(sequence.weight.floats.contains { abs($0) > 0.2 })
        #expect(sequence(Tensor(zeros: [2, 6, 7])).shape == [2, 4, 5])
        let image = Conv2d(
            inputChannels: 3, outputChannels: 5, kernelSize: 3, window: ConvolutionWindow(stride: 2, padding: 1),
            hasBias: false, layout: .channelsLast, random: &random)
        #expect(image.parameters.map(\.name) == ["weight"])
        #expect(image(Tensor(zeros: [2, 7, 11, 3])).shape == [2, 4, 6, 5])
    }

    @Test func `a layer that looks ahead takes no state`() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            var state: CausalConvolutionState?
            let layer = Conv1d(
                inputChannels: 2, outputChannels: 2, kernelSize: 3, layout: .channelsLast, random: &random)
            _ = layer(Tensor(zeros: [1, 1, 2]), state: &state)
        }
    }

    @Test func `a weight-normalised layer starts with its directions as weights`() {
        var random = RandomStream(seed: 2)
        let layer = WeightNormalizedConv1d(inputChannels: 3, outputChannels: 5, kernelSize: 2, random: &random)
        #expect(layer.parameters.map(\.name) == ["bias", "weight_g", "weight_v"])
        #expect(largestDifference(layer.weight, layer.direction) < 1e-7)
    }
}

@Suite struct `Bodies that read from left to right` {
    @Test(arguments: BodyKind.allCases)
    func `one step at a time agree with one pass`(kind: BodyKind) { kind.run(StreamingCheck()) }

    @Test(arguments: BodyKind.allCases)
    func `a later vector never changes an earlier output`(kind: BodyKind) { kind.run(CausalityCheck()) }

    @Test(arguments: BodyKind.allCases)
    func `have gradients of all parameters`(kind: BodyKind) { kind.run(GradientCheck()) }

    @Test(arguments: [BodyKind.cnn, .tcn])
    func `see what is in the receptive field, and nothing else`(kind: BodyKind) {
        let (output, receptiveField) = kind.perturbation()
        #expect(output.last == true, "The vector itself has no influence.")
        let seen = output.count - (output.firstIndex(of: true) ?? output.count)
        #expect(seen == receptiveField)
    }

    @Test func `dropout is drawn anew each time, and from the stream alone`() {
        var random = RandomStream(seed: 3)
        let body = TemporalConvolutionalNetwork(
            inputDimension: 3, widths: [5, 5], kernelSize: 2, dropoutRate: 0.5, random: &random)
        let inputs = EmbeddedBatch(random.uniform([2, 7, 3], bound: 1))
        var (first, second): (RandomStream?, RandomStream?) = (RandomStream(seed: 4), RandomStream(seed: 4))
        let output = body(inputs, dropout: &first)
        #expect(body(inputs, dropout: &second).floats == output.floats)
        #expect(body(inputs, dropout: &first).floats != output.floats)
    }

    @Test func `the levels suffice for the length`() {
        var random = RandomStream(seed: 5)
        for (length, kernelSize) in [(1, 2), (100, 2), (1020, 8), (255, 3)] {
            let levels = TemporalConvolutionalNetwork.levelCount(seeing: length, kernelSize: kernelSize)
            func field(_ levels: Int) -> Int {
                TemporalConvolutionalNetwork(
                    inputDimension: 1, widths: [Int](repeating: 1, count: levels), kernelSize: kernelSize,
                    random: &random
                ).receptiveField
            }
            #expect(field(levels) >= length)
            if levels > 1 { #expect(field(levels - 1) < length) }
        }
    }
}

/// The bodies of this suite, small, with parameters large enough to have an influence.
enum BodyKind: String, CaseIterable, CustomTestStringConvertible {
    case cnn, tcn, minGRU

    var testDescription: String { rawValue }

    func run(_ check: some BodyCheck) {
        var random = RandomStream(seed: 6)
        switch self {
        case .cnn: check(ConvolutionalNetwork(width: 5, layerCount: 2, kernelSize: 3, random: &random).enlarged)
        case .tcn:
            check(
                TemporalConvolutionalNetwork(inputDimension: 3, widths: [5, 5, 7], kernelSize: 3, random: &random)
                    .enlarged
            )
        case .minGRU: check(MinGRUNetwork(width: 5, layerCount: 2, random: &random))
        }
    }

    /// Returns, for each of 40 vectors, whether the last output depends on it, and the receptive field.
    func perturbation() -> ([Bool], Int) {
        var random = RandomStream(seed: 7)
        var dropout: RandomStream?
        func influence(_ body: some SequenceBody) -> [Bool] {
            let x = random.uniform([1, 40, body.inputDimension], bound: 1).tracked()
            let last = body(EmbeddedBatch(x), dropout: &dropout).slice(axis: 1, range: 39..<40)
            let gradient = (last * last).sum().gradients(of: [x])[0]
            return gradient.removing(axis: 0).unstacked().map { $0.floats.contains { $0 != 0 } }
        }
        if self == .cnn {
            let body = ConvolutionalNetwork(width: 5, layerCount: 3, kernelSize: 4, random: &random).enlarged
            return (influence(body), body.receptiveField)
        }
        let body = TemporalConvolutionalNetwork(inputDimension: 5, widths: [7, 7, 7], kernelSize: 3, random: &random)
            .enlarged
        return (influence(body), body.receptiveField)
    }
}

/// What has to hold for every body.
protocol BodyCheck {
    func callAsFunction(_ body: some SequenceBody)
}

private struct StreamingCheck: BodyCheck {
    func callAsFunction(_ body: some SequenceBody) {
        var random = RandomStream(seed: 8)
        var dropout: RandomStream?
        let x = random.uniform([2, 19, body.inputDimension], bound: 1)
        let whole = body(EmbeddedBatch(x), dropout: &dropout)
        #expect(whole.shape == [2, 19, body.outputDimension])
        var state = body.initialState(batchCount: 2)
        let steps = x.unstacked(axis: 1).map { body.step($0, state: &state) }
        #expect(largestDifference(.stacked(steps, axis: 1), whole) < 1e-5)
    }
}

private struct CausalityCheck: BodyCheck {
    func callAsFunction(_ body: some SequenceBody) {
        var random = RandomStream(seed: 9)
        var dropout: RandomStream?
        let x = random.uniform([2, 13, body.inputDimension], bound: 1)
        let whole = body(EmbeddedBatch(x), dropout: &dropout)
        let rest = Tensor(filledWith: .nan, shape: [2, 6, body.inputDimension])
        let poisoned = Tensor.concatenated([x.slice(axis: 1, range: 0..<7), rest], axis: 1)
        #expect(
            body(EmbeddedBatch(poisoned), dropout: &dropout).slice(axis: 1, range: 0..<7).floats
                == whole.slice(axis: 1, range: 0..<7).floats)
    }
}

private struct GradientCheck: BodyCheck {
    func callAsFunction(_ body: some SequenceBody) {
        // With this seed no argument of a ReLU is so near to 0 that a difference quotient spans its corner.
        var random = RandomStream(seed: 12)
        let x = random.uniform([2, 7, body.inputDimension], bound: 1).converted(to: .float64)
        let parameters = body.parameters.map { $0.value.converted(to: .float64) }
        #expect(
            gradientProblems(of: [x] + parameters) { inputs in
                var dropout: RandomStream?
                return body.replacingParameters(with: Array(inputs.dropFirst()))(
                    EmbeddedBatch(inputs[0]), dropout: &dropout)
            } == [])
    }
}

extension Layer {
    /// The layer with larger parameters: those of a TCN are made to start with no influence, and the gradients of
    /// ReLU are not to be those of a layer that is off.
    fileprivate var enlarged: Self {
        var random = RandomStream(seed: 11)
        return replacingParameters(with: parameters.map { random.uniform($0.value.shape, bound: 0.7) })
    }
}

/// Returns the largest difference of two elements; NaN where shapes differ.
private func largestDifference(_ x: Tensor, _ y: Tensor) -> Double {
    x.shape == y.shape ? zip(x.doubles, y.doubles).reduce(0) { max($0, abs($1.0 - $1.1)) } : .nan
}
