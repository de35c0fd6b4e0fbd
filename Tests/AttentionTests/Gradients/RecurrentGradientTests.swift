import TestSupport
import Testing

@testable import Attention

/// How a batch of the gradients' tests looks: 3 sequences of at most 5 steps.
struct RecurrentBatch: Sendable, CustomTestStringConvertible {
    var lengths: [Int]?
    var isReverse = false

    static let all = [
        RecurrentBatch(), RecurrentBatch(isReverse: true), RecurrentBatch(lengths: [2, 5, 3]),
        RecurrentBatch(lengths: [2, 5, 3], isReverse: true), RecurrentBatch(lengths: [4, 0, 4], isReverse: true),
    ]

    var testDescription: String {
        "\(isReverse ? "reverse" : "forward"), lengths \(lengths.map(String.init(describing:)) ?? "whole")"
    }

    var schedule: RecurrentSchedule { RecurrentSchedule(batchCount: 3, stepCount: 5, lengths: lengths) }
}

@Suite struct `Gradients of recurrent sequences` {
    private static let inputs = 2

    /// Parameters of a batch, in order: x, hidden, cell, and what `RecurrentWeights` holds.
    private func tensors(
        gates: Int, units: Int, width: Int? = nil, hasPeepholes: Bool = false, seed: UInt64
    ) -> [Tensor] {
        var generator = SeededGenerator(seed: seed)
        var tensors = [
            generator.tensor([3, 5, Self.inputs]), generator.tensor([3, width ?? units]), generator.tensor([3, units]),
            generator.tensor([gates * units, Self.inputs]), generator.tensor([gates * units, width ?? units]),
            generator.tensor([gates * units]), generator.tensor([gates * units]),
        ]
        if let width { tensors.append(generator.tensor([width, units])) }
        if hasPeepholes { tensors.append(generator.tensor([3 * units])) }
        return tensors
    }

    private func weights(_ tensors: [Tensor], hasProjection: Bool = false, hasPeepholes: Bool = false)
        -> RecurrentWeights
    {
        RecurrentWeights(
            input: tensors[3], hidden: tensors[4], inputBias: tensors[5], hiddenBias: tensors[6],
            projection: hasProjection ? tensors[7] : nil, peepholes: hasPeepholes ? tensors.last : nil)
    }

    /// Everything that comes of a sequence, side by side.
    private func together(_ results: [Tensor]) -> Tensor {
        Tensor.concatenated(results.map { $0.reshaped(to: [$0.elementCount]) }, axis: 0)
    }

    @Test(arguments: RecurrentBatch.all, [RecurrentActivation.tanh, .relu, .softplus])
    func `of a plain network match central differences`(batch: RecurrentBatch, activation: RecurrentActivation) {
        let schedule = batch.schedule
        let problems = gradientProblems(of: tensors(gates: 1, units: 3, seed: 7)) { tensors in
            let (outputs, final) = rnnSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: batch.isReverse, weights: weights(tensors),
                initialHidden: tensors[1], options: RNNOptions(activation: activation, clip: 0.9))
            return together([schedule.padded(outputs), final])
        }
        #expect(problems == [])
    }

    @Test(arguments: RecurrentBatch.all, [true, false])
    func `of a GRU match central differences`(batch: RecurrentBatch, resetsAfterProduct: Bool) {
        let schedule = batch.schedule
        var options = GRUOptions()
        options.resetsAfterProduct = resetsAfterProduct
        let problems = gradientProblems(of: tensors(gates: 3, units: 3, seed: 11)) { [options] tensors in
            let (outputs, final) = gruSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: batch.isReverse, weights: weights(tensors),
                initialHidden: tensors[1], options: options)
            return together([schedule.padded(outputs), final])
        }
        #expect(problems == [])
    }

    @Test(arguments: RecurrentBatch.all)
    func `of an LSTM match central differences`(batch: RecurrentBatch) {
        let schedule = batch.schedule
        let problems = gradientProblems(of: tensors(gates: 4, units: 3, seed: 13)) { tensors in
            let results = lstmSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: batch.isReverse, weights: weights(tensors),
                initialHidden: tensors[1], initialCell: tensors[2])
            return together([schedule.padded(results.outputs), results.finalHidden, results.finalCell])
        }
        #expect(problems == [])
    }

    @Test(arguments: RecurrentBatch.all, [false, true])
    func `of an LSTM with everything match central differences`(batch: RecurrentBatch, hasCoupledGates: Bool) {
        let schedule = batch.schedule
        var options = LSTMOptions()
        options.hasCoupledGates = hasCoupledGates
        options.clip = 0.8
        let all = tensors(gates: 4, units: 3, width: 2, hasPeepholes: true, seed: 17)
        let problems = gradientProblems(of: all) { [options] tensors in
            let results = lstmSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: batch.isReverse,
                weights: weights(tensors, hasProjection: true, hasPeepholes: true), initialHidden: tensors[1],
                initialCell: tensors[2], options: options)
            return together([schedule.padded(results.outputs), results.finalHidden, results.finalCell])
        }
        #expect(problems == [])
    }

    @Test(arguments: [
        RecurrentActivation.affine(alpha: 0.7, beta: 0.1), .leakyRelu(alpha: 0.3), .thresholdedRelu(alpha: 0.2),
        .scaledTanh(alpha: 1.3, beta: 0.7), .hardSigmoid(alpha: 0.4, beta: 0.5), .elu(alpha: 0.7), .softsign, .softplus,
        .relu, .sigmoid,
    ])
    func `through every activation match central differences`(activation: RecurrentActivation) {
        let schedule = RecurrentBatch(lengths: [2, 5, 3]).schedule
        var lstm = LSTMOptions()
        (lstm.gateActivation, lstm.candidateActivation, lstm.cellActivation) = (activation, activation, activation)
        var gru = GRUOptions()
        (gru.gateActivation, gru.candidateActivation) = (activation, activation)
        let ofLSTM = gradientProblems(of: tensors(gates: 4, units: 2, seed: 19)) { [lstm] tensors in
            let results = lstmSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: false, weights: weights(tensors),
                initialHidden: tensors[1], initialCell: tensors[2], options: lstm)
            return together([results.outputs, results.finalCell])
        }
        #expect(ofLSTM == [])
        let ofGRU = gradientProblems(of: tensors(gates: 3, units: 2, seed: 23)) { [gru] tensors in
            gruSequence(
                schedule.packed(tensors[0]), schedule: schedule, isReverse: false, weights: weights(tensors),
                initialHidden: tensors[1], options: gru
            ).outputs
        }
        #expect(ofGRU == [])
    }

    @Test(arguments: [1, 4])
    func `over many steps and units have the same bits with any number of threads`(gates: Int) {
        // More than one block of units, and packed weights.
        var generator = SeededGenerator(seed: 29)
        let (units, batchCount, stepCount) = (131, 7, 11)
        let schedule = RecurrentSchedule(
            batchCount: batchCount, stepCount: stepCount, lengths: [11, 3, 7, 11, 1, 9, 5])
        let x = Tensor(generator.floats(batchCount * stepCount * 5), shape: [batchCount, stepCount, 5])
        let state = Tensor(generator.floats(batchCount * units), shape: [batchCount, units])
        let weights = RecurrentWeights(
            input: Tensor(generator.floats(gates * units * 5), shape: [gates * units, 5]),
            hidden: Tensor(generator.floats(gates * units * units, bound: 0.1), shape: [gates * units, units]),
            inputBias: Tensor(generator.floats(gates * units), shape: [gates * units]))
        func results() -> [[Float]] {
            var tracked = weights
            tracked.input = weights.input.tracked()
            tracked.hidden = weights.hidden.tracked()
            let input = schedule.packed(x.tracked())
            let outputs =
                gates == 1
                ? rnnSequence(input, schedule: schedule, isReverse: true, weights: tracked, initialHidden: state)
                    .outputs
                : lstmSequence(
                    input, schedule: schedule, isReverse: true, weights: tracked, initialHidden: state,
                    initialCell: state
                ).outputs
            let gradients = (outputs * outputs).sum().gradients(of: [tracked.input, tracked.hidden])
            return ([outputs] + gradients).map(\.floats)
        }
        let threadCount = ComputeThreads.count
        defer { ComputeThreads.count = threadCount }
        ComputeThreads.count = 1
        let expected = results()
        for count in [2, 3, 5] {
            ComputeThreads.count = count
            #expect(results() == expected)
        }
    }
}
