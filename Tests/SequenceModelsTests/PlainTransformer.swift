import Attention
import Foundation
import SequenceModels
import TestSupport

/// A random Transformer with its weights as numbers, so that it can be computed a second time, plainly.
struct PlainTransformer {
    typealias Matrix = [[Double]]

    struct Layer {
        var attentionNorm, feedForwardNorm: [Double]
        var query, key, value, output, gate, up, down: Matrix
    }

    let configuration: TransformerConfiguration
    let embedding: Matrix
    let layers: [Layer]
    let finalNorm: [Double]
    let model: Transformer

    /// Sizes are distinct primes where nothing asks for more, so that an exchanged axis shows.
    init(seed: UInt64, headCount: Int = 6, keyValueHeadCount: Int = 2, layout: RotaryEmbedding.Layout = .interleaved) {
        var generator = SeededGenerator(seed: seed)
        let (width, hidden, vocabulary, headDimension, rotated) = (23, 29, 31, 10, 8)
        configuration = TransformerConfiguration(
            modelDimension: width, layerCount: 3, headCount: headCount, keyValueHeadCount: keyValueHeadCount,
            headDimension: headDimension, feedForwardDimension: hidden, vocabularySize: vocabulary,
            contextLength: 64, norm: .rms(epsilon: 1e-5),
            positions: .rotary(RotaryEmbedding(dimension: rotated, base: 100, layout: layout)), feedForward: .swiGLU)

        func matrix(_ rows: Int, _ columns: Int) -> (Matrix, WeightMatrix) {
            let numbers = generator.floats(rows * columns, bound: 0.5)
            let tensor = Tensor(numbers, shape: [rows, columns])
            let matrix = (0..<rows).map { row in numbers[row * columns..<(row + 1) * columns].map(Double.init) }
            return (matrix, WeightMatrix(tensor))
        }
        func vector(_ count: Int) -> ([Double], Tensor) {
            let numbers = generator.floats(count, bound: 0.5).map { 1 + $0 }
            return (numbers.map(Double.init), Tensor(numbers, shape: [count]))
        }
        func norm(_ weight: Tensor) -> Norm { Norm(.rms(epsilon: 1e-5), weight: weight) }
        let queryWidth = headCount * headDimension
        let keyWidth = keyValueHeadCount * headDimension
        let embedding = matrix(vocabulary, width)
        let pairs = (0..<configuration.layerCount).map { _ in
            let (attentionNorm, feedForwardNorm) = (vector(width), vector(width))
            let (query, key, value) = (matrix(queryWidth, width), matrix(keyWidth, width), matrix(keyWidth, width))
            let output = matrix(width, queryWidth)
            let (gate, up, down) = (matrix(hidden, width), matrix(hidden, width), matrix(width, hidden))
            return (
                Layer(
                    attentionNorm: attentionNorm.0, feedForwardNorm: feedForwardNorm.0, query: query.0, key: key.0,
                    value: value.0, output: output.0, gate: gate.0, up: up.0, down: down.0),
                TransformerLayer(
                    attentionNorm: norm(attentionNorm.1),
                    attention: MultiHeadAttention(
                        headCount: headCount, keyValueHeadCount: keyValueHeadCount, query: Projection(weight: query.1),
                        key: Projection(weight: key.1), value: Projection(weight: value.1),
                        output: Projection(weight: output.1)),
                    feedForwardNorm: norm(feedForwardNorm.1),
                    feedForward: FeedForward(
                        .swiGLU, gate: Projection(weight: gate.1), up: Projection(weight: up.1),
                        down: Projection(weight: down.1)))
            )
        }
        let finalNorm = vector(width)
        self.embedding = embedding.0
        self.finalNorm = finalNorm.0
        layers = pairs.map(\.0)
        model = Transformer(
            configuration: configuration, embedding: embedding.1,
            stack: TransformerStack(layers: pairs.map(\.1), finalNorm: norm(finalNorm.1)))
    }

    /// The logits after each token, `[T][V]`, one number after the other.
    func logits(_ tokens: [Int]) -> Matrix {
        var stream = tokens.map { embedding[$0] }
        for layer in layers {
            let input = stream.map { normalized($0, layer.attentionNorm) }
            let queries = heads(input, layer.query, rotated: true)
            let keys = heads(input, layer.key, rotated: true)
            let values = heads(input, layer.value, rotated: false)
            let groupSize = configuration.headCount / configuration.keyValueHeadCount
            for position in tokens.indices {
                let merged = (0..<configuration.headCount).flatMap { head -> [Double] in
                    let scores = (0...position).map { key in
                        dot(queries[position][head], keys[key][head / groupSize])
                            / Double(configuration.headDimension).squareRoot()
                    }
                    let exponentials = scores.map { exp($0) }
                    let sum = exponentials.reduce(0, +)
                    return (0..<configuration.headDimension).map { component in
                        (0...position).reduce(0) {
                            $0 + exponentials[$1] / sum * values[$1][head / groupSize][component]
                        }
                    }
                }
                stream[position] = added(stream[position], product(layer.output, merged))
            }
            for position in tokens.indices {
                let input = normalized(stream[position], layer.feedForwardNorm)
                let gated = zip(product(layer.gate, input), product(layer.up, input)).map { gate, up in
                    gate / (1 + exp(-gate)) * up
                }
                stream[position] = added(stream[position], product(layer.down, gated))
            }
        }
        return stream.map { product(embedding, normalized($0, finalNorm)) }
    }

    /// `[T][head][D]`.
    private func heads(_ input: Matrix, _ weight: Matrix, rotated: Bool) -> [[[Double]]] {
        input.enumerated().map { position, vector in
            let whole = product(weight, vector)
            return stride(from: 0, to: whole.count, by: configuration.headDimension).map { start in
                let head = Array(whole[start..<start + configuration.headDimension])
                return rotated ? rotation(of: head, by: position) : head
            }
        }
    }

    private func rotation(of head: [Double], by position: Int) -> [Double] {
        guard case .rotary(let rotary) = configuration.positions else { return head }
        var head = head
        let pairCount = rotary.dimension / 2
        for pair in 0..<pairCount {
            let angle = Double(position) * pow(rotary.base, -2 * Double(pair) / Double(rotary.dimension))
            let (first, second) = rotary.layout == .half ? (pair, pair + pairCount) : (2 * pair, 2 * pair + 1)
            let (a, b) = (head[first], head[second])
            head[first] = a * cos(angle) - b * sin(angle)
            head[second] = b * cos(angle) + a * sin(angle)
        }
        return head
    }

    private func normalized(_ vector: [Double], _ weight: [Double]) -> [Double] {
        let scale = (dot(vector, vector) / Double(vector.count) + 1e-5).squareRoot()
        return zip(vector, weight).map { $0 / scale * $1 }
    }

    private func product(_ matrix: Matrix, _ vector: [Double]) -> [Double] { matrix.map { dot($0, vector) } }
    private func added(_ left: [Double], _ right: [Double]) -> [Double] { zip(left, right).map(+) }
    private func dot(_ left: [Double], _ right: [Double]) -> Double { zip(left, right).reduce(0) { $0 + $1.0 * $1.1 } }
}
