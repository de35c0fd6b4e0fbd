import Attention
import TestSupport
import Testing

@Suite struct `Tiled attention` {
    // MARK: - Every combination

    // 7, 21 and 35 query rows per key-value head: keys as they lie, then transposed.
    @Test(arguments: Measure.allCases, MaskKind.allCases)
    func `contract 6: every measure, mask and head grouping agrees with the reference`(
        measure: Measure, kind: MaskKind
    ) {
        for (headCount, keyValueHeadCount) in [(2, 2), (6, 2), (5, 1)] {
            var sizes = OperandSizes(
                headCount: headCount, keyValueHeadCount: keyValueHeadCount, queryCount: 7, queryDimension: 5,
                keyDimension: 5, valueDimension: 2)
            if measure.takesDifferentDimensions { sizes.keyDimension = 3 }
            let (queries, keys, values) = sizes.operands(seed: 1)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes))
            expectAgreement(
                operation, queries: queries, keys: keys, values: values,
                "\(headCount) over \(keyValueHeadCount)")
        }
    }

    // A tile is 96 queries by 512 keys.
    @Test(arguments: MaskKind.allCases)
    func `masks agree with the reference across the edges of tiles`(kind: MaskKind) {
        let calls: [(queryCount: Int, keyCount: Int, measure: Measure)] = [
            (97, 521, .dot), (3, 1031, .scaledDotProduct), (5, 523, .custom), (193, 7, .scaledDotProduct),
        ]
        for call in calls {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: call.queryCount,
                keyCount: call.keyCount, queryDimension: 3, keyDimension: 3, valueDimension: 2)
            let (queries, keys, values) = sizes.operands(seed: 2)
            let operation = AttentionOperation(
                similarity: call.measure.similarity(for: sizes), mask: kind.mask(for: sizes))
            expectAgreement(operation, queries: queries, keys: keys, values: values, "\(call)")
        }
    }

    @Test(arguments: Measure.allCases)
    func `measures agree with the reference across the edges of tiles`(measure: Measure) {
        for (queryCount, keyCount) in [(19, 521), (2, 1031)] {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount, keyCount: keyCount,
                queryDimension: 3, keyDimension: 3, valueDimension: 2)
            let (queries, keys, values) = sizes.operands(seed: 3)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: .causal(offset: keyCount - 17))
            expectAgreement(
                operation, queries: queries, keys: keys, values: values, "\(queryCount) × \(keyCount)")
        }
    }

    @Test(arguments: Measure.allCases, [1, 67])
    func `measures agree with the reference for narrow and wide heads`(measure: Measure, dimension: Int) {
        for queryCount in [1, 17] {
            let sizes = OperandSizes(
                batchCount: queryCount == 1 ? 7 : 1, queryCount: queryCount, queryDimension: dimension,
                keyDimension: dimension)
            let (queries, keys, values) = sizes.operands(seed: 4)
            let operation = AttentionOperation(similarity: measure.similarity(for: sizes))
            expectAgreement(operation, queries: queries, keys: keys, values: values, "\(queryCount) queries")
        }
    }

    enum BiasKind: String, CaseIterable, Sendable {
        case full
        case ofKeys
        case ofHeads
        case ofQueries
        case withInfinities
        case alibi
        case alibiPerSequence
        case custom
        case sum
        case float64

        func bias(for sizes: OperandSizes) -> ScoreBias {
            var random = SeededGenerator(seed: 79)
            let slopes = ScoreBias.alibiSlopes(headCount: sizes.headCount)
            switch self {
            case .full:
                return .tensor(
                    random.operand([sizes.batchCount, sizes.headCount, sizes.queryCount, sizes.keyCount]))
            case .ofKeys: return .tensor(random.operand([sizes.keyCount]))
            case .ofHeads: return .tensor(random.operand([sizes.headCount, 1, 1]))
            case .ofQueries: return .tensor(random.operand([sizes.batchCount, 1, sizes.queryCount, 1]))
            case .withInfinities:
                // One pair in three hidden, and the second query sees nothing.
                var numbers = random.numbers(sizes.queryCount * sizes.keyCount)
                for index in numbers.indices where index % 3 == 0 || index / sizes.keyCount == 1 {
                    numbers[index] = -.infinity
                }
                return .tensor(
                    Tensor(numbers, shape: [sizes.queryCount, sizes.keyCount]).converted(to: .float32))
            case .alibi: return .alibi(slopes: slopes, offset: 2)
            case .alibiPerSequence:
                return .alibi(slopes: slopes, offsets: (0..<sizes.batchCount).map { 3 * $0 })
            case .custom: return ScoreBias(Waves())
            case .sum:
                return BiasKind.withInfinities.bias(for: sizes) + .alibi(slopes: slopes) + ScoreBias(Waves())
            case .float64:
                return .tensor(
                    random.operand([sizes.headCount, sizes.queryCount, sizes.keyCount], as: .float64))
            }
        }
    }

    @Test(arguments: BiasKind.allCases, [nil, 1.3])
    func `biases, soft-caps and sinks agree with the reference`(bias: BiasKind, softCap: Double?) {
        var random = SeededGenerator(seed: 5)
        for measure in [Measure.scaledDotProduct, .gaussian, .custom] {
            for kind in [MaskKind.none, .causal, .causalAndLengths] {
                for hasSinks in [false, true] {
                    let sizes = OperandSizes(headCount: 6, queryCount: measure == .gaussian ? 2 : 7)
                    let (queries, keys, values) = sizes.operands(seed: 6)
                    let operation = AttentionOperation(
                        similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes),
                        bias: bias.bias(for: sizes), softCap: softCap,
                        sinks: hasSinks ? random.operand([sizes.headCount]) : nil)
                    expectAgreement(
                        operation, queries: queries, keys: keys, values: values,
                        "\(measure), \(kind), sinks: \(hasSinks)")
                }
            }
        }
    }

    @Test func `a bias agrees with the reference across the edges of tiles`() {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: 97, keyCount: 521,
            queryDimension: 2,
            keyDimension: 2, valueDimension: 1)
        let (queries, keys, values) = sizes.operands(seed: 7)
        let operation = AttentionOperation(bias: BiasKind.withInfinities.bias(for: sizes), softCap: 3)
        expectAgreement(operation, queries: queries, keys: keys, values: values)
    }

    // MARK: - Nothing to do

    @Test(arguments: Measure.allCases)
    func `without keys every output is zero`(measure: Measure) {
        let sizes = OperandSizes(keyCount: 0)
        let (queries, keys, values) = sizes.operands(seed: 8)
        let operation = AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: .causal(offset: 0))
        let result = operation(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(logSumExp: true))
        #expect(result.output.shape == [3, 2, 11, 5])
        #expect(result.output.floats.allSatisfy { $0 == 0 })
        #expect(result.logSumExp?.floats.allSatisfy { $0 == -.infinity } == true)
    }

    @Test(arguments: Measure.allCases)
    func `without queries, sequences, heads or value elements there is no output`(measure: Measure) {
        for sizes in [
            OperandSizes(queryCount: 0), OperandSizes(batchCount: 0),
            OperandSizes(headCount: 0, keyValueHeadCount: 0),
            OperandSizes(valueDimension: 0), OperandSizes(queryCount: 0, keyCount: 0),
        ] {
            let (queries, keys, values) = sizes.operands(seed: 9)
            let operation = AttentionOperation(similarity: measure.similarity(for: sizes))
            let output = operation(queries: queries, keys: keys, values: values)
            #expect(
                output.shape == [sizes.batchCount, sizes.headCount, sizes.queryCount, sizes.valueDimension])
            #expect(output.elementCount == 0)
        }
    }

    @Test func `vectors without elements weigh all keys alike`() {
        for queryCount in [2, 23] {
            let sizes = OperandSizes(queryCount: queryCount, queryDimension: 0, keyDimension: 0)
            let (queries, keys, values) = sizes.operands(seed: 10)
            expectAgreement(AttentionOperation(), queries: queries, keys: keys, values: values)
        }
    }

    // MARK: - Adversarial scores

    /// One sequence and head, `D` = 1: the scores are the products.
    private func column(_ numbers: [Float]) -> Tensor {
        Tensor(numbers, shape: [1, 1, numbers.count, 1])
    }

    @Test(arguments: [3, 29])
    func `huge scores agree with the reference`(queryCount: Int) {
        var random = SeededGenerator(seed: 11)
        let queries = column((0..<queryCount).map { $0 % 2 == 0 ? 1 : -1 })
        let keys = column((0..<523).map { Float($0 % 7 - 3) / 3 * 1e4 })
        let values = random.operand([1, 1, 523, 3])
        for mask in [AttentionMask.none, .causal(offset: 400)] {
            for softCap in [nil, 50.0] {
                let operation = AttentionOperation(similarity: .dot, mask: mask, softCap: softCap)
                expectAgreement(operation, queries: queries, keys: keys, values: values)
            }
        }
        // The maximum rises in the second tile, by more than exp can span.
        let rising = column((0..<523).map { $0 < 515 ? -1e4 : 1e4 })
        expectAgreement(
            AttentionOperation(similarity: .dot), queries: queries, keys: rising, values: values)
    }

    @Test(arguments: Measure.allCases)
    func `equal keys weigh alike and one that matches takes all`(measure: Measure) {
        var sizes = OperandSizes(batchCount: 1, headCount: 1, keyValueHeadCount: 1, keyCount: 53)
        for queryCount in [2, 17] {
            sizes.queryCount = queryCount
            let (queries, _, values) = sizes.operands(seed: 12)
            let operation = AttentionOperation(similarity: measure.similarity(for: sizes))
            let equal = queries.slice(axis: 2, range: 0..<1).expanded(to: [1, 1, 53, 7])
            expectAgreement(operation, queries: queries, keys: equal, values: values)

            var oneHot = [Float](repeating: 0, count: 53 * 7)
            for key in 0..<53 { oneHot[key * 7 + key % 7] = 40 }
            expectAgreement(
                operation, queries: queries, keys: Tensor(oneHot, shape: [1, 1, 53, 7]), values: values)
        }
    }

    @Test(arguments: Measure.allCases)
    func `denormal numbers agree with the reference`(measure: Measure) {
        for queryCount in [2, 17] {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount)
            var random = SeededGenerator(seed: 13)
            func denormals(_ shape: [Int]) -> Tensor { random.operand(shape, in: -1e-39...1e-39) }
            let operation = AttentionOperation(similarity: measure.similarity(for: sizes))
            expectAgreement(
                operation, queries: denormals([1, 1, queryCount, 7]), keys: denormals([1, 1, 13, 7]),
                values: denormals([1, 1, 13, 5]))
        }
    }

    // MARK: - Layouts and types

    @Test func `transposed, sliced and three-dimensional operands agree with the reference`() {
        var random = SeededGenerator(seed: 14)
        for queryCount in [3, 19] {
            // [B, T, H, D] transposed; a slice of longer rows; D along the second last dimension.
            let queries = random.operand([2, queryCount, 6, 7]).transposed(1, 2)
            let keys = random.operand([2, 3, 17, 9]).slice(axis: 2, range: 2..<15).slice(axis: 3, range: 1..<8)
            let values = random.operand([2, 3, 5, 13]).transposed(2, 3)
            expectAgreement(AttentionOperation(), queries: queries, keys: keys, values: values)
            expectAgreement(
                AttentionOperation(mask: .causal(offset: 2)), queries: values.expanded(to: [2, 3, 13, 5]),
                keys: values, values: keys)

            let width = random.operand([2, queryCount, 6 * 7])
            let (narrowKeys, narrowValues) = (random.operand([2, 13, 3 * 7]), random.operand([2, 13, 3 * 5]))
            let merged = attention(
                queries: width, keys: narrowKeys, values: narrowValues, headCount: 6, keyValueHeadCount: 3)
            #expect(merged.shape == [2, queryCount, 30])
            let split = AttentionOperation()(
                queries: width.splittingHeads(6).contiguous(),
                keys: narrowKeys.splittingHeads(3).contiguous(),
                values: narrowValues.splittingHeads(3).contiguous())
            #expect(merged.floats == split.transposed(1, 2).floats)
        }
    }

    @Test func `one key and value for all heads and positions may be repeated with stride 0`() {
        var random = SeededGenerator(seed: 15)
        for queryCount in [2, 19] {
            let queries = random.operand([2, 6, queryCount, 7])
            let keys = random.operand([2, 1, 13, 7]).expanded(to: [2, 3, 13, 7])
            let values = random.operand([1, 3, 1, 5]).expanded(to: [2, 3, 13, 5])
            expectAgreement(AttentionOperation(), queries: queries, keys: keys, values: values)
            let flat = random.operand([2, 1, 13, 1]).expanded(to: [2, 3, 13, 7])
            expectAgreement(AttentionOperation(), queries: queries, keys: flat, values: values)
            let same = random.operand([1, 1, 1, 7]).expanded(to: [2, 6, queryCount, 7])
            expectAgreement(AttentionOperation(), queries: same, keys: keys, values: values)
        }
    }

    @Test func `the output is laid out as the queries`() {
        var random = SeededGenerator(seed: 16)
        let (keys, values) = (random.operand([2, 3, 13, 7]), random.operand([2, 3, 13, 5]))
        let operation = AttentionOperation()
        let inOrder = operation(queries: random.operand([2, 3, 11, 7]), keys: keys, values: values)
        #expect(inOrder.strides == [165, 55, 5, 1])
        let acrossHeads = operation(
            queries: random.operand([2, 11, 3, 7]).transposed(1, 2), keys: keys, values: values)
        #expect(acrossHeads.strides == [165, 5, 15, 1])
        #expect(acrossHeads.transposed(1, 2).isContiguous)
        let acrossAll = operation(
            queries: random.operand([11, 3, 2, 7]).transposed(0, 2), keys: keys, values: values)
        #expect(acrossAll.strides == [5, 10, 30, 1])
    }

    @Test(arguments: [ElementType.float16, .bfloat16], Measure.allCases)
    func `halves agree with the reference on the converted values`(type: ElementType, measure: Measure) {
        for queryCount in [3, 19] {
            let sizes = OperandSizes(headCount: 4, queryCount: queryCount)
            let (queries, keys, values) = sizes.operands(seed: 17, as: type)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: MaskKind.causalAndLengths.mask(for: sizes))
            #expect(operation(queries: queries, keys: keys, values: values).elementType == type)
            expectAgreement(operation, queries: queries, keys: keys, values: values)
        }
    }

    @Test func `the output has the queries' type, whatever keys and values have`() {
        let (queries, _, _) = OperandSizes().operands(seed: 18)
        let (halfQueries, halfKeys, halfValues) = OperandSizes().operands(seed: 18, as: .float16)
        let operation = AttentionOperation()
        let mixed = operation(queries: queries, keys: halfKeys, values: halfValues.converted(to: .bfloat16))
        #expect(mixed.elementType == .float32)
        expectAgreement(
            operation, queries: queries, keys: halfKeys, values: halfValues.converted(to: .bfloat16))
        expectAgreement(
            operation, queries: halfQueries, keys: halfKeys.converted(to: .float64), values: halfValues)
    }

    @Test(arguments: Measure.allCases)
    func `float64 agrees with the reference to 12 digits`(measure: Measure) {
        for (queryCount, kind) in [(3, MaskKind.lengths), (19, .causalPerSequence), (11, .nested)] {
            var sizes = OperandSizes(headCount: 4, queryCount: queryCount)
            if measure.takesDifferentDimensions { sizes.keyDimension = 3 }
            let (queries, keys, values) = sizes.operands(seed: 19, as: .float64)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes),
                bias: .alibi(slopes: ScoreBias.alibiSlopes(headCount: 4)), softCap: 4,
                sinks: Tensor([0.5, -1, 2, 0], shape: [4]))
            let request = AttentionRequest(
                logSumExp: true, weights: 0..<queryCount, scores: .biased, keyWeightSums: true,
                rowEntropy: true)
            let actual = operation(queries: queries, keys: keys, values: values, returning: request)
            let reference = operation.reference(
                queries: queries, keys: keys, values: values, returning: request)
            #expect(actual.output.elementType == .float64)
            let pairs = [
                (actual.output, reference.output), (actual.logSumExp, reference.logSumExp),
                (actual.weights, reference.weights), (actual.scores, reference.scores),
                (actual.keyWeightSums, reference.keyWeightSums), (actual.rowEntropy, reference.rowEntropy),
            ]
            for (result, expected) in pairs {
                expectNear(result, expected?.doubles ?? [], within: 1e-12)
            }
        }
    }

    @Test func `float64 agrees with the reference across the edges of tiles`() {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: 97, keyCount: 521,
            queryDimension: 2,
            keyDimension: 2, valueDimension: 2)
        let (queries, keys, values) = sizes.operands(seed: 20, as: .float64)
        let operation = AttentionOperation(mask: .slidingWindow(left: 200, right: 100, offset: 300))
        expectNear(
            operation(queries: queries, keys: keys, values: values),
            operation.reference(queries: queries, keys: keys, values: values).output.doubles, within: 1e-12)
    }

    // MARK: - Properties

    @Test func `the same number added to every score changes nothing`() {
        let sizes = OperandSizes()
        let (queries, keys, values) = sizes.operands(seed: 21, as: .float64)
        let plain = AttentionOperation()(queries: queries, keys: keys, values: values)
        for shift in [-700.0, 0.5, 700] {
            let bias = ScoreBias.tensor(Tensor([shift], shape: [1]))
            let shifted = AttentionOperation(bias: bias)(queries: queries, keys: keys, values: values)
            expectNear(shifted, plain.doubles, within: 1e-12)
        }
    }

    @Test func `the order of the keys does not matter`() {
        let sizes = OperandSizes(batchCount: 1, keyCount: 521)
        let (queries, keys, values) = sizes.operands(seed: 22, as: .float64)
        func reversed(_ tensor: Tensor) -> Tensor {
            let width = tensor.shape[3]
            let numbers = tensor.doubles
            let rows = (0..<numbers.count / width).map { numbers[$0 * width..<($0 + 1) * width] }
            let heads = (0..<tensor.shape[1]).map { rows[$0 * tensor.shape[2]..<($0 + 1) * tensor.shape[2]] }
            return Tensor(heads.flatMap { $0.reversed().joined() }, shape: tensor.shape)
        }
        let operation = AttentionOperation()
        expectNear(
            operation(queries: queries, keys: reversed(keys), values: reversed(values)),
            operation(queries: queries, keys: keys, values: values).doubles, within: 1e-12)
    }

    // The query counts take the three score paths; the lengths cross the edge of a tile.
    @Test(arguments: [Measure.scaledDotProduct, .custom], [3, 19])
    func `a later token never changes an earlier output`(measure: Measure, queryCount: Int) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount,
            keyCount: 509 + queryCount)
        let (queries, keys, values) = sizes.operands(seed: 23)
        let (_, otherKeys, otherValues) = sizes.operands(seed: 24)
        let operation = AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: .causal(offset: 509))
        let before = operation(queries: queries, keys: keys, values: values).floats
        for query in [0, 1, queryCount - 2] {
            let seen = 509 + query + 1
            func replaced(_ tensor: Tensor, _ other: Tensor) -> Tensor {
                let width = tensor.shape[3]
                return Tensor(
                    Array(tensor.floats.prefix(seen * width) + other.floats.dropFirst(seen * width)),
                    shape: tensor.shape)
            }
            let after = operation(
                queries: queries, keys: replaced(keys, otherKeys), values: replaced(values, otherValues)
            ).floats
            #expect(after.prefix((query + 1) * 5) == before.prefix((query + 1) * 5))
            #expect(after.dropFirst((query + 1) * 5) != before.dropFirst((query + 1) * 5))
        }
    }

    @Test(arguments: Measure.allCases)
    func `each output lies between the values`(measure: Measure) {
        for queryCount in [3, 19] {
            let sizes = OperandSizes(queryCount: queryCount, keyCount: 31)
            let (queries, keys, values) = sizes.operands(seed: 25)
            let output = AttentionOperation(similarity: measure.similarity(for: sizes))(
                queries: queries, keys: keys, values: values)
            for batch in 0..<3 {
                for head in 0..<2 {
                    for element in 0..<5 {
                        let column = (0..<31).map { values[batch, head, $0, element] }
                        let slack = 4 * Double(Float(2).ulp)
                        let hull = (column.min() ?? 0) - slack...(column.max() ?? 0) + slack
                        for query in 0..<queryCount {
                            #expect(hull.contains(output[batch, head, query, element]))
                        }
                    }
                }
            }
        }
    }

    // MARK: - Batches

    @Test(arguments: Measure.allCases)
    func `a sequence's bits do not depend on what else is in the batch`(measure: Measure) {
        for (queryCount, kind) in [(3, MaskKind.causal), (19, .none), (101, .prefix)] {
            let sizes = OperandSizes(headCount: 4, queryCount: queryCount, keyCount: 37)
            let (queries, keys, values) = sizes.operands(seed: 26)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes))
            let together = operation(queries: queries, keys: keys, values: values)
            for batch in 0..<3 {
                let range = batch..<batch + 1
                let alone = operation(
                    queries: queries.slice(axis: 0, range: range), keys: keys.slice(axis: 0, range: range),
                    values: values.slice(axis: 0, range: range))
                #expect(bits(alone) == bits(together.slice(axis: 0, range: range)))
            }
        }
    }

    @Test(arguments: [Measure.scaledDotProduct, .custom], [3, 19])
    func `a sequence's bits do not depend on its padding`(measure: Measure, queryCount: Int) {
        let lengths = [601, 53, 5]
        let sizes = OperandSizes(queryCount: queryCount, keyCount: 601)
        let (queries, keys, values) = sizes.operands(seed: 27)
        let similarity = measure.similarity(for: sizes)
        let together = AttentionOperation(similarity: similarity, mask: .lengths(lengths))(
            queries: queries, keys: keys, values: values)
        for (batch, length) in lengths.enumerated() {
            let range = batch..<batch + 1
            let alone = AttentionOperation(similarity: similarity)(
                queries: queries.slice(axis: 0, range: range),
                keys: keys.slice(axis: 0, range: range).slice(axis: 2, range: 0..<length),
                values: values.slice(axis: 0, range: range).slice(axis: 2, range: 0..<length))
            #expect(bits(alone) == bits(together.slice(axis: 0, range: range)), "length \(length)")
        }
    }

    @Test func `a query's bits do not depend on the queries beside it in its block`() {
        let sizes = OperandSizes(batchCount: 1, queryCount: 101, keyCount: 37)
        let (queries, keys, values) = sizes.operands(seed: 28)
        let whole = AttentionOperation()(queries: queries, keys: keys, values: values)
        let part = AttentionOperation()(
            queries: queries.slice(axis: 2, range: 30..<90), keys: keys, values: values)
        #expect(bits(part) == bits(whole.slice(axis: 2, range: 30..<90)))
    }

    /// With few queries and with many: keys as they lie, and transposed.
    @Test(arguments: [1, 17], [ElementType.float32, .float64])
    func `a score beyond the type's range is no mask`(queryCount: Int, type: ElementType) {
        let large = type == .float32 ? 1e30 : 1e200
        let queries = Tensor([Double](repeating: large, count: queryCount), shape: [1, 1, queryCount, 1])
            .converted(to: type)
        let keys = Tensor([-large, -large], shape: [1, 1, 2, 1]).converted(to: type)
        let values = Tensor([1.0, 3], shape: [1, 1, 2, 1]).converted(to: type)
        let allTrue = Tensor([true, true], shape: [2])
        for mask in [AttentionMask.none, .boolean(allTrue)] {
            let result = AttentionOperation(similarity: .dot, mask: mask)(
                queries: queries, keys: keys, values: values,
                returning: AttentionRequest(logSumExp: true, weights: 0..<queryCount, rowEntropy: true))
            #expect(result.output.doubles.allSatisfy { $0.isNaN })
            #expect(result.weights?.doubles.allSatisfy { $0.isNaN } == true)
            #expect(result.rowEntropy?.doubles.allSatisfy { $0.isNaN } == true)
        }
        // The one that is masked besides stays so.
        let masked = AttentionOperation(similarity: .dot, mask: .boolean(Tensor([true, false], shape: [2])))(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(weights: 0..<queryCount))
        #expect(masked.output.doubles.allSatisfy { $0.isNaN })
        #expect(masked.weights?.slice(axis: 3, range: 1..<2).doubles.allSatisfy { $0 == 0 } == true)
    }

    @Test(arguments: [1, 17])
    func `an infinite value shows however the mask is written, unless it is masked`(queryCount: Int) {
        // The second key's weight vanishes: 0 · ∞ is NaN, as in the definition.
        let queries = Tensor([Float](repeating: 1e4, count: queryCount), shape: [1, 1, queryCount, 1])
        let keys = Tensor([1 as Float, -1], shape: [1, 1, 2, 1])
        let values = Tensor([1 as Float, .infinity], shape: [1, 1, 2, 1])
        for mask in [AttentionMask.none, .boolean(Tensor([true, true], shape: [2])), .lengths([2])] {
            let operation = AttentionOperation(similarity: .dot, mask: mask)
            #expect(operation(queries: queries, keys: keys, values: values).doubles.allSatisfy { $0.isNaN })
            #expect(
                operation.reference(queries: queries, keys: keys, values: values).output.doubles.allSatisfy { $0.isNaN }
            )
        }
        let hidden = AttentionOperation(similarity: .dot, mask: .lengths([1]))
        #expect(hidden(queries: queries, keys: keys, values: values).doubles.allSatisfy { $0 == 1 })
    }

    @Test func `the entropy of scores that are far apart is zero`() {
        let queries = Tensor([1 as Float], shape: [1, 1, 1, 1])
        let keys = Tensor([3e38 as Float, -3e38], shape: [1, 1, 2, 1])
        let result = AttentionOperation(similarity: .dot)(
            queries: queries, keys: keys, values: keys, returning: AttentionRequest(rowEntropy: true))
        #expect(result.rowEntropy?.floats == [0])
    }
}
