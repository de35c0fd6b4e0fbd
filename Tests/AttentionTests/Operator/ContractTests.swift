import Attention
import TestSupport
import Testing

@Suite struct `Contracts` {
    // MARK: - 1: nothing to attend to

    enum WayToSeeNothing: String, CaseIterable, Sendable {
        case causal
        case lengths
        case prefix
        case window
        case documents
        case boolean
        case custom
        case combination
        case bias
        case noKeys

        func operation(_ similarity: any Similarity, sinks: Tensor?, _ sizes: OperandSizes)
            -> AttentionOperation
        {
            struct Nothing: MaskRule {
                func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool { false }
            }
            let sequences = [Int](repeating: 0, count: sizes.batchCount)
            let mask: AttentionMask =
                switch self {
                case .causal: .causal(offset: -sizes.queryCount)
                case .lengths: .lengths(sequences)
                case .prefix: .prefix(0)
                case .window: .slidingWindow(left: 1, right: 1, offset: sizes.keyCount + 1)
                case .documents:
                    .documents(
                        queries: sequences.map { _ in [Int](repeating: 1, count: sizes.queryCount) },
                        keys: sequences.map { _ in (0..<sizes.keyCount).map { 2 * ($0 % 2) } })
                case .boolean: .boolean(Tensor([false], shape: [1]))
                case .custom: AttentionMask(Nothing())
                case .combination: .prefix(3) & .slidingWindow(left: 0, right: nil, offset: 3)
                case .bias, .noKeys: .none
                }
            let bias: ScoreBias = self == .bias ? .tensor(Tensor([-Float.infinity], shape: [1])) : .none
            return AttentionOperation(similarity: similarity, mask: mask, bias: bias, sinks: sinks)
        }
    }

    @Test(arguments: WayToSeeNothing.allCases, [Measure.scaledDotProduct, .cosine, .additive, .custom])
    func `contract 1: a query that may attend to nothing yields zeros and a log-sum-exp of minus infinity`(
        way: WayToSeeNothing, measure: Measure
    ) {
        for queryCount in [3, 19] {
            for sinks in [nil, Tensor([Float(0.5), -1], shape: [2])] {
                let sizes = OperandSizes(queryCount: queryCount, keyCount: way == .noKeys ? 0 : 13)
                let (queries, keys, values) = sizes.operands(seed: 31)
                let operation = way.operation(measure.similarity(for: sizes), sinks: sinks, sizes)
                let request = AttentionRequest(
                    logSumExp: true, weights: 0..<queryCount, keyWeightSums: true, rowEntropy: true,
                    topKeyCount: 2)
                let result = operation(queries: queries, keys: keys, values: values, returning: request)
                #expect(result.output.floats.allSatisfy { $0 == 0 })
                #expect(result.logSumExp?.floats.allSatisfy { $0 == -.infinity } == true)
                #expect(result.weights?.floats.allSatisfy { $0 == 0 } == true)
                #expect(result.keyWeightSums?.floats.allSatisfy { $0 == 0 } == true)
                #expect(result.rowEntropy?.floats.allSatisfy { $0 == 0 } == true)
                #expect(result.topKeys?.integers.allSatisfy { $0 == -1 } == true)
                #expect(result.topWeights?.floats.allSatisfy { $0 == 0 } == true)
                let reference = operation.reference(
                    queries: queries, keys: keys, values: values, returning: request)
                #expect(reference.output.doubles.allSatisfy { $0 == 0 })
                #expect(reference.logSumExp?.doubles.allSatisfy { $0 == -.infinity } == true)
                #expect(reference.keyWeightSums?.doubles.allSatisfy { $0 == 0 } == true)
                #expect(reference.rowEntropy?.doubles.allSatisfy { $0 == 0 } == true)
            }
        }
    }

    // MARK: - 2: masked keys are never read numerically

    /// Calls that take each score path, with every way of preparing the operands.
    private static let poisonedCalls: [(measure: Measure, queryCount: Int, type: ElementType)] = [
        (.scaledDotProduct, 3, .float32), (.scaledDotProduct, 19, .float32), (.custom, 5, .float32),
        (.scaledDotProduct, 3, .float16), (.cosine, 19, .float16), (.custom, 5, .float16),
        (.general, 3, .bfloat16), (.euclidean, 19, .bfloat16), (.additive, 5, .float32),
        (.linearAdditive, 3, .float32), (.dot, 3, .float64), (.laplacian, 5, .float64),
    ]

    @Test(arguments: MaskKind.allCases, [false, true])
    func `contract 2: poison in a masked key and its value reaches no output, and in a visible one shows`(
        kind: MaskKind, asBias: Bool
    ) {
        for call in Contracts.poisonedCalls {
            let sizes = OperandSizes(batchCount: 2, headCount: 4, queryCount: call.queryCount)
            expectOnlyVisiblePoison(sizes, call.measure, call.type, kind, asBias, poisonedKeys: [0, 6, 12])
        }
    }

    @Test(arguments: MaskKind.allCases)
    func `contract 2: poison reaches no output across the edges of tiles`(kind: MaskKind) {
        for (measure, queryCount) in [(Measure.scaledDotProduct, 2), (.scaledDotProduct, 17), (.custom, 2)] {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount, keyCount: 521)
            expectOnlyVisiblePoison(sizes, measure, .float32, kind, false, poisonedKeys: [3, 515])
        }
    }

    private func expectOnlyVisiblePoison(
        _ sizes: OperandSizes, _ measure: Measure, _ type: ElementType, _ kind: MaskKind, _ asBias: Bool,
        poisonedKeys: [Int], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let mask = kind.mask(for: sizes)
        var operation = AttentionOperation(similarity: measure.similarity(for: sizes), mask: mask)
        if asBias {
            operation.mask = .none
            operation.bias = bias(hidingWhatIsHiddenBy: mask, sizes)
        }
        let request = AttentionRequest(
            logSumExp: true, weights: 0..<sizes.queryCount, rowEntropy: true, topKeyCount: 3)
        let (queries, keys, values) = sizes.operands(seed: 32, as: type)
        let clean = operation(queries: queries, keys: keys, values: values, returning: request)
        for (number, poisonedKey) in poisonedKeys.enumerated() {
            let poison = [Double.nan, .infinity, -.infinity][number % 3]
            let poisoned = operation(
                queries: queries, keys: replacing(keys, at: poisonedKey, by: poison),
                values: replacing(values, at: poisonedKey, by: poison), returning: request)
            let parts = [
                (poisoned.output, clean.output), (poisoned.logSumExp, clean.logSumExp),
                (poisoned.weights, clean.weights), (poisoned.rowEntropy, clean.rowEntropy),
                (poisoned.topKeys, clean.topKeys), (poisoned.topWeights, clean.topWeights),
            ].map { rows($0, sizes) == rows($1, sizes) ? nil : (rows($0, sizes), rows($1, sizes)) }
            var reached: [Int] = []
            var hiding: [Int] = []
            for batch in 0..<sizes.batchCount {
                for head in 0..<sizes.headCount {
                    for query in 0..<sizes.queryCount {
                        let row = (batch * sizes.headCount + head) * sizes.queryCount + query
                        if MaskKind.allows(mask, batch: batch, head: head, query: query, key: poisonedKey) {
                            let showsNaN = (0..<sizes.valueDimension).allSatisfy {
                                poisoned.output[batch, head, query, $0].isNaN
                            }
                            if poison.isNaN && !showsNaN { hiding.append(row) }
                        } else if parts.contains(where: { $0 != nil && $0?.0[row] != $0?.1[row] }) {
                            reached.append(row)
                        }
                    }
                }
            }
            #expect(
                reached.isEmpty, "\(poison) of key \(poisonedKey) reaches them: \(measure), \(type)",
                sourceLocation: sourceLocation)
            #expect(
                hiding.isEmpty, "They hide the NaN of key \(poisonedKey): \(measure), \(type)",
                sourceLocation: sourceLocation)
        }
    }

    private func bias(hidingWhatIsHiddenBy mask: AttentionMask, _ sizes: OperandSizes) -> ScoreBias {
        var numbers: [Float] = []
        for batch in 0..<sizes.batchCount {
            for head in 0..<sizes.headCount {
                for query in 0..<sizes.queryCount {
                    for key in 0..<sizes.keyCount {
                        let isVisible = MaskKind.allows(
                            mask, batch: batch, head: head, query: query, key: key)
                        numbers.append(isVisible ? 0.25 : -.infinity)
                    }
                }
            }
        }
        return .tensor(
            Tensor(numbers, shape: [sizes.batchCount, sizes.headCount, sizes.queryCount, sizes.keyCount]))
    }

    /// Returns the tensor with one position of every sequence and head filled with a number.
    private func replacing(_ tensor: Tensor, at position: Int, by number: Double) -> Tensor {
        var numbers = tensor.doubles
        let (length, width) = (tensor.shape[2], tensor.shape[3])
        for sequence in 0..<tensor.shape[0] * tensor.shape[1] {
            for element in 0..<width { numbers[(sequence * length + position) * width + element] = number }
        }
        return Tensor(numbers, shape: tensor.shape).converted(to: tensor.elementType)
    }

    /// The bytes of each query's part of a result.
    private func rows(_ tensor: Tensor?, _ sizes: OperandSizes) -> [ArraySlice<UInt8>] {
        let bytes = bits(tensor)
        let count = sizes.batchCount * sizes.headCount * sizes.queryCount
        let length = bytes.count / count
        return (0..<count).map { bytes[$0 * length..<($0 + 1) * length] }
    }

    @Test(arguments: [Measure.scaledDotProduct, .custom], [3, 19])
    func `infinity in a visible key shows in the queries that see it, and in no other`(
        measure: Measure, queryCount: Int
    ) {
        let sizes = OperandSizes(batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount)
        let (queries, keys, values) = sizes.operands(seed: 33)
        let operation = AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: .causal(offset: 0))
        let infinite = replacing(values, at: 1, by: .infinity)
        let output = operation(queries: queries, keys: keys, values: infinite)
        #expect(output[0, 0, 0, 0].isFinite)
        for query in 1..<queryCount { #expect(output[0, 0, query, 0] == .infinity) }
        expectAgreement(operation, queries: queries, keys: keys, values: infinite)
        // A score of +∞ has no softmax: ∞ - ∞.
        let huge = replacing(replacing(keys, at: 1, by: .infinity), at: 2, by: -.infinity)
        expectAgreement(operation, queries: queries, keys: huge, values: values)
    }

    @Test(arguments: [Measure.scaledDotProduct, .custom], [3, 19])
    func `a query that sees nothing but NaN does not pass for one that sees nothing`(
        measure: Measure, queryCount: Int
    ) {
        let sizes = OperandSizes(batchCount: 1, queryCount: queryCount)
        let (queries, keys, values) = sizes.operands(seed: 37)
        let spoiled = replacing(replacing(keys, at: 0, by: .nan), at: 1, by: .nan)
        let result = AttentionOperation(similarity: measure.similarity(for: sizes), mask: .prefix(2))(
            queries: queries, keys: spoiled, values: values,
            returning: AttentionRequest(logSumExp: true, weights: 0..<queryCount, rowEntropy: true))
        #expect(result.output.floats.allSatisfy { $0.isNaN })
        #expect(result.logSumExp?.floats.allSatisfy { $0.isNaN } == true)
        #expect(result.weights?.slice(axis: 3, range: 0..<2).floats.allSatisfy { $0.isNaN } == true)
        #expect(result.rowEntropy?.floats.allSatisfy { $0.isNaN } == true)
    }

    // MARK: - 3: causality is by offset

    private func picture(_ mask: AttentionMask, queryCount: Int, keyCount: Int, batch: Int = 0) -> [String] {
        (0..<queryCount).map { query in
            (0..<keyCount).map {
                MaskKind.allows(mask, batch: batch, head: 0, query: query, key: $0) ? "x" : "."
            }.joined()
        }
    }

    @Test func `contract 3: query i sees key j if and only if j ≤ i + offset`() {
        #expect(picture(.causal(offset: 0), queryCount: 3, keyCount: 5) == ["x....", "xx...", "xxx.."])
        #expect(picture(.causal(offset: 2), queryCount: 3, keyCount: 5) == ["xxx..", "xxxx.", "xxxxx"])
        #expect(picture(.causal(offset: -1), queryCount: 3, keyCount: 5) == [".....", "x....", "xx..."])
        #expect(
            picture(.causal(offset: -2), queryCount: 5, keyCount: 3) == ["...", "...", "x..", "xx.", "xxx"])
        let each = AttentionMask.causal(offsets: [1, -1])
        #expect(picture(each, queryCount: 2, keyCount: 3, batch: 0) == ["xx.", "xxx"])
        #expect(picture(each, queryCount: 2, keyCount: 3, batch: 1) == ["...", "x.."])
    }

    @Test(arguments: [(3, 5, 0), (3, 5, 2), (3, 5, -1), (5, 3, 0), (5, 3, -2), (31, 17, -14), (17, 31, 14)])
    func `contract 3: the operator's weights have the causal picture`(
        queryCount: Int, keyCount: Int, offset: Int
    ) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: queryCount, keyCount: keyCount)
        let (queries, keys, values) = sizes.operands(seed: 34)
        let weights = AttentionOperation(mask: .causal(offset: offset))(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(weights: 0..<queryCount)
        ).weights
        for query in 0..<queryCount {
            for key in 0..<keyCount {
                let isVisible = (weights?[0, 0, query, key] ?? 0) > 0
                #expect(isVisible == (key <= query + offset))
            }
        }
    }

    // MARK: - 4: the order of the steps

    @Test func `contract 4: scale, then soft-cap, then bias and mask, then softmax`() {
        // q·k = 8 and 2; scale 1/2; soft-cap 3; bias -1 and 2; the third key is masked.
        let queries = Tensor([Float(2)], shape: [1, 1, 1, 1])
        let keys = Tensor([Float(4), 1, 100], shape: [1, 1, 3, 1])
        let values = Tensor([Float(1), 10, 1000], shape: [1, 1, 3, 1])
        let operation = AttentionOperation(
            similarity: .scaledDotProduct(scale: 0.5), mask: .prefix(2),
            bias: .tensor(Tensor([Float(-1), 2, 5], shape: [3])), softCap: 3)
        let scores = [3 * Double.tanh(4 / 3) - 1, 3 * Double.tanh(1 / 3) + 2]
        let exponentials = scores.map(Double.exp)
        let expected = (exponentials[0] + 10 * exponentials[1]) / (exponentials[0] + exponentials[1])
        for result in [
            operation(queries: queries, keys: keys, values: values),
            operation.reference(queries: queries, keys: keys, values: values).output,
        ] {
            expectNear(result, [expected], within: 1e-6)
        }
        let stages: [ScoreStage: [Double]] = [
            .similarity: [4, 1, 100],
            .softCapped: [3 * .tanh(4 / 3), 3 * .tanh(1 / 3), 3 * .tanh(100 / 3)],
            .biased: scores + [-.infinity],
        ]
        for (stage, expected) in stages {
            let request = AttentionRequest(scores: stage)
            expectNear(
                operation(queries: queries, keys: keys, values: values, returning: request).scores, expected,
                within: 1e-6)
        }
    }

    @Test(arguments: [1, 4, 67])
    func `contract 4: the default scale is one over the root of the query's length`(dimension: Int) {
        let sizes = OperandSizes(queryDimension: dimension, keyDimension: dimension)
        let (queries, keys, values) = sizes.operands(seed: 35)
        let scale = 1 / Double(dimension).squareRoot()
        let standard = attention(queries: queries, keys: keys, values: values)
        let explicit = attention(
            queries: queries, keys: keys, values: values, similarity: .scaledDotProduct(scale: scale))
        #expect(bits(standard) == bits(explicit))
    }

    // MARK: - 8: nothing slower is taken silently

    @Test func `contract 8: plan says which kernel runs, and why`() {
        let sizes = OperandSizes(headCount: 4, queryCount: 3)
        let (queries, keys, values) = sizes.operands(seed: 36)
        let few = AttentionOperation().plan(queries: queries, keys: keys, values: values)
        #expect(few.kernels == KernelInfo.name)
        #expect(few.path == "rows")
        #expect(few.reasons.contains { $0.contains("3 queries") && $0.contains("2 heads") })

        let many = OperandSizes(queryCount: 16).operands(seed: 36)
        let packed = AttentionOperation().plan(queries: many.queries, keys: many.keys, values: many.values)
        #expect(packed.path == "packed")
        #expect(packed.reasons.contains { $0.contains("transposed") })

        let custom = AttentionOperation(similarity: Chebyshev()).plan(
            queries: queries, keys: keys, values: values)
        #expect(custom.path == "pairwise")
        #expect(custom.reasons.contains { $0.contains("Chebyshev") })

        let halves = AttentionOperation().plan(
            queries: queries, keys: keys.converted(to: .float16),
            values: values.transposed(2, 3)
                .contiguous().transposed(2, 3))
        #expect(halves.reasons.contains { $0.contains("keys are float16: converted in registers") })
        #expect(halves.reasons.contains { $0.contains("values") && $0.contains("not side by side") })

        let double = AttentionOperation().plan(
            queries: queries.converted(to: .float64), keys: keys, values: values,
            returning: AttentionRequest(rowEntropy: true))
        #expect(double.kernels == "float64")
        #expect(double.reasons.contains { $0.contains("float64") })
        #expect(double.reasons.contains { $0.contains("second pass") })
        for reason in double.reasons { #expect(double.description.contains(reason)) }
    }
}

// MARK: - 5: threads

/// Sets the process's thread count: one test at a time.
@Suite(.serialized) struct `Contract 5` {
    @Test(arguments: [Measure.scaledDotProduct, .additive, .custom])
    func `contract 5: bits do not depend on the number of threads`(measure: Measure) {
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        for (queryCount, keyCount, type) in [
            (2, 521, ElementType.float32), (101, 521, .float32), (97, 37, .float64), (11, 37, .bfloat16),
            (1, 5003, .bfloat16), (1, 5003, .float32),
        ] {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: queryCount, keyCount: keyCount,
                queryDimension: 3, keyDimension: 3)
            let (queries, keys, values) = sizes.operands(seed: 41, as: type)
            var random = SeededGenerator(seed: 42)
            let operation = AttentionOperation(
                similarity: measure.similarity(for: sizes),
                mask: .causal(offset: keyCount == 5003 ? 4700 : 300) & .lengths([keyCount - 1]),
                bias: .alibi(slopes: ScoreBias.alibiSlopes(headCount: 2)), softCap: 2,
                sinks: random.operand([2]))
            let request = AttentionRequest(
                logSumExp: true, weights: 0..<1, scores: .softCapped, keyWeightSums: true, rowEntropy: true,
                topKeyCount: 3)
            let results = [1, 2, 3, 5].map { count in
                ComputeThreads.count = count
                let result = operation(queries: queries, keys: keys, values: values, returning: request)
                return [
                    result.output, result.logSumExp, result.weights, result.scores, result.keyWeightSums,
                    result.rowEntropy, result.topKeys, result.topWeights,
                ].map(bits)
            }
            for result in results { #expect(result == results[0], "\(queryCount) queries, \(type)") }
        }
    }

    @Test func `contract 5: the bits of the other operations do not depend on it either`() {
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        var random = SeededGenerator(seed: 43)
        let x = random.operand([37, 131])
        let weights = WeightMatrix(random.operand([67, 131]))
        let scale = random.operand([131])
        let heads = random.operand([2, 3, 7, 8])
        let rotary = RotaryEmbedding(dimension: 8, layout: .half)
        let positions = [Array(0..<7), Array(5..<12)]
        let results = [1, 2, 3, 5].map { count in
            ComputeThreads.count = count
            return [
                matmul(x, weights), weights.meanRow, softmax(x), softmax(x, axis: 0),
                layerNorm(x, weight: scale),
                rmsNorm(x, weight: scale), gelu(x), geluTanh(x), silu(x), rotary(heads, positions: positions),
            ].map(bits)
        }
        for result in results { #expect(result == results[0]) }
    }
}

// MARK: - 7: wrong shapes

@Suite struct `Contract 7` {
    private func expectStopped(
        _ result: ExitTest.Result?, saying parts: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let message = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        for part in parts {
            #expect(message.contains(part), sourceLocation: sourceLocation)
        }
    }

    @Test func `contract 7: operands that disagree stop the program with both shapes in the message`() async {
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = attention(
                    queries: Tensor(zeros: [2, 3, 5, 7]), keys: Tensor(zeros: [1, 3, 5, 7]),
                    values: Tensor(zeros: [1, 3, 5, 7]))
            }, saying: ["[2, 3, 5, 7]", "[1, 3, 5, 7]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = attention(
                    queries: Tensor(zeros: [1, 3, 5, 7]), keys: Tensor(zeros: [1, 3, 11, 7]),
                    values: Tensor(zeros: [1, 3, 13, 7]))
            }, saying: ["[1, 3, 11, 7]", "[1, 3, 13, 7]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = attention(
                    queries: Tensor(zeros: [1, 3, 5, 7]), keys: Tensor(zeros: [1, 2, 5, 7]),
                    values: Tensor(zeros: [1, 2, 5, 7]))
            }, saying: ["[1, 3, 5, 7]", "[1, 2, 5, 7]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = attention(
                    queries: Tensor(zeros: [1, 3, 5, 7]), keys: Tensor(zeros: [1, 3, 5, 8]),
                    values: Tensor(zeros: [1, 3, 5, 7]))
            }, saying: ["head dimension 7", "have 8"])
    }

    @Test func `contract 7: masks, biases and sinks that do not fit stop the program with both`() async {
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let x = Tensor(zeros: [2, 3, 5, 7])
                _ = attention(
                    queries: x, keys: x, values: x, mask: .boolean(Tensor([true, false], shape: [2])))
            }, saying: ["[1, 1, 1, 2]", "[2, 3, 5, 5]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let x = Tensor(zeros: [2, 3, 5, 7])
                _ = attention(queries: x, keys: x, values: x, mask: .causal(offset: 0) & .lengths([5]))
            }, saying: ["1 lengths", "2 sequences"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let x = Tensor(zeros: [2, 3, 5, 7])
                _ = attention(queries: x, keys: x, values: x, bias: .tensor(Tensor(zeros: [5, 4])))
            }, saying: ["[1, 1, 5, 4]", "[2, 3, 5, 5]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let x = Tensor(zeros: [2, 3, 5, 7])
                _ = attention(queries: x, keys: x, values: x, sinks: Tensor(zeros: [2]))
            }, saying: ["[2]", "[3]"])
    }

    @Test func `contract 7: operations and caches that do not fit stop the program with both`() async {
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = matmul(Tensor(zeros: [2, 3]), WeightMatrix(Tensor(zeros: [5, 7])))
            }, saying: ["[2, 3]", "[5, 7]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Tensor(zeros: [2, 3]) + Tensor(zeros: [2])
            }, saying: ["[2]", "[2, 3]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                var cache = KeyValueCache(batchCount: 1, headCount: 2, keyDimension: 3, valueDimension: 5)
                cache.append(keys: Tensor(zeros: [1, 2, 1, 4]), values: Tensor(zeros: [1, 2, 1, 5]))
            }, saying: ["[1, 2, 1, 4]", "[1, 2, 64, 3]"])
        expectStopped(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                _ = Tensor([Float(1), 2, 3], shape: [2, 2])
            }, saying: ["3 values", "[2, 2]"])
    }
}
