import Attention
import TestSupport
import Testing

@Suite struct `Attention plan` {
    private func plan(
        _ operation: AttentionOperation, queryCount: Int, keyCount: Int, dimension: Int = 1,
        type: ElementType = .float32
    ) -> AttentionPlan {
        operation.plan(
            queries: Tensor(zeros: [1, 1, queryCount, dimension], elementType: type),
            keys: Tensor(zeros: [1, 1, keyCount, dimension], elementType: type),
            values: Tensor(zeros: [1, 1, keyCount, dimension], elementType: type))
    }

    @Test(arguments: MaskKind.allCases)
    func `tiles are counted as the mask's pairs have them`(kind: MaskKind) {
        let sizes = OperandSizes(
            batchCount: 2, headCount: 1, keyValueHeadCount: 1, queryCount: 97, keyCount: 1031,
            queryDimension: 1,
            keyDimension: 1, valueDimension: 1)
        let (queries, keys, values) = sizes.operands(seed: 101)
        let mask = kind.mask(for: sizes)
        let plan = AttentionOperation(mask: mask).plan(queries: queries, keys: keys, values: values)
        #expect(plan.emptyTileCount + plan.fullTileCount + plan.partialTileCount == 2 * 2 * 3)
        var emptyTiles = 0
        var fullTiles = 0
        for batch in 0..<2 {
            for queryBlock in [0..<96, 96..<97] {
                for keyBlock in [0..<512, 512..<1024, 1024..<1031] {
                    var visible = 0
                    for query in queryBlock {
                        for key in keyBlock
                        where MaskKind.allows(mask, batch: batch, head: 0, query: query, key: key) {
                            visible += 1
                        }
                    }
                    if visible == 0 { emptyTiles += 1 }
                    if visible == queryBlock.count * keyBlock.count { fullTiles += 1 }
                }
            }
        }
        switch kind {
        case .boolean, .booleanOfKeys, .booleanOfQueries, .custom, .nested, .windowAndDocuments,
            .documentsOfQueriesAndKeys, .prefixOrCausal:
            // Not known without looking at each pair, or only in part: never more than there are.
            #expect(plan.emptyTileCount <= emptyTiles)
            #expect(plan.fullTileCount <= fullTiles)
        default:
            #expect(plan.emptyTileCount == emptyTiles)
            #expect(plan.fullTileCount == fullTiles)
        }
    }

    @Test func `a causal mask skips the upper triangle`() {
        let causal = plan(AttentionOperation(mask: .causal(offset: 0)), queryCount: 1536, keyCount: 1536)
        // 16 blocks of 96 queries by 3 of 512 keys: those that begin behind a block's last query are hidden.
        #expect(causal.emptyTileCount == 5 + 10)
        #expect(causal.fullTileCount == 10 + 5)
        #expect(causal.partialTileCount == 48 - 30)
        // A block's last query sees as many keys as there are queries up to it, in steps of 64.
        let pairs = (1...16).reduce(0) { $0 + 96 * ((96 * $1 + 63) / 64 * 64) }
        #expect(causal.operationCount == 2 * pairs * 2)
        #expect(
            plan(AttentionOperation(), queryCount: 1536, keyCount: 1536).operationCount == 2 * 1536 * 1536 * 2
        )
    }

    @Test func `with a bias no tile is without mask code`() {
        let biased = plan(
            AttentionOperation(bias: .alibi(slopes: [1])), queryCount: 97, keyCount: 513)
        #expect(biased.fullTileCount == 0)
        #expect(biased.partialTileCount == 4)
    }

    @Test func `the path follows from the measure and the number of queries`() {
        #expect(plan(AttentionOperation(), queryCount: 15, keyCount: 7).path == "rows")
        #expect(plan(AttentionOperation(), queryCount: 16, keyCount: 7).path == "packed")
        #expect(
            plan(AttentionOperation(similarity: .laplacian()), queryCount: 1, keyCount: 7).path == "packed")
        #expect(
            plan(AttentionOperation(similarity: Chebyshev()), queryCount: 99, keyCount: 7).path == "pairwise")
    }

    @Test func `prepared features are told and counted`() {
        var random = SeededGenerator(seed: 102)
        let similarity = Additive(
            queryWeight: random.operand([5, 7]), keyWeight: random.operand([5, 3]),
            scoreWeight: random.operand([5]))
        let plan = AttentionOperation(similarity: similarity).plan(
            queries: Tensor(zeros: [2, 3, 11, 7]), keys: Tensor(zeros: [2, 3, 13, 3]),
            values: Tensor(zeros: [2, 3, 13, 2]))
        #expect(plan.reasons.filter { $0.contains("projected once to 5 features") }.count == 2)
        #expect(plan.operationCount == 2 * 2 * 3 * 11 * 13 * (5 + 2))
        let cosine = AttentionOperation(similarity: .cosine()).plan(
            queries: Tensor(zeros: [2, 3, 11, 7]), keys: Tensor(zeros: [2, 3, 13, 7]),
            values: Tensor(zeros: [2, 3, 13, 2]))
        #expect(cosine.reasons.filter { $0.contains("normalised once") }.count == 2)
    }

    @Test func `memory is linear in the length`() {
        // A square of scores would take 64 MiB; 3 × 200,000 of them 2.4 MB.
        for (queryCount, keyCount) in [(4096, 4096), (3, 200_000)] {
            for measure in [Measure.scaledDotProduct, .custom, .laplacian] {
                let sizes = OperandSizes(queryDimension: 1, keyDimension: 1)
                let operation = AttentionOperation(
                    similarity: measure.similarity(for: sizes), mask: .causal(offset: keyCount - queryCount))
                let once = plan(operation, queryCount: queryCount, keyCount: keyCount)
                // Scores, averages, a row of biases and of flags; which keys each query sees, pair by pair and in bounds.
                let tileByteCount = 4 * (96 * 512 + 96 + 2 * 512 + 1) + 96 * (513 + 24)
                #expect(
                    once.extraByteCount
                        <= 4 * (2 * queryCount + keyCount) + queryCount + once.threadCount * tileByteCount)
            }
        }
    }

    @Test func `long calls run within that memory`() {
        var random = SeededGenerator(seed: 103)
        let queries = random.operand([1, 1, 3, 2])
        let keys = random.operand([1, 1, 50_021, 2])
        let operation = AttentionOperation(mask: .causal(offset: 50_000))
        let output = operation(queries: queries, keys: keys, values: keys)
        // Against the same keys in two halves, joined by their log-sum-exp.
        let request = AttentionRequest(logSumExp: true)
        let halves = [0..<25_000, 25_000..<50_021].map { range in
            let part = keys.slice(axis: 2, range: range)
            return AttentionOperation(mask: .causal(offset: 50_000 - range.lowerBound))(
                queries: queries.converted(to: .float64), keys: part, values: part, returning: request)
        }
        for query in 0..<3 {
            let totals = halves.map { Double.exp($0.logSumExp?[0, 0, query] ?? 0) }
            for element in 0..<2 {
                let joined = zip(halves, totals).reduce(0) { $0 + $1.0.output[0, 0, query, element] * $1.1 }
                #expect(abs(output[0, 0, query, element] - joined / (totals[0] + totals[1])) < 1e-5)
            }
        }
    }

    @Test func `the process's memory stays linear in the length`() async {
        await #expect(processExitsWith: .success) {
            var random = SeededGenerator(seed: 104)
            let x = random.operand([1, 1, 4096, 1])
            let operation = AttentionOperation(mask: .slidingWindow(left: 100, right: nil))
            let plan = operation.plan(queries: x, keys: x, values: x)
            // Anything the first call of all takes.
            let first = x.slice(axis: 2, range: 0..<96)
            _ = operation(queries: first, keys: first, values: first)
            let extra = try #require(
                extraPeakByteCount {
                    _ = operation(
                        queries: x, keys: x, values: x, returning: AttentionRequest(logSumExp: true, rowEntropy: true))
                })
            // Twice the plan's bytes leaves room for the allocator; all scores would be 64 MiB.
            #expect(plan.extraByteCount < 2 << 20)
            #expect(extra < 2 * plan.extraByteCount + 4 << 20)
        }
    }

    // All scores of the longest would be 64 GiB. Without optimisation it would take minutes.
    @Test(
        arguments: [(8192, 8192), (96, 131_072)] + (TestEnvironment.isDebugBuild ? [] : [(131_072, 131_072)]))
    func `long inputs take less than 64 MB beyond operands and output`(queryCount: Int, keyCount: Int) async {
        await #expect(processExitsWith: .success) { [queryCount, keyCount] in
            var random = SeededGenerator(seed: 105)
            let keys = Tensor(random.floats(keyCount * 64), shape: [1, 1, keyCount, 64])
            let queries = keys.slice(axis: 2, range: keyCount - queryCount..<keyCount)
            func output(last count: Int) -> Tensor {
                AttentionOperation(mask: .causal(offset: keyCount - count))(
                    queries: queries.slice(axis: 2, range: queryCount - count..<queryCount), keys: keys, values: keys)
            }
            let plan = AttentionOperation(mask: .causal(offset: keyCount - queryCount)).plan(
                queries: queries, keys: keys, values: keys)
            var found = Tensor(zeros: [])
            let peak = try #require(extraPeakByteCount { found = output(last: queryCount) })
            let extra = peak - queryCount * 64 * 4
            #expect(extra < 64_000_000)
            // An eighth more for the pool's sizes, and what the first call of all takes.
            #expect(extra < plan.extraByteCount * 9 / 8 + 4 << 20)
            // The last queries see all keys, and have the bits that they have without the others.
            #expect(
                bits(found.slice(axis: 2, range: queryCount - 16..<queryCount).contiguous())
                    == bits(output(last: 16).contiguous()))
        }
    }

    @Test func `the description tells it all`() {
        let description = plan(
            AttentionOperation(mask: .causal(offset: 0)), queryCount: 97, keyCount: 521
        ).description
        for part in [
            "\(KernelInfo.name)", "packed", "96 × 512", "4, of them", "operations", "extra bytes", "because",
        ] {
            #expect(description.contains(part))
        }
    }

    @Test func `what is asked for beside the output is counted`() {
        let sizes = OperandSizes(queryCount: 17)
        let (queries, keys, values) = sizes.operands(seed: 7)
        let operation = AttentionOperation()
        // With a second pass as well, so that the keys of all heads are kept: else a thread may pack them head by head.
        let alone = operation.plan(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(weights: 0..<0))
        let request = AttentionRequest(
            logSumExp: true, weights: 2..<5, scores: .biased, keyWeightSums: true, rowEntropy: true, topKeyCount: 4)
        let more = operation.plan(queries: queries, keys: keys, values: values, returning: request)
        let result = operation(queries: queries, keys: keys, values: values, returning: request)
        let returned = [
            result.logSumExp, result.weights, result.scores, result.keyWeightSums, result.rowEntropy, result.topKeys,
            result.topWeights,
        ].reduce(0) { $0 + ($1?.elementCount ?? 0) * 4 }
        #expect(more.extraByteCount - alone.extraByteCount == returned)
        // The scores once more, to be shown.
        let pairs = sizes.batchCount * sizes.headCount * sizes.queryCount * sizes.keyCount
        #expect(more.operationCount - alone.operationCount == 2 * pairs * sizes.queryDimension)
    }
}
