import Attention
import SequenceModels
import TestSupport

/// Recurrent layers by their equations, in `Double`, one sequence, one step and one unit after the other.
struct PlainRecurrence {
    let configuration: RecurrentConfiguration
    let cell: RecurrentCell
    private let parameters: [String: [Double]]

    init(_ layer: some RecurrentLayer) {
        configuration = layer.configuration
        cell = layer.cell
        parameters = Dictionary(uniqueKeysWithValues: layer.parameters.map { ($0.name, $0.value.doubles) })
    }

    struct State {
        var hidden: [Double]
        var cell: [Double]
    }

    /// Returns the outputs `[T][directions · P]` and the final state of each layer and direction of one sequence.
    func run(_ sequence: [[Double]], from initial: [State]? = nil) -> (outputs: [[Double]], final: [State]) {
        var vectors = sequence
        var final: [State] = []
        for layer in 0..<configuration.layerCount {
            var outputs = [[Double]](repeating: [], count: sequence.count)
            for direction in 0..<configuration.direction.count {
                let isReverse = configuration.direction == .reverse || direction == 1
                let suffix = "_l\(layer)" + (direction == 1 ? "_reverse" : "")
                var state =
                    initial?[layer * configuration.direction.count + direction]
                    ?? State(
                        hidden: [Double](repeating: 0, count: configuration.stateDimension),
                        cell: [Double](repeating: 0, count: configuration.hiddenDimension))
                let steps = isReverse ? Array(sequence.indices.reversed()) : Array(sequence.indices)
                for step in steps {
                    advance(&state, by: vectors[step], suffix)
                    outputs[step] += state.hidden
                }
                final.append(state)
            }
            vectors = outputs
        }
        return (vectors, final)
    }

    private func product(_ name: String, row: Int, _ vector: [Double]) -> Double {
        guard let matrix = parameters[name] else { return 0 }
        return vector.indices.reduce(0) { $0 + matrix[row * vector.count + $1] * vector[$1] }
    }

    private func advance(_ state: inout State, by x: [Double], _ suffix: String) {
        let units = configuration.hiddenDimension
        func bias(_ name: String, _ row: Int) -> Double { parameters[name + suffix]?[row] ?? 0 }
        func input(_ gate: Int, _ unit: Int) -> Double {
            product("weight_ih" + suffix, row: gate * units + unit, x) + bias("bias_ih", gate * units + unit)
        }
        func recurrent(_ gate: Int, _ unit: Int, _ hidden: [Double]) -> Double {
            product("weight_hh" + suffix, row: gate * units + unit, hidden) + bias("bias_hh", gate * units + unit)
        }
        func sigmoid(_ x: Double) -> Double { 1 / (1 + Double.exp(-x)) }
        let hidden = state.hidden
        switch cell {
        case .rnn(let options):
            state.hidden = (0..<units).map { unit in
                let sum = input(0, unit) + recurrent(0, unit, hidden)
                return options.activation == .relu ? max(0, sum) : Double.tanh(sum)
            }
        case .gru(let options):
            let reset = (0..<units).map { sigmoid(input(0, $0) + recurrent(0, $0, hidden)) }
            let kept = zip(reset, hidden).map { $0 * $1 }
            state.hidden = (0..<units).map { unit in
                let update = sigmoid(input(1, unit) + recurrent(1, unit, hidden))
                let new =
                    options.resetsAfterProduct
                    ? Double.tanh(input(2, unit) + reset[unit] * recurrent(2, unit, hidden))
                    : Double.tanh(input(2, unit) + recurrent(2, unit, kept))
                return (1 - update) * new + update * hidden[unit]
            }
        case .lstm(let options):
            func peephole(_ index: Int, _ unit: Int) -> Double { bias("weight_peephole", index * units + unit) }
            func clip(_ x: Double) -> Double { options.clip.map { min(max(x, -$0), $0) } ?? x }
            let released = (0..<units).map { unit -> Double in
                let cell = state.cell[unit]
                let inputGate = sigmoid(
                    clip(input(0, unit) + recurrent(0, unit, hidden) + peephole(0, unit) * cell))
                let forgetGate =
                    options.hasCoupledGates
                    ? 1 - inputGate
                    : sigmoid(clip(input(1, unit) + recurrent(1, unit, hidden) + peephole(2, unit) * cell))
                let candidate = Double.tanh(clip(input(2, unit) + recurrent(2, unit, hidden)))
                state.cell[unit] = forgetGate * cell + inputGate * candidate
                let outputGate = sigmoid(
                    clip(input(3, unit) + recurrent(3, unit, hidden) + peephole(1, unit) * state.cell[unit]))
                return outputGate * Double.tanh(clip(state.cell[unit]))
            }
            state.hidden =
                configuration.projectionDimension.map { width in
                    (0..<width).map { product("weight_hr" + suffix, row: $0, released) }
                } ?? released
        }
    }
}

/// The kinds of recurrent layers that the tests go through.
enum RecurrentKind: String, CaseIterable, Sendable {
    case tanh, relu, lstm, lstmProjected, lstmWithEverything, gru, gruBefore

    /// Returns layers of 3 inputs and 5 units, with biases that are not 0.
    func layer(
        layerCount: Int = 2, direction: RecurrentDirection = .forward, hasBias: Bool = true, dropout: Double = 0,
        units: Int = 5, seed: UInt64 = 1
    ) -> any RecurrentLayer {
        var random = RandomStream(seed: seed)
        switch self {
        case .tanh, .relu:
            return RNN(
                inputDimension: 3, hiddenDimension: units, layerCount: layerCount, direction: direction,
                hasBias: hasBias, dropout: dropout, options: RNNOptions(activation: self == .relu ? .relu : .tanh),
                random: &random)
        case .lstm, .lstmProjected, .lstmWithEverything:
            var options = LSTMOptions()
            if self == .lstmWithEverything {
                options.clip = 0.3
                options.hasCoupledGates = true
            }
            return LSTM(
                inputDimension: 3, hiddenDimension: units, layerCount: layerCount, direction: direction,
                hasBias: hasBias, projectionDimension: self == .lstm ? nil : 2,
                hasPeepholes: self == .lstmWithEverything, dropout: dropout, options: options, random: &random)
        case .gru, .gruBefore:
            var options = GRUOptions()
            options.resetsAfterProduct = self == .gru
            return GRU(
                inputDimension: 3, hiddenDimension: units, layerCount: layerCount, direction: direction,
                hasBias: hasBias, dropout: dropout, options: options, random: &random)
        }
    }
}
