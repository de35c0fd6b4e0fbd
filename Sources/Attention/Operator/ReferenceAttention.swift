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
        for batch in 0..<shape.batchCount {
            for head in 0..<shape.headCount {
                let group = batch * shape.keyValueHeadCount + head / shape.groupSize
                for query in 0..<shape.queryCount {
                    let queryRow = (batch * shape.headCount + head) * shape.queryCount + query
                    var scores: [Double] = []
                    for key in 0..<shape.keyCount {
                        var score = similarity.score(
                            query: q.span.extracting(row(queryRow, shape.queryDimension)),
                            key: k.span.extracting(row(group * shape.keyCount + key, shape.keyDimension)))
                        stages[.similarity]?.append(score)
                        if let softCap { score = softCap * .tanh(score / softCap) }
                        stages[.softCapped]?.append(score)
                        let bias = bias.value(batch: batch, head: head, query: query, key: key)
                        let isVisible = mask.rule?.allows(batch: batch, head: head, query: query, key: key) ?? true
                        // Selected, not added: NaN - ∞ would still be NaN.
                        score = isVisible && bias != -.infinity ? score + bias : -.infinity
                        stages[.biased]?.append(score)
                        scores.append(score)
                    }
                    let sink = sinks?[head] ?? -.infinity
                    // NaN is greater than nothing to `max`: keep it, so that it is not hidden.
                    let largest = scores.reduce(sink) { $1.isNaN ? $1 : max($0, $1) }
                    let seesNothing = scores.allSatisfy { $0 == -.infinity }
                    let exponentials = scores.map { $0 == -.infinity ? 0 : Double.exp($0 - largest) }
                    let denominator = exponentials.reduce(sink == -.infinity ? 0 : Double.exp(sink - largest), +)
                    let rowWeights = zip(exponentials, scores).map { $1 == -.infinity ? 0 : $0 / denominator }
                    logSumExp.append(seesNothing ? -.infinity : largest + .log(denominator))
                    weights += rowWeights
                    var average = [Double](repeating: 0, count: shape.valueDimension)
                    for key in 0..<shape.keyCount where scores[key] != -.infinity {
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
