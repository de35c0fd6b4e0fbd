import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Where recurrent parameters start` {
    private func lstm(
        _ initialization: RecurrentInitialization, units: Int = 17, projection: Int? = nil, seed: UInt64 = 1
    ) -> RecurrentWeights {
        var random = RandomStream(seed: seed)
        return LSTM(
            inputDimension: 13, hiddenDimension: units, projectionDimension: projection,
            initialization: initialization, random: &random
        ).weights[0]
    }

    private func gru(_ initialization: RecurrentInitialization, units: Int = 17) -> RecurrentWeights {
        var random = RandomStream(seed: 2)
        return GRU(inputDimension: 13, hiddenDimension: units, initialization: initialization, random: &random)
            .weights[0]
    }

    /// The rows of each gate.
    private func gates(_ tensor: Tensor, count: Int) -> [Tensor] {
        let units = tensor.shape[0] / count
        return (0..<count).map { tensor.slice(axis: 0, range: $0 * units..<($0 + 1) * units) }
    }

    /// Whether the rows of a matrix are of length 1 and at right angles.
    private func hasOrthonormalRows(_ matrix: Tensor) -> Bool {
        let (rows, values) = (matrix.shape[0], matrix.doubles)
        let columns = matrix.shape[1]
        return (0..<rows).allSatisfy { first in
            (0..<rows).allSatisfy { second in
                let product = (0..<columns).reduce(0) {
                    $0 + values[first * columns + $1] * values[second * columns + $1]
                }
                return abs(product - (first == second ? 1 : 0)) < 1e-6
            }
        }
    }

    @Test func `PyTorch's are even up to one by the root of the units`() throws {
        let weights = lstm(.uniform, units: 64, projection: 5)
        let tensors = [weights.input, weights.hidden, weights.inputBias, weights.hiddenBias, weights.projection]
        for tensor in tensors {
            let values = try #require(tensor).doubles
            #expect(values.allSatisfy { abs($0) <= 0.125 })
            // The largest of n even numbers is about 1 - 1/n of the bound, and their mean square a third of its square.
            #expect(try #require(values.map(abs).max()) > 0.125 * 0.98)
            let meanSquare = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
            #expect(abs(meanSquare / (0.125 * 0.125 / 3) - 1) < 0.2)
        }
    }

    @Test func `orthogonal ones are orthogonal gate by gate, and differ`() {
        let matrices = gates(lstm(.orthogonal).hidden, count: 4) + gates(gru(.orthogonal).hidden, count: 3)
        #expect(matrices.allSatisfy { $0.shape == [17, 17] && hasOrthonormalRows($0) })
        #expect(Set(matrices.map(\.floats)).count == 7)
        // With a projection the state is narrower than the layer: then the columns are orthonormal.
        for matrix in gates(lstm(.orthogonal, projection: 5).hidden, count: 4) {
            #expect(matrix.shape == [17, 5] && hasOrthonormalRows(matrix.transposed(0, 1).contiguous()))
        }
        let weights = lstm(.orthogonal)
        let bound = (6 / 30.0).squareRoot()
        #expect(weights.input.doubles.allSatisfy { abs($0) <= bound })
        #expect((weights.input.doubles.map(abs).max() ?? 0) > bound * 0.98)
        for bias in [weights.inputBias, weights.hiddenBias] { #expect(bias?.floats.allSatisfy { $0 == 0 } == true) }
    }

    @Test func `orthogonal ones have no preferred direction`() {
        // Half of the signs on the diagonal, where an unlucky decomposition has only one.
        let positives = (0..<40).reduce(0) { count, seed in
            count + (lstm(.orthogonal, units: 3, seed: UInt64(seed)).hidden.floats[0] > 0 ? 1 : 0)
        }
        #expect((10...30).contains(positives))
    }

    @Test func `the forget bias stands in one of the two biases, and in its gate only`() {
        let ofLSTM = lstm(.forgetBias)
        #expect(ofLSTM.inputBias?.floats == (0..<4 * 17).map { $0 / 17 == 1 ? 1 : 0 })
        #expect(ofLSTM.hiddenBias?.floats == [Float](repeating: 0, count: 4 * 17))
        // The update gate of a GRU keeps its state.
        let ofGRU = gru(RecurrentInitialization(weights: .uniform, biases: .forget(2.5)))
        #expect(ofGRU.inputBias?.floats == (0..<3 * 17).map { $0 / 17 == 1 ? 2.5 : 0 })
        #expect(ofGRU.hiddenBias?.floats == [Float](repeating: 0, count: 3 * 17))
    }

    @Test func `chrono biases spread forgetting over the times up to the longest`() throws {
        let weights = lstm(.chrono(longest: 200), units: 500)
        let biases = try #require(weights.inputBias)
        let parts = gates(biases, count: 4).map(\.doubles)
        #expect(parts[1].allSatisfy { (0...Double.log(199)).contains($0) })
        // What is forgotten per step is 1 / (1 + time), whose times are even: a quarter of them in each quarter.
        let times = parts[1].map(Double.exp)
        for quarter in 0..<4 {
            let range = 1 + Double(quarter) * 49.5..<1 + Double(quarter + 1) * 49.5
            #expect((90...160).contains(times.filter(range.contains).count))
        }
        #expect(parts[0] == parts[1].map { -$0 })
        #expect((parts[2] + parts[3]).allSatisfy { $0 == 0 })
        #expect(weights.hiddenBias?.floats.allSatisfy { $0 == 0 } == true)

        let ofGRU = gates(try #require(gru(.chrono(longest: 20)).inputBias), count: 3).map(\.doubles)
        #expect(ofGRU[1].allSatisfy { (0...Double.log(19)).contains($0) } && Set(ofGRU[1]).count == 17)
        #expect((ofGRU[0] + ofGRU[2]).allSatisfy { $0 == 0 })
    }

    @Test func `an IRNN starts as the identity`() {
        var random = RandomStream(seed: 3)
        let weights = RNN(
            inputDimension: 13, hiddenDimension: 7, options: RNNOptions(activation: .relu),
            initialization: .identity(scale: 0.5), random: &random
        ).weights[0]
        #expect(weights.hidden.floats == (0..<49).map { $0 / 7 == $0 % 7 ? 0.5 : 0 })
        #expect(weights.input.floats.allSatisfy { $0 != 0 && abs($0) < 0.006 })
        #expect(weights.inputBias?.floats == [Float](repeating: 0, count: 7))
    }

    @Test func `are the same for the same seed, and others for each layer and direction`() {
        #expect(lstm(.orthogonal, seed: 5).hidden.floats == lstm(.orthogonal, seed: 5).hidden.floats)
        #expect(lstm(.orthogonal, seed: 5).hidden.floats != lstm(.orthogonal, seed: 6).hidden.floats)
        var random = RandomStream(seed: 1)
        let layers = GRU(
            inputDimension: 3, hiddenDimension: 5, layerCount: 2, direction: .bidirectional, random: &random)
        #expect(Set(layers.weights.map(\.hidden.floats)).count == 4)
        #expect(layers.weights.map(\.input.shape) == [[15, 3], [15, 3], [15, 10], [15, 10]])
    }

    @Test func `stop where there is no gate or no bias to set`() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            _ = RNN(inputDimension: 3, hiddenDimension: 5, initialization: .forgetBias, random: &random)
        }
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            _ = LSTM(
                inputDimension: 3, hiddenDimension: 5, hasBias: false, initialization: .forgetBias, random: &random)
        }
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 1)
            _ = LSTM(inputDimension: 3, hiddenDimension: 5, initialization: .chrono(longest: 1), random: &random)
        }
    }
}
