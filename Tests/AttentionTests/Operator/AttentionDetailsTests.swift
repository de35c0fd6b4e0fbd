import Attention
import TestSupport
import Testing

@Suite struct `What is returned beside the output` {
    private static let everything = AttentionRequest(
        logSumExp: true, weights: 2..<5, scores: .biased, keyWeightSums: true, rowEntropy: true,
        topKeyCount: 3)

    private func operation(_ measure: Measure, _ kind: MaskKind, _ sizes: OperandSizes) -> AttentionOperation {
        var random = SeededGenerator(seed: 51)
        return AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes),
            bias: .tensor(random.operand([sizes.keyCount])), softCap: 3,
            sinks: random.operand([sizes.headCount]))
    }

    @Test(
        arguments: [Measure.scaledDotProduct, .cosine, .additive, .laplacian, .custom],
        [MaskKind.none, .causal, .lengths, .nested])
    func `every part agrees with the reference`(measure: Measure, kind: MaskKind) {
        for queryCount in [5, 19] {
            let sizes = OperandSizes(headCount: 4, queryCount: queryCount)
            let (queries, keys, values) = sizes.operands(seed: 52)
            let operation = operation(measure, kind, sizes)
            let plain = PlainAttention<Float>(operation, queries: queries, keys: keys, values: values)
            for stage in ScoreStage.allCases {
                let request = AttentionRequest(
                    logSumExp: true, weights: 0..<queryCount, scores: stage, keyWeightSums: true,
                    rowEntropy: true, topKeyCount: 3)
                let actual = operation(queries: queries, keys: keys, values: values, returning: request)
                let reference = operation.reference(
                    queries: queries, keys: keys, values: values, returning: request)
                expectAgreement(
                    actual.scores, plain: plain.scores[stage] ?? [], reference: reference.scores, "\(stage)")
                guard stage == .biased else { continue }
                expectAgreement(actual.logSumExp, plain: plain.logSumExp, reference: reference.logSumExp)
                expectAgreement(actual.weights, plain: plain.weights, reference: reference.weights)
                expectAgreement(
                    actual.keyWeightSums, plain: plain.keyWeightSums, reference: reference.keyWeightSums)
                expectAgreement(actual.rowEntropy, plain: plain.rowEntropy, reference: reference.rowEntropy)
                #expect(actual.topKeys?.integers == reference.topKeys?.integers)
                #expect(actual.topWeights?.shape == reference.topWeights?.shape)
            }
        }
    }

    @Test func `every part agrees with the reference across the edges of tiles`() {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: 97, keyCount: 521,
            queryDimension: 2,
            keyDimension: 2, valueDimension: 2)
        let (queries, keys, values) = sizes.operands(seed: 53)
        let operation = operation(.scaledDotProduct, .window, sizes)
        let request = AttentionRequest(
            logSumExp: true, weights: 0..<97, scores: .biased, keyWeightSums: true, rowEntropy: true)
        let actual = operation(queries: queries, keys: keys, values: values, returning: request)
        let reference = operation.reference(queries: queries, keys: keys, values: values, returning: request)
        let plain = PlainAttention<Float>(operation, queries: queries, keys: keys, values: values)
        expectAgreement(actual.scores, plain: plain.scores[.biased] ?? [], reference: reference.scores)
        expectAgreement(actual.weights, plain: plain.weights, reference: reference.weights)
        expectAgreement(actual.keyWeightSums, plain: plain.keyWeightSums, reference: reference.keyWeightSums)
        expectAgreement(actual.rowEntropy, plain: plain.rowEntropy, reference: reference.rowEntropy)
    }

    @Test func `the reference's parts are those of a plain loop in Double`() {
        let sizes = OperandSizes(headCount: 4)
        let (queries, keys, values) = sizes.operands(seed: 54)
        let operation = operation(.gaussian, .nested, sizes)
        let request = AttentionRequest(
            logSumExp: true, weights: 0..<11, scores: .biased, keyWeightSums: true, rowEntropy: true)
        let reference = operation.reference(queries: queries, keys: keys, values: values, returning: request)
        let plain = PlainAttention<Double>(operation, queries: queries, keys: keys, values: values)
        for (tensor, numbers) in [
            (reference.output, plain.output), (reference.logSumExp, plain.logSumExp),
            (reference.weights, plain.weights), (reference.scores, plain.scores[.biased] ?? []),
            (reference.keyWeightSums, plain.keyWeightSums), (reference.rowEntropy, plain.rowEntropy),
        ] {
            expectNear(tensor, numbers, within: 1e-13)
        }
    }

    @Test(arguments: [Measure.scaledDotProduct, .custom], [ElementType.float32, .float16, .float64])
    func `asking for more does not change the output's bits`(measure: Measure, type: ElementType) {
        for queryCount in [5, 101] {
            let sizes = OperandSizes(headCount: 4, queryCount: queryCount, keyCount: 37)
            let (queries, keys, values) = sizes.operands(seed: 55, as: type)
            let operation = operation(measure, .causalAndLengths, sizes)
            let alone = operation(queries: queries, keys: keys, values: values)
            let withAll = operation(
                queries: queries, keys: keys, values: values,
                returning: `What is returned beside the output`.everything)
            #expect(bits(withAll.output) == bits(alone))
        }
    }

    @Test func `nothing is returned that was not asked for`() {
        let (queries, keys, values) = OperandSizes().operands(seed: 56)
        let result = AttentionOperation()(
            queries: queries, keys: keys, values: values, returning: AttentionRequest())
        let parts = [
            result.logSumExp, result.weights, result.scores, result.keyWeightSums, result.rowEntropy,
            result.topKeys, result.topWeights,
        ]
        #expect(parts.allSatisfy { $0 == nil })
    }

    @Test func `the weights of a range are those rows of all weights`() {
        let sizes = OperandSizes(queryCount: 101, keyCount: 37)
        let (queries, keys, values) = sizes.operands(seed: 57)
        let operation = operation(.scaledDotProduct, .causal, sizes)
        func weights(_ range: Range<Int>) -> Tensor? {
            operation(
                queries: queries, keys: keys, values: values, returning: AttentionRequest(weights: range)
            ).weights
        }
        let all = weights(0..<101)
        for range in [0..<1, 93..<99, 100..<101, 7..<7] {
            #expect(weights(range)?.shape == [3, 2, range.count, 37])
            #expect(bits(weights(range)) == bits(all?.slice(axis: 2, range: range)))
        }
    }

    @Test(arguments: Measure.allCases, [false, true])
    func `weights sum to one, less the sink's share, and fit the log-sum-exp`(
        measure: Measure, hasSinks: Bool
    ) {
        var random = SeededGenerator(seed: 58)
        for queryCount in [5, 19] {
            let sizes = OperandSizes(queryCount: queryCount, keyCount: 31)
            let (queries, keys, values) = sizes.operands(seed: 59)
            let sinks = hasSinks ? random.operand([2]) : nil
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: .causal(offset: 3), sinks: sinks)
            let result = operation(
                queries: queries, keys: keys, values: values,
                returning: AttentionRequest(logSumExp: true, weights: 0..<queryCount, scores: .biased))
            guard let weights = result.weights, let scores = result.scores, let logSumExp = result.logSumExp
            else {
                Issue.record("There are no weights, scores or log-sum-exp.")
                continue
            }
            for batch in 0..<3 {
                for head in 0..<2 {
                    for query in 0..<queryCount {
                        let total = logSumExp[batch, head, query]
                        let row = (0..<31).map { weights[batch, head, query, $0] }
                        let sinkShare = sinks.map { Double.exp($0[head] - total) } ?? 0
                        #expect(abs(row.reduce(0, +) + sinkShare - 1) < 1e-5)
                        for key in 0..<31 {
                            #expect(abs(row[key] - .exp(scores[batch, head, query, key] - total)) < 1e-5)
                        }
                    }
                }
            }
        }
    }

    // MARK: - The heaviest keys

    @Test(arguments: [Measure.scaledDotProduct, .custom], [1, 3, 17])
    func `the heaviest keys are those of the sorted weights`(measure: Measure, count: Int) {
        for (queryCount, keyCount) in [(5, 13), (19, 521)] {
            let sizes = OperandSizes(batchCount: 1, queryCount: queryCount, keyCount: keyCount)
            let (queries, keys, values) = sizes.operands(seed: 60)
            let operation = operation(measure, .causal, sizes)
            let result = operation(
                queries: queries, keys: keys, values: values,
                returning: AttentionRequest(weights: 0..<queryCount, topKeyCount: count))
            #expect(result.topKeys?.elementType == .int32)
            #expect(result.topKeys?.shape == [1, 2, queryCount, count])
            let (weights, topKeys, topWeights) = (
                result.weights?.floats ?? [], result.topKeys?.integers ?? [], result.topWeights?.floats ?? []
            )
            for row in 0..<2 * queryCount {
                let rowWeights = Array(weights[row * keyCount..<(row + 1) * keyCount])
                let sorted = rowWeights.indices.filter { rowWeights[$0] > 0 }
                    .sorted { (rowWeights[$0], $1) > (rowWeights[$1], $0) }.prefix(count)
                let missing = count - sorted.count
                #expect(
                    Array(topKeys[row * count..<(row + 1) * count]) == sorted
                        + [Int](repeating: -1, count: missing))
                #expect(
                    Array(topWeights[row * count..<(row + 1) * count])
                        == sorted.map { rowWeights[$0] } + [Float](repeating: 0, count: missing))
            }
        }
    }

    @Test func `of equally heavy keys the earlier comes first`() {
        let queries = Tensor([Float(1)], shape: [1, 1, 1, 1])
        let keys = Tensor([Float(0), 2, 1, 2, 1, 2], shape: [1, 1, 6, 1])
        let result = AttentionOperation()(
            queries: queries, keys: keys, values: keys, returning: AttentionRequest(topKeyCount: 4))
        #expect(result.topKeys?.integers == [1, 3, 5, 2])
    }

    @Test func `a visible key whose weight vanishes is still listed`() {
        let queries = Tensor([Float(1)], shape: [1, 1, 1, 1])
        let keys = Tensor([Float(-2000), 0, -1000, 50], shape: [1, 1, 4, 1])
        let result = AttentionOperation(mask: .prefix(3))(
            queries: queries, keys: keys, values: keys, returning: AttentionRequest(topKeyCount: 4))
        #expect(result.topKeys?.integers == [1, 2, 0, -1])
        #expect(result.topWeights?.floats == [1, 0, 0, 0])
    }

    @Test func `no keys at all may be asked for`() {
        let (queries, keys, values) = OperandSizes().operands(seed: 61)
        let result = AttentionOperation()(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(topKeyCount: 0))
        #expect(result.topKeys?.shape == [3, 2, 11, 0])
    }

    @Test func `a masked key has weight zero also beside a key that is not a number`() {
        let queries = Tensor([1 as Float, 1], shape: [1, 1, 2, 1])
        let keys = Tensor([1 as Float, .nan, 2], shape: [1, 1, 3, 1])
        let operation = AttentionOperation(mask: .causal(offset: 0))
        let request = AttentionRequest(weights: 0..<2, keyWeightSums: true)
        for result in [
            operation(queries: queries, keys: keys, values: keys, returning: request),
            operation.reference(queries: queries, keys: keys, values: keys, returning: request),
        ] {
            let weights = result.weights?.doubles ?? []
            #expect(weights[..<3] == [1, 0, 0])
            #expect(weights[3].isNaN && weights[4].isNaN && weights[5] == 0)
            #expect(result.keyWeightSums?.doubles.last == 0)
        }
    }
}
