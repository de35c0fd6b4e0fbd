import Attention
import TestSupport
import Testing

/// The README's measure of one's own.
private struct Minkowski: Similarity {
    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for index in query.indices {
            let difference = abs(query[index] - key[index])
            sum += difference * difference * difference
        }
        return -sum
    }
}

/// A measure that uses every function there is, with vectors of two lengths.
private struct Everything: Similarity {
    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var score: Scalar = 0.5
        for (index, other) in zip(query.indices, key.indices) {
            let (x, y) = (query[index], key[other])
            score += .exp(x * 0.3) * .tanh(y) - .log(x * x + 1) / (y * y + Scalar(2.0))
            score -= (x * x + y * y + Scalar(1)).squareRoot() * max(x, -y)
            score.addProduct(x, y)
            score *= 0.75
            score += (x + 7).truncatingRemainder(dividingBy: 1.5) + x.rounded() - x.magnitude
            score /= 1 + y * y
        }
        return -score
    }

    func problem(queryDimension: Int, keyDimension: Int) -> String? { nil }
}

@Suite struct `Gradients of attention` {
    /// Small, as each element of each operand costs two calls.
    private let sizes = OperandSizes(
        batchCount: 2, headCount: 4, keyValueHeadCount: 2, queryCount: 3, keyCount: 5, queryDimension: 3,
        keyDimension: 3, valueDimension: 2)

    private func problems(
        _ sizes: OperandSizes, parameters: [Tensor] = [], seed: UInt64 = 51,
        _ operation: ([Tensor]) -> AttentionOperation
    ) -> [String] {
        let (queries, keys, values) = sizes.operands(seed: seed, as: .float64)
        return gradientProblems(of: [queries, keys, values] + parameters) { inputs in
            operation(Array(inputs[3...]))(queries: inputs[0], keys: inputs[1], values: inputs[2])
        }
    }

    // MARK: - Central differences

    @Test(arguments: Measure.allCases, [MaskKind.none, .causal, .windowAndDocuments, .custom])
    func `of queries, keys and values, by every measure`(measure: Measure, kind: MaskKind) {
        for queryCount in kind == .none ? [3, 11] : [3] {
            var sizes = sizes
            sizes.queryCount = queryCount
            if measure.takesDifferentDimensions { sizes.keyDimension = 2 }
            #expect(
                problems(sizes) { _ in
                    AttentionOperation(similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes))
                } == [])
        }
    }

    @Test(arguments: MaskKind.allCases, [Measure.scaledDotProduct, .laplacian])
    func `under every mask`(kind: MaskKind, measure: Measure) {
        #expect(
            problems(sizes) { _ in
                AttentionOperation(similarity: measure.similarity(for: sizes), mask: kind.mask(for: sizes))
            } == [])
    }

    @Test(arguments: Measure.allCases)
    func `with soft-cap, sinks and biases at once`(measure: Measure) {
        var random = SeededGenerator(seed: 52)
        let sinks = random.operand([4], as: .float64)
        let slopes = random.operand([4], in: 0...1, as: .float64)
        let bias = random.operand([4, 1, 5], as: .float64)
        #expect(
            problems(sizes, parameters: [sinks, slopes, bias]) { parameters in
                AttentionOperation(
                    similarity: measure.similarity(for: sizes), mask: .causal(offset: 1),
                    bias: .alibi(slopes: parameters[1], offset: 2) + .tensor(parameters[2]) + ScoreBias(Waves()),
                    softCap: 1.5, sinks: parameters[0])
            } == [])
    }

    @Test(
        arguments: [
            [2, 4, 3, 5], [1, 4, 3, 5], [2, 1, 3, 5], [3, 5], [4, 1, 5], [5], [2, 1, 3, 1], [4, 3, 1], [2, 4, 1, 1], [],
        ])
    func `of a bias, added up where it is broadcast`(shape: [Int]) {
        var random = SeededGenerator(seed: 53)
        #expect(
            problems(sizes, parameters: [random.operand(shape, as: .float64)]) {
                AttentionOperation(mask: .causal(offset: 2), bias: .tensor($0[0]), softCap: 3)
            } == [])
    }

    @Test func `of ALiBi's slopes, with an offset for each sequence`() {
        var random = SeededGenerator(seed: 54)
        #expect(
            problems(sizes, parameters: [random.operand([4], as: .float64)]) {
                AttentionOperation(bias: .alibi(slopes: $0[0], offsets: [3, -1]))
            } == [])
    }

    @Test func `of the measures' own numbers`() {
        let number = Tensor([0.7], shape: [1])
        let measures: [(Tensor) -> any Similarity] = [
            { .scaledDotProduct(scale: $0) }, { .cosine(temperature: $0) }, { .negativeSquaredEuclidean(scale: $0) },
            { .gaussian(bandwidth: $0) }, { .laplacian(bandwidth: $0) },
        ]
        for (index, measure) in measures.enumerated() {
            for softCap in [nil, 2.0] {
                var operation = AttentionOperation(mask: .slidingWindow(left: 2, right: 1), softCap: softCap)
                let found = problems(sizes, parameters: [number]) {
                    operation.similarity = measure($0[0])
                    return operation
                }
                #expect(found == [], "measure \(index)")
            }
        }
        // At 0 every score is 0, but the derivative by the scale is not.
        #expect(
            problems(sizes, parameters: [Tensor([0.0], shape: [])]) {
                AttentionOperation(similarity: .scaledDotProduct(scale: $0[0]))
            } == [])
    }

    @Test func `of the measures' own weights`() {
        var sizes = sizes
        sizes.keyDimension = 2
        var random = SeededGenerator(seed: 55)
        func tensor(_ shape: [Int]) -> Tensor { random.operand(shape, in: -1...1, as: .float64) }
        #expect(
            problems(sizes, parameters: [tensor([3, 2])]) {
                AttentionOperation(similarity: .general(weight: $0[0]), mask: .causal(offset: 1))
            } == [])
        #expect(
            problems(sizes, parameters: [tensor([5, 3]), tensor([5, 2]), tensor([5]), tensor([5])]) {
                AttentionOperation(
                    similarity: .additive(queryWeight: $0[0], keyWeight: $0[1], scoreWeight: $0[2], bias: $0[3]),
                    mask: .causal(offset: 1), softCap: 2)
            } == [])
        #expect(
            problems(sizes, parameters: [tensor([3]), tensor([2])]) {
                AttentionOperation(
                    similarity: .linearAdditive(queryWeight: $0[0], keyWeight: $0[1]),
                    sinks: Tensor([0.1, 0.2, 0, 1], shape: [4]))
            } == [])
    }

    @Test func `of a measure that has only its score`() {
        #expect(
            problems(sizes) { _ in AttentionOperation(similarity: Minkowski(), mask: .causal(offset: 1)) } == [])
        var sizes = sizes
        sizes.keyDimension = 2
        #expect(problems(sizes) { _ in AttentionOperation(similarity: Everything()) } == [])
    }

    // Measures without a kink: of so many pairs, one is always at it.
    @Test(arguments: [Measure.scaledDotProduct, .cosine, .euclidean, .additive])
    func `across the edges of tiles`(measure: Measure) {
        var random = SeededGenerator(seed: 56)
        for (queryCount, keyCount) in [(131, 263), (257, 31)] {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: queryCount, keyCount: keyCount,
                queryDimension: 3, keyDimension: 3, valueDimension: 2)
            let (queries, keys, values) = sizes.operands(seed: 57, as: .float64)
            let inputs = [
                queries, keys, values, random.operand([2], as: .float64),
                random.operand([2], in: 0...0.1, as: .float64),
                random.operand([keyCount], as: .float64),
            ]
            func output(_ inputs: [Tensor]) -> Tensor {
                AttentionOperation(
                    similarity: measure.similarity(for: sizes), mask: .slidingWindow(left: 150, right: 40, offset: 30),
                    bias: .alibi(slopes: inputs[4]) + .tensor(inputs[5]), softCap: 4, sinks: inputs[3])(
                        queries: inputs[0], keys: inputs[1], values: inputs[2])
            }
            // The derivative along one direction of all inputs.
            let tracked = inputs.map { $0.tracked() }
            let weights = random.operand([1, 2, queryCount, 2], as: .float64)
            let gradients = (output(tracked) * weights).sum().gradients(of: tracked)
            let directions = inputs.map { random.operand($0.shape, in: -1...1, as: .float64) }
            for (index, direction) in directions.enumerated() {
                func loss(_ step: Double) -> Double {
                    var moved = inputs
                    moved[index] = inputs[index] + direction * step
                    return (output(moved) * weights).sum().doubles[0]
                }
                let step = 1e-5
                let slope = (loss(step) - loss(-step)) / (2 * step)
                let expected = (gradients[index] * direction).sum().doubles[0]
                #expect(abs(slope - expected) <= 2e-6 * max(1, abs(expected)), "\(queryCount), input \(index)")
            }
        }
    }

    // MARK: - float32 and half types

    @Test(arguments: Measure.allCases, [ElementType.float32, .float16, .bfloat16])
    func `of narrower types are those of float64, rounded`(measure: Measure, type: ElementType) {
        let sizes = OperandSizes(batchCount: 1, headCount: 4, keyValueHeadCount: 2, queryCount: 19, keyCount: 37)
        let (queries, keys, values) = sizes.operands(seed: 58, as: type)
        let operation = AttentionOperation(
            similarity: measure.similarity(for: sizes), mask: .causal(offset: 18), softCap: 20)
        func gradients(as type: ElementType) -> [Tensor] {
            let inputs = [queries, keys, values].map { $0.converted(to: type).tracked() }
            let output = operation(queries: inputs[0], keys: inputs[1], values: inputs[2])
            #expect(output.elementType == type)
            return (output * output.detached).sum().gradients(of: inputs)
        }
        // The output's rounding is in the seed, too.
        let tolerance = type == .float32 ? 2e-5 : type == .float16 ? 4e-3 : 3e-2
        for (narrow, wide) in zip(gradients(as: type), gradients(as: .float64)) {
            #expect(narrow.elementType == .float32)
            expectNear(narrow, wide.doubles, within: tolerance)
        }
    }

    @Test func `of heads that lie side by side have the layout of their operands`() {
        var random = SeededGenerator(seed: 59)
        let inputs = [random.operand([2, 5, 12]), random.operand([2, 7, 6]), random.operand([2, 7, 4])]
            .map { $0.converted(to: .float16).tracked() }
        let output = attention(
            queries: inputs[0], keys: inputs[1], values: inputs[2], headCount: 4, keyValueHeadCount: 2)
        #expect(output.shape == [2, 5, 8] && output.elementType == .float16)
        #expect(output.sum().gradients(of: inputs).map(\.shape) == inputs.map(\.shape))
    }

    @Test func `change nothing of the output, and are not recorded where nobody asks`() {
        let sizes = OperandSizes(headCount: 4)
        for measure in Measure.allCases {
            let (queries, keys, values) = sizes.operands(seed: 60)
            let operation = AttentionOperation(similarity: measure.similarity(for: sizes), mask: .causal(offset: 2))
            let request = AttentionRequest(logSumExp: true, weights: 0..<3)
            let plain = operation(queries: queries, keys: keys, values: values, returning: request)
            let recorded = operation(queries: queries, keys: keys.tracked(), values: values, returning: request)
            #expect(recorded.output.isTracked && !plain.output.isTracked)
            #expect(bits(recorded.output) == bits(plain.output))
            #expect(bits(recorded.logSumExp) == bits(plain.logSumExp) && bits(recorded.weights) == bits(plain.weights))
            withoutGradients {
                let output = operation(queries: queries, keys: keys.tracked(), values: values)
                #expect(!output.isTracked)
            }
        }
    }

    // MARK: - Contracts

    @Test(arguments: Measure.allCases)
    func `contract 1: a query that may attend to nothing has and gives gradients of zero`(measure: Measure) {
        var sizes = sizes
        for keyCount in [5, 0] {
            sizes.keyCount = keyCount
            let (queries, keys, values) = sizes.operands(seed: 61)
            let inputs = [queries, keys, values, Tensor([0.5, -1, 0, 2] as [Float], shape: [4])].map { $0.tracked() }
            let output = AttentionOperation(
                similarity: measure.similarity(for: sizes), mask: .prefix(0), softCap: 3, sinks: inputs[3])(
                    queries: inputs[0], keys: inputs[1], values: inputs[2])
            // Even a gradient that is no number does not get through.
            let seed = Tensor(filledWith: .nan, shape: output.shape)
            for gradient in output.gradients(of: inputs, seed: seed) {
                #expect(gradient.floats.allSatisfy { $0 == 0 })
            }
        }
    }

    @Test func `contract 1: beside queries that see something, one that sees nothing has a gradient of zero`() {
        let sizes = OperandSizes(queryCount: 5)
        let (queries, keys, values) = sizes.operands(seed: 62)
        let tracked = [queries, keys, values].map { $0.tracked() }
        let output = AttentionOperation(mask: .causal(offset: -2))(
            queries: tracked[0], keys: tracked[1], values: tracked[2])
        let gradients = (output * output).sum().gradients(of: tracked)
        #expect(gradients[0].slice(axis: 2, range: 0..<2).floats.allSatisfy { $0 == 0 })
        #expect(gradients[0].slice(axis: 2, range: 3..<5).floats.allSatisfy { $0 != 0 })
    }

    @Test(arguments: MaskKind.allCases, [false, true])
    func `contract 2: poison in a masked key and its value reaches no gradient`(kind: MaskKind, asBias: Bool) {
        let calls: [(measure: Measure, queryCount: Int, key: Int, poison: Double)] = [
            (.scaledDotProduct, 3, 0, .nan), (.scaledDotProduct, 19, 6, .infinity), (.cosine, 19, 12, .nan),
            (.general, 3, 6, .nan), (.linearAdditive, 19, 0, -.infinity), (.additiveWithBias, 7, 12, .nan),
            (.euclidean, 19, 0, .infinity), (.laplacian, 7, 6, .nan), (.custom, 7, 0, .nan),
        ]
        for (measure, queryCount, key, poison) in calls {
            let sizes = OperandSizes(batchCount: 1, keyValueHeadCount: 1, queryCount: queryCount)
            expectNoPoison(sizes, measure, kind, asBias, key, poison)
        }
    }

    @Test(arguments: [MaskKind.none, .causal, .window, .nested])
    func `contract 2: poison reaches no gradient across the edges of tiles`(kind: MaskKind) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: 130, keyCount: 263, queryDimension: 3,
            keyDimension: 3)
        expectNoPoison(sizes, .scaledDotProduct, kind, false, 3, .nan)
        expectNoPoison(sizes, .general, kind, false, 258, .infinity)
    }

    /// Hides a key from all queries beside what a mask hides, and holds the gradients against those without poison.
    private func expectNoPoison(
        _ sizes: OperandSizes, _ measure: Measure, _ kind: MaskKind, _ asBias: Bool, _ hidden: Int, _ poison: Double
    ) {
        var isShown = [Bool](repeating: true, count: sizes.keyCount)
        isShown[hidden] = false
        let mask = kind.mask(for: sizes) & .boolean(Tensor(isShown, shape: [sizes.keyCount]))
        var operation = AttentionOperation(
            similarity: learned(measure, sizes), mask: mask, softCap: 5)
        if asBias {
            operation.mask = kind.mask(for: sizes)
            operation.bias = .tensor(
                Tensor(isShown.map { $0 ? 0.25 : -Float.infinity }, shape: [sizes.keyCount]).tracked())
        }
        func gradients(_ keys: Tensor, _ values: Tensor) -> [[UInt8]] {
            var tracked = [queries, keys, values].map { $0.tracked() }
            let output = operation(queries: tracked[0], keys: tracked[1], values: tracked[2])
            tracked += parameters(operation.similarity)
            return (output * weights).sum().gradients(of: tracked).map(bits)
        }
        let (queries, keys, values) = sizes.operands(seed: 63)
        var random = SeededGenerator(seed: 64)
        let weights = random.operand([1, 2, sizes.queryCount, sizes.valueDimension])
        let clean = gradients(replacing(keys, at: hidden, by: 1), replacing(values, at: hidden, by: 1))
        let poisoned = gradients(replacing(keys, at: hidden, by: poison), replacing(values, at: hidden, by: poison))
        #expect(poisoned == clean, "\(measure), \(sizes.queryCount) queries, key \(hidden), \(poison)")
        let width = sizes.keyDimension * 4
        #expect(poisoned[1][hidden * width..<(hidden + 1) * width].allSatisfy { $0 & 0x7F == 0 })
    }

    /// The measure with tracked numbers of its own, where it has any.
    private func learned(_ measure: Measure, _ sizes: OperandSizes) -> any Similarity {
        switch measure.similarity(for: sizes) {
        case let general as General: .general(weight: general.weight.tracked())
        case let additive as Additive:
            .additive(
                queryWeight: additive.queryWeight.tracked(), keyWeight: additive.keyWeight.tracked(),
                scoreWeight: additive.scoreWeight.tracked(), bias: additive.bias?.tracked())
        case let linear as LinearAdditive:
            .linearAdditive(queryWeight: linear.queryWeight.tracked(), keyWeight: linear.keyWeight.tracked())
        case let other: other
        }
    }

    private func parameters(_ similarity: any Similarity) -> [Tensor] {
        switch similarity {
        case let general as General: [general.weight]
        case let additive as Additive:
            [additive.queryWeight, additive.keyWeight, additive.scoreWeight] + (additive.bias.map { [$0] } ?? [])
        case let linear as LinearAdditive: [linear.queryWeight, linear.keyWeight]
        default: []
        }
    }

    @Test func `contract 2: a query that is no number reaches only what it sees`() {
        // Query 8 sees keys 7 and 8, beside queries 7 and 9, which see one of them each.
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: 13, keyCount: 13, valueDimension: 5)
        let (queries, keys, values) = sizes.operands(seed: 65)
        let tracked = [replacing(queries, at: 8, by: .nan), keys, values].map { $0.tracked() }
        let output = AttentionOperation(mask: .slidingWindow(left: 1, right: 0))(
            queries: tracked[0], keys: tracked[1], values: tracked[2])
        let gradients = (output * output).sum().gradients(of: tracked)
        for (gradient, reached) in zip(gradients, [8...8, 7...8, 7...8]) {
            for position in 0..<13 {
                let row = gradient.slice(axis: 2, range: position..<position + 1).floats
                #expect(row.allSatisfy { $0.isNaN } == reached.contains(position))
                #expect(row.allSatisfy { $0.isFinite } != reached.contains(position))
            }
        }
    }

    @Test(arguments: Measure.allCases)
    func `contract 5: bits of gradients depend on neither threads nor neighbours in the batch`(measure: Measure) {
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        for type in [ElementType.float32, .float64] {
            let sizes = OperandSizes(
                batchCount: 3, headCount: 2, keyValueHeadCount: 1, queryCount: 131, keyCount: 263, queryDimension: 3,
                keyDimension: 3)
            let (queries, keys, values) = sizes.operands(seed: 66, as: type)
            var random = SeededGenerator(seed: 67)
            let parameters = [
                random.operand([2], as: type), random.operand([2], in: 0...1, as: type),
                random.operand([131, 1], as: type),
            ]
            func gradients(threads: Int, batch: Range<Int>) -> [[UInt8]] {
                ComputeThreads.count = threads
                let inputs =
                    [queries, keys, values].map { $0.slice(axis: 0, range: batch).contiguous().tracked() }
                    + parameters.map { $0.tracked() }
                let output = AttentionOperation(
                    similarity: learned(measure, sizes), mask: .causal(offset: 99),
                    bias: .alibi(slopes: inputs[4]) + .tensor(inputs[5]), softCap: 4, sinks: inputs[3])(
                        queries: inputs[0], keys: inputs[1], values: inputs[2])
                return (output * output.detached).sum().gradients(of: inputs).map(bits)
            }
            let whole = gradients(threads: 1, batch: 0..<3)
            // Without optimisation each takes seconds.
            for threads in TestEnvironment.isDebugBuild ? [3] : [2, 3, 5, 7] {
                #expect(gradients(threads: threads, batch: 0..<3) == whole, "\(type), \(threads) threads")
            }
            for (index, part) in gradients(threads: 4, batch: 1..<2)[..<3].enumerated() {
                let length = whole[index].count / 3
                #expect(part == Array(whole[index][length..<2 * length]), "\(type), operand \(index)")
            }
        }
    }

    @Test func `take memory linear in the length`() async {
        await #expect(processExitsWith: .success) {
            func gradients(length: Int) -> [Tensor] {
                var random = SeededGenerator(seed: 68)
                let inputs = (0..<3).map { _ in
                    Tensor(random.floats(length * 4), shape: [1, 1, length, 4]).tracked()
                }
                let sinks = Tensor([0] as [Float], shape: [1]).tracked()
                let output = AttentionOperation(mask: .slidingWindow(left: 64, right: 0), softCap: 9, sinks: sinks)(
                    queries: inputs[0], keys: inputs[1], values: inputs[2])
                return output.sum().gradients(of: inputs + [sinks])
            }
            // Anything the first call of all takes.
            _ = gradients(length: 128)
            // All scores would be 1 GiB.
            var found: [Tensor] = []
            let extra = try #require(extraPeakByteCount { found = gradients(length: 16_384) })
            #expect(extra < 24 << 20)
            #expect(found.allSatisfy { gradient in gradient.floats.contains { $0 != 0 } })
        }
    }

    // In a process of its own, so that the pool serves nobody else.
    @Test func `take the memory that the plan tells, and the call before them too`() async {
        await #expect(processExitsWith: .success) {
            let sizes = OperandSizes(
                batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: 521, keyCount: 263, queryDimension: 31,
                keyDimension: 31, valueDimension: 37)
            func check(
                _ similarity: any Similarity = .scaledDotProduct, bias: ScoreBias = .none, softCap: Double? = nil,
                sinks: Tensor? = nil, parameters: [Tensor] = [], type: ElementType = .float32,
                tracking: [Bool] = [true, true, true], sourceLocation: SourceLocation = #_sourceLocation
            ) {
                func byteCount(_ tensors: [Tensor]) -> Int {
                    tensors.reduce(0) { $0 + $1.elementCount * $1.elementType.byteCount }
                }
                let (queries, keys, values) = sizes.operands(seed: 69, as: type)
                let operands = zip([queries, keys, values], tracking).map { $1 ? $0.tracked() : $0 }
                let operation = AttentionOperation(
                    similarity: similarity, mask: .slidingWindow(left: 300, right: 0), bias: bias, softCap: softCap,
                    sinks: sinks)
                let plan = operation.plan(queries: operands[0], keys: operands[1], values: operands[2])
                let seed = Tensor(
                    filledWith: 1, shape: [1, 2, 521, 37], elementType: type == .float64 ? .float64 : .float32)
                func call() -> Tensor { operation(queries: operands[0], keys: operands[1], values: operands[2]) }

                var output = Tensor(zeros: [])
                let onTheWayThere = BufferPool.shared.peakByteCount { output = withoutGradients { call() } }
                var found: [Tensor] = []
                let onTheWayBack = BufferPool.shared.peakByteCount {
                    let output = call()
                    found = output.gradients(of: operands.filter(\.isTracked) + parameters, seed: seed)
                }
                let figures: Comment =
                    "\(onTheWayThere) on the way there, \(onTheWayBack) on the way back, with \(byteCount(found)) of gradients: \(plan)"
                // An eighth more for the pool's sizes, or less where not all is held at a time.
                #expect(
                    onTheWayThere <= (plan.extraByteCount + byteCount([output])) * 9 / 8 + 4096, figures,
                    sourceLocation: sourceLocation)
                #expect(plan.extraByteCount < plan.backwardByteCount, figures, sourceLocation: sourceLocation)
                #expect(plan.description.contains("on the way back \(plan.backwardByteCount)"))
                let planned = plan.backwardByteCount + byteCount([output] + found)
                #expect(onTheWayBack <= planned * 9 / 8 + 4096, figures, sourceLocation: sourceLocation)
                // Two threads need not hold their tiles at the same time.
                if ComputeThreads.count > 1 { return }
                // Gradients of mapped queries and keys come when all else is free.
                let isMapped = plan.reasons.contains { $0.contains("projected") || $0.contains("normalised") }
                #expect(
                    onTheWayBack >= planned * 7 / 8 - (isMapped ? byteCount(Array(found.prefix(2))) : 0), figures,
                    sourceLocation: sourceLocation)
            }
            var random = SeededGenerator(seed: 70)
            let slopes = random.operand([2], in: 0...1).tracked()
            let numbers = random.operand([521, 263]).tracked()
            let sinks = random.operand([2]).tracked()
            let scale = random.operand([]).tracked()
            // Two threads share the one key-value head.
            for threads in [2, 1] {
                ComputeThreads.count = threads
                check()
                check(
                    .scaledDotProduct(scale: scale), bias: .alibi(slopes: slopes) + .tensor(numbers), softCap: 4,
                    sinks: sinks, parameters: [scale, slopes, numbers, sinks])
            }
            for measure in Measure.allCases { check(measure.similarity(for: sizes)) }
            for type in [ElementType.float16, .bfloat16, .float64] { check(type: type) }
            check(tracking: [false, false, true])
            check(tracking: [false, true, false])
            let operands = sizes.operands(seed: 69)
            #expect(
                AttentionOperation().plan(queries: operands.queries, keys: operands.keys, values: operands.values)
                    .backwardByteCount == 0)
        }
    }

    private func replacing(_ tensor: Tensor, at position: Int, by number: Double) -> Tensor {
        var numbers = tensor.doubles
        let (length, width) = (tensor.shape[2], tensor.shape[3])
        for sequence in 0..<tensor.shape[0] * tensor.shape[1] {
            for element in 0..<width { numbers[(sequence * length + position) * width + element] = number }
        }
        return Tensor(numbers, shape: tensor.shape).converted(to: tensor.elementType)
    }
}
