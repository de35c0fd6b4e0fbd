import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Recurrent layers` {
    private static let stepCount = 11
    private static let lengths = [7, 11, 0, 2, 7]

    /// `[5, 11, 3]`.
    private let x: Tensor = {
        var generator = SeededGenerator(seed: 3)
        return Tensor(generator.floats(5 * stepCount * 3), shape: [5, stepCount, 3])
    }()

    private func state(of layer: some RecurrentLayer, seed: UInt64 = 5) -> RecurrentState {
        var generator = SeededGenerator(seed: seed)
        let zero = layer.zeroState(batchCount: 5)
        return RecurrentState(
            hidden: Tensor(generator.floats(zero.hidden.elementCount), shape: zero.hidden.shape),
            cell: zero.cell.map { Tensor(generator.floats($0.elementCount), shape: $0.shape) })
    }

    /// Everything that comes of a batch.
    private func results(
        _ layer: some RecurrentLayer, _ x: Tensor, lengths: [Int]? = nil, state: RecurrentState? = nil
    ) -> [[Float]] {
        let (outputs, final) = layer(x, lengths: lengths, initialState: state)
        return [outputs.floats, final.hidden.floats, final.cell?.floats ?? []]
    }

    /// The gradients of x, the initial state and the parameters when everything that comes of a batch is weighted.
    private func gradients(
        _ layer: some RecurrentLayer, _ x: Tensor, lengths: [Int]?, state: RecurrentState
    ) -> [[Float]] {
        let tracked = layer.tracked()
        let (input, hidden, cell) = (x.tracked(), state.hidden.tracked(), state.cell?.tracked())
        let (outputs, final) = tracked(
            input, lengths: lengths, initialState: RecurrentState(hidden: hidden, cell: cell))
        var loss = (outputs * outputs).sum() + final.hidden.sum()
        if let cell = final.cell { loss = loss + (cell * cell).sum() }
        return loss.gradients(of: [input, hidden] + [cell].compactMap { $0 } + tracked.parameters.map(\.value))
            .map(\.floats)
    }

    @Test(
        arguments: RecurrentKind.allCases,
        [RecurrentDirection.forward, .reverse, .bidirectional])
    func `compute what their equations say, for sequences of any length`(
        kind: RecurrentKind, direction: RecurrentDirection
    ) {
        for hasBias in [true, false] {
            check(kind.layer(direction: direction, hasBias: hasBias))
        }
        // More units than one block has.
        check(kind.layer(layerCount: 1, direction: direction, units: 67))
    }

    private func check(_ layer: some RecurrentLayer) {
        let plain = PlainRecurrence(layer)
        let initial = state(of: layer)
        let (outputs, final) = layer(x, lengths: Self.lengths, initialState: initial)
        let width = layer.configuration.outputDimension
        #expect(outputs.shape == [5, Self.stepCount, width])
        for (row, length) in Self.lengths.enumerated() {
            let vectors = x.slice(axis: 0, range: row..<row + 1).doubles
            let sequence = (0..<length).map { Array(vectors[$0 * 3..<$0 * 3 + 3]) }
            let states = (0..<initial.hidden.shape[0]).map { index in
                PlainRecurrence.State(
                    hidden: vector(initial.hidden, index, row), cell: initial.cell.map { vector($0, index, row) } ?? [])
            }
            let expected = plain.run(sequence, from: states)
            for step in 0..<Self.stepCount {
                let wanted = step < length ? expected.outputs[step] : [Double](repeating: 0, count: width)
                expectNear(vector(outputs, row, step), wanted)
            }
            for (index, wanted) in expected.final.enumerated() {
                expectNear(vector(final.hidden, index, row), wanted.hidden)
                if let cell = final.cell { expectNear(vector(cell, index, row), wanted.cell) }
            }
        }
    }

    private func vector(_ tensor: Tensor, _ first: Int, _ second: Int) -> [Double] {
        tensor.slice(axis: 0, range: first..<first + 1).slice(axis: 1, range: second..<second + 1).doubles
    }

    /// Sums of float32 of some tens of terms of size one, through eleven steps of two layers.
    private func expectNear(
        _ actual: [Double], _ expected: [Double], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(actual.count == expected.count, sourceLocation: sourceLocation)
        let distance = zip(actual, expected).map { abs($0 - $1) }.max() ?? 0
        #expect(distance < 1e-5, sourceLocation: sourceLocation)
    }

    @Test(arguments: RecurrentKind.allCases)
    func `take no state for a state of zeros`(kind: RecurrentKind) {
        let layer = kind.layer(direction: .bidirectional)
        #expect(results(layer, x) == results(layer, x, state: layer.zeroState(batchCount: 5)))
    }

    @Test(arguments: RecurrentKind.allCases, [RecurrentDirection.forward, .reverse, .bidirectional])
    func `are not changed by padding, of any content or length`(kind: RecurrentKind, direction: RecurrentDirection) {
        let layer = kind.layer(direction: direction)
        var values = x.floats
        for (row, length) in Self.lengths.enumerated() {
            for step in length..<Self.stepCount {
                for index in 0..<3 { values[(row * Self.stepCount + step) * 3 + index] = index == 0 ? .nan : .infinity }
            }
        }
        let poisoned = Tensor(values, shape: x.shape)
        let longer = Tensor.concatenated([poisoned, poisoned], axis: 1)
        let initial = state(of: layer)
        let expected = results(layer, x, lengths: Self.lengths, state: initial)
        #expect(results(layer, poisoned, lengths: Self.lengths, state: initial) == expected)
        #expect(Array(results(layer, longer, lengths: Self.lengths, state: initial)[1...]) == Array(expected[1...]))
        let wanted = gradients(layer, x, lengths: Self.lengths, state: initial)
        #expect(wanted.allSatisfy { $0.allSatisfy(\.isFinite) })
        #expect(gradients(layer, poisoned, lengths: Self.lengths, state: initial) == wanted)
        #expect(
            Array(gradients(layer, longer, lengths: Self.lengths, state: initial)[1...]) == Array(wanted[1...]))
    }

    @Test(arguments: RecurrentKind.allCases, [RecurrentDirection.forward, .reverse, .bidirectional])
    func `give the same bits where gradients are recorded`(kind: RecurrentKind, direction: RecurrentDirection) {
        for hasBias in [true, false] {
            let layer = kind.layer(direction: direction, hasBias: hasBias, units: 67)
            let initial = state(of: layer)
            // Weights are multiplied as they lie in few steps, and packed in many.
            for (steps, lengths) in [(1, [1, 1, 0, 1, 0]), (3, [1, 3, 0, 3, 2]), (11, Self.lengths)] {
                let part = x.slice(axis: 1, range: 0..<steps)
                for lengths in [lengths, nil] {
                    for state in [initial, nil] {
                        #expect(
                            results(layer.tracked(), part, lengths: lengths, state: state)
                                == results(layer, part, lengths: lengths, state: state))
                    }
                }
            }
        }
    }

    @Test(arguments: RecurrentKind.allCases)
    func `take no bias for a bias of zeros`(kind: RecurrentKind) {
        let whole = kind.layer()
        for isInput in [true, false] {
            var (none, zeros) = (whole, whole)
            for index in whole.weights.indices {
                guard let shape = whole.weights[index].inputBias?.shape else { continue }
                let zero = Tensor(zeros: shape)
                if isInput {
                    (none.weights[index].inputBias, zeros.weights[index].inputBias) = (nil, zero)
                } else {
                    (none.weights[index].hiddenBias, zeros.weights[index].hiddenBias) = (nil, zero)
                }
            }
            for steps in [1, 11] {
                let part = x.slice(axis: 1, range: 0..<steps)
                #expect(results(none, part) == results(zeros, part))
            }
        }
    }

    @Test(arguments: RecurrentKind.allCases)
    func `of the forward direction never look at a later step`(kind: RecurrentKind) {
        let layer = kind.layer()
        let before = layer(x).outputs
        for step in [1, 5, 10] {
            let changed = Tensor.concatenated(
                [x.slice(axis: 1, range: 0..<step), (x * -3).slice(axis: 1, range: step..<Self.stepCount)], axis: 1)
            let after = layer(changed).outputs
            #expect(
                after.slice(axis: 1, range: 0..<step).floats == before.slice(axis: 1, range: 0..<step).floats)
            #expect(after.floats != before.floats)
        }
    }

    @Test(arguments: RecurrentKind.allCases)
    func `step by step give the numbers of the sequence`(kind: RecurrentKind) {
        let layer = kind.layer()
        let (outputs, final) = layer(x)
        var state = layer.zeroState(batchCount: 5)
        for step in 0..<Self.stepCount {
            let output = layer.step(x.slice(axis: 1, range: step..<step + 1).removing(axis: 1), state: &state)
            expectNear(output.doubles, outputs.slice(axis: 1, range: step..<step + 1).doubles)
        }
        expectNear(state.hidden.doubles, final.hidden.doubles)
        expectNear(state.cell?.doubles ?? [], final.cell?.doubles ?? [])
    }

    @Test(arguments: RecurrentKind.allCases)
    func `go on from a state where they left it`(kind: RecurrentKind) {
        let layer = kind.layer()
        let (whole, final) = layer(x)
        let (_, middle) = layer(x.slice(axis: 1, range: 0..<4))
        let (rest, end) = layer(x.slice(axis: 1, range: 4..<Self.stepCount), initialState: middle)
        expectNear(rest.doubles, whole.slice(axis: 1, range: 4..<Self.stepCount).doubles)
        expectNear(end.hidden.doubles, final.hidden.doubles)
    }

    @Test(arguments: RecurrentKind.allCases)
    func `have gradients with the same bits for any number of threads`(kind: RecurrentKind) {
        let layer = kind.layer(direction: .bidirectional, units: 67)
        let initial = state(of: layer)
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        ComputeThreads.count = 1
        let expected = gradients(layer, x, lengths: Self.lengths, state: initial)
        for count in [2, 5] {
            ComputeThreads.count = count
            #expect(gradients(layer, x, lengths: Self.lengths, state: initial) == expected)
        }
    }

    @Test func `work on no sequences and on no steps`() {
        for kind in RecurrentKind.allCases {
            let layer = kind.layer(direction: .bidirectional)
            let width = layer.configuration.outputDimension
            #expect(layer(Tensor(zeros: [0, 4, 3])).outputs.shape == [0, 4, width])
            let initial = state(of: layer)
            let (outputs, final) = layer(Tensor(zeros: [5, 0, 3]), initialState: initial)
            #expect(outputs.shape == [5, 0, width])
            #expect(final.hidden.floats == initial.hidden.floats)
        }
    }

    @Test func `drop between layers in training only, the same for the same seed`() {
        let layer = RecurrentKind.gru.layer(dropout: 0.5)
        func outputs(_ random: RandomStream?) -> [Float] {
            var random = random
            return layer(x, dropout: &random).outputs.floats
        }
        let plain = layer(x).outputs.floats
        #expect(outputs(nil) == plain)
        #expect(outputs(RandomStream(seed: 1)) != plain)
        #expect(outputs(RandomStream(seed: 1)) == outputs(RandomStream(seed: 1)))
        #expect(outputs(RandomStream(seed: 1)) != outputs(RandomStream(seed: 2)))
        // There is nothing between the layers of one.
        var random: RandomStream? = RandomStream(seed: 1)
        let single = RecurrentKind.gru.layer(layerCount: 1, dropout: 0.5)
        #expect(single(x, dropout: &random).outputs.floats == single(x).outputs.floats)
        #expect(random?.position == 0)
    }

    @Test func `name their parameters as PyTorch does`() {
        let names = RecurrentKind.lstmProjected.layer(layerCount: 2, direction: .bidirectional).parameters.map(\.name)
        let suffixes = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
        let expected = suffixes.flatMap { suffix in
            ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"].map { $0 + suffix }
        }
        #expect(names == expected)
        #expect(
            RecurrentKind.gru.layer(layerCount: 1, hasBias: false).parameters.map(\.value.shape) == [
                [15, 3], [15, 5],
            ])
    }

    @Test func `stop with both values where shapes do not fit`() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            _ = GRU(inputDimension: 3, hiddenDimension: 5, random: &random)(Tensor(zeros: [2, 4, 7]))
        }
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            let layer = GRU(inputDimension: 3, hiddenDimension: 5, random: &random)
            _ = layer(Tensor(zeros: [2, 4, 3]), lengths: [4, 5])
        }
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            let layer = LSTM(inputDimension: 3, hiddenDimension: 5, direction: .reverse, random: &random)
            var state = layer.zeroState(batchCount: 2)
            _ = layer.step(Tensor(zeros: [2, 3]), state: &state)
        }
    }
}
