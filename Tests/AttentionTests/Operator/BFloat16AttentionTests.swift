import Attention
import CAttentionKernels
import TestSupport
import Testing

/// Where the processor multiplies bfloat16, operands of that type take a path of their own; elsewhere these tests hold
/// for the conversion to float32.
@Suite(.serialized) struct `Attention in bfloat16` {
    static let sizes = [
        OperandSizes(
            batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: 41, keyCount: 531, queryDimension: 6,
            keyDimension: 6, valueDimension: 5),
        OperandSizes(queryCount: 17, keyCount: 67, queryDimension: 64, keyDimension: 64, valueDimension: 80),
        OperandSizes(
            headCount: 4, queryCount: 37, keyCount: 64, queryDimension: 2, keyDimension: 2, valueDimension: 33),
        // Whole tiles of AMX, the last with few queries and few keys.
        OperandSizes(
            batchCount: 1, headCount: 2, keyValueHeadCount: 1, queryCount: 37, keyCount: 531, queryDimension: 32,
            keyDimension: 32, valueDimension: 80),
    ]

    /// The rule: the error of a float32 result, and that of rounding weights and output to bfloat16.
    ///
    /// Each is half a unit in the last of 8 binary digits, 2⁻⁸ of the number at most. The weights' sum is 1: theirs is at most that of the largest value.
    @Test(arguments: MaskKind.allCases)
    func `contract 6: agrees with the reference on the rounded operands`(kind: MaskKind) {
        for sizes in Self.sizes {
            let (queries, keys, values) = sizes.operands(seed: 51, as: .bfloat16)
            for sinks in [nil, Tensor([Float](repeating: 0.5, count: sizes.headCount), shape: [sizes.headCount])] {
                let operation = AttentionOperation(mask: kind.mask(for: sizes), sinks: sinks)
                let request = AttentionRequest(logSumExp: true)
                let actual = operation(queries: queries, keys: keys, values: values, returning: request)
                let reference = operation.reference(queries: queries, keys: keys, values: values, returning: request)
                #expect(actual.output.elementType == .bfloat16)
                let largestValue = values.doubles.map(abs).max() ?? 0
                for (number, expected) in zip(actual.output.doubles, reference.output.doubles) {
                    let tolerance = 0x1p-8 * (largestValue + abs(expected)) + 1e-5
                    #expect(abs(number - expected) <= tolerance, "\(number), not \(expected): \(sizes.keyCount) keys")
                }
                expectNear(actual.logSumExp, reference.logSumExp?.doubles ?? [], within: 1e-5)
            }
        }
    }

    @Test func `contract 8: the path is taken where the kernels have it, and the plan says so`() {
        let (queries, keys, values) = Self.sizes[1].operands(seed: 52, as: .bfloat16)
        let plan = AttentionOperation().plan(queries: queries, keys: keys, values: values)
        let isMultiplied = ["avx512", "amx"].contains(KernelInfo.name) && sattn_has_bfloat16()
        #expect(plan.kernels == KernelInfo.name + (isMultiplied ? " bfloat16" : ""))
    }

    @Test func `what is asked for beside the output agrees with it, and changes no bit of it`() {
        let sizes = Self.sizes[1]
        let (queries, keys, values) = sizes.operands(seed: 52, as: .bfloat16)
        let operation = AttentionOperation(mask: .causal(offset: 50))
        let request = AttentionRequest(logSumExp: true, weights: 0..<17, keyWeightSums: true, rowEntropy: true)
        let alone = operation(queries: queries, keys: keys, values: values)
        let result = operation(queries: queries, keys: keys, values: values, returning: request)
        let reference = operation.reference(queries: queries, keys: keys, values: values, returning: request)
        #expect(bits(alone) == bits(result.output))
        expectNear(result.weights, reference.weights?.doubles ?? [], within: 1e-5)
        expectNear(result.keyWeightSums, reference.keyWeightSums?.doubles ?? [], within: 1e-5)
        expectNear(result.rowEntropy, reference.rowEntropy?.doubles ?? [], within: 1e-5)
    }

    @Test(arguments: [(6, 6), (32, 80)])
    func `contract 5: bits depend on neither threads, nor neighbours, nor the block of queries`(widths: (Int, Int)) {
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        let sizes = OperandSizes(
            batchCount: 3, headCount: 2, keyValueHeadCount: 1, queryCount: 101, keyCount: 531, queryDimension: widths.0,
            keyDimension: widths.0, valueDimension: widths.1)
        let (queries, keys, values) = sizes.operands(seed: 53, as: .bfloat16)
        let mask = AttentionMask.causal(offset: 300) & .lengths([531, 77, 301])
        let whole = AttentionOperation(mask: mask)(queries: queries, keys: keys, values: values)
        for threads in [1, 2, 3, 5] {
            ComputeThreads.count = threads
            let again = AttentionOperation(mask: mask)(queries: queries, keys: keys, values: values)
            #expect(bits(again) == bits(whole), "\(threads) threads")
        }
        for (batch, length) in [531, 77, 301].enumerated() {
            let range = batch..<batch + 1
            let alone = AttentionOperation(mask: .causal(offset: 310) & .lengths([min(length, 400 + batch)]))(
                queries: queries.slice(axis: 0, range: range).slice(axis: 2, range: 10..<60),
                keys: keys.slice(axis: 0, range: range).slice(axis: 2, range: 0..<400 + batch),
                values: values.slice(axis: 0, range: range).slice(axis: 2, range: 0..<400 + batch))
            #expect(bits(alone) == bits(whole.slice(axis: 0, range: range).slice(axis: 2, range: 10..<60)), "\(batch)")
        }
    }

    @Test(arguments: [(8, 35), (32, 16)])
    func `contracts 1 and 2: who sees nothing gets zeros, and poison reaches those alone who see it`(
        widths: (Int, Int)
    ) {
        let sizes = OperandSizes(
            batchCount: 1, headCount: 1, keyValueHeadCount: 1, queryCount: 23, keyCount: 131, queryDimension: widths.0,
            keyDimension: widths.0, valueDimension: widths.1)
        let (queries, keys, values) = sizes.operands(seed: 54, as: .bfloat16)
        for mask in [
            AttentionMask.causal(offset: -3), .slidingWindow(left: 2, right: 5, offset: 40), .lengths([60]), .prefix(7),
        ] {
            let operation = AttentionOperation(mask: mask)
            let clean = operation(queries: queries, keys: keys, values: values)
            for key in [0, 6, 7, 13, 41, 60, 130] {
                for poison in [Double.nan, .infinity, -.infinity] {
                    func poisoned(_ tensor: Tensor) -> Tensor {
                        var numbers = tensor.doubles
                        let width = tensor.shape[3]
                        for index in key * width..<(key + 1) * width { numbers[index] = poison }
                        return Tensor(numbers, shape: tensor.shape).converted(to: .bfloat16)
                    }
                    let output = operation(queries: queries, keys: poisoned(keys), values: poisoned(values))
                    for query in 0..<23 {
                        func row(_ tensor: Tensor) -> [UInt8] { bits(tensor.slice(axis: 2, range: query..<query + 1)) }
                        if MaskKind.allows(mask, batch: 0, head: 0, query: query, key: key) {
                            if poison.isNaN { #expect((0..<widths.1).allSatisfy { output[0, 0, query, $0].isNaN }) }
                        } else {
                            #expect(row(output) == row(clean), "\(poison) of key \(key) reaches query \(query)")
                        }
                    }
                }
            }
        }
        let nothing = AttentionOperation(mask: .causal(offset: -3))(queries: queries, keys: keys, values: values)
        for query in 0..<3 { #expect((0..<widths.1).allSatisfy { nothing[0, 0, query, $0] == 0 }) }
    }

    @Test func `contract 8: the plan says so, and what does not fit the path is converted`() {
        let sizes = Self.sizes[1]
        let (queries, keys, values) = sizes.operands(seed: 55, as: .bfloat16)
        func reasons(_ operation: AttentionOperation) -> [String] {
            operation.plan(queries: queries, keys: keys, values: values).reasons
        }
        let capped = reasons(AttentionOperation(softCap: 3))
        #expect(capped.contains { $0.contains("keys are bfloat16: copied once as float32") })
        let plain = reasons(AttentionOperation(mask: .causal(offset: 0)))
        #expect(
            plain.contains { $0.contains("which the processor multiplies") }
                != plain.contains { $0.contains("keys are bfloat16: copied once as float32") })
    }
}
