import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Alignment of decoder and encoder` {
    private static let (stateDimension, memoryDimension) = (3, 5)
    private static let (length, sourceLength) = (2, 7)
    private static let lengths = [7, 4, 0]

    static let configurations: [AlignmentConfiguration] =
        SimilarityKind.allCases.map { AlignmentConfiguration(similarity: $0) } + [
            .localPredictive(.general, window: 2), .localPredictive(.dot, window: 1), .bahdanau,
        ]

    private static func layer(_ configuration: AlignmentConfiguration) -> Alignment {
        var random = RandomStream(seed: 5)
        let layer = Alignment(
            configuration, stateDimension: stateDimension, memoryDimension: memoryDimension, random: &random)
        var generator = SeededGenerator(seed: 6)
        return layer.replacingParameters(with: layer.parameters.map { generator.tensor($0.value.shape) })
    }

    private static func operands() -> (states: Tensor, memory: Tensor) {
        var generator = SeededGenerator(seed: 7)
        return (
            generator.tensor([3, length, stateDimension]), generator.tensor([3, sourceLength, memoryDimension])
        )
    }

    private static func run(
        _ layer: Alignment, _ states: Tensor, _ memory: Tensor
    ) -> (context: Tensor, weights: Tensor?) {
        layer(
            states, memory: layer.memory(of: memory, lengths: lengths, stateDimension: stateDimension),
            returningWeights: true)
    }

    @Test(arguments: configurations)
    func `agrees with the equations written out`(configuration: AlignmentConfiguration) throws {
        let layer = Self.layer(configuration)
        let (states, memory) = Self.operands()
        let result = Self.run(layer, states, memory)
        let weights = try #require(result.weights)
        #expect(weights.shape == [3, Self.length, Self.sourceLength])
        let plain = PlainAlignment(layer: layer, configuration: configuration)
        for (row, count) in Self.lengths.enumerated() {
            let source = (0..<count).map { j in (0..<Self.memoryDimension).map { memory[row, j, $0] } }
            for t in 0..<Self.length {
                let expected = plain.weights((0..<Self.stateDimension).map { states[row, t, $0] }, source)
                for j in 0..<Self.sourceLength {
                    #expect(abs(weights[row, t, j] - (j < count ? expected[j] : 0)) < 1e-12)
                }
                for index in 0..<Self.memoryDimension {
                    let wanted = source.indices.reduce(0) { $0 + expected[$1] * source[$1][index] }
                    #expect(abs(result.context[row, t, index] - wanted) < 1e-12)
                }
            }
        }
    }

    @Test(arguments: configurations)
    func `has the gradients that central differences find`(configuration: AlignmentConfiguration) {
        let layer = Self.layer(configuration)
        let (states, memory) = Self.operands()
        #expect(
            gradientProblems(of: [states, memory] + layer.parameters.map(\.value)) {
                Self.run(layer.replacingParameters(with: Array($0[2...])), $0[0], $0[1]).context
            } == [])
    }

    @Test(arguments: configurations)
    func `weights sum to 1 over the source, to at most 1 with a window`(configuration: AlignmentConfiguration) throws {
        let (states, memory) = Self.operands()
        let weights = try #require(Self.run(Self.layer(configuration), states, memory).weights)
        let sums = weights.sum(axis: 2)
        for (row, count) in Self.lengths.enumerated() {
            for t in 0..<Self.length {
                if configuration.window == nil {
                    #expect(abs(sums[row, t] - (count > 0 ? 1 : 0)) < 1e-14)
                } else {
                    #expect(count > 0 ? 0 < sums[row, t] && sums[row, t] <= 1 : sums[row, t] == 0)
                }
            }
        }
    }

    @Test func `what is padding is not read`() {
        let (states, memory) = Self.operands()
        for configuration in Self.configurations {
            let layer = Self.layer(configuration)
            let changed = Tensor.concatenated(
                [memory.slice(axis: 1, range: 0..<4), memory.slice(axis: 1, range: 4..<7) * .nan], axis: 1)
            let (before, after) = (Self.run(layer, states, memory), Self.run(layer, states, changed))
            func secondRow(_ x: Tensor?) -> [Double]? { x?.slice(axis: 0, range: 1..<2).doubles }
            #expect(secondRow(before.weights) == secondRow(after.weights))
            if configuration.window == nil { #expect(secondRow(before.context) == secondRow(after.context)) }
        }
    }
}

/// The papers' equations, one state at a time.
private struct PlainAlignment {
    let layer: Alignment
    let configuration: AlignmentConfiguration

    private func parameter(_ name: String) -> Tensor {
        layer.parameters.first { $0.name == name }?.value ?? Tensor(zeros: [0, 0])
    }

    private func times(_ matrix: Tensor, _ vector: [Double]) -> [Double] {
        (0..<matrix.shape[0]).map { row in vector.indices.reduce(0) { $0 + matrix[row, $1] * vector[$1] } }
    }

    private func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }

    private func score(_ state: [Double], _ source: [Double]) -> Double {
        let projection = parameter("key.weight")
        let key = projection.elementCount > 0 ? times(projection, source) : source
        let root = Double(state.count).squareRoot()
        let distance = zip(state, key).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        func similarity(_ name: String) -> Tensor { parameter("similarity.\(name)") }
        switch configuration.similarity {
        case .dot: return dot(state, key)
        case .scaledDot: return dot(state, key) / root
        case .general: return dot(state, times(similarity("weight"), key))
        case .additive:
            let inner = zip(times(similarity("query_weight"), state), times(similarity("key_weight"), key)).map(+)
            return dot(similarity("score_weight").doubles, inner.map { Double.tanh($0) })
        case .linearAdditive:
            return dot(similarity("query_weight").doubles, state) + dot(similarity("key_weight").doubles, key)
        case .cosine:
            let temperature = 1 / (1 + Double.exp(-similarity("temperature_logit").doubles[0]))
            return dot(state, key) / (dot(state, state) * dot(key, key)).squareRoot() / temperature
        case .euclidean: return -distance / root
        case .gaussian: return -distance / (2 * root)
        case .laplacian: return -zip(state, key).reduce(0) { $0 + abs($1.0 - $1.1) } / root
        }
    }

    func weights(_ state: [Double], _ source: [[Double]]) -> [Double] {
        var center = 0.0
        if configuration.window != nil {
            let units = times(parameter("position_hidden.weight"), state).map { Double.tanh($0) }
            center = Double(source.count) / (1 + Double.exp(-times(parameter("position_score.weight"), units)[0]))
        }
        let exponentials = source.enumerated().map { j, source in
            if let window = configuration.window, abs(Double(j) - center) > Double(window) { return 0.0 }
            return Double.exp(score(state, source))
        }
        let sum = exponentials.reduce(0, +)
        return exponentials.enumerated().map { j, exponential in
            guard let window = configuration.window else { return exponential / sum }
            let (distance, deviation) = (Double(j) - center, Double(window) / 2)
            return exponential / sum * Double.exp(-distance * distance / (2 * deviation * deviation))
        }
    }
}
