import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `LSTMN` {
    private static let batchCount = 3
    private static let length = 7
    private static let (inputs, hidden, units) = (5, 3, 2)

    private static func weights(seed: UInt64 = 1) -> [Tensor] {
        var generator = SeededGenerator(seed: seed)
        return [
            [4 * hidden, inputs], [4 * hidden, hidden], [4 * hidden], [units, hidden], [units, inputs],
            [units, hidden],
            [units],
        ].map { generator.tensor($0) }
    }

    private static func weights(_ tensors: [Tensor]) -> LSTMNWeights {
        LSTMNWeights(
            inputWeight: tensors[0], contextWeight: tensors[1], bias: tensors[2], tapeWeight: tensors[3],
            queryInputWeight: tensors[4], queryContextWeight: tensors[5], scoreWeight: tensors[6])
    }

    private static func vectors(seed: UInt64 = 2) -> Tensor {
        var generator = SeededGenerator(seed: seed)
        return generator.tensor([batchCount, length, inputs])
    }

    private static func layers(_ count: Int = 2, seed: UInt64 = 3) -> SequenceModels.LSTMN {
        var random = RandomStream(seed: seed)
        let layers = SequenceModels.LSTMN(
            inputDimension: inputs, hiddenDimension: hidden, attentionDimension: units, layerCount: count,
            random: &random)
        return layers.replacingParameters(with: layers.parameters.map { $0.value.converted(to: .float64) * 2 })
    }

    private static func largestDifference(_ x: Tensor, _ y: Tensor) -> Double {
        x.shape == y.shape ? zip(x.doubles, y.doubles).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }

    @Test func `agrees with the equations written out`() {
        let (x, weights) = (Self.vectors(), Self.weights())
        let lengths = [7, 0, 4]
        let result = lstmn(x, weights: Self.weights(weights), lengths: lengths, returningWeights: true)
        let plain = PlainLSTMN(weights: weights)
        for (row, length) in lengths.enumerated() {
            let expected = plain.read((0..<length).map { t in (0..<Self.inputs).map { x[row, t, $0] } })
            for t in 0..<Self.length {
                for index in 0..<Self.hidden {
                    let wanted = t < length ? expected.hidden[t][index] : 0
                    #expect(abs(result.hiddenStates[row, t, index] - wanted) < 1e-13)
                }
                for other in 0..<Self.length {
                    let wanted = t < length && other < t ? expected.weights[t][other] : 0
                    #expect(abs((result.attentionWeights?[row, t, other] ?? .nan) - wanted) < 1e-13)
                }
            }
        }
    }

    // Of more elements than a vector has lanes.
    @Test func `computes in float32 what it computes in float64, and the same gradients`() {
        var generator = SeededGenerator(seed: 4)
        let (inputs, hidden, units) = (11, 37, 19)
        let operands = [
            [2, 23, inputs], [4 * hidden, inputs], [4 * hidden, hidden], [4 * hidden], [units, hidden],
            [units, inputs],
            [units, hidden], [units],
        ].map { generator.tensor($0, bound: 0.5) }
        func run(_ type: ElementType) -> [Tensor] {
            let tracked = operands.map { $0.converted(to: type).tracked() }
            let output = lstmn(tracked[0], weights: Self.weights(Array(tracked[1...])), lengths: [23, 17]).hiddenStates
            return [output] + (output * output).sum().gradients(of: tracked)
        }
        for (single, double) in zip(run(.float32), run(.float64)) {
            #expect(single.elementType == .float32 && double.elementType == .float64)
            let scale = max(1, double.doubles.map(abs).max() ?? 0)
            #expect(Self.largestDifference(single.converted(to: .float64), double) < 3e-6 * scale)
        }
    }

    @Test func `has the gradients that central differences find`() {
        let operands = [Self.vectors()] + Self.weights()
        #expect(
            gradientProblems(of: operands) { lstmn($0[0], weights: Self.weights(Array($0[1...]))).hiddenStates } == [])
        #expect(
            gradientProblems(of: operands) {
                lstmn($0[0], weights: Self.weights(Array($0[1...])), lengths: [4, 0, 7]).hiddenStates
            } == [])
    }

    @Test func `stacked layers have the gradients that central differences find`() {
        let layers = Self.layers()
        let values = layers.parameters.map(\.value)
        #expect(
            gradientProblems(of: [Self.vectors()] + values) {
                var dropout: RandomStream?
                let layers = layers.replacingParameters(with: Array($0[1...]))
                return layers(EmbeddedBatch($0[0], lengths: [7, 1, 5]), dropout: &dropout)
            } == [])
    }

    @Test func `a step at a time gives what the whole sequence gives`() {
        let (layers, x) = (Self.layers(), Self.vectors())
        var dropout: RandomStream?
        let whole = layers(EmbeddedBatch(x), dropout: &dropout)
        let weights = layers.attentionWeights(of: EmbeddedBatch(x))
        var state = layers.initialState(batchCount: Self.batchCount)
        for t in 0..<Self.length {
            let output = layers.step(x.slice(axis: 1, range: t..<t + 1).removing(axis: 1), state: &state)
            #expect(Self.largestDifference(output, whole.slice(axis: 1, range: t..<t + 1).removing(axis: 1)) < 1e-14)
            for (tape, weights) in zip(state.tapes, weights) {
                let row = weights.slice(axis: 1, range: t..<t + 1).removing(axis: 1).slice(axis: 1, range: 0..<t)
                #expect(Self.largestDifference(tape.lastAttentionWeights, row) < 1e-14)
            }
        }
    }

    @Test func `a tape outgrows its first memory, and its copies are their own`() {
        let (weights, x) = (Self.weights(Self.weights()), Self.vectors())
        let whole = lstmn(x, weights: weights).hiddenStates
        var tape = LSTMNTape(batchCount: Self.batchCount, weights: weights, capacity: 1)
        for t in 0..<Self.length {
            let step = x.slice(axis: 1, range: t..<t + 1).removing(axis: 1)
            var copy = tape
            _ = copy.step(step * -3, weights: weights)
            let output = tape.step(step, weights: weights)
            #expect(Self.largestDifference(output, whole.slice(axis: 1, range: t..<t + 1).removing(axis: 1)) < 1e-14)
        }
        #expect(tape.count == Self.length)
    }

    @Test func `a later vector never changes an earlier output`() {
        let (weights, x) = (Self.weights(Self.weights()), Self.vectors())
        let changed = Tensor.concatenated(
            [x.slice(axis: 1, range: 0..<4), x.slice(axis: 1, range: 4..<7) * -5], axis: 1)
        let (before, after) = (lstmn(x, weights: weights).hiddenStates, lstmn(changed, weights: weights).hiddenStates)
        #expect(
            before.slice(axis: 1, range: 0..<4).doubles == after.slice(axis: 1, range: 0..<4).doubles)
        #expect(before.doubles != after.doubles)
    }

    @Test func `padding changes neither outputs nor gradients`() {
        let x = Self.vectors()
        let short = x.slice(axis: 1, range: 0..<4)
        func run(_ x: Tensor) -> [[Double]] {
            let operands = ([x] + Self.weights()).map { $0.tracked() }
            let output = lstmn(operands[0], weights: Self.weights(Array(operands[1...])), lengths: [4, 2, 3])
                .hiddenStates
            let gradients = (output * output).sum().gradients(of: operands)
            return [output, gradients[0]].map { $0.slice(axis: 1, range: 0..<4).doubles }
                + gradients[1...].map(\.doubles)
        }
        let (padded, whole) = (run(x), run(short))
        for (padded, whole) in zip(padded, whole) {
            #expect(zip(padded, whole).allSatisfy { abs($0 - $1) < 1e-13 })
        }
        let far = Tensor.concatenated([short, x.slice(axis: 1, range: 4..<7) * 1e6], axis: 1)
        #expect(run(far)[0] == padded[0] && run(far)[1] == padded[1])
    }

    @Test func `weights of a position sum to 1`() {
        let layers = Self.layers()
        for weights in layers.attentionWeights(of: EmbeddedBatch(Self.vectors(), lengths: [7, 5, 0])) {
            let sums = weights.sum(axis: 2)
            for (row, length) in [7, 5, 0].enumerated() {
                for t in 0..<Self.length {
                    #expect(abs(sums[row, t] - (0 < t && t < length ? 1 : 0)) < 1e-14)
                }
            }
        }
    }

    @Test func `any number of threads gives the same bits`() {
        let threadCount = ComputeThreads.count
        defer { ComputeThreads.count = threadCount }
        let operands = ([Self.vectors()] + Self.weights()).map { $0.converted(to: .float32) }
        func run(threads: Int) -> [[Float]] {
            ComputeThreads.count = threads
            let tracked = operands.map { $0.tracked() }
            let output = lstmn(tracked[0], weights: Self.weights(Array(tracked[1...]))).hiddenStates
            return [output.floats] + (output * output).sum().gradients(of: tracked).map(\.floats)
        }
        let one = run(threads: 1)
        #expect(run(threads: 2) == one && run(threads: 3) == one && run(threads: 7) == one)
    }

    @Test func `dropout between layers is the stream's, and none without one`() {
        var (dropping, layers) = (Self.layers(), Self.layers())
        dropping.dropoutRate = 0.5
        let x = EmbeddedBatch(Self.vectors())
        func run(_ layers: SequenceModels.LSTMN, seed: UInt64?) -> [Double] {
            var dropout = seed.map { RandomStream(seed: $0) }
            return layers(x, dropout: &dropout).doubles
        }
        #expect(run(dropping, seed: 1) == run(dropping, seed: 1) && run(dropping, seed: 1) != run(dropping, seed: 2))
        #expect(run(dropping, seed: nil) == run(layers, seed: 1))
        // A single layer has nothing that it drops.
        layers = Self.layers(1)
        layers.dropoutRate = 0.5
        #expect(run(layers, seed: 1) == run(layers, seed: nil))
    }

    @Test func `a predictor of tokens learns a sentence, and reads it word by word`() {
        var random = RandomStream(seed: 5)
        var model = TokenPredictor(
            vocabularySize: 11,
            body: SequenceModels.LSTMN(inputDimension: 7, hiddenDimension: 13, layerCount: 2, random: &random),
            random: &random)
        let sentence = [1, 2, 3, 4, 1, 2, 5, 6, 1, 2, 7]
        let batch = TrainingBatch(
            inputs: TokenBatch([Array(sentence.dropLast())]), targets: [Array(sentence.dropFirst())])
        var none: RandomStream?
        let before = model.loss(of: batch, dropout: &none).doubles[0]
        var optimizer = Optimizer(.adam())
        for _ in 0..<100 {
            let gradients = model.lossAndGradients(on: batch, dropout: &none).gradients
            optimizer.step(&model, gradients: gradients, learningRate: 0.02)
        }
        // What follows "1 2" depends on what was read before.
        let after = model.loss(of: batch, dropout: &none).doubles[0]
        #expect(abs(before - Double.log(11)) < 0.3 && after < 0.1, "The loss went from \(before) to \(after).")
        let whole = model.nextTokenLogits(for: batch.inputs)
        var state = model.initialState(batchCount: 1)
        for (t, token) in sentence.dropLast().enumerated() {
            let logits = model.step([token], state: &state)
            for index in 0..<11 { #expect(abs(logits[0, index] - whole[0, t, index]) < 1e-4) }
        }
    }

    @Test func `empty batches and sequences are well-defined`() {
        let weights = Self.weights(Self.weights())
        #expect(
            lstmn(Tensor(zeros: [0, 7, 5], elementType: .float64), weights: weights).hiddenStates.shape == [0, 7, 3])
        let none = lstmn(
            Tensor(zeros: [2, 0, 5], elementType: .float64).tracked(), weights: weights, returningWeights: true)
        #expect(none.hiddenStates.shape == [2, 0, 3] && none.attentionWeights?.shape == [2, 0, 0])
    }

    @Test func `vectors of another length stop the program`() async {
        await #expect(processExitsWith: .failure) {
            _ = lstmn(Tensor(zeros: [2, 3, 4]), weights: LSTMN.weights(LSTMN.weights()))
        }
    }
}

/// Section 3.1 of the paper, position by position.
private struct PlainLSTMN {
    let weights: [Tensor]

    func read(_ vectors: [[Double]]) -> (hidden: [[Double]], weights: [[Double]]) {
        let width = weights[1].shape[1]
        var (hidden, cells, rows): ([[Double]], [[Double]], [[Double]]) = ([], [], [])
        var context = [Double](repeating: 0, count: width)
        for x in vectors {
            let query = sum(times(weights[4], x), times(weights[5], context))
            let scores = hidden.map { state in
                zip(weights[6].doubles, sum(times(weights[3], state), query)).reduce(0) {
                    $0 + $1.0 * Double.tanh($1.1)
                }
            }
            let exponentials = scores.map { Double.exp($0) }
            let row = exponentials.map { $0 / exponentials.reduce(0, +) }
            context = average(hidden, row, width)
            let cellContext = average(cells, row, width)
            let gates = sum(sum(times(weights[0], x), times(weights[1], context)), weights[2].doubles)
            func sigmoid(_ x: Double) -> Double { 1 / (1 + Double.exp(-x)) }
            let cell = (0..<width).map {
                sigmoid(gates[width + $0]) * cellContext[$0] + sigmoid(gates[$0]) * Double.tanh(gates[2 * width + $0])
            }
            hidden.append((0..<width).map { sigmoid(gates[3 * width + $0]) * Double.tanh(cell[$0]) })
            cells.append(cell)
            rows.append(row)
        }
        return (hidden, rows)
    }

    private func times(_ matrix: Tensor, _ vector: [Double]) -> [Double] {
        (0..<matrix.shape[0]).map { row in
            vector.indices.reduce(0) { $0 + matrix[row, $1] * vector[$1] }
        }
    }

    private func sum(_ x: [Double], _ y: [Double]) -> [Double] { zip(x, y).map(+) }

    private func average(_ vectors: [[Double]], _ weights: [Double], _ width: Int) -> [Double] {
        (0..<width).map { index in zip(vectors, weights).reduce(0) { $0 + $1.0[index] * $1.1 } }
    }
}
