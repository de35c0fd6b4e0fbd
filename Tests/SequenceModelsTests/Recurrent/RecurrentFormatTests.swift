import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Recurrent weights of other formats` {
    private static let cells: [RecurrentCell] = {
        var before = GRUOptions()
        before.resetsAfterProduct = false
        return [.rnn(RNNOptions()), .lstm(LSTMOptions()), .gru(GRUOptions()), .gru(before)]
    }()

    /// Parameters whose every element is another number: 3 inputs, 2 units.
    private func weights(of cell: RecurrentCell, seed: UInt64 = 1, hasPeepholes: Bool = false) -> RecurrentWeights {
        var generator = SeededGenerator(seed: seed)
        func tensor(_ shape: [Int]) -> Tensor { Tensor(generator.floats(shape.reduce(1, *)), shape: shape) }
        let rows = cell.gateCount * 2
        return RecurrentWeights(
            input: tensor([rows, 3]), hidden: tensor([rows, 2]), inputBias: tensor([rows]), hiddenBias: tensor([rows]),
            peepholes: hasPeepholes ? tensor([6]) : nil)
    }

    private func floats(_ weights: RecurrentWeights) -> [[Float]?] {
        [
            weights.input, weights.hidden, weights.inputBias, weights.hiddenBias, weights.projection,
            weights.peepholes,
        ].map { $0?.floats }
    }

    /// A column of one number per gate and unit: the gate's first letter in PyTorch's order, as a digit, and the unit.
    private func labels(_ cell: RecurrentCell) -> Tensor {
        let rows = cell.gateCount * 2
        return Tensor((0..<rows).map { Float($0 / 2 * 10 + $0 % 2) }, shape: [rows, 1])
    }

    // MARK: - ONNX

    @Test(arguments: cells, [1, 2])
    func `come back from ONNX as they went`(cell: RecurrentCell, directionCount: Int) {
        let hasPeepholes = cell.gateCount == 4
        let originals = (0..<directionCount).map {
            weights(of: cell, seed: UInt64($0 + 1), hasPeepholes: hasPeepholes)
        }
        let onnx = ONNXRecurrentWeights(originals, of: cell)
        #expect(onnx.input.shape == [directionCount, cell.gateCount * 2, 3])
        #expect(onnx.hidden.shape == [directionCount, cell.gateCount * 2, 2])
        #expect(onnx.bias?.shape == [directionCount, cell.gateCount * 4])
        #expect(onnx.peepholes?.shape == (hasPeepholes ? [directionCount, 6] : nil))
        #expect(onnx.weights(of: cell).map(floats) == originals.map(floats))
    }

    @Test(arguments: cells)
    func `have no biases in ONNX where they have none, and both where they have one`(cell: RecurrentCell) {
        var weights = weights(of: cell)
        weights.hiddenBias = nil
        let one = ONNXRecurrentWeights([weights], of: cell)
        let back = one.weights(of: cell)[0]
        #expect(back.inputBias?.floats == weights.inputBias?.floats)
        #expect(back.hiddenBias?.floats == [Float](repeating: 0, count: cell.gateCount * 2))
        weights.inputBias = nil
        let none = ONNXRecurrentWeights([weights], of: cell)
        #expect(none.bias == nil)
        #expect(none.weights(of: cell)[0].inputBias == nil && none.weights(of: cell)[0].hiddenBias == nil)
    }

    @Test func `have their gates in ONNX's order`() {
        // PyTorch: input 0, forget 10, candidate 20, output 30; ONNX: input, output, forget, candidate.
        #expect(onnxLabels(.lstm(LSTMOptions())) == [0, 1, 30, 31, 10, 11, 20, 21])
        // PyTorch: reset 0, update 10, new 20; ONNX: update, reset, hidden.
        #expect(onnxLabels(.gru(GRUOptions())) == [10, 11, 0, 1, 20, 21])
        #expect(onnxLabels(.rnn(RNNOptions())) == [0, 1])
    }

    private func onnxLabels(_ cell: RecurrentCell) -> [Float] {
        let weights = RecurrentWeights(input: labels(cell), hidden: Tensor(zeros: [cell.gateCount * 2, 2]))
        return ONNXRecurrentWeights([weights], of: cell).input.floats
    }

    // MARK: - Keras

    @Test(arguments: cells)
    func `come back from Keras as they went`(cell: RecurrentCell) {
        var original = weights(of: cell)
        let keras = KerasRecurrentWeights(original, of: cell)
        #expect(keras.kernel.shape == [3, cell.gateCount * 2])
        #expect(keras.recurrentKernel.shape == [2, cell.gateCount * 2])
        let hasTwoBiases = cell == .gru(GRUOptions())
        #expect(keras.bias?.shape == (hasTwoBiases ? [2, 6] : [cell.gateCount * 2]))
        if !hasTwoBiases, let input = original.inputBias, let hidden = original.hiddenBias {
            // Where Keras has one bias, it is the sum, and the second comes back as 0.
            original.inputBias = input + hidden
            original.hiddenBias = Tensor(zeros: [cell.gateCount * 2])
        }
        #expect(floats(keras.weights(of: cell)) == floats(original))
        (original.inputBias, original.hiddenBias) = (nil, nil)
        let unbiased = KerasRecurrentWeights(original, of: cell)
        #expect(unbiased.bias == nil)
        #expect(floats(unbiased.weights(of: cell)) == floats(original))
    }

    @Test(arguments: cells)
    func `of Keras compute what Keras's equations say`(cell: RecurrentCell) {
        var generator = SeededGenerator(seed: 7)
        let columns = cell.gateCount * 2
        let keras = KerasRecurrentWeights(
            kernel: Tensor(generator.floats(3 * columns), shape: [3, columns]),
            recurrentKernel: Tensor(generator.floats(2 * columns), shape: [2, columns]),
            bias: cell == .gru(GRUOptions())
                ? Tensor(generator.floats(2 * columns), shape: [2, columns])
                : Tensor(generator.floats(columns), shape: [columns]))
        check(keras, keras.weights(of: cell), cell)
    }

    @Test(arguments: cells)
    func `for Keras compute the same by its equations`(cell: RecurrentCell) {
        let weights = weights(of: cell)
        check(KerasRecurrentWeights(weights, of: cell), weights, cell)
    }

    /// Holds a layer's outputs against those of Keras's equations.
    private func check(_ keras: KerasRecurrentWeights, _ weights: RecurrentWeights, _ cell: RecurrentCell) {
        var generator = SeededGenerator(seed: 11)
        let x = Tensor(generator.floats(5 * 3), shape: [1, 5, 3])
        let vectors = (0..<5).map { Array(x.doubles[$0 * 3..<$0 * 3 + 3]) }
        let expected = PlainKeras(keras, cell).outputs(of: vectors)
        let actual: Tensor
        switch cell {
        case .rnn(let options): actual = RNN(weights: [weights], options: options)(x).outputs
        case .lstm(let options): actual = LSTM(weights: [weights], options: options)(x).outputs
        case .gru(let options): actual = GRU(weights: [weights], options: options)(x).outputs
        }
        #expect(zip(actual.doubles, expected.flatMap { $0 }).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(actual.elementCount == 10)
    }
}

/// A recurrent layer of Keras by its equations, row vectors times kernels, in `Double`.
private struct PlainKeras {
    private let cell: RecurrentCell
    private let kernel: [Double]
    private let recurrentKernel: [Double]
    /// The input's and the recurrent bias.
    private let biases: [[Double]]
    private let units: Int
    private let columns: Int

    init(_ weights: KerasRecurrentWeights, _ cell: RecurrentCell) {
        self.cell = cell
        kernel = weights.kernel.doubles
        recurrentKernel = weights.recurrentKernel.doubles
        columns = weights.kernel.shape[1]
        units = weights.recurrentKernel.shape[0]
        let (columns, bias) = (columns, weights.bias?.doubles ?? [])
        let zeros = [Double](repeating: 0, count: columns)
        biases = [
            bias.isEmpty ? zeros : Array(bias[..<columns]), bias.count > columns ? Array(bias[columns...]) : zeros,
        ]
    }

    func outputs(of vectors: [[Double]]) -> [[Double]] {
        var (state, carry) = ([Double](repeating: 0, count: units), [Double](repeating: 0, count: units))
        return vectors.map { vector in
            let input = sums(vector, kernel, biases[0])
            switch cell {
            case .rnn:
                let recurrent = sums(state, recurrentKernel, biases[1])
                state = zip(input, recurrent).map { Double.tanh($0 + $1) }
            case .lstm:
                let recurrent = sums(state, recurrentKernel, biases[1])
                let z = zip(input, recurrent).map(+)
                for unit in 0..<units {
                    let (i, f) = (sigmoid(z[unit]), sigmoid(z[units + unit]))
                    carry[unit] = f * carry[unit] + i * Double.tanh(z[2 * units + unit])
                    state[unit] = sigmoid(z[3 * units + unit]) * Double.tanh(carry[unit])
                }
            case .gru(let options):
                let recurrent = sums(state, recurrentKernel, biases[1])
                let z = (0..<units).map { sigmoid(input[$0] + recurrent[$0]) }
                let r = (units..<2 * units).map { sigmoid(input[$0] + recurrent[$0]) }
                let resetAfter = (0..<units).map { r[$0] * recurrent[2 * units + $0] }
                let resetBefore = sums(zip(r, state).map { $0 * $1 }, recurrentKernel, biases[1])
                for unit in 0..<units {
                    let term = options.resetsAfterProduct ? resetAfter[unit] : resetBefore[2 * units + unit]
                    let candidate = Double.tanh(input[2 * units + unit] + term)
                    state[unit] = z[unit] * state[unit] + (1 - z[unit]) * candidate
                }
            }
            return state
        }
    }

    private func sums(_ vector: [Double], _ matrix: [Double], _ bias: [Double]) -> [Double] {
        (0..<columns).map { column in
            vector.indices.reduce(bias[column]) { $0 + vector[$1] * matrix[$1 * columns + column] }
        }
    }

    private func sigmoid(_ x: Double) -> Double { 1 / (1 + Double.exp(-x)) }
}
