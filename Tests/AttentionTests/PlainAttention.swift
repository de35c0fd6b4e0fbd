import Attention
import Testing

/// The operator's definition once more, as a plain loop in a scalar of choice: with `Float`, what the tiled path's
/// error is measured by.
struct PlainAttention<Scalar: AttentionScalar> {
    private(set) var output: [Scalar] = []
    private(set) var logSumExp: [Scalar] = []
    private(set) var weights: [Scalar] = []
    private(set) var scores: [ScoreStage: [Scalar]] = [.similarity: [], .softCapped: [], .biased: []]
    private(set) var keyWeightSums: [Scalar]
    private(set) var rowEntropy: [Scalar] = []

    init(_ operation: AttentionOperation, queries: Tensor, keys: Tensor, values: Tensor) {
        let shape = AttentionShape(queries: queries, keys: keys, values: values)
        let queryRows = PlainAttention.rows(of: queries)
        let keyRows = PlainAttention.rows(of: keys)
        let valueRows = PlainAttention.rows(of: values)
        keyWeightSums = [Scalar](repeating: 0, count: shape.batchCount * shape.headCount * shape.keyCount)
        for batch in 0..<shape.batchCount {
            for head in 0..<shape.headCount {
                let sequence = batch * shape.headCount + head
                let group = batch * shape.keyValueHeadCount + head / shape.groupSize
                let groupKeys = group * shape.keyCount..<(group + 1) * shape.keyCount
                let sink = operation.sinks.map { Scalar($0[head]) } ?? -.infinity
                for query in 0..<shape.queryCount {
                    let row = scores(
                        operation, queryRows[sequence * shape.queryCount + query], keyRows[groupKeys], batch,
                        head,
                        query)
                    add(row, sink, valueRows[groupKeys], shape.valueDimension, sequence * shape.keyCount)
                }
            }
        }
    }

    private mutating func scores(
        _ operation: AttentionOperation, _ query: [Scalar], _ keys: ArraySlice<[Scalar]>, _ batch: Int,
        _ head: Int,
        _ queryIndex: Int
    ) -> [Scalar] {
        keys.enumerated().map { index, key in
            var score: Scalar = operation.similarity.score(query: query.span, key: key.span)
            scores[.similarity]?.append(score)
            if let softCap = operation.softCap { score = Scalar(softCap) * .tanh(score / Scalar(softCap)) }
            scores[.softCapped]?.append(score)
            for rule in operation.bias.rules {
                let bias = Scalar(rule.value(batch: batch, head: head, query: queryIndex, key: index))
                score = bias == -.infinity ? bias : score + bias
            }
            if let rule = operation.mask.rule,
                !rule.allows(batch: batch, head: head, query: queryIndex, key: index)
            {
                score = -.infinity
            }
            scores[.biased]?.append(score)
            return score
        }
    }

    private mutating func add(
        _ row: [Scalar], _ sink: Scalar, _ values: ArraySlice<[Scalar]>, _ width: Int, _ firstSum: Int
    ) {
        var average = [Scalar](repeating: 0, count: width)
        if row.allSatisfy({ $0 == -.infinity }) {
            output += average
            weights += row.map { _ in 0 }
            logSumExp.append(-.infinity)
            rowEntropy.append(0)
            return
        }
        let largest = row.reduce(sink) { $1.isNaN ? $1 : max($0, $1) }
        var rowWeights = row.map { Scalar.exp($0 - largest) }
        let denominator = rowWeights.reduce(sink == -.infinity ? 0 : Scalar.exp(sink - largest), +)
        var entropy: Scalar = 0
        for (index, value) in values.enumerated() where row[index] != -.infinity {
            rowWeights[index] /= denominator
            for element in 0..<width { average[element] += rowWeights[index] * value[element] }
            keyWeightSums[firstSum + index] += rowWeights[index]
            if rowWeights[index] != 0 { entropy -= rowWeights[index] * .log(rowWeights[index]) }
        }
        output += average
        weights += rowWeights
        logSumExp.append(largest + .log(denominator))
        rowEntropy.append(entropy)
    }

    private static func rows(of tensor: Tensor) -> [[Scalar]] {
        let numbers = tensor.doubles
        let width = tensor.shape[3]
        let count = tensor.shape[0] * tensor.shape[1] * tensor.shape[2]
        return (0..<count).map { row in numbers[row * width..<(row + 1) * width].map { Scalar($0) } }
    }
}

// MARK: - Tolerances

/// The rule for every float32 result (contract 6): the largest error is at most twice that of a plain float32 loop,
/// both measured against the reference in Double, plus a floor of four units in the last place of the largest
/// number, plus half a unit of the type that the result is stored as.
///
/// NaN and ∞ must be where the reference has them.
func expectAgreement(
    _ actual: Tensor?, plain: [Float], reference: Tensor?, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard let actual, let reference else {
        Issue.record("There is no result to compare.", sourceLocation: sourceLocation)
        return
    }
    #expect(actual.shape == reference.shape, comment, sourceLocation: sourceLocation)
    let (numbers, expected) = (actual.doubles, reference.doubles)
    guard numbers.count == expected.count, plain.count == expected.count else {
        Issue.record(
            "There are \(numbers.count) and \(plain.count) numbers for \(expected.count).",
            sourceLocation: sourceLocation)
        return
    }
    var largest = 0.0
    var error = 0.0
    var plainError = 0.0
    for index in expected.indices {
        if !expected[index].isFinite {
            let isSame = numbers[index] == expected[index] || numbers[index].isNaN && expected[index].isNaN
            #expect(
                isSame,
                "\(numbers[index]), not \(expected[index]), at \(index). \(comment.map { "\($0)" } ?? "")",
                sourceLocation: sourceLocation)
            continue
        }
        largest = max(largest, abs(expected[index]))
        // A NaN is an error without bound, not one that `max` passes over.
        error = max(error, numbers[index].isNaN ? .infinity : abs(numbers[index] - expected[index]))
        plainError = max(plainError, abs(Double(plain[index]) - expected[index]))
    }
    let storedDigits: Double =
        switch actual.elementType {
        case .float16: 0x1p-11
        case .bfloat16: 0x1p-8
        default: 0
        }
    let tolerance = 2 * plainError + 4 * Double(Float(largest).ulp) + storedDigits * largest
    #expect(
        error <= tolerance,
        "The error is \(error), a plain loop's \(plainError), of numbers up to \(largest). \(comment.map { "\($0)" } ?? "")",
        sourceLocation: sourceLocation)
}

/// Holds the tiled path's output and log-sum-exp against the reference, by the rule above.
func expectAgreement(
    _ operation: AttentionOperation, queries: Tensor, keys: Tensor, values: Tensor, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let request = AttentionRequest(logSumExp: true)
    let actual = operation(queries: queries, keys: keys, values: values, returning: request)
    let reference = operation.reference(queries: queries, keys: keys, values: values, returning: request)
    let plain = PlainAttention<Float>(operation, queries: queries, keys: keys, values: values)
    expectAgreement(
        actual.output, plain: plain.output, reference: reference.output, comment,
        sourceLocation: sourceLocation)
    expectAgreement(
        actual.logSumExp, plain: plain.logSumExp, reference: reference.logSumExp, comment,
        sourceLocation: sourceLocation)
}

/// Expects numbers within a relative distance of the largest one: for float64, and for operations whose own
/// documentation promises digits.
func expectNear(
    _ actual: Tensor?, _ expected: [Double], within relative: Double, _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard let numbers = actual?.doubles, numbers.count == expected.count else {
        Issue.record(
            "There are \(actual?.elementCount ?? 0) numbers, not \(expected.count).",
            sourceLocation: sourceLocation)
        return
    }
    let largest = expected.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
    for (number, wanted) in zip(numbers, expected) {
        let isSame = number == wanted || number.isNaN && wanted.isNaN
        guard !isSame, !(abs(number - wanted) <= relative * largest) else { continue }
        Issue.record(
            "\(number) is not within \(relative) · \(largest) of \(wanted). \(comment.map { "\($0)" } ?? "")",
            sourceLocation: sourceLocation)
        return
    }
}

/// The bytes of a tensor's elements, to compare results bit by bit.
func bits(_ tensor: Tensor?) -> [UInt8] {
    tensor?.withUnsafeBytes { Array($0) } ?? []
}
