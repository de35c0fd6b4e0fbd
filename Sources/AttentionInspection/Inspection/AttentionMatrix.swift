internal import Attention
public import SequenceModels

/// How much every word attends to every other.
public struct AttentionMatrix: Sendable {
    /// The words or tokens, in order.
    public let texts: [String]
    /// The weights, `[from][to]`, row by row, each from 0 to 1.
    ///
    /// A row's sum is 1, or less with a window.
    public let weights: [Float]

    /// How many words there are.
    public var count: Int { texts.count }

    /// The weight of one word on another.
    ///
    /// - Parameters:
    ///   - from: Which word attends, from 0.
    ///   - to: Which word is attended to, from 0.
    public subscript(from: Int, to: Int) -> Double { Double(weights[from * count + to]) }
}

extension Inspection {
    /// Returns how much every word attends to every other.
    ///
    /// - Parameters:
    ///   - layer: The layer, from 0; `nil` is the mean of all.
    ///   - head: The head, from 0, which needs a layer; `nil` is the mean of all.
    ///   - unit: Words, or tokens.
    /// - Returns: The weights; of a word they are the sum over its tokens, from a word the mean over them.
    /// - Throws: `InspectionError` when the layer or the head does not exist, the model has no heads, or the task was
    ///   cancelled.
    /// - Complexity: O(T²) memory for the result, and 64 MiB beside it.
    public func weights(
        layer: Int?, head: Int?, unit: ViewState.Unit = .words
    ) throws(InspectionError) -> AttentionMatrix {
        try weights(layer: layer, head: head, unit: unit) { _, _ in }
    }

    /// Returns the same, and shows each layer's heads, `[head][from · to]`, on the way.
    func weights(
        layer: Int?, head: Int?, unit: ViewState.Unit, visiting visit: (_ layer: Int, _ heads: [[Float]]) -> Void
    ) throws(InspectionError) -> AttentionMatrix {
        try check(ExplanationOptions(layer: layer, head: head))
        let pass = try forwardPass()
        let layers = layer.map { $0..<$0 + 1 } ?? 0..<pass.trace.layers.count
        let texts = segments(showingTokens: unit == .tokens).map(\.text)
        var sum = [Float](repeating: 0, count: texts.count * texts.count)
        for layer in layers {
            let heads = try merged(pass, layer: layer, unit: unit)
            visit(layer, heads)
            let chosen = head.map { [heads[$0]] } ?? heads
            let share = 1 / Float(layers.count * chosen.count)
            for matrix in chosen {
                for index in matrix.indices { sum[index] += matrix[index] * share }
            }
        }
        return AttentionMatrix(texts: texts, weights: sum)
    }

    /// Returns a layer's weights between words or tokens, `[head][from · to]`.
    func merged(_ pass: ForwardPass, layer: Int, unit: ViewState.Unit) throws(InspectionError) -> [[Float]] {
        let segments = segments(showingTokens: unit == .tokens)
        let (tokenCount, count) = (text.ids.count, segments.count)
        let headCount = pass.trace.layers[layer].queries.shape[1]
        var heads = [[Float]](repeating: [Float](repeating: 0, count: count * count), count: headCount)
        let chunk = max(1, (1 << 24) / (headCount * tokenCount))
        for first in stride(from: 0, to: tokenCount, by: chunk) {
            if Task.isCancelled { throw .cancelled }
            let queries = first..<min(tokenCount, first + chunk)
            let elements = pass.attentionWeights(layer: layer, queries: queries).floats
            for head in 0..<headCount {
                let start = head * queries.count * tokenCount
                add(elements[start..<start + queries.count * tokenCount], of: queries, to: &heads[head], segments)
            }
        }
        guard heads.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { throw .notFinite(place: "layer \(layer)") }
        return heads
    }
    /// Returns the weights between words that weights between tokens, `[from · to]`, come to.
    func wordWeights(_ tokens: [Float]) -> [Float] {
        let segments = text.wordSegments
        var words = [Float](repeating: 0, count: segments.count * segments.count)
        add(tokens[...], of: 0..<text.ids.count, to: &words, segments)
        return words
    }

    /// Adds some tokens' rows to those of their words or tokens: the sum over what is attended to, the mean over what attends.
    private func add(_ rows: ArraySlice<Float>, of queries: Range<Int>, to sums: inout [Float], _ segments: [Segment]) {
        let words = segments.enumerated().flatMap { word, segment in segment.tokens.map { _ in word } }
        var place = rows.startIndex
        for query in queries {
            let share = 1 / Float(segments[words[query]].tokens.count)
            let target = words[query] * segments.count
            for word in words {
                sums[target + word] += rows[place] * share
                place += 1
            }
        }
    }
}
