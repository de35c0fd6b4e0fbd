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
/// Each sum is made in ascending order of queries, or of keys; one over keys block by block, and then over the blocks.
/// So it has the same bits whether a thread goes through all blocks of a key-value head or several share them.
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
    /// Which keys a query sees, where those are neighbours and nothing is added to their scores.
    private let intervals: (any IntervalMaskRule)?

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
        intervals = call.operation.bias.rules.isEmpty ? call.operation.mask.rule?.intervals : nil
        operands = BackwardOperands(call, rows, output, gradient)
        sums = BackwardSums(call, operands, wanted)
    }

    // MARK: - Passes

    func gradients() -> AttentionGradients {
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        if Self.occupiesThreads(groupCount) {
            parallel(groupCount) { group in
                let scratch = self.scratch()
                for block in 0..<keyBlockCount { addGradients(of: group, block, scratch, nil) }
            }
        } else {
            for first in stride(from: 0, to: keyBlockCount, by: BackwardTileSize.sharedBlocks) {
                let count = min(BackwardTileSize.sharedBlocks, keyBlockCount - first)
                let parts = sums.queryParts(count)
                parallel(groupCount * count) { item in
                    let (group, index) = item.quotientAndRemainder(dividingBy: count)
                    addGradients(of: group, first + index, scratch(), parts.map { ($0, index) })
                }
                if let parts { sums.add(parts, count) }
            }
        }
        return sums.gradients(
            operands, rows, wanted.sinks ? call.operation.sinks : nil, biases: biasGradients())
    }

    /// The bytes that the way back through a call whose queries and keys are not mapped yet takes at its peak beyond
    /// operands, output and gradients: what it keeps from the way there, copies, sums, and a tile per thread.
    static func byteCount(_ call: TiledAttention<Scalar>, _ wanted: AttentionGradients.Wanted) -> Int {
        let shape = call.shape
        let size = Scalar.elementType.byteCount
        let isCapped = call.operation.softCap != nil
        let queryRows = shape.batchCount * shape.headCount * shape.queryCount
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        let keptOutput = call.queries.elementType == Scalar.elementType ? 0 : queryRows * shape.valueDimension * size

        var itemCount = groupCount
        var parts = 0
        if !occupiesThreads(groupCount) {
            let blockCount = min(
                BackwardTileSize.sharedBlocks, blocks(of: shape.keyCount, by: BackwardTileSize.keys))
            itemCount *= blockCount
            if wanted.queries { parts = blockCount * queryRows * call.queryFeatureCount * size }
        }
        let threadCount = ComputeThreads.count
        let tile = BackwardScratch<Scalar>.byteCount(
            featureCount: call.queryFeatureCount, isScaleWanted: wanted.scale, isCapped: isCapped)
        // The gradients of bias tensors come after all others, whose tiles and parts are free by then.
        let biases = zip(call.operation.bias.rules, wanted.biases).compactMap { $1 ? ($0 as? TensorBias)?.source : nil }
        let biasGradients = biases.reduce(0) { $0 + $1.elementCount * size }
        let biasTile = BackwardScratch<Scalar>.byteCount(featureCount: 0, isScaleWanted: false, isCapped: isCapped)
        return RowStatistics<Scalar>.byteCount(shape) + keptOutput + BackwardOperands.byteCount(call)
            + BackwardSums.byteCount(call, wanted)
            + max(
                parts + min(threadCount, itemCount) * tile - biasGradients,
                biases.isEmpty ? 0 : threadCount * biasTile)
    }

    /// Whether the threads have work until the end if each takes so many items.
    private static func occupiesThreads(_ itemCount: Int) -> Bool {
        let threadCount = ComputeThreads.count
        return 8 * threadCount * blocks(of: itemCount, by: threadCount) <= 9 * itemCount
    }

    private func scratch() -> BackwardScratch<Scalar> {
        BackwardScratch<Scalar>(
            featureCount: operands.queries.shape[3], isScaleWanted: wanted.scale,
            isCapped: call.operation.softCap != nil)
    }

    /// Adds what all queries of the heads that share a block of keys contribute to and take from it.
    ///
    /// The sums of the queries go to their places, or to one of some parts, which are added up later.
    private func addGradients(
        of group: Int, _ keyBlock: Int, _ scratch: BackwardScratch<Scalar>, _ parts: (Tensor, index: Int)?
    ) {
        let (batch, keyHead) = group.quotientAndRemainder(dividingBy: shape.keyValueHeadCount)
        let keys = range(keyBlock, by: BackwardTileSize.keys, upTo: shape.keyCount)
        defer { withExtendedLifetime(scratch) {} }
        for head in keyHead * shape.groupSize..<(keyHead + 1) * shape.groupSize {
            let pairs = sums.pairs(batch, head, keyBlock)
            for queryBlock in 0..<queryBlockCount {
                let tile = queryTile(batch, head, queryBlock)
                let place = parts.map { sums.queryRow(tile, in: $0, $1) }
                guard let keyTile = call.keyTile(of: tile, in: keys) else {
                    place?.update(repeating: 0, count: tile.queries.count * operands.queries.shape[3])
                    continue
                }
                fill(scratch, tile, keyTile)
                if wanted.values { addValueGradients(scratch, tile, keyTile) }
                addSlopeGradients(scratch, tile, keyTile, pairs)
                goBackThroughSoftCap(scratch, tile, keyTile)
                if wanted.scale { addScaleGradients(scratch, tile, keyTile, pairs) }
                addFeatureGradients(scratch, tile, keyTile, pairs, place)
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
        if call.operation.softCap == nil && (keyTile.masked.isEmpty || intervals != nil) {
            Scalar.softmaxWeights(weights, keyCount, queryCount, factor: scale, shifts: operands.shifts(tile))
        } else {
            if scale != 1 { Scalar.scale(weights, count, by: scale) }
            if let softCap = call.operation.softCap, let derivatives = scratch.capDerivatives {
                // forward: capped = c · tanh(score / c)
                Scalar.softCap(weights, count, cap: Scalar(softCap))
                for index in 0..<count {
                    let tanh = weights[index] / Scalar(softCap)
                    derivatives[index] = 1 - tanh * tanh
                }
            }
            if !keyTile.masked.isEmpty && intervals == nil { mask(scratch, tile, keyTile) }
            Scalar.softmaxWeights(weights, keyCount, queryCount, factor: 1, shifts: operands.shifts(tile))
        }

        // forward: output = weights · values; the output's gradient is divided by the denominators already.
        let (values, stride) = operands.row(operands.values, tile, key: keyTile.keys.lowerBound)
        Scalar.product(
            TileOperands(
                out: gradients, outStride: queryCount, a: values, aStride: stride,
                b: operands.columns(operands.outputGradientColumns, tile), bStride: queryCount, rows: keyCount,
                columns: queryCount, depth: shape.valueDimension))
        Scalar.scoreGradients(gradients, weights, keyCount, queryCount, deltas: operands.deltas(tile))
        if !keyTile.masked.isEmpty { hide(scratch, tile, keyTile) }
    }

    /// Puts 0 where a key is masked.
    ///
    /// Selected, not multiplied: key and value may be NaN.
    private func hide(_ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        let hidden = [scratch.weights, scratch.gradients, scratch.unscaled, scratch.capDerivatives].compactMap(\.self)
        guard let intervals else {
            for query in 0..<queryCount {
                let isVisible = scratch.visible + query * BackwardTileSize.keys
                for key in 0..<keyCount where !isVisible[key] {
                    for tile in hidden { tile[key * queryCount + query] = 0 }
                }
            }
            return
        }
        for query in 0..<queryCount {
            let visible = intervals.visibleKeys(batch: tile.batch, query: tile.queries.lowerBound + query)
                .clamped(to: keyTile.keys)
            scratch.begins[query] = Int32(truncatingIfNeeded: visible.lowerBound - keyTile.keys.lowerBound)
            scratch.ends[query] = Int32(truncatingIfNeeded: visible.upperBound - keyTile.keys.lowerBound)
        }
        for tile in hidden {
            Scalar.keepBetween(tile, keyCount, queryCount, scratch.begins, scratch.ends, hidden: 0)
        }
        guard hidesNonFinite(tile, keyTile) else { return }
        for query in 0..<queryCount {
            let (begin, end) = (Int(scratch.begins[query]), Int(scratch.ends[query]))
            let isVisible = scratch.visible + query * BackwardTileSize.keys
            isVisible.update(repeating: false, count: keyCount)
            (isVisible + begin).update(repeating: true, count: end - begin)
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
        let width = shape.valueDimension
        addToKeys(scratch, tile, keyTile) { keys, queries in
            Scalar.productGradient(
                GradientOperands(
                    out: out + keys.lowerBound * width, outStride: width,
                    gradients: scratch.weights + keys.lowerBound * tile.queries.count + queries.lowerBound,
                    rowStep: tile.queries.count, depthStep: 1, a: outputGradients, aStride: 0,
                    b: outputGradients + queries.lowerBound * stride, bStride: stride, rows: keys.count, columns: width,
                    depth: queries.count))
        }
    }

    /// Adds a tile to the gradients of its keys and queries.
    ///
    /// The latter are put at `place` first, or in the scratch.
    private func addFeatureGradients(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile, _ pairs: BackwardSums<Scalar>.Pairs,
        _ place: UnsafeMutablePointer<Scalar>?
    ) {
        let width = operands.queries.shape[3]
        let count = tile.queries.count * width
        let queryOut = sums.queryRow(tile)
        let querySums = place ?? scratch.querySums
        querySums.update(repeating: 0, count: count)
        defer { if place == nil, let queryOut { Scalar.add(queryOut, queryOut, querySums, count) } }
        let keyOut = sums.keyRow(tile, keyTile.keys.lowerBound)
        let (queries, queryStride) = operands.row(operands.queries, tile)
        let (keys, keyStride) = operands.row(operands.keys, tile, key: keyTile.keys.lowerBound)
        switch call.form.operation {
        case .additive:
            let keyWidth = operands.keys.shape[3]
            if keyOut == nil { scratch.keySums.update(repeating: 0, count: keyTile.keys.count * keyWidth) }
            Scalar.additiveGradient(
                AdditiveGradientOperands(
                    querySums: querySums, keySums: keyOut ?? scratch.keySums,
                    weightSums: pairs.weights ?? scratch.weightSums,
                    gradients: UnsafePointer(scratch.gradients), queries: queries, queryStride: queryStride, keys: keys,
                    keyStride: keyStride, queryCount: tile.queries.count, keyCount: keyTile.keys.count,
                    featureCount: width))
        case .pairwise:
            call.addGradients(
                ScoreGradientTile(
                    queries: queries, queryStride: queryStride, queryDimension: shape.queryDimension, keys: keys,
                    keyStride: keyStride, keyDimension: shape.keyDimension,
                    scoreGradients: UnsafePointer(scratch.gradients), queryGradients: queryOut == nil ? nil : querySums,
                    keyGradients: keyOut, rows: tile.queries.count, columns: keyTile.keys.count))
        case .product, .squaredDistance, .absoluteDistance:
            if let keyOut {
                addToKeys(scratch, tile, keyTile) { keyRun, queryRun in
                    add(
                        GradientOperands(
                            out: keyOut + keyRun.lowerBound * width, outStride: width,
                            gradients: scratch.gradients + keyRun.lowerBound * tile.queries.count + queryRun.lowerBound,
                            rowStep: tile.queries.count, depthStep: 1, a: keys + keyRun.lowerBound * keyStride,
                            aStride: keyStride, b: queries + queryRun.lowerBound * queryStride, bStride: queryStride,
                            rows: keyRun.count, columns: width, depth: queryRun.count))
                }
            }
            if queryOut != nil {
                addToQueries(scratch, tile, keyTile) { keyRun, queryRun in
                    add(
                        GradientOperands(
                            out: querySums + queryRun.lowerBound * width, outStride: width,
                            gradients: scratch.gradients + keyRun.lowerBound * tile.queries.count + queryRun.lowerBound,
                            rowStep: 1, depthStep: tile.queries.count, a: queries + queryRun.lowerBound * queryStride,
                            aStride: queryStride, b: keys + keyRun.lowerBound * keyStride, bStride: keyStride,
                            rows: queryRun.count, columns: width, depth: keyRun.count))
                }
            }
        }
    }

    private func add(_ tile: GradientOperands<Scalar>) {
        switch call.form.operation {
        // forward: score = Σ_f query_f · key_f
        case .product: Scalar.productGradient(tile)
        // forward: score = Σ_f (query_f - key_f)², whose factor 2 comes at the end
        case .squaredDistance: Scalar.squaredDistanceGradient(tile)
        // forward: score = Σ_f |query_f - key_f|
        case .absoluteDistance: Scalar.absoluteDistanceGradient(tile)
        case .additive, .pairwise: break
        }
    }

    /// Whether a masked pair of the tile may not be read as the number that its zero is multiplied by.
    private func hidesNonFinite(_ tile: QueryTile, _ keyTile: KeyTile) -> Bool {
        !keyTile.masked.isEmpty && !operands.isFinite(tile, keyTile.keys)
    }

    /// Calls `add` with keys, and the queries that are to be added to them: all at once, unless some may not be read.
    private func addToKeys(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile,
        _ add: (Range<Int>, Range<Int>) -> Void
    ) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        guard hidesNonFinite(tile, keyTile) else { return add(0..<keyCount, 0..<queryCount) }
        for key in 0..<keyCount {
            forEachRun(in: queryCount) {
                scratch.visible[$0 * BackwardTileSize.keys + key]
            } do: { run in
                add(key..<key + 1, run)
            }
        }
    }

    /// Calls `add` with queries, and the keys that are to be added to them: all at once, unless some may not be read.
    private func addToQueries(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile,
        _ add: (Range<Int>, Range<Int>) -> Void
    ) {
        let (queryCount, keyCount) = (tile.queries.count, keyTile.keys.count)
        guard hidesNonFinite(tile, keyTile) else { return add(0..<keyCount, 0..<queryCount) }
        for query in 0..<queryCount {
            let visible = scratch.visible + query * BackwardTileSize.keys
            forEachRun(in: keyCount) {
                visible[$0]
            } do: { run in
                add(run, query..<query + 1)
            }
        }
    }

    // MARK: - Scale and biases

    private func addScaleGradients(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile, _ pairs: BackwardSums<Scalar>.Pairs
    ) {
        guard let raw = scratch.unscaled, let sum = pairs.scale else { return }
        // forward: score = scale · raw
        Scalar.dotRows(
            TileOperands(
                out: scratch.biases, outStride: 1, a: UnsafePointer(scratch.gradients), aStride: 0,
                b: UnsafePointer(raw),
                bStride: 0, rows: 1, columns: 1, depth: tile.queries.count * keyTile.keys.count))
        sum.pointee += Double(scratch.biases[0])
    }

    private func addSlopeGradients(
        _ scratch: BackwardScratch<Scalar>, _ tile: QueryTile, _ keyTile: KeyTile, _ pairs: BackwardSums<Scalar>.Pairs
    ) {
        for (rule, sum) in zip(call.operation.bias.rules, pairs.slopes) {
            guard let rule = rule as? ALiBi, let sum else { continue }
            // forward: bias = -slope · |i + offset - j|
            for (key, position) in keyTile.keys.enumerated() {
                let gradients = scratch.gradients + key * tile.queries.count
                for (query, queryPosition) in tile.queries.enumerated() {
                    let distance = rule.distance(batch: tile.batch, query: queryPosition, key: position)
                    sum.pointee -= Double(gradients[query]) * Double(distance)
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

/// The sizes of a tile on the way back: of 64 and 128 queries, and 128 to 512 keys, the fastest by a few per cent.
enum BackwardTileSize {
    /// A multiple of the kernels' columns of registers.
    static let queries = 64
    static let keys = 256
    /// How many blocks of keys of a head are in work at a time where threads share it; each has its own sums of the queries.
    static let sharedBlocks = 8
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
