import Attention
import TestSupport
import Testing

@Suite struct `Key-value cache` {
    private let sizes = OperandSizes(
        batchCount: 2, headCount: 6, keyValueHeadCount: 3, queryCount: 23, keyCount: 23)

    private func emptyCache(
        window: Int? = nil, capacity: Int = 4, elementType: ElementType = .float32
    ) -> KeyValueCache {
        KeyValueCache(
            batchCount: 2, headCount: 3, keyDimension: 7, valueDimension: 5, window: window,
            capacity: capacity,
            elementType: elementType)
    }

    private func part(_ tensor: Tensor, _ range: Range<Int>) -> Tensor {
        tensor.slice(axis: 2, range: range)
    }

    /// Feeds the operands in pieces and returns the outputs side by side, `[B, H, T, D_v]` as numbers per position.
    private func outputs(
        _ cache: inout KeyValueCache, _ operands: (queries: Tensor, keys: Tensor, values: Tensor),
        pieces: [Int],
        operation: AttentionOperation = AttentionOperation()
    ) -> [[Float]] {
        var start = 0
        var positions: [[Float]] = []
        for count in pieces {
            let range = start..<start + count
            cache.append(keys: part(operands.keys, range), values: part(operands.values, range))
            let output = cache.attention(queries: part(operands.queries, range), operation: operation)
            for position in 0..<count { positions.append(part(output, position..<position + 1).floats) }
            start += count
        }
        return positions
    }

    /// Holds outputs by position against attention without a cache, by contract 6.
    private func expectAgreement(
        _ positions: [[Float]], _ expected: Uncached, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var numbers: [Float] = []
        for row in 0..<(positions.first?.count ?? 0) / 5 {
            for position in positions { numbers += position[row * 5..<(row + 1) * 5] }
        }
        AttentionTests.expectAgreement(
            Tensor(numbers, shape: expected.reference.shape), plain: expected.plain,
            reference: expected.reference,
            comment, sourceLocation: sourceLocation)
    }

    /// What attention without a cache yields.
    private struct Uncached {
        let reference: Tensor
        let plain: [Float]

        init(_ operation: AttentionOperation, _ operands: (queries: Tensor, keys: Tensor, values: Tensor)) {
            let (queries, keys, values) = operands
            reference = operation.reference(queries: queries, keys: keys, values: values).output
            plain = PlainAttention<Float>(operation, queries: queries, keys: keys, values: values).output
        }
    }

    @Test(arguments: [Measure.scaledDotProduct, .cosine, .additive, .custom])
    func `contract 6: attention with a cache is attention without, token by token and in pieces`(
        measure: Measure
    ) {
        let operands = sizes.operands(seed: 81)
        let similarity = measure.similarity(for: sizes)
        let uncached = Uncached(
            AttentionOperation(similarity: similarity, mask: .causal(offset: 0)), operands)
        for pieces in [[Int](repeating: 1, count: 23), [23], [17, 1, 1, 4], [1, 5, 17], [2, 0, 21]] {
            var cache = emptyCache()
            let positions = outputs(
                &cache, operands, pieces: pieces, operation: AttentionOperation(similarity: similarity))
            expectAgreement(positions, uncached, "\(pieces)")
            #expect(cache.lengths == [23, 23])
            #expect(cache.nextPositions == [23, 23])
            #expect(cache.keys.floats == operands.keys.floats)
            #expect(cache.values.floats == operands.values.floats)
        }
    }

    @Test(arguments: [1, 2, 7, 300])
    func `a window forgets what it does not reach, over hundreds of tokens`(window: Int) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: 211, keyCount: 211)
        let operands = sizes.operands(seed: 82)
        let uncached = Uncached(
            AttentionOperation(mask: .slidingWindow(left: window - 1, right: 0)), operands)
        let fourAndSeven = (0..<38).map { $0 % 2 == 0 ? 4 : 7 }
        for pieces in [[Int](repeating: 1, count: 211), [100, 1, 1, 9, 100], [3, 208], fourAndSeven + [2]] {
            var cache = KeyValueCache(
                batchCount: 1, headCount: 1, keyDimension: 7, valueDimension: 5, window: window, capacity: 4)
            expectAgreement(outputs(&cache, operands, pieces: pieces), uncached, "\(pieces.prefix(5))")
            #expect(cache.nextPositions == [211])
        }
    }

    @Test func `memory stays bounded under a window`() {
        var cache = emptyCache(window: 8)
        var random = SeededGenerator(seed: 83)
        for _ in 0..<500 {
            cache.append(keys: random.operand([2, 3, 1, 7]), values: random.operand([2, 3, 1, 5]))
            #expect(cache.capacity <= 16)
            #expect(cache.lengths.allSatisfy { $0 <= 16 })
        }
        #expect(cache.nextPositions == [500, 500])
        cache.append(keys: random.operand([2, 3, 40, 7]), values: random.operand([2, 3, 40, 5]))
        #expect(cache.capacity <= 7 + 40)
    }

    @Test func `without a window memory grows to twice what it was`() {
        var cache = emptyCache(capacity: 4)
        var random = SeededGenerator(seed: 84)
        var capacities: [Int] = []
        for _ in 0..<33 {
            cache.append(keys: random.operand([2, 3, 1, 7]), values: random.operand([2, 3, 1, 5]))
            if capacities.last != cache.capacity { capacities.append(cache.capacity) }
        }
        #expect(capacities == [4, 8, 16, 32, 64])
    }

    @Test(arguments: [nil, 5])
    func `sequences of different lengths do not disturb each other`(window: Int?) {
        let operands = sizes.operands(seed: 85)
        // Of each piece every sequence takes so many; the rest is padding, and poisoned.
        let counts = [[5, 3], [1, 1], [0, 4], [7, 0], [2, 6], [1, 1]]
        var cache = emptyCache(window: window)
        var mask = AttentionMask.causal(offset: 0)
        if let window { mask = mask & .slidingWindow(left: window - 1, right: 0) }
        let uncached = Uncached(AttentionOperation(mask: mask), operands)
        let plainError = zip(uncached.plain, uncached.reference.doubles).reduce(0) { largest, pair in
            max(largest, abs(Double(pair.0) - pair.1))
        }
        var starts = [0, 0]
        for count in counts {
            let length = count.max() ?? 0
            func piece(_ tensor: Tensor, padding: Float) -> Tensor {
                let (heads, width) = (tensor.shape[1], tensor.shape[3])
                var numbers: [Float] = []
                for batch in 0..<2 {
                    for head in 0..<heads {
                        for token in 0..<length {
                            for element in 0..<width {
                                let number = Float(
                                    tensor[batch, head, min(22, starts[batch] + token), element])
                                numbers.append(token < count[batch] ? number : padding)
                            }
                        }
                    }
                }
                return Tensor(numbers, shape: [2, heads, length, width])
            }
            cache.append(
                keys: piece(operands.keys, padding: .nan), values: piece(operands.values, padding: .nan),
                counts: count)
            let output = cache.attention(queries: piece(operands.queries, padding: .nan))
            for batch in 0..<2 {
                for head in 0..<6 {
                    for token in 0..<length {
                        for element in 0..<5 {
                            let number = output[batch, head, token, element]
                            if token >= count[batch] {
                                #expect(number == 0)
                            } else {
                                let expected = uncached.reference[batch, head, starts[batch] + token, element]
                                #expect(abs(number - expected) <= 2 * plainError + 4 * Double(Float(2).ulp))
                            }
                        }
                    }
                }
                starts[batch] += count[batch]
            }
            #expect(cache.nextPositions == starts)
        }
    }

    @Test func `a sequence's bits do not depend on the cache's other sequences`() {
        let operands = sizes.operands(seed: 86)
        var together = emptyCache()
        let positions = outputs(&together, operands, pieces: [9, 1, 13])
        for batch in 0..<2 {
            func alone(_ tensor: Tensor) -> Tensor { tensor.slice(axis: 0, range: batch..<batch + 1) }
            var cache = KeyValueCache(batchCount: 1, headCount: 3, keyDimension: 7, valueDimension: 5)
            let single = outputs(
                &cache, (alone(operands.queries), alone(operands.keys), alone(operands.values)),
                pieces: [9, 1, 13])
            for (both, one) in zip(positions, single) {
                #expect(Array(both[batch * 30..<(batch + 1) * 30]) == one)
            }
        }
    }

    @Test(arguments: [ElementType.float16, .bfloat16, .float64])
    func `a cache of another type holds rounded keys and values`(type: ElementType) {
        let operands = sizes.operands(seed: 87)
        var cache = emptyCache(elementType: type)
        let positions = outputs(&cache, operands, pieces: [9, 1, 13])
        #expect(cache.keys.elementType == type)
        let rounded = (
            operands.queries, operands.keys.converted(to: type), operands.values.converted(to: type)
        )
        expectAgreement(positions, Uncached(AttentionOperation(mask: .causal(offset: 0)), rounded))
    }

    @Test func `copies of a cache go their own ways`() {
        let operands = sizes.operands(seed: 88)
        let other = sizes.operands(seed: 89)
        var cache = emptyCache(window: 6, capacity: 32)
        cache.append(keys: part(operands.keys, 0..<9), values: part(operands.values, 0..<9))
        var copy = cache
        let (keysBefore, valuesBefore) = (cache.keys, cache.values)
        let before = (keysBefore.floats, valuesBefore.floats)
        copy.append(keys: other.keys, values: other.values)
        copy.append(keys: other.keys, values: other.values)
        #expect(cache.lengths == [9, 9])
        #expect(cache.keys.floats == before.0)
        // Views taken earlier keep what they showed.
        cache.append(keys: part(operands.keys, 9..<11), values: part(operands.values, 9..<11))
        #expect(keysBefore.floats == before.0)
        #expect(valuesBefore.floats == before.1)
        #expect(cache.keys.floats == part(operands.keys, 0..<11).floats)
        // Two that write the same positions, with room for both.
        var (first, second) = (cache, cache)
        first.append(keys: part(operands.keys, 11..<13), values: part(operands.values, 11..<13))
        second.append(keys: part(other.keys, 0..<2), values: part(other.values, 0..<2))
        #expect(part(first.keys, 11..<13).floats == part(operands.keys, 11..<13).floats)
        #expect(part(first.values, 11..<13).floats == part(operands.values, 11..<13).floats)
        #expect(part(second.values, 11..<13).floats == part(other.values, 0..<2).floats)
    }

    @Test func `a token is appended in place`() {
        var cache = KeyValueCache(batchCount: 1, headCount: 1, keyDimension: 7, valueDimension: 5, capacity: 8)
        var random = SeededGenerator(seed: 94)
        var addresses: Set<UnsafeRawPointer?> = []
        for _ in 0..<8 {
            cache.append(keys: random.operand([1, 1, 1, 7]), values: random.operand([1, 1, 1, 5]))
            _ = cache.attention(queries: random.operand([1, 2, 1, 7]))
            addresses.insert(cache.keys.withUnsafeBytes { $0.baseAddress })
        }
        #expect(addresses.count == 1)
    }

    @Test func `a cache may be fed from its own views`() {
        let operands = sizes.operands(seed: 90)
        var cache = emptyCache()
        cache.append(keys: part(operands.keys, 0..<3), values: part(operands.values, 0..<3))
        cache.append(keys: cache.keys, values: cache.values)
        #expect(part(cache.keys, 3..<6).floats == part(operands.keys, 0..<3).floats)
        #expect(part(cache.values, 3..<6).floats == part(operands.values, 0..<3).floats)
    }

    @Test func `what is asked for beside the output counts keys from the first that is kept`() {
        let operands = sizes.operands(seed: 91)
        var cache = emptyCache(window: 3, capacity: 6)
        for position in 0..<23 {
            let range = position..<position + 1
            cache.append(keys: part(operands.keys, range), values: part(operands.values, range))
        }
        let result = cache.attention(
            queries: part(operands.queries, 22..<23), operation: AttentionOperation(),
            returning: AttentionRequest(weights: 0..<1))
        let visible = AttentionOperation()(
            queries: part(operands.queries, 22..<23), keys: part(operands.keys, 20..<23),
            values: part(operands.values, 20..<23), returning: AttentionRequest(weights: 0..<1))
        let length = cache.lengths[0]
        #expect(cache.firstPositions == [23 - length, 23 - length])
        #expect(result.weights?.shape == [2, 6, 1, length])
        expectNear(
            result.weights?.slice(axis: 3, range: length - 3..<length), visible.weights?.doubles ?? [],
            within: 1e-6)
        #expect(result.weights?.slice(axis: 3, range: 0..<length - 3).floats.allSatisfy { $0 == 0 } == true)
    }

    @Test func `an operation's own mask joins the cache's`() {
        let operands = sizes.operands(seed: 92)
        var cache = emptyCache()
        let operation = AttentionOperation(mask: AttentionMask(EveryFifthHidden()))
        let positions = outputs(&cache, operands, pieces: [23], operation: operation)
        let mask = AttentionMask(EveryFifthHidden()) & .causal(offset: 0)
        expectAgreement(positions, Uncached(AttentionOperation(mask: mask), operands))
    }

    @Test func `a sequence's bits do not depend on how many tokens the others bring`() {
        // 3 tokens alone are few queries, and take the keys as they lie; 20 are many.
        let sizes = OperandSizes(batchCount: 2, headCount: 2, keyValueHeadCount: 1, queryCount: 20, keyCount: 20)
        let (queries, keys, values) = sizes.operands(seed: 93)
        func cache(_ batchCount: Int) -> KeyValueCache {
            KeyValueCache(
                batchCount: batchCount, headCount: 1, keyDimension: sizes.keyDimension,
                valueDimension: sizes.valueDimension)
        }
        var together = cache(2)
        together.append(keys: keys, values: values, counts: [3, 20])
        let output = together.attention(queries: queries)
        for (batch, count) in [3, 20].enumerated() {
            func part(_ tensor: Tensor) -> Tensor {
                tensor.slice(axis: 0, range: batch..<batch + 1).slice(axis: 2, range: 0..<count)
            }
            var alone = cache(1)
            alone.append(keys: part(keys), values: part(values))
            #expect(bits(part(output)) == bits(alone.attention(queries: part(queries))), "\(count) tokens")
        }
    }
}
