/// The way back through attention, one tile of queries and keys at a time: memory linear in the length.
///
/// The scores of a tile are computed once more, and with the saved maximum and sum of the softmax they give the weights
/// again (Dao, "FlashAttention-2", 2023, arXiv:2307.08691, section 3.1.2). With `P` the weights, `O` the output and `S`
/// the scores after soft-cap and bias:
///
///     dV = Pᵀ dO        dP = dO Vᵀ        δ = Σ_d dO ∘ O        dS = P ∘ (dP - δ)
///
/// and from `dS` on as the score's own form has it. A tile has its keys along rows, so that the sums over queries
/// (`dK`, `dV`) and over keys (`dQ`, transposed) read it as it lies.
///
/// Each sum is made in ascending order of queries, or of keys, whichever of two ways is taken: all gradients of a
/// key-value head in one pass where that occupies the threads, else one pass over blocks of keys and one over blocks
/// of queries. So the bits depend on neither.
struct AttentionBackward<Scalar: KernelScalar> {
    private let call: TiledAttention<Scalar>
    private let shape: AttentionShape
    private let wanted: AttentionGradients.Wanted
    private let operands: BackwardOperands<Scalar>
    private let sums: BackwardSums<Scalar>
    /// The softmax's statistics: with the operands, all that is kept from the way there.
    private let rows: RowStatistics<Scalar>
    private let queryBlockCount: Int
    private let keyBlockCount: Int

    init(
        _ call: TiledAttention<Scalar>, _ rows: RowStatistics<Scalar>, _ output: Tensor, _ gradient: Tensor,
        _ wanted: AttentionGradients.Wanted
    ) {
        self.call = call
        self.rows = rows
        self.wanted = wanted
        shape = call.shape
        queryBlockCount = blocks(of: shape.queryCount, by: BackwardTileSize.queries)
        keyBlockCount = blocks(of: shape.keyCount, by: BackwardTileSize.keys)
        operands = BackwardOperands(call, rows, output, gradient, needsKeyColumns: wanted.queries)
        sums = BackwardSums(call, operands, wanted)
    }

    // MARK: - Passes

    func gradients() -> AttentionGradients {
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        let needsKeySide = wanted.keys || wanted.values
        let needsQuerySide = wanted.queries || wanted.scale || wanted.weights || sums.slopes.contains { $0 != nil }
        if needsKeySide && needsQuerySide && occupiesThreads(groupCount) {
            parallel(groupCount) { item in
                addGradients(to: [.keys, .queries], of: part(group: item, keyBlocks: 0..<keyBlockCount))
            }
        } else {
            if needsKeySide {
                parallel(groupCount * keyBlockCount) { item in
                    let (group, block) = item.quotientAndRemainder(dividingBy: keyBlockCount)
                    addGradients(to: .keys, of: part(group: group, keyBlocks: block..<block + 1))
                }
            }
            if needsQuerySide {
                parallel(shape.batchCount * shape.headCount * queryBlockCount) { item in
                    let (head, number) = item.quotientAndRemainder(dividingBy: queryBlockCount)
                    // From the last block down: under a causal mask it is the heaviest.
                    let block = queryBlockCount - 1 - number
                    addGradients(
                        to: .queries,
                        of: Part(
                            batch: head / shape.headCount,
                            heads: head % shape.headCount..<head % shape.headCount + 1,
                            queryBlocks: block..<block + 1, keyBlocks: 0..<keyBlockCount))
                }
            }
        }
        return sums.gradients(
            operands, rows, wanted.sinks ? call.operation.sinks : nil, biases: biasGradients())
    }

    /// Whether so many items of five products a tile take no longer than smaller ones of seven.
    private func occupiesThreads(_ itemCount: Int) -> Bool {
        let threadCount = ComputeThreads.count
        return 5 * threadCount * blocks(of: itemCount, by: threadCount) <= 7 * itemCount
    }

    /// Some tiles of some heads that share keys and values.
    private struct Part {
        let batch: Int
        let heads: Range<Int>
        let queryBlocks: Range<Int>
        let keyBlocks: Range<Int>
    }

    private func part(group: Int, keyBlocks: Range<Int>) -> Part {
        let (batch, head) = group.quotientAndRemainder(dividingBy: shape.keyValueHeadCount)
        return Part(
            batch: batch, heads: head * shape.groupSize..<(head + 1) * shape.groupSize,
            queryBlocks: 0..<queryBlockCount, keyBlocks: keyBlocks)
    }

    private func addGradients(to sides: Sides, of part: Part) {
        let scratch = BackwardScratch<Scalar>(
            featureCount: operands.queries.shape[3], isScaleWanted: wanted.scale,
            isCapped: call.operation.softCap != nil)
        let queries =
            part.queryBlocks.lowerBound
            * BackwardTileSize.queries..<min(
                shape.queryCount, part.queryBlocks.upperBound * BackwardTileSize.queries)
        let columns =
            sides.contains(.queries) ? sums.queryColumns(heads: part.heads.count, queries: queries.count) : nil
        defer { withExtendedLifetime(scratch) {} }
        for keyBlock in part.keyBlocks {
            let keys = range(keyBlock, by: BackwardTileSize.keys, upTo: shape.keyCount)
            for head in part.heads {
                for queryBlock in part.queryBlocks {
                    let tile = queryTile(part.batch, head, queryBlock)
                    guard let keyTile = call.keyTile(of: tile, in: keys) else { continue }
                    fill(scratch, tile, keyTile)
                    if sides.contains(.keys) && wanted.values { addValueGradients(scratch, tile, keyTile) }
                    if sides.contains(.queries) { addSlopeGradients(scratch, tile, keyTile) }
                    goBackThroughSoftCap(scratch, tile, keyTile)
                    if sides.contains(.queries) && wanted.scale { addScaleGradients(scratch, tile, keyTile) }
                    let first =
                        ((head - part.heads.lowerBound) * queries.count + tile.queries.lowerBound
                            - queries.lowerBound) * operands.queries.shape[3]
                    addFeatureGradients(
                        scratch, tile, keyTile, sides, columns.map { $0.pointer(as: Scalar.self) + first })
                }
            }
        }
        if let columns {
            for head in part.heads {
                sums.transpose(
                    columns, at: (head - part.heads.lowerBound) * queries.count, batch: part.batch, head: head, queries)
            }
        }
    }

    private func queryTile(_ batch: Int, _ head: Int, _ block: Int) -> QueryTile {
        QueryTile(
            batch: batch, head: head, queries: range(block, by: BackwardTileSize.queries, upTo: shape.queryCount))
    }

    // MARK: - A tile

    /// Computes the weights of a tile, times their denominators, and the gradients of its scores after soft-cap and
    /// bias: both `[keys, queries]`.
    private func fill(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        let count = queryCount * keyCount
        let (weights, gradients) = (scratch.weights, scratch.gradients)
        writeSimilarities(scratch, tile, keyTile.keys)
        if let raw = scratch.unscaled { raw.update(from: weights, count: count) }
        let scale = Scalar(call.form.scale)
        if scale != 1 { Scalar.scale(weights, count, by: scale) }
        if let softCap = call.operation.softCap, let derivatives = scratch.capDerivatives {
            // forward: capped = c · tanh(score / c)
            Scalar.softCap(weights, count, cap: Scalar(softCap))
            for index in 0..<count {
                let tanh = weights[index] / Scalar(softCap)
                derivatives[index] = 1 - tanh * tanh
            }
        }
        if !keyTile.masked.isEmpty { mask(scratch, tile, keyTile) }
        let shifts = operands.shifts(tile)
        for key in 0..<keyCount {
            let row = weights + key * queryCount
            for query in 0..<queryCount { row[query] -= shifts[query] }
        }
        _ = Scalar.expSum(weights, count, shift: 0)

        // forward: output = weights · values; the output's gradient is divided by the denominators already.
        let (values, stride) = operands.row(operands.values, tile, key: keyTile.keys.lowerBound)
        Scalar.product(
            TileOperands(
                out: gradients, outStride: queryCount, a: values, aStride: stride,
                b: operands.columns(operands.outputGradientColumns, tile), bStride: queryCount, rows: keyCount,
                columns: queryCount, depth: shape.valueDimension))
        let deltas = operands.deltas(tile)
        for key in 0..<keyCount {
            let (row, out) = (weights + key * queryCount, gradients + key * queryCount)
            for query in 0..<queryCount { out[query] = row[query] * (out[query] - deltas[query]) }
        }
        if !keyTile.masked.isEmpty {
            // Selected, not multiplied: the value of a masked key may be NaN.
            for query in 0..<queryCount {
                let isVisible = scratch.visible + query * BackwardTileSize.keys
                for key in 0..<keyCount where !isVisible[key] {
                    gradients[key * queryCount + query] = 0
                    if let raw = scratch.unscaled { raw[key * queryCount + query] = 0 }
                    if let derivatives = scratch.capDerivatives { derivatives[key * queryCount + query] = 0 }
                }
            }
        }
    }

    private func writeSimilarities(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyRange: Range<Int>) {
        let (keys, keyStride) = operands.row(operands.keys, tile, key: keyRange.lowerBound)
        let (queryCount, keyCount) = (tile.queries.count, keyRange.count)
        if case .pairwise = call.form.operation {
            let (queries, queryStride) = operands.row(operands.queries, tile)
            call.fill(
                ScoreTile(
                    queries: queries, queryStride: queryStride, queryDimension: shape.queryDimension, keys: keys,
                    keyStride: keyStride, keyDimension: shape.keyDimension, scores: scratch.gradients,
                    scoreStride: keyCount, rows: queryCount, columns: keyCount))
            for key in 0..<keyCount {
                for query in 0..<queryCount {
                    scratch.weights[key * queryCount + query] = scratch.gradients[query * keyCount + key]
                }
            }
            return
        }
        let product = TileOperands(
            out: scratch.weights, outStride: queryCount, a: keys, aStride: keyStride,
            b: operands.columns(operands.queryColumns, tile), bStride: queryCount, rows: keyCount, columns: queryCount,
            depth: operands.keys.shape[3])
        switch call.form.operation {
        case .product: Scalar.product(product)
        case .squaredDistance: Scalar.squaredDistance(product)
        case .absoluteDistance: Scalar.absoluteDistance(product)
        case .additive: Scalar.additive(product, weights: UnsafePointer(operands.weights.pointer(as: Scalar.self)))
        case .pairwise: break
        }
    }

    /// Adds the biases, puts −∞ where a key is masked, and notes which are not.
    private func mask(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        let queryCount = tile.queries.count
        let hasBias = !call.operation.bias.rules.isEmpty
        for query in 0..<queryCount {
            let visible = scratch.visible + query * BackwardTileSize.keys
            visible.update(repeating: true, count: keyTile.keys.count)
            for run in keyTile.masked {
                let start = run.lowerBound - keyTile.keys.lowerBound
                scratch.biases.update(repeating: 0, count: run.count)
                _ = call.mask(
                    scratch.biases, visible + start, tile, tile.queries.lowerBound + query, run, scratch.biasRow)
                for index in 0..<run.count {
                    let place = (start + index) * queryCount + query
                    if !visible[start + index] {
                        scratch.weights[place] = -.infinity
                    } else if hasBias {
                        scratch.weights[place] += scratch.biases[index]
                    }
                }
            }
        }
    }

    private func goBackThroughSoftCap(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        guard let derivatives = scratch.capDerivatives else { return }
        for index in 0..<tile.queries.count * keyTile.keys.count { scratch.gradients[index] *= derivatives[index] }
    }

    // MARK: - Keys and values, queries

    private func addValueGradients(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        guard let out = sums.valueRow(tile, keyTile.keys.lowerBound) else { return }
        // forward: output = weights · values
        let (outputGradients, stride) = operands.row(operands.outputGradients, tile)
        add(scratch.weights, outputGradients, stride, shape.valueDimension, to: out, scratch, tile, keyTile)
    }

    private func addFeatureGradients(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile, _ sides: Sides,
        _ queryColumns: UnsafeMutablePointer<Scalar>?
    ) {
        let keys = sides.contains(.keys) ? sums.keyRow(tile, keyTile.keys.lowerBound) : nil
        let queries = sides.contains(.queries) ? sums.queryRow(tile) : nil
        switch call.form.operation {
        case .product:
            // forward: score = Σ_f query_f · key_f
            if let keys {
                let (rows, stride) = operands.row(operands.queries, tile)
                add(scratch.gradients, rows, stride, operands.queries.shape[3], to: keys, scratch, tile, keyTile)
            }
            if let queryColumns { addQueryGradients(to: queryColumns, scratch, tile, keyTile) }
        case .squaredDistance:
            // forward: score = Σ_f (query_f - key_f)², whose factor 2 comes at the end
            addPairs(scratch, tile, keyTile, queries, keys) { $0 - $1 }
        case .absoluteDistance:
            // forward: score = Σ_f |query_f - key_f|
            addPairs(scratch, tile, keyTile, queries, keys) { $0 > $1 ? 1 : $0 < $1 ? -1 : 0 }
        case .additive:
            let weights = sides.contains(.queries) ? sums.weightRow(tile) : nil
            addAdditive(scratch, tile, keyTile, queries, keys, weights)
        case .pairwise:
            let (queryRows, queryStride) = operands.row(operands.queries, tile)
            let (keyRows, keyStride) = operands.row(operands.keys, tile, key: keyTile.keys.lowerBound)
            call.addGradients(
                ScoreGradientTile(
                    queries: queryRows, queryStride: queryStride, queryDimension: shape.queryDimension, keys: keyRows,
                    keyStride: keyStride, keyDimension: shape.keyDimension,
                    scoreGradients: UnsafePointer(scratch.gradients), queryGradients: queries, keyGradients: keys,
                    rows: tile.queries.count, columns: keyTile.keys.count))
        }
    }

    /// Whether a masked pair of the tile may not be read as the number that its zero is multiplied by.
    private func hidesNonFinite(_ tile: QueryTile, _ keyTile: KeyTile) -> Bool {
        !keyTile.masked.isEmpty && !operands.isFinite(tile, keyTile.keys)
    }

    /// Adds `Σ_query tile[key, query] · rows[query]` to the row of each key.
    private func add(
        _ values: UnsafePointer<Scalar>, _ rows: UnsafePointer<Scalar>, _ stride: Int, _ width: Int,
        to out: UnsafeMutablePointer<Scalar>, _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile
    ) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        func add(keys: Range<Int>, queries: Range<Int>) {
            Scalar.productAdd(
                TileOperands(
                    out: out + keys.lowerBound * width, outStride: width,
                    a: values + keys.lowerBound * queryCount + queries.lowerBound, aStride: queryCount,
                    b: rows + queries.lowerBound * stride, bStride: stride, rows: keys.count, columns: width,
                    depth: queries.count))
        }
        guard hidesNonFinite(tile, keyTile) else {
            add(keys: 0..<keyCount, queries: 0..<queryCount)
            return
        }
        for key in 0..<keyCount {
            forEachRun(in: queryCount) {
                scratch.visible[$0 * BackwardTileSize.keys + key]
            } do: { run in
                add(keys: key..<key + 1, queries: run)
            }
        }
    }

    /// Adds `Σ_key keys[key] · tile[key, query]` to the column of each query.
    private func addQueryGradients(
        to out: UnsafeMutablePointer<Scalar>, _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile
    ) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        let (columns, stride) = operands.keyColumns(tile, from: keyTile.keys.lowerBound)
        func add(keys: Range<Int>, queries: Range<Int>) {
            Scalar.productAdd(
                TileOperands(
                    out: out + queries.lowerBound, outStride: queryCount, a: columns + keys.lowerBound, aStride: stride,
                    b: UnsafePointer(scratch.gradients) + keys.lowerBound * queryCount + queries.lowerBound,
                    bStride: queryCount, rows: operands.keys.shape[3], columns: queries.count, depth: keys.count))
        }
        guard hidesNonFinite(tile, keyTile) else {
            add(keys: 0..<keyCount, queries: 0..<queryCount)
            return
        }
        for query in 0..<queryCount {
            let visible = scratch.visible + query * BackwardTileSize.keys
            forEachRun(in: keyCount) {
                visible[$0]
            } do: { run in
                add(keys: run, queries: query..<query + 1)
            }
        }
    }

    /// Adds each pair's `gradient · derivative(query_f, key_f)` to the query's row, and subtracts it from the key's.
    @inline(__always)
    private func addPairs(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile,
        _ queryOut: UnsafeMutablePointer<Scalar>?, _ keyOut: UnsafeMutablePointer<Scalar>?,
        _ derivative: (Scalar, Scalar) -> Scalar
    ) {
        let width = operands.keys.shape[3]
        let (queries, queryStride) = operands.row(operands.queries, tile)
        let (keys, keyStride) = operands.row(operands.keys, tile, key: keyTile.keys.lowerBound)
        for key in 0..<keyTile.keys.count {
            let keyRow = keys + key * keyStride
            let gradients = scratch.gradients + key * tile.queries.count
            // A gradient of zero adds nothing, and the pair may be masked.
            if let queryOut {
                for query in 0..<tile.queries.count where gradients[query] != 0 {
                    let (gradient, queryRow, out) = (
                        gradients[query], queries + query * queryStride, queryOut + query * width
                    )
                    for f in 0..<width { out[f] += gradient * derivative(queryRow[f], keyRow[f]) }
                }
            }
            if let keyOut {
                let out = keyOut + key * width
                for query in 0..<tile.queries.count where gradients[query] != 0 {
                    let (gradient, queryRow) = (gradients[query], queries + query * queryStride)
                    for f in 0..<width { out[f] -= gradient * derivative(queryRow[f], keyRow[f]) }
                }
            }
        }
    }

    /// Goes back through `score = Σ_f weights_f · tanh(query_f + key_f)`; the factor `weights_f` comes at the end.
    private func addAdditive(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile,
        _ queryOut: UnsafeMutablePointer<Scalar>?, _ keyOut: UnsafeMutablePointer<Scalar>?,
        _ weightOut: UnsafeMutablePointer<Scalar>?
    ) {
        let width = operands.keys.shape[3]
        let queryCount = tile.queries.count
        let (queries, queryStride) = operands.row(operands.queries, tile)
        let (keys, keyStride) = operands.row(operands.keys, tile, key: keyTile.keys.lowerBound)
        for key in 0..<keyTile.keys.count {
            let keyRow = keys + key * keyStride
            let gradients = scratch.gradients + key * queryCount
            for query in 0..<queryCount {
                let (queryRow, hidden) = (queries + query * queryStride, scratch.hidden + query * width)
                for f in 0..<width { hidden[f] = queryRow[f] + keyRow[f] }
            }
            // 1 · tanh(x / 1)
            Scalar.softCap(scratch.hidden, queryCount * width, cap: 1)
            for query in 0..<queryCount where gradients[query] != 0 {
                let (gradient, hidden) = (gradients[query], scratch.hidden + query * width)
                if let queryOut {
                    let out = queryOut + query * width
                    for f in 0..<width { out[f] += gradient * (1 - hidden[f] * hidden[f]) }
                }
                if let keyOut {
                    let out = keyOut + key * width
                    for f in 0..<width { out[f] += gradient * (1 - hidden[f] * hidden[f]) }
                }
                if let weightOut {
                    for f in 0..<width { weightOut[f] += gradient * hidden[f] }
                }
            }
        }
    }

    // MARK: - Scale and biases

    private func addScaleGradients(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        guard let raw = scratch.unscaled, let sum = sums.scaleRow(tile) else { return }
        // forward: score = scale · raw
        for key in 0..<keyTile.keys.count {
            let start = key * tile.queries.count
            for query in 0..<tile.queries.count {
                sum[query] += scratch.gradients[start + query] * raw[start + query]
            }
        }
    }

    private func addSlopeGradients(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        for (index, rule) in call.operation.bias.rules.enumerated() {
            guard let rule = rule as? ALiBi, let sum = sums.slopeRow(index, tile) else { continue }
            // forward: bias = -slope · |i + offset - j|
            for (key, position) in keyTile.keys.enumerated() {
                let gradients = scratch.gradients + key * tile.queries.count
                for (query, queryPosition) in tile.queries.enumerated() {
                    let distance = rule.distance(batch: tile.batch, query: queryPosition, key: position)
                    sum[query] -= gradients[query] * Scalar(distance)
                }
            }
        }
    }

    private func biasGradients() -> [Tensor?] {
        zip(call.operation.bias.rules, wanted.biases).enumerated().map { index, bias in
            guard bias.1 else { return nil }
            if let rule = bias.0 as? TensorBias { return gradient(of: rule) }
            return sums.slopeGradient(index)
        }
    }

    /// Returns the gradient of a bias, added up where it is broadcast: a pass of its own, in which each item owns its
    /// part of the bias and goes through all that was added to.
    private func gradient(of bias: TensorBias) -> Tensor {
        let extents = bias.values.shape
        let result = Tensor(zeros: bias.source.shape, elementType: Scalar.elementType)
        let strides = zip(extents, Tensor.contiguousStrides(of: extents)).map { $0 == 1 ? 0 : $1 }
        let isByQuery = extents[2] != 1
        let isByKey = !isByQuery && extents[3] != 1
        let blockCount = isByQuery ? queryBlockCount : isByKey ? keyBlockCount : 1
        parallel(extents[0] * extents[1] * blockCount) { item in
            let (place, block) = item.quotientAndRemainder(dividingBy: blockCount)
            let (batch, head) = place.quotientAndRemainder(dividingBy: extents[1])
            let scratch = BackwardScratch<Scalar>(
                featureCount: 0, isScaleWanted: false, isCapped: call.operation.softCap != nil)
            let out = result.pointer(as: Scalar.self)
            for batch in extents[0] == 1 ? 0..<shape.batchCount : batch..<batch + 1 {
                for head in extents[1] == 1 ? 0..<shape.headCount : head..<head + 1 {
                    for queryBlock in isByQuery ? block..<block + 1 : 0..<queryBlockCount {
                        let tile = queryTile(batch, head, queryBlock)
                        for keyBlock in isByKey ? block..<block + 1 : 0..<keyBlockCount {
                            let keys = range(keyBlock, by: BackwardTileSize.keys, upTo: shape.keyCount)
                            guard let keyTile = call.keyTile(of: tile, in: keys) else { continue }
                            fill(scratch, tile, keyTile)
                            // forward: biased = score + bias
                            for (row, query) in tile.queries.enumerated() {
                                let start = batch * strides[0] + head * strides[1] + query * strides[2]
                                for (column, key) in keyTile.keys.enumerated() {
                                    out[start + key * strides[3]] +=
                                        scratch.gradients[column * tile.queries.count + row]
                                }
                            }
                        }
                    }
                }
            }
            withExtendedLifetime(scratch) {}
        }
        return result
    }
}

/// Whose gradients a pass adds to.
private struct Sides: OptionSet {
    let rawValue: Int
    /// Keys and values.
    static let keys = Sides(rawValue: 1)
    /// Queries, and what is summed over all pairs: scale, weights and slopes.
    static let queries = Sides(rawValue: 2)
}

/// The sizes of a tile on the way back: of 64 and 128 queries, and 128 to 512 keys, the fastest by a few per cent.
enum BackwardTileSize {
    /// A multiple of the kernels' columns of registers.
    static let queries = 64
    static let keys = 256
}

/// Calls `body` with each run of neighbouring indices for which something holds.
private func forEachRun(in count: Int, where holds: (Int) -> Bool, do body: (Range<Int>) -> Void) {
    var start = 0
    while start < count {
        if !holds(start) {
            start += 1
            continue
        }
        var end = start + 1
        while end < count && holds(end) { end += 1 }
        body(start..<end)
        start = end
    }
}
