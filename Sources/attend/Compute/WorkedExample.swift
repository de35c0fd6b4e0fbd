import Attention
import Foundation
import SequenceModels

/// The sentence "The FBI is chasing" with vectors of three numbers: every step on one screen.
///
/// The vectors are made up, small enough to check by hand; the arithmetic is the operator's own.
struct WorkedExample {
    private static let words = ["The", "FBI", "is", "chasing"]
    private static let keys: [Float] = [0, 1, 0, 2, 0, 1, 0, 1, 1, 1, 0, 2]
    private static let values: [Float] = [1, 0, 0, 0, 3, 0, 0, 0, 1, 1, 1, 0]
    private static let query: [Float] = [2, 0, 1]

    private let measure: any Similarity
    private let name: String

    init(similarity: SimilarityKind, scale: Double?, temperature: Double?, bandwidth: Double?) throws {
        guard similarity.tensorNames.isEmpty else {
            throw CommandFailure.usage(
                "--example has no weights for \(similarity.rawValue). Choose a measure without weights, or give a file."
            )
        }
        measure = try similarity.measure(scale: scale, temperature: temperature, bandwidth: bandwidth, tensors: [:])
        name = similarity.rawValue
    }

    func text() throws -> String {
        let (count, dimension) = (Self.words.count, Self.query.count)
        let queries = Tensor(Self.query, shape: [1, 1, 1, dimension])
        let keys = Tensor(Self.keys, shape: [1, 1, count, dimension])
        let values = Tensor(Self.values, shape: [1, 1, count, dimension])
        var operation = AttentionOperation()
        operation.similarity = measure
        let result = operation(
            queries: queries, keys: keys, values: values,
            returning: AttentionRequest(weights: 0..<1, scores: .similarity))
        let scores = result.scores?.doubles ?? []
        let weights = result.weights?.doubles ?? []
        func vector(_ numbers: ArraySlice<Float>) -> String {
            "[" + numbers.map { String(format: "%6.3f", Double($0)) }.joined(separator: " ") + "]"
        }
        let largest = scores.max() ?? 0
        let exponentials = scores.map { Foundation.exp($0 - largest) }
        let sum = exponentials.reduce(0, +)
        var lines = [
            "\"The FBI is chasing\": what \"chasing\" attends to, by \(name).",
            "The vectors of three numbers are made up; the arithmetic is the operator's.",
            "", "1. Each word has a key k and a value v; the target has a query q.", "",
            "   q of chasing  \(vector(Self.query[...]))", "",
        ]
        for (index, word) in Self.words.enumerated() {
            let range = index * dimension..<(index + 1) * dimension
            lines.append(
                "   \(word.padding(toLength: 8, withPad: " ", startingAt: 0))  k \(vector(Self.keys[range]))  v "
                    + vector(Self.values[range]))
        }
        lines += [
            "", "2. How well does each key match the query? Scores, and e^score / Σ e^score:", "",
        ]
        for (index, word) in Self.words.enumerated() {
            lines.append(
                "   \(word.padding(toLength: 8, withPad: " ", startingAt: 0))  score "
                    + String(
                        format: "%8.4f  e^(score-max) %7.5f / %7.5f = α %7.5f", scores[index],
                        exponentials[index], sum, weights[index]))
        }
        lines += ["", "3. The average of the values, weighted by α:", ""]
        for (index, word) in Self.words.enumerated() {
            let range = index * dimension..<(index + 1) * dimension
            let weighted = Self.values[range].map { Float(weights[index]) * $0 }
            lines.append(
                "   \(word.padding(toLength: 8, withPad: " ", startingAt: 0))  "
                    + String(format: "%8.5f", weights[index])
                    + " · \(vector(Self.values[range])) = \(vector(weighted[...]))")
        }
        lines.append("                                             Σ = \(vector(result.output.floats[...]))")
        return lines.joined(separator: "\n") + "\n"
    }
}
