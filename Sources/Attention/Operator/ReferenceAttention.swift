extension AttentionOperation {
    /// Returns what ``callAsFunction(queries:keys:values:returning:)`` returns, computed as it is defined: every
    /// score in `Double`, one after the other, and all of them kept.
    ///
    /// The definition to read, and the oracle that every other path is tested against. All results are float64.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T_q, D]`.
    ///   - keys: `[B, G, T_k, D_k]`.
    ///   - values: `[B, G, T_k, D_v]`.
    ///   - request: What to return beside the output.
    /// - Returns: The output and what was asked for.
    /// - Complexity: O(B·H·T_q·T_k·(D + D_v)) time and O(B·H·T_q·T_k) memory.
    public func reference(
        queries: Tensor, keys: Tensor, values: Tensor, returning request: AttentionRequest = AttentionRequest()
    ) -> AttentionResult {
        let shape = validated(queries: queries, keys: keys, values: values)
        let (q, k, v) = (queries.doubles, keys.doubles, values.doubles)
        let sinks = sinks?.doubles
        func row(_ index: Int, _ width: Int) -> Range<Int> { index * width..<(index + 1) * width }

        var stages: [ScoreStage: [Double]] = [.similarity: [], .softCapped: [], .biased: []]
        var output: [Double] = []
        var logSumExp: [Double] = []
        var weights: [Double] = []
        var topKeys: [Int32] = []
        var topWeights: [Double] = []
        for batch in 0..<shape.batchCount {
            for head in 0..<shape.headCount {
                let group = batch * shape.keyValueHeadCount + head / shape.groupSize
                for query in 0..<shape.queryCount {
                    let queryRow = (batch * shape.headCount + head) * shape.queryCount + query
                    var scores: [Double] = []
                    var isVisible: [Bool] = []
                    for key in 0..<shape.keyCount {
                        var score = similarity.score(
                            query: q.span.extracting(row(queryRow, shape.queryDimension)),
                            key: k.span.extracting(row(group * shape.keyCount + key, shape.keyDimension)))
                        stages[.similarity]?.append(score)
                        if let softCap { score = softCap * .tanh(score / softCap) }
                        stages[.softCapped]?.append(score)
                        let bias = bias.value(batch: batch, head: head, query: query, key: key)
                        let isAllowed = mask.rule?.allows(batch: batch, head: head, query: query, key: key) ?? true
                        isVisible.append(isAllowed && bias != -.infinity)
                        // Selected, not added: NaN - ∞ would still be NaN.
                        scores.append(isVisible[key] ? score + bias : -.infinity)
                    }
                    stages[.biased]? += scores
                    let sink = sinks?[head] ?? -.infinity
                    // NaN is greater than nothing to `max`: keep it, so that it is not hidden.
                    let largest = scores.reduce(sink) { $1.isNaN ? $1 : max($0, $1) }
                    // -∞ - (-∞) is NaN: a row without a finite score is shifted by nothing.
                    let shift = largest == -.infinity ? 0 : largest
                    let exponentials = scores.map { $0 == -.infinity ? 0 : Double.exp($0 - shift) }
                    let denominator = exponentials.reduce(sink == -.infinity ? 0 : Double.exp(sink - shift), +)
                    let rowWeights = zip(exponentials, isVisible).map { $1 ? $0 / denominator : 0 }
                    logSumExp.append(isVisible.contains(true) ? largest + .log(denominator) : -.infinity)
                    weights += rowWeights
                    let ranked = scores.indices.filter { scores[$0] > -.infinity }
                        .sorted { (scores[$0], $1) > (scores[$1], $0) }
                    let top = ranked.prefix(request.topKeyCount ?? 0)
                    let missing = (request.topKeyCount ?? 0) - top.count
                    topKeys += top.map { Int32($0) } + [Int32](repeating: -1, count: missing)
                    topWeights += top.map { rowWeights[$0] } + [Double](repeating: 0, count: missing)
                    var average = [Double](repeating: 0, count: shape.valueDimension)
                    for key in 0..<shape.keyCount where isVisible[key] {
                        let value = v[row(group * shape.keyCount + key, shape.valueDimension)]
                        for (index, element) in value.enumerated() { average[index] += rowWeights[key] * element }
                    }
                    output += average
                }
            }
        }

        let heads = [shape.batchCount, shape.headCount]
        let pairs = heads + [shape.queryCount, shape.keyCount]
        let allWeights = Tensor(weights, shape: pairs)
        var result = AttentionResult(output: Tensor(output, shape: heads + [shape.queryCount, shape.valueDimension]))
        if let count = request.topKeyCount {
            result.topKeys = Tensor(topKeys, shape: heads + [shape.queryCount, count])
            result.topWeights = Tensor(topWeights, shape: heads + [shape.queryCount, count])
        }
        if request.logSumExp { result.logSumExp = Tensor(logSumExp, shape: heads + [shape.queryCount]) }
        if let queries = request.weights { result.weights = allWeights.slice(axis: 2, range: queries) }
        if let stage = request.scores { result.scores = Tensor(stages[stage] ?? [], shape: pairs) }
        let rows = logSumExp.indices.map { weights[row($0, shape.keyCount)] }
        if request.keyWeightSums {
            let sums = (0..<shape.batchCount * shape.headCount).flatMap { sequence in
                (0..<shape.keyCount).map { key in
                    rows[row(sequence, shape.queryCount)].reduce(0) { $0 + $1[$1.startIndex + key] }
                }
            }
            result.keyWeightSums = Tensor(sums, shape: heads + [shape.keyCount])
        }
        if request.rowEntropy {
            let entropies = rows.map { row in
                row.reduce(0) { $1 == 0 ? $0 : $0 - $1 * .log($1) }
            }
            result.rowEntropy = Tensor(entropies, shape: heads + [shape.queryCount])
        }
        return result
    }
}
