import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `A Transformer` {
    private static let tokens = [3, 14, 15, 9, 2, 6, 5, 30, 0, 8, 3]
    /// Three layers of float32 sums of some tens of terms of size one.
    private static let tolerance = 1e-4

    private let plain = PlainTransformer(seed: 1)
    private var model: Transformer { plain.model }

    @Test(arguments: [(6, 6), (6, 3), (6, 2), (6, 1), (1, 1)], [RotaryEmbedding.Layout.half, .interleaved])
    func `computes what its definition says`(heads: (Int, Int), layout: RotaryEmbedding.Layout) {
        let plain = PlainTransformer(seed: 2, headCount: heads.0, keyValueHeadCount: heads.1, layout: layout)
        let logits = plain.model.logits(of: plain.model.hiddenStates(of: plain.model.embed([Self.tokens])))
        #expect(logits.shape == [1, Self.tokens.count, plain.configuration.vocabularySize])
        expectClose(logits.doubles, plain.logits(Self.tokens).flatMap { $0 })
    }

    @Test(arguments: [[11], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [4, 7], [7, 1, 3], [1, 10]])
    func `predicts with a cache what it predicts without`(pieces: [Int]) {
        let whole = model.logits(of: model.hiddenStates(of: model.embed([Self.tokens])))
        var state = model.initialState(capacity: 2)
        var start = 0
        for piece in pieces {
            let end = start + piece
            let hidden = model.hiddenStates(of: model.embed([Array(Self.tokens[start..<end])]), state: &state)
            expectClose(model.logits(of: hidden).doubles, whole.slice(axis: 1, range: start..<end).doubles)
            start = end
            #expect(state.lengths == [start])
        }
        #expect(start == Self.tokens.count)
    }

    @Test(arguments: [ElementType.float16, .bfloat16])
    func `computes with stored halves what it computes with the same numbers in float32`(type: ElementType) {
        let stored = model.storingWeights(as: type)
        #expect(stored.outputWeight.format.blockByteCount == 2)
        func logits(_ model: Transformer) -> [Float] {
            model.logits(of: model.hiddenStates(of: model.embed([Self.tokens]))).floats
        }
        #expect(logits(stored) == logits(stored.storingWeights(as: .float32)))
        #expect(logits(stored) != logits(model))
        #expect(logits(model.storingWeights(as: .float32)) == logits(model))
    }

    @Test(arguments: [(ElementType.float16, 0x1p-11), (.bfloat16, 0x1p-8)])
    func `keeps keys and values as halves where it is asked to`(type: ElementType, rounding: Double) {
        var compact = model
        compact.cacheType = type
        func logits(_ model: Transformer) -> [Double] {
            var state = model.initialState()
            return Self.tokens.flatMap { model.nextTokenLogits(after: [[$0]], state: &state).doubles }
        }
        let (expected, found) = (logits(model), logits(compact))
        let largest = expected.reduce(0) { max($0, abs($1)) }
        let difference = zip(expected, found).reduce(0) { max($0, abs($1.0 - $1.1)) }
        // Two roundings, of keys and of values, in each of the layers.
        #expect(difference > 0 && difference < 2 * Double(model.layers.count) * rounding * largest)
    }

    @Test func `predicts the next token from the last hidden state`() {
        var state = model.initialState()
        let logits = model.nextTokenLogits(after: [Self.tokens], state: &state)
        #expect(logits.shape == [1, plain.configuration.vocabularySize])
        let whole = model.logits(of: model.hiddenStates(of: model.embed([Self.tokens])))
        let last = Self.tokens.count - 1
        expectClose(logits.doubles, whole.slice(axis: 1, range: last..<last + 1).doubles)
    }

    @Test func `gives each sequence the bits that it has alone`() {
        let batch = [Self.tokens, Self.tokens.reversed(), Self.tokens.map { ($0 + 7) % 31 }]
        let together = model.hiddenStates(of: model.embed(batch))
        for (row, tokens) in batch.enumerated() {
            let alone = model.hiddenStates(of: model.embed([tokens]))
            #expect(together.slice(axis: 0, range: row..<row + 1).floats == alone.floats)
        }
    }

    @Test func `gives each cached sequence the bits that it has alone`() {
        let batch = [Self.tokens, Self.tokens.reversed()]
        var together = model.initialState(batchCount: 2)
        var alone = batch.map { _ in model.initialState() }
        for position in Self.tokens.indices {
            let logits = model.nextTokenLogits(after: batch.map { [$0[position]] }, state: &together)
            for row in batch.indices {
                let expected = model.nextTokenLogits(after: [[batch[row][position]]], state: &alone[row])
                #expect(logits.slice(axis: 0, range: row..<row + 1).floats == expected.floats)
            }
        }
        #expect(together.lengths == [Self.tokens.count, Self.tokens.count])
    }

    @Test func `a later token never changes an earlier output`() {
        let original = model.hiddenStates(of: model.embed([Self.tokens]))
        for position in Self.tokens.indices {
            var changed = Self.tokens
            changed[position] = (changed[position] + 1) % 31
            let hidden = model.hiddenStates(of: model.embed([changed]))
            let before = { (tensor: Tensor) in tensor.slice(axis: 1, range: 0..<position).floats }
            let at = { (tensor: Tensor) in tensor.slice(axis: 1, range: position..<position + 1).floats }
            #expect(before(hidden) == before(original))
            // The token itself counts, or the test shows nothing.
            #expect(at(hidden) != at(original))
        }
    }

    @Test(arguments: [1, 2, 5]) func `gives the same bits for any number of threads`(threadCount: Int) {
        let expected = model.hiddenStates(of: model.embed([Self.tokens])).floats
        let before = ComputeThreads.count
        ComputeThreads.count = threadCount
        defer { ComputeThreads.count = before }
        #expect(model.hiddenStates(of: model.embed([Self.tokens])).floats == expected)
    }

    @Test func `a state is a value`() {
        var state = model.initialState()
        _ = model.nextTokenLogits(after: [Self.tokens], state: &state)
        let saved = state
        let first = model.nextTokenLogits(after: [[4]], state: &state).floats
        #expect(saved.lengths == [Self.tokens.count])
        #expect(state.lengths == [Self.tokens.count + 1])
        var (one, other) = (saved, saved)
        let branch = model.nextTokenLogits(after: [[27]], state: &other).floats
        #expect(model.nextTokenLogits(after: [[4]], state: &one).floats == first)
        #expect(branch != first)
    }

    // MARK: - The trace

    @Test func `runs the same with a trace`() {
        let embeddings = model.embed([Self.tokens])
        let (hidden, trace) = model.trace(embeddings, recording: TraceRequest(weights: 0..<Self.tokens.count))
        #expect(hidden.floats == model.hiddenStates(of: embeddings).floats)
        #expect(trace.layers.count == plain.configuration.layerCount)
        #expect(trace.weightedQueries == 0..<Self.tokens.count)
    }

    @Test func `traces what attention computed`() throws {
        let embeddings = model.embed([Self.tokens, Self.tokens.reversed()])
        let (count, configuration) = (Self.tokens.count, plain.configuration)
        let trace = model.trace(embeddings, recording: TraceRequest(weights: 2..<7)).trace
        let (headCount, groups, dimension) = (
            configuration.headCount, configuration.keyValueHeadCount, configuration.headDimension
        )
        for (layer, weights) in zip(trace.layers, plain.model.layers) {
            let alpha = try #require(layer.attentionWeights)
            #expect(alpha.shape == [2, headCount, 5, count])
            #expect(layer.queries.shape == [2, headCount, count, dimension])
            #expect(layer.unrotatedQueries.shape == layer.queries.shape)
            #expect(layer.keys.shape == [2, groups, count, dimension])
            #expect(layer.unrotatedKeys.shape == layer.keys.shape)
            #expect(layer.values.shape == [2, groups, count, dimension])
            // The queries and keys are those that attention used: it is computed again from them.
            let again = AttentionOperation(mask: .causal(offset: 0)).reference(
                queries: layer.queries, keys: layer.keys, values: layer.values,
                returning: AttentionRequest(weights: 0..<count))
            expectClose(layer.headOutputs.doubles, again.output.doubles)
            expectClose(
                alpha.doubles, try #require(again.weights).slice(axis: 2, range: 2..<7).doubles, within: 1e-5)
            expectClose(
                layer.attentionOutput.doubles,
                matmul(layer.headOutputs.mergingHeads(), weights.attention.output.weight).doubles)

            for batch in 0..<2 {
                for head in 0..<headCount {
                    for row in 0..<5 {
                        let sum = (0..<count).reduce(0) { $0 + alpha[batch, head, row, $1] }
                        #expect(abs(sum - 1) < 1e-5)
                        for key in row + 3..<count { #expect(alpha[batch, head, row, key] == 0) }
                        for component in 0..<dimension {
                            let average = (0..<count).reduce(0) {
                                $0 + alpha[batch, head, row, $1]
                                    * layer.values[batch, head / (headCount / groups), $1, component]
                            }
                            #expect(abs(average - layer.headOutputs[batch, head, row + 2, component]) < 1e-5)
                        }
                    }
                }
            }
        }
    }

    @Test func `rotates queries and keys by their positions`() {
        guard case .rotary(let rotary) = plain.configuration.positions else { return }
        let trace = model.trace(model.embed([Self.tokens]), recording: TraceRequest(weights: 0..<1)).trace
        let positions = [Array(Self.tokens.indices)]
        for layer in trace.layers {
            #expect(layer.queries.floats == rotary(layer.unrotatedQueries, positions: positions).floats)
            #expect(layer.keys.floats == rotary(layer.unrotatedKeys, positions: positions).floats)
            // The first token stands at position 0, where nothing turns.
            let first = { (tensor: Tensor) in tensor.slice(axis: 2, range: 0..<1).floats }
            #expect(first(layer.queries) == first(layer.unrotatedQueries))
            #expect(layer.queries.floats != layer.unrotatedQueries.floats)
        }
    }

    // MARK: - Programmers' mistakes

    @Test func `stops at tokens that are not in the vocabulary`() async {
        await #expect(processExitsWith: .failure) { _ = PlainTransformer(seed: 1).model.embed([[31]]) }
        await #expect(processExitsWith: .failure) { _ = PlainTransformer(seed: 1).model.embed([[-1]]) }
    }

    @Test func `stops at sequences of different lengths`() async {
        await #expect(processExitsWith: .failure) { _ = PlainTransformer(seed: 1).model.embed([[1, 2], [3]]) }
    }

    @Test func `stops at embeddings of another width`() async {
        await #expect(processExitsWith: .failure) {
            _ = PlainTransformer(seed: 1).model.hiddenStates(of: Tensor(zeros: [1, 2, 24]))
        }
    }

    @Test func `stops where there is nothing to predict from`() async {
        await #expect(processExitsWith: .failure) {
            let model = PlainTransformer(seed: 1).model
            var state = model.initialState()
            _ = model.nextTokenLogits(after: [[]], state: &state)
        }
    }

    /// Numbers are as far apart as the tolerance, relative to the largest.
    private func expectClose(
        _ numbers: [Double], _ expected: [Double], within tolerance: Double = Self.tolerance,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(numbers.count == expected.count, sourceLocation: sourceLocation)
        let scale = max(1, expected.map(abs).max() ?? 0)
        let difference = zip(numbers, expected).map { abs($0 - $1) }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
        #expect(difference <= tolerance * scale, sourceLocation: sourceLocation)
    }
}
