import Attention
import TestSupport
import Testing

/// Few queries: keys split into chunks, read as they are stored.
@Suite struct `Decode attention` {
    /// One query, and a few; more than a chunk of keys, and less; heads that share keys, and none.
    private static let sizes = [
        OperandSizes(batchCount: 2, headCount: 6, keyValueHeadCount: 2, queryCount: 1, keyCount: 601),
        OperandSizes(
            batchCount: 1, headCount: 3, keyValueHeadCount: 1, queryCount: 5, keyCount: 257, queryDimension: 67,
            keyDimension: 67, valueDimension: 83),
        OperandSizes(batchCount: 3, headCount: 2, keyValueHeadCount: 2, queryCount: 11, keyCount: 31),
    ]

    private func operation(_ measure: Measure, _ kind: MaskKind, _ sizes: OperandSizes) -> AttentionOperation {
        var random = SeededGenerator(seed: 111)
        return AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes),
            bias: .alibi(slopes: ScoreBias.alibiSlopes(headCount: sizes.headCount)) + ScoreBias(Waves()),
            softCap: 3, sinks: random.operand([sizes.headCount]))
    }

    // MARK: - Agreement

    @Test(arguments: MaskKind.allCases, [ElementType.float32, .float16, .bfloat16])
    func `contract 6: agrees with the definition over several chunks`(kind: MaskKind, type: ElementType) {
        for sizes in Self.sizes {
            let (queries, keys, values) = sizes.operands(seed: 112, as: type)
            // float32 queries, so that the result is not rounded.
            let single = queries.converted(to: .float32)
            let plain = AttentionOperation(mask: kind.mask(for: sizes))
            expectAgreement(plain, queries: single, keys: keys, values: values)
            expectAgreement(
                operation(.scaledDotProduct, kind, sizes), queries: single, keys: keys, values: values)
            #expect(plain.plan(queries: single, keys: keys, values: values).path == "rows")
        }
    }

    @Test(arguments: [Measure.dot, .general, .cosine, .linearAdditive])
    func `contract 6: agrees with the definition by every product`(measure: Measure) {
        let sizes = Self.sizes[0]
        let (queries, keys, values) = sizes.operands(seed: 113)
        let operation = AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: .causal(offset: 400))
        if operation.plan(queries: queries, keys: keys, values: values).path == "rows" {
            expectAgreement(operation, queries: queries, keys: keys, values: values)
        }
    }

    @Test func `operands need not lie side by side`() {
        let sizes = Self.sizes[1]
        let (queries, keys, values) = sizes.operands(seed: 114, as: .bfloat16)
        let expected = AttentionOperation()(queries: queries, keys: keys, values: values)
        func swapped(_ tensor: Tensor, _ first: Int, _ second: Int) -> Tensor {
            tensor.transposed(first, second).contiguous().transposed(first, second)
        }
        for (first, second) in [(1, 2), (2, 3)] {
            let output = AttentionOperation()(
                queries: swapped(queries, first, second), keys: swapped(keys, first, second),
                values: swapped(values, first, second))
            #expect(bits(output) == bits(expected))
        }
    }

    // MARK: - Contracts 1 and 2

    @Test func `contract 1: queries that see nothing yield zeros, beside others that see something`() {
        let sizes = OperandSizes(
            batchCount: 2, headCount: 3, keyValueHeadCount: 1, queryCount: 3, keyCount: 600)
        let (queries, keys, values) = sizes.operands(seed: 115)
        let result = AttentionOperation(mask: .causal(offset: -1) & .lengths([600, 0]))(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(logSumExp: true))
        for head in 0..<3 {
            for element in 0..<sizes.valueDimension {
                #expect(result.output[0, head, 0, element] == 0)
                #expect(result.output[0, head, 1, element] != 0)
                for query in 0..<3 { #expect(result.output[1, head, query, element] == 0) }
            }
            #expect(result.logSumExp?[0, head, 0] == -.infinity)
            #expect(result.logSumExp?[0, head, 1].isFinite == true)
            #expect(result.logSumExp?[1, head, 2] == -.infinity)
        }
    }

    @Test(arguments: [ElementType.float32, .float16, .bfloat16])
    func `contract 2: poison in masked keys reaches nothing in any chunk`(type: ElementType) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 3, keyValueHeadCount: 1, queryCount: 2, keyCount: 600)
        let (queries, keys, values) = sizes.operands(seed: 116, as: type)
        let mask = AttentionMask.slidingWindow(left: 250, right: 0, offset: 520)
        let clean = AttentionOperation(mask: mask)(queries: queries, keys: keys, values: values)
        func poisoned(_ tensor: Tensor) -> Tensor {
            var numbers = tensor.doubles
            let width = tensor.shape[3]
            for key in [0, 255, 256, 269, 522, 599] {
                for element in 0..<width {
                    numbers[key * width + element] = element % 2 == 0 ? .nan : .infinity
                }
            }
            return Tensor(numbers, shape: tensor.shape).converted(to: type)
        }
        let output = AttentionOperation(mask: mask)(
            queries: queries, keys: poisoned(keys), values: poisoned(values))
        #expect(bits(output) == bits(clean))
    }

    // MARK: - Bits

    @Test func `a sequence's bits depend on neither its neighbours nor on keys beyond its own`() {
        let lengths = [601, 530, 256, 5]
        var sizes = Self.sizes[0]
        sizes.batchCount = 4
        for type in [ElementType.float32, .bfloat16] {
            let (queries, keys, values) = sizes.operands(seed: 117, as: type)
            let together = AttentionOperation(mask: .lengths(lengths))(
                queries: queries, keys: keys, values: values)
            for (batch, length) in lengths.enumerated() {
                func own(_ tensor: Tensor) -> Tensor { tensor.slice(axis: 0, range: batch..<batch + 1) }
                let alone = AttentionOperation()(
                    queries: own(queries), keys: own(keys).slice(axis: 2, range: 0..<length),
                    values: own(values).slice(axis: 2, range: 0..<length))
                #expect(bits(alone) == bits(own(together)), "length \(length), \(type)")
            }
        }
    }

    @Test func `a query's bits depend on neither the queries nor the heads beside it`() {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 5, keyValueHeadCount: 1, queryCount: 3, keyCount: 700)
        let (queries, keys, values) = sizes.operands(seed: 118)
        let whole = AttentionOperation()(queries: queries, keys: keys, values: values)
        for head in 0..<5 {
            for query in 0..<3 {
                func own(_ tensor: Tensor) -> Tensor {
                    tensor.slice(axis: 1, range: head..<head + 1).slice(axis: 2, range: query..<query + 1)
                }
                let alone = AttentionOperation()(queries: own(queries), keys: keys, values: values)
                #expect(bits(alone) == bits(own(whole)))
            }
        }
    }

    @Test func `what is asked for beside the output changes no bit of it, and fits it`() {
        let sizes = Self.sizes[0]
        let (queries, keys, values) = sizes.operands(seed: 119, as: .bfloat16)
        let single = queries.converted(to: .float32)
        let operation = operation(.scaledDotProduct, .causal, sizes)
        let output = operation(queries: single, keys: keys, values: values)
        let result = operation(
            queries: single, keys: keys, values: values,
            returning: AttentionRequest(logSumExp: true, weights: 0..<1, rowEntropy: true, topKeyCount: 2))
        #expect(bits(result.output) == bits(output))
        let reference = operation.reference(
            queries: single, keys: keys, values: values, returning: AttentionRequest(weights: 0..<1))
        expectNear(result.weights, reference.weights?.doubles ?? [], within: 1e-5)
    }

    @Test func `plan says that halves are read as they lie`() {
        let sizes = Self.sizes[0]
        let (queries, keys, values) = sizes.operands(seed: 120, as: .bfloat16)
        let operation = AttentionOperation()
        let plan = operation.plan(queries: queries.converted(to: .float32), keys: keys, values: values)
        #expect(plan.reasons.filter { $0.contains("bfloat16: converted in registers") }.count == 2)
        #expect(plan.tileSize.keys == 256)
        // A copy of keys and values would take more than all of it.
        #expect(plan.extraByteCount < 4 * keys.elementCount + ComputeThreads.count * 40_000)
        let more = operation.plan(
            queries: queries.converted(to: .float32), keys: keys, values: values,
            returning: AttentionRequest(rowEntropy: true))
        #expect(more.reasons.filter { $0.contains("bfloat16: copied once") }.count == 2)
    }
}
