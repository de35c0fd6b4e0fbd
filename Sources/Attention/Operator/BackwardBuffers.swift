/// What the way back reads: rows, and the same transposed by blocks, so that a vector holds many queries.
final class BackwardOperands<Scalar: KernelScalar>: Sendable {
    /// `[B, H, T_q, F]`, `[B, G, T_k, F]`, `[B, G, T_k, D_v]`.
    let queries: Tensor
    let keys: Tensor
    let values: Tensor
    /// `[B, H, T_q, D_v]`: the output's, divided by the softmax's denominators; zeros for a query that sees nothing.
    let outputGradients: Tensor
    /// For each block of queries: `[F, block]` and `[D_v, block]`.
    let queryColumns: Tensor
    let outputGradientColumns: Tensor
    /// Those of an additive form, or none.
    let weights: Tensor
    /// For each block of keys: `[F, block]`; the keys where nobody asks for it.
    private let keyColumns: Tensor
    /// `[B, H, T_q]`: the softmax's maximum, or 0 where there is none.
    private let shifts: Tensor
    /// `[B, H, T_q]`: Σ_d gradient · output.
    private let deltas: Tensor
    private let shape: AttentionShape
    /// By head and block, whether queries and output gradients, and keys, are numbers; empty where nothing is masked.
    private let finiteQueries: [Bool]
    private let finiteKeys: [Bool]

    init(
        _ call: TiledAttention<Scalar>, _ rows: RowStatistics<Scalar>, _ output: Tensor, _ gradient: Tensor,
        needsKeyColumns: Bool
    ) {
        let shape = call.shape
        self.shape = shape
        queries = readableRows(of: call.queries, mappedBy: .identity, as: Scalar.self)
        keys = readableRows(of: call.keys, mappedBy: .identity, as: Scalar.self)
        values = readableRows(of: call.values, mappedBy: .identity, as: Scalar.self)
        let counts = [shape.batchCount, shape.headCount, shape.queryCount]
        outputGradients = Tensor(uninitialized: counts + [shape.valueDimension], elementType: Scalar.elementType)
        shifts = Tensor(uninitialized: counts, elementType: Scalar.elementType)
        deltas = Tensor(uninitialized: counts, elementType: Scalar.elementType)
        prepare(output, gradient, rows, shape, outputGradients, shifts, deltas)
        var (needsQueryColumns, isProduct) = (true, false)
        var formWeights = Tensor(zeros: [0], elementType: Scalar.elementType)
        switch call.form.operation {
        case .pairwise: needsQueryColumns = false
        case .product: isProduct = true
        case .additive(let tensor): formWeights = tensor.converted(to: Scalar.elementType).contiguous()
        case .squaredDistance, .absoluteDistance: break
        }
        weights = formWeights
        queryColumns =
            needsQueryColumns
            ? transposed(queries, inBlocksOf: BackwardTileSize.queries, as: Scalar.self) : queries
        keyColumns =
            needsKeyColumns && isProduct ? transposed(keys, inBlocksOf: BackwardTileSize.keys, as: Scalar.self) : keys
        outputGradientColumns = transposed(outputGradients, inBlocksOf: BackwardTileSize.queries, as: Scalar.self)
        let hasMask = call.operation.mask.rule != nil || !call.operation.bias.rules.isEmpty
        finiteQueries =
            hasMask
            ? zip(
                finiteBlocks(of: queries, by: BackwardTileSize.queries, as: Scalar.self),
                finiteBlocks(of: outputGradients, by: BackwardTileSize.queries, as: Scalar.self)
            ).map { $0 && $1 } : []
        finiteKeys = hasMask ? finiteBlocks(of: keys, by: BackwardTileSize.keys, as: Scalar.self) : []
    }

    /// The row of a tile's first query, and how far apart its rows are.
    func row(_ tensor: Tensor, _ tile: QueryTile) -> (UnsafePointer<Scalar>, Int) {
        row(of: tensor, tile.batch, tile.head, tile.queries.lowerBound)
    }

    /// The row of a key for a tile's head, and how far apart the rows are.
    func row(_ tensor: Tensor, _ tile: QueryTile, key: Int) -> (UnsafePointer<Scalar>, Int) {
        row(of: tensor, tile.batch, tile.head / shape.groupSize, key)
    }

    /// A tile's block of `queryColumns` or `outputGradientColumns`.
    func columns(_ tensor: Tensor, _ tile: QueryTile) -> UnsafePointer<Scalar> {
        UnsafePointer(tensor.pointer(as: Scalar.self) + index(tile) * tensor.shape[3])
    }

    /// The transposed keys from `key` on, up to the end of its block, and how far apart their features are.
    func keyColumns(_ tile: QueryTile, from key: Int) -> (UnsafePointer<Scalar>, Int) {
        let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
        let block = range(key / BackwardTileSize.keys, by: BackwardTileSize.keys, upTo: shape.keyCount)
        let start = (group * shape.keyCount + block.lowerBound) * keyColumns.shape[3] + key - block.lowerBound
        return (UnsafePointer(keyColumns.pointer(as: Scalar.self) + start), block.count)
    }

    func shifts(_ tile: QueryTile) -> UnsafePointer<Scalar> {
        UnsafePointer(shifts.pointer(as: Scalar.self) + index(tile))
    }

    func deltas(_ tile: QueryTile) -> UnsafePointer<Scalar> {
        UnsafePointer(deltas.pointer(as: Scalar.self) + index(tile))
    }

    /// Whether all that a tile multiplies its gradients by are numbers.
    func isFinite(_ tile: QueryTile, _ keyRange: Range<Int>) -> Bool {
        let head = tile.batch * shape.headCount + tile.head
        let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
        let queryBlock = tile.queries.lowerBound / BackwardTileSize.queries
        let keyBlock = keyRange.lowerBound / BackwardTileSize.keys
        return finiteQueries[head * blocks(of: shape.queryCount, by: BackwardTileSize.queries) + queryBlock]
            && finiteKeys[group * blocks(of: shape.keyCount, by: BackwardTileSize.keys) + keyBlock]
    }

    private func index(_ tile: QueryTile) -> Int {
        (tile.batch * shape.headCount + tile.head) * shape.queryCount + tile.queries.lowerBound
    }

    private func row(of tensor: Tensor, _ batch: Int, _ head: Int, _ index: Int) -> (UnsafePointer<Scalar>, Int) {
        let position = batch * tensor.strides[0] + head * tensor.strides[1] + index * tensor.strides[2]
        return (UnsafePointer(tensor.pointer(as: Scalar.self) + position), tensor.strides[2])
    }

    /// The gradient of the sinks: they have a share in each denominator, and no value.
    func sinkGradient(_ sinks: Tensor, _ rows: RowStatistics<Scalar>) -> Tensor {
        let gradients = (0..<shape.headCount).map { head in
            var sum = 0.0
            for batch in 0..<shape.batchCount {
                let first = (batch * shape.headCount + head) * shape.queryCount
                for row in first..<first + shape.queryCount where rows.seesAnything[row] {
                    // forward: denominator = exp(sink - shift) + Σ exp(score - shift)
                    let share = Double.exp(sinks[head] - Double(shifts.pointer(as: Scalar.self)[row]))
                    sum -= share * Double(deltas.pointer(as: Scalar.self)[row])
                }
            }
            return sum
        }
        return Tensor(gradients, shape: [shape.headCount])
    }
}

/// Divides the output's gradient by the denominators, and writes the maxima and Σ_d gradient · output.
private func prepare<Scalar: KernelScalar>(
    _ output: Tensor, _ gradient: Tensor, _ rows: RowStatistics<Scalar>, _ shape: AttentionShape, _ out: Tensor,
    _ shifts: Tensor, _ deltas: Tensor
) {
    let width = shape.valueDimension
    let blockCount = blocks(of: shape.queryCount, by: BackwardTileSize.queries)
    func position(_ tensor: Tensor, _ batch: Int, _ head: Int, _ query: Int) -> Int {
        batch * tensor.strides[0] + head * tensor.strides[1] + query * tensor.strides[2]
    }
    parallel(shape.batchCount * shape.headCount * blockCount) { item in
        let (sequence, block) = item.quotientAndRemainder(dividingBy: blockCount)
        let (batch, head) = sequence.quotientAndRemainder(dividingBy: shape.headCount)
        for query in range(block, by: BackwardTileSize.queries, upTo: shape.queryCount) {
            let index = sequence * shape.queryCount + query
            let row = out.pointer(as: Scalar.self) + index * width
            let maximum = rows.maximum[index]
            shifts.pointer(as: Scalar.self)[index] = maximum == -.infinity ? 0 : maximum
            var delta = 0.0
            if rows.seesAnything[index] {
                gradient.read(
                    into: row, from: position(gradient, batch, head, query), count: width, stride: gradient.strides[3])
                let outputRow = output.pointer(as: Scalar.self) + position(output, batch, head, query)
                let sum = rows.sum[index]
                for element in 0..<width {
                    row[element] /= sum
                    delta += Double(row[element]) * Double(outputRow[element])
                }
            } else {
                // Its output is zero whatever the operands are.
                row.update(repeating: 0, count: width)
            }
            deltas.pointer(as: Scalar.self)[index] = Scalar(delta)
        }
    }
}

private func finiteBlocks<Scalar: KernelScalar>(of tensor: Tensor, by size: Int, as type: Scalar.Type) -> [Bool] {
    var flags: [Bool] = []
    for batch in 0..<tensor.shape[0] {
        for head in 0..<tensor.shape[1] {
            for block in 0..<blocks(of: tensor.shape[2], by: size) {
                flags.append(
                    range(block, by: size, upTo: tensor.shape[2]).allSatisfy { row in
                        let position = batch * tensor.strides[0] + head * tensor.strides[1] + row * tensor.strides[2]
                        return isFinite(tensor.pointer(as: Scalar.self) + position, tensor.shape[3])
                    })
            }
        }
    }
    return flags
}

/// The gradients while they are summed up; each part is written by one thread at a time.
final class BackwardSums<Scalar: KernelScalar>: Sendable {
    private let queries: Tensor?
    private let keys: Tensor?
    private let values: Tensor?
    /// By query: Σ_key gradient · unscaled score.
    private let scales: Tensor?
    /// By block of queries: Σ gradient · tanh, for each feature.
    private let weights: Tensor?
    /// By rule of the bias and query: -Σ_key gradient · distance.
    let slopes: [Tensor?]
    private let isProduct: Bool
    private let form: ScoreForm
    private let shape: AttentionShape

    init(
        _ call: TiledAttention<Scalar>, _ operands: BackwardOperands<Scalar>, _ wanted: AttentionGradients.Wanted
    ) {
        shape = call.shape
        form = call.form
        func zeros(_ isWanted: Bool, _ shape: [Int]) -> Tensor? {
            isWanted ? Tensor(zeros: shape, elementType: Scalar.elementType) : nil
        }
        let heads = [shape.batchCount, shape.headCount]
        queries = zeros(wanted.queries, operands.queries.shape)
        keys = zeros(wanted.keys, operands.keys.shape)
        values = zeros(wanted.values, operands.values.shape)
        scales = zeros(wanted.scale, heads + [shape.queryCount])
        let blockCount = blocks(of: shape.queryCount, by: BackwardTileSize.queries)
        weights = zeros(wanted.weights, heads + [blockCount, operands.keys.shape[3]])
        slopes = zip(call.operation.bias.rules, wanted.biases).map { [queryCount = shape.queryCount] rule, isWanted in
            zeros(isWanted && rule is ALiBi, heads + [queryCount])
        }
        if case .product = form.operation { isProduct = true } else { isProduct = false }
    }

    func keyRow(_ tile: QueryTile, _ key: Int) -> UnsafeMutablePointer<Scalar>? { keys.map { row($0, tile, key) } }

    func valueRow(_ tile: QueryTile, _ key: Int) -> UnsafeMutablePointer<Scalar>? { values.map { row($0, tile, key) } }

    func queryRow(_ tile: QueryTile) -> UnsafeMutablePointer<Scalar>? {
        queries.map { $0.pointer(as: Scalar.self) + index(tile) * $0.shape[3] }
    }

    func scaleRow(_ tile: QueryTile) -> UnsafeMutablePointer<Scalar>? {
        scales.map { $0.pointer(as: Scalar.self) + index(tile) }
    }

    func slopeRow(_ rule: Int, _ tile: QueryTile) -> UnsafeMutablePointer<Scalar>? {
        slopes[rule].map { $0.pointer(as: Scalar.self) + index(tile) }
    }

    func weightRow(_ tile: QueryTile) -> UnsafeMutablePointer<Scalar>? {
        weights.map {
            let block = tile.queries.lowerBound / BackwardTileSize.queries
            let first = (tile.batch * shape.headCount + tile.head) * $0.shape[2] + block
            return $0.pointer(as: Scalar.self) + first * $0.shape[3]
        }
    }

    /// A place for the gradients of the queries of a product, `[F, block]` for each head and block, if they are wanted.
    func queryColumns(heads: Int, queries count: Int) -> Tensor? {
        guard isProduct, let queries else { return nil }
        return Tensor(zeros: [heads * count, queries.shape[3]], elementType: Scalar.elementType)
    }

    /// Writes the columns of a head's queries, the first of which is `start`, as rows.
    func transpose(_ columns: Tensor, at start: Int, batch: Int, head: Int, _ range: Range<Int>) {
        guard let queries else { return }
        let width = queries.shape[3]
        let first = (batch * shape.headCount + head) * shape.queryCount
        for blockStart in stride(from: range.lowerBound, to: range.upperBound, by: BackwardTileSize.queries) {
            let count = min(BackwardTileSize.queries, range.upperBound - blockStart)
            let source = columns.pointer(as: Scalar.self) + (start + blockStart - range.lowerBound) * width
            let out = queries.pointer(as: Scalar.self) + (first + blockStart) * width
            for query in 0..<count {
                for feature in 0..<width { out[query * width + feature] = source[feature * count + query] }
            }
        }
    }

    private func index(_ tile: QueryTile) -> Int {
        (tile.batch * shape.headCount + tile.head) * shape.queryCount + tile.queries.lowerBound
    }

    private func row(_ tensor: Tensor, _ tile: QueryTile, _ key: Int) -> UnsafeMutablePointer<Scalar> {
        let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
        return tensor.pointer(as: Scalar.self) + (group * shape.keyCount + key) * tensor.shape[3]
    }

    // MARK: - The end

    /// Returns the gradients, with the factors that all of a sum share.
    func gradients(
        _ operands: BackwardOperands<Scalar>, _ rows: RowStatistics<Scalar>, _ sinks: Tensor?, biases: [Tensor?]
    ) -> AttentionGradients {
        for features in [queries, keys] {
            if let features { multiply(features, operands) }
        }
        var found = AttentionGradients(queries: queries, keys: keys, values: values, biases: biases)
        found.scale = scales.map { Tensor(filledWith: $0.doubles.reduce(0, +), shape: [], elementType: .float64) }
        found.weights = weights.map { sums in
            sums.summed(to: [sums.shape[3]]) * form.scale
        }
        found.sinks = sinks.map { operands.sinkGradient($0, rows) }
        return found
    }

    func slopeGradient(_ rule: Int) -> Tensor? {
        slopes[rule].map { $0.summed(to: [1, shape.headCount, 1]) }
    }

    /// Multiplies the gradients of features by what each pair's have in common.
    private func multiply(_ features: Tensor, _ operands: BackwardOperands<Scalar>) {
        let start = features.pointer(as: Scalar.self)
        var factor = Scalar(form.scale)
        if case .squaredDistance = form.operation { factor *= 2 }
        if case .additive = form.operation {
            let width = features.shape[3]
            let weights = operands.weights.pointer(as: Scalar.self)
            for row in 0..<(width == 0 ? 0 : features.elementCount / width) {
                for feature in 0..<width { start[row * width + feature] *= weights[feature] * factor }
            }
        } else if factor != 1 {
            Scalar.scale(start, features.elementCount, by: factor)
        }
    }
}

/// What one thread needs for a tile on the way back, each `[keys, queries]`.
final class BackwardScratch<Scalar: KernelScalar> {
    /// The scores, then the weights times their denominators.
    let weights: UnsafeMutablePointer<Scalar>
    let gradients: UnsafeMutablePointer<Scalar>
    /// The scores before the scale, if its gradient is wanted.
    let unscaled: UnsafeMutablePointer<Scalar>?
    /// Those of the soft-cap, if there is one.
    let capDerivatives: UnsafeMutablePointer<Scalar>?
    let biases: UnsafeMutablePointer<Scalar>
    let biasRow: UnsafeMutablePointer<Scalar>
    /// `[queries, features]`: the tanh of an additive form.
    let hidden: UnsafeMutablePointer<Scalar>
    /// `[queries, BackwardTileSize.keys]`: which keys a query sees, where the tile has mask code.
    let visible: UnsafeMutablePointer<Bool>
    private let storage: TensorStorage

    init(featureCount: Int, isScaleWanted: Bool, isCapped: Bool) {
        let tile = BackwardTileSize.queries * BackwardTileSize.keys
        let count =
            tile * (2 + (isScaleWanted ? 1 : 0) + (isCapped ? 1 : 0)) + 2 * BackwardTileSize.keys
            + featureCount * BackwardTileSize.queries
        storage = TensorStorage(byteCount: count * Scalar.elementType.byteCount + tile)
        weights = storage.base.assumingMemoryBound(to: Scalar.self)
        gradients = weights + tile
        var next = gradients + tile
        unscaled = isScaleWanted ? next : nil
        if isScaleWanted { next += tile }
        capDerivatives = isCapped ? next : nil
        if isCapped { next += tile }
        biases = next
        biasRow = biases + BackwardTileSize.keys
        hidden = biasRow + BackwardTileSize.keys
        visible = UnsafeMutableRawPointer(hidden + featureCount * BackwardTileSize.queries)
            .assumingMemoryBound(to: Bool.self)
    }
}
