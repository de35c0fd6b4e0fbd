/// Goes through the tiles once more, now that the softmax's denominators are known, for whatever was asked for
/// beside the output: memory linear in the length, but for weights and scores of all pairs.
struct AttentionDetails<Scalar: KernelScalar> {
    private let call: TiledAttention<Scalar>
    private let operands: TileOperandBuffers<Scalar>
    private let rows: RowStatistics<Scalar>
    private let request: AttentionRequest

    private let weights: Tensor?
    private let scores: Tensor?
    private let keyWeightSums: Tensor?
    private let rowEntropy: Tensor?
    private let topKeys: Tensor?
    /// Scores while the keys are gone through, then their weights.
    private let topWeights: Tensor?

    init(
        _ call: TiledAttention<Scalar>, _ operands: TileOperandBuffers<Scalar>, _ rows: RowStatistics<Scalar>,
        _ request: AttentionRequest
    ) {
        self.call = call
        self.operands = operands
        self.rows = rows
        self.request = request
        let shape = call.shape
        let heads = [shape.batchCount, shape.headCount]
        let type = Scalar.elementType
        if let wanted = request.weights {
            require(
                wanted.lowerBound >= 0 && wanted.upperBound <= shape.queryCount,
                "The weights of queries \(wanted) were asked for, but there are \(shape.queryCount).")
        }
        weights = request.weights.map { Tensor(zeros: heads + [$0.count, shape.keyCount], elementType: type) }
        scores = request.scores.map { _ in
            Tensor(uninitialized: heads + [shape.queryCount, shape.keyCount], elementType: type)
        }
        keyWeightSums = request.keyWeightSums ? Tensor(zeros: heads + [shape.keyCount], elementType: type) : nil
        rowEntropy = request.rowEntropy ? Tensor(zeros: heads + [shape.queryCount], elementType: type) : nil
        if let count = request.topKeyCount {
            require(count >= 0, "The \(count) heaviest keys were asked for.")
            let extents = heads + [shape.queryCount, count]
            topKeys = Tensor([Int32](repeating: -1, count: Tensor.elementCount(of: extents)), shape: extents)
            let lightest = Tensor(uninitialized: extents, elementType: type)
            lightest.pointer(as: Scalar.self).update(repeating: -.infinity, count: lightest.elementCount)
            topWeights = lightest
        } else {
            topKeys = nil
            topWeights = nil
        }
    }

    func fill(_ result: inout AttentionResult) {
        let shape = call.shape
        let blockCount = blocks(of: shape.queryCount, by: TileSize.queries)
        func fillBlock(_ sequence: Int, _ block: Int) {
            let (batch, head) = sequence.quotientAndRemainder(dividingBy: shape.headCount)
            let queries = range(block, by: TileSize.queries, upTo: shape.queryCount)
            fill(QueryTile(batch: batch, head: head, queries: queries), sequence)
        }
        if request.keyWeightSums {
            // One head is one thread's: its key sums are added in the order of its queries.
            parallel(shape.batchCount * shape.headCount) { sequence in
                for block in 0..<blockCount { fillBlock(sequence, block) }
            }
        } else {
            parallel(shape.batchCount * shape.headCount * blockCount) { item in
                fillBlock(item / blockCount, item % blockCount)
            }
        }
        result.weights = weights
        result.scores = scores
        result.keyWeightSums = keyWeightSums
        result.rowEntropy = rowEntropy
        result.topKeys = topKeys
        result.topWeights = topWeights
    }

    private func fill(_ tile: QueryTile, _ item: Int) {
        let shape = call.shape
        let scratch = TileScratch<Scalar>(rows: tile.queries.count, width: shape.valueDimension)
        // The pointers taken from it do not keep it alive.
        defer { withExtendedLifetime(scratch) {} }
        for block in 0..<blocks(of: shape.keyCount, by: TileSize.keys) {
            let keys = range(block, by: TileSize.keys, upTo: shape.keyCount)
            if let scores, let stage = request.scores {
                // A tile may be empty to the softmax and still be shown.
                call.writeScores(tile, KeyTile(keys: keys, masked: [keys]), operands, scratch, upTo: stage)
                for row in 0..<tile.queries.count {
                    let start = (item * shape.queryCount + tile.queries.lowerBound + row) * shape.keyCount
                    (scores.pointer(as: Scalar.self) + start + keys.lowerBound)
                        .update(from: scratch.scores + row * TileSize.keys, count: keys.count)
                }
            }
            guard let keyTile = call.keyTile(of: tile, in: keys) else { continue }
            call.writeScores(tile, keyTile, operands, scratch)
            for row in 0..<tile.queries.count {
                let index = rows.index(tile, shape) + row
                if rows.seesAnything[index] {
                    addRow(
                        scratch.scores + row * TileSize.keys, keyTile.keys, index, tile.queries.lowerBound + row, item,
                        visible: keyTile.masked.isEmpty ? nil : scratch.visible + row * TileSize.keys)
                }
            }
        }
        if let topWeights {
            for row in 0..<tile.queries.count { turnIntoWeights(topWeights, rows.index(tile, shape) + row) }
        }
    }

    /// Turns the scores of a row's heaviest keys into weights.
    private func turnIntoWeights(_ topScores: Tensor, _ index: Int) {
        let count = topScores.shape[3]
        let row = topScores.pointer(as: Scalar.self) + index * count
        let maximum = rows.maximum[index]
        _ = Scalar.expSum(row, count, shift: maximum == -.infinity ? 0 : maximum)
        guard let topKeys else { return }
        let keys = topKeys.pointer(as: Int32.self) + index * count
        for place in 0..<count where keys[place] >= 0 { row[place] /= rows.sum[index] }
    }

    /// Turns a row of scores into weights and takes them into account.
    private func addRow(
        _ row: UnsafeMutablePointer<Scalar>, _ keys: Range<Int>, _ index: Int, _ query: Int, _ item: Int,
        visible: UnsafePointer<Bool>?
    ) {
        let (maximum, sum) = (rows.maximum[index], rows.sum[index])
        // By score: weights may be 0, all alike, where scores are far apart.
        if let topKeys, let topWeights {
            let count = topKeys.shape[3]
            insert(
                row, keys, into: topKeys.pointer(as: Int32.self) + index * count,
                topWeights.pointer(as: Scalar.self) + index * count, count)
        }
        if let rowEntropy {
            // -Σ w ln w with ln w = (score - maximum) - ln sum, which loses no digits where w is near 1.
            let logSum = Scalar.log(sum)
            var entropy: Scalar = 0
            for key in 0..<keys.count where visible?[key] ?? true {
                let logWeight = row[key] - maximum - logSum
                let weight = Scalar.exp(logWeight)
                // w ln w tends to 0 with w; 0 · -∞ would be NaN.
                if weight != 0 { entropy -= weight * logWeight }
            }
            rowEntropy.pointer(as: Scalar.self)[index] += entropy
        }
        // A row of nothing but NaN, or of scores beyond the type's range, has no maximum.
        _ = Scalar.expSum(row, keys.count, shift: maximum == -.infinity ? 0 : maximum)
        // A masked key has weight 0, also beside a key whose score is NaN: 0 / NaN would be NaN.
        for key in 0..<keys.count where visible?[key] ?? true { row[key] /= sum }
        if let weights, let wanted = request.weights, wanted.contains(query) {
            let start = (item * wanted.count + query - wanted.lowerBound) * call.shape.keyCount
            (weights.pointer(as: Scalar.self) + start + keys.lowerBound).update(from: row, count: keys.count)
        }
        if let keyWeightSums {
            let out = keyWeightSums.pointer(as: Scalar.self) + item * call.shape.keyCount + keys.lowerBound
            for key in 0..<keys.count { out[key] += row[key] }
        }
    }

    /// Keeps the heaviest keys in order; an equal one that comes later stays behind.
    private func insert(
        _ row: UnsafePointer<Scalar>, _ keys: Range<Int>, into topKeys: UnsafeMutablePointer<Int32>,
        _ topScores: UnsafeMutablePointer<Scalar>, _ count: Int
    ) {
        guard count > 0 else { return }
        for key in 0..<keys.count where row[key] > topScores[count - 1] {
            var place = count - 1
            while place > 0 && row[key] > topScores[place - 1] {
                topScores[place] = topScores[place - 1]
                topKeys[place] = topKeys[place - 1]
                place -= 1
            }
            topScores[place] = row[key]
            topKeys[place] = Int32(clamping: keys.lowerBound + key)
        }
    }
}
