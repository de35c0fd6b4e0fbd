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
    /// `[B, H, T_q]`: the softmax's maximum, or 0 where there is none.
    private let shifts: Tensor
    /// `[B, H, T_q]`: Σ_d gradient · output.
    private let deltas: Tensor
    private let shape: AttentionShape
    /// By head and block, whether queries and output gradients, and keys, are numbers; empty where nothing is masked.
    private let finiteQueries: [Bool]
    private let finiteKeys: [Bool]

    init(
        _ call: TiledAttention<Scalar>, _ rows: RowStatistics<Scalar>, _ output: Tensor, _ gradient: Tensor
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
        var needsQueryColumns = true
        var formWeights = Tensor(zeros: [0], elementType: Scalar.elementType)
        switch call.form.operation {
        case .pairwise: needsQueryColumns = false
        case .additive(let tensor): formWeights = tensor.converted(to: Scalar.elementType).contiguous()
        case .product, .squaredDistance, .absoluteDistance: break
        }
        weights = formWeights
        queryColumns =
            needsQueryColumns
            ? transposed(queries, inBlocksOf: BackwardTileSize.queries, as: Scalar.self) : queries
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

    /// The bytes that these take, and the features of a call whose queries and keys are not mapped yet.
    static func byteCount(_ call: TiledAttention<Scalar>) -> Int {
        let shape = call.shape
        let queryRows = shape.batchCount * shape.headCount * shape.queryCount
        // The output's gradients, once more by columns; maxima and dot products.
        var count = queryRows * (2 * shape.valueDimension + 2)
        if case .pairwise = call.form.operation {} else { count += queryRows * call.queryFeatureCount }
        for (rows, map, width) in [
            (call.queries, call.form.queries, call.queryFeatureCount), (call.keys, call.form.keys, call.featureCount),
            (call.values, .identity, shape.valueDimension),
        ] {
            if case .identity = map, TileOperandBuffers<Scalar>.isReadable(rows) { continue }
            count += rows.shape.dropLast().reduce(width, *)
        }
        return count * Scalar.elementType.byteCount
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
    let isReadable = TileOperandBuffers<Scalar>.isReadable(gradient)
    func position(_ tensor: Tensor, _ batch: Int, _ head: Int, _ query: Int) -> Int {
        batch * tensor.strides[0] + head * tensor.strides[1] + query * tensor.strides[2]
    }
    parallel(shape.batchCount * shape.headCount * blockCount) { item in
        let (sequence, block) = item.quotientAndRemainder(dividingBy: blockCount)
        let (batch, head) = sequence.quotientAndRemainder(dividingBy: shape.headCount)
        let queries = range(block, by: BackwardTileSize.queries, upTo: shape.queryCount)
        let first = sequence * shape.queryCount + queries.lowerBound
        let start = out.pointer(as: Scalar.self) + first * width
        let (shifts, deltas) = (shifts.pointer(as: Scalar.self) + first, deltas.pointer(as: Scalar.self) + first)
        var (source, stride) = (UnsafePointer(start), width)
        if isReadable {
            source =
                UnsafePointer(gradient.pointer(as: Scalar.self)) + position(gradient, batch, head, queries.lowerBound)
            stride = gradient.strides[2]
        } else {
            for (row, query) in queries.enumerated() {
                gradient.read(
                    into: start + row * width, from: position(gradient, batch, head, query), count: width,
                    stride: gradient.strides[3])
            }
        }
        Scalar.divideAndDot(
            start, deltas, source, stride,
            output.pointer(as: Scalar.self) + position(output, batch, head, queries.lowerBound), output.strides[2],
            by: rows.sum + first, queries.count, width)
        for row in queries.indices.map({ $0 - queries.lowerBound }) {
            let maximum = rows.maximum[first + row]
            shifts[row] = maximum == -.infinity ? 0 : maximum
            if rows.seesAnything[first + row] { continue }
            // Its output is zero whatever the operands are.
            (start + row * width).update(repeating: 0, count: width)
            deltas[row] = 0
        }
    }
}

private func finiteBlocks<Scalar: KernelScalar>(of tensor: Tensor, by size: Int, as type: Scalar.Type) -> [Bool] {
    let (headCount, length, width) = (tensor.shape[1], tensor.shape[2], tensor.shape[3])
    let blockCount = blocks(of: length, by: size)
    let count = tensor.shape[0] * headCount * blockCount
    return [Bool](unsafeUninitializedCapacity: count) { flags, initializedCount in
        nonisolated(unsafe) let flags = flags
        // Safe: each item writes its own flag.
        parallel(count) { item in
            let (sequence, block) = item.quotientAndRemainder(dividingBy: blockCount)
            let (batch, head) = sequence.quotientAndRemainder(dividingBy: headCount)
            let start = tensor.pointer(as: Scalar.self) + batch * tensor.strides[0] + head * tensor.strides[1]
            flags[item] = range(block, by: size, upTo: length).allSatisfy { row in
                Scalar.sumOfSquares(start + row * tensor.strides[2], width).isFinite
            }
        }
        initializedCount = count
    }
}

/// The gradients while they are summed up; each part is written by one thread at a time.
final class BackwardSums<Scalar: KernelScalar>: Sendable {
    private let queries: Tensor?
    private let keys: Tensor?
    private let values: Tensor?
    /// By head and block of keys: Σ gradient · unscaled score.
    private let scales: Tensor?
    /// By head and block of keys: Σ gradient · tanh, for each feature.
    private let weights: Tensor?
    /// By rule of the bias, head and block of keys: -Σ gradient · distance.
    private let slopes: [Tensor?]
    private let form: ScoreForm
    private let shape: AttentionShape
    private let keyBlockCount: Int

    init(
        _ call: TiledAttention<Scalar>, _ operands: BackwardOperands<Scalar>, _ wanted: AttentionGradients.Wanted
    ) {
        shape = call.shape
        form = call.form
        func zeros(_ isWanted: Bool, _ shape: [Int], _ type: ElementType = Scalar.elementType) -> Tensor? {
            isWanted ? Tensor(zeros: shape, elementType: type) : nil
        }
        queries = zeros(wanted.queries, operands.queries.shape)
        keys = zeros(wanted.keys, operands.keys.shape)
        values = zeros(wanted.values, operands.values.shape)
        keyBlockCount = blocks(of: shape.keyCount, by: BackwardTileSize.keys)
        let blocks = [shape.batchCount, shape.headCount, keyBlockCount]
        scales = zeros(wanted.scale, blocks, .float64)
        weights = zeros(wanted.weights, blocks + [operands.keys.shape[3]])
        slopes = zip(call.operation.bias.rules, wanted.biases).map { rule, isWanted in
            zeros(isWanted && rule is ALiBi, blocks, .float64)
        }
    }

    /// The bytes that these take but for those that are returned as gradients.
    static func byteCount(_ call: TiledAttention<Scalar>, _ wanted: AttentionGradients.Wanted) -> Int {
        let size = Scalar.elementType.byteCount
        var byteCount = 0
        for (isWanted, rows, map, width) in [
            (wanted.queries, call.queries, call.form.queries, call.queryFeatureCount),
            (wanted.keys, call.keys, call.form.keys, call.featureCount),
            (wanted.values, call.values, .identity, call.shape.valueDimension),
        ] where isWanted {
            if case .identity = map, rows.gradientType == Scalar.elementType { continue }
            byteCount += rows.shape.dropLast().reduce(width, *) * size
        }
        let slopeCount = zip(call.operation.bias.rules, wanted.biases).count { $0 is ALiBi && $1 }
        return byteCount + call.shape.batchCount * call.shape.headCount
            * blocks(of: call.shape.keyCount, by: BackwardTileSize.keys)
            * (8 * (slopeCount + (wanted.scale ? 1 : 0)) + (wanted.weights ? call.featureCount * size : 0))
    }

    func keyRow(_ tile: QueryTile, _ key: Int) -> UnsafeMutablePointer<Scalar>? { keys.map { row($0, tile, key) } }

    func valueRow(_ tile: QueryTile, _ key: Int) -> UnsafeMutablePointer<Scalar>? { values.map { row($0, tile, key) } }

    func queryRow(_ tile: QueryTile) -> UnsafeMutablePointer<Scalar>? {
        queries.map { $0.pointer(as: Scalar.self) + index(tile) * $0.shape[3] }
    }

    /// What is summed over all pairs of a head's queries and a block of keys, if it is wanted.
    struct Pairs {
        let scale: UnsafeMutablePointer<Double>?
        let weights: UnsafeMutablePointer<Scalar>?
        let slopes: [UnsafeMutablePointer<Double>?]
    }

    func pairs(_ batch: Int, _ head: Int, _ keyBlock: Int) -> Pairs {
        let index = (batch * shape.headCount + head) * keyBlockCount + keyBlock
        return Pairs(
            scale: scales.map { $0.pointer(as: Double.self) + index },
            weights: weights.map { $0.pointer(as: Scalar.self) + index * $0.shape[3] },
            slopes: slopes.map { $0.map { $0.pointer(as: Double.self) + index } })
    }

    // MARK: - Shared heads

    /// Places for the sums of the queries over each of some blocks of keys, if they are wanted.
    func queryParts(_ count: Int) -> Tensor? {
        queries.map { Tensor(uninitialized: [count, $0.elementCount], elementType: Scalar.elementType) }
    }

    func queryRow(_ tile: QueryTile, in parts: Tensor, _ part: Int) -> UnsafeMutablePointer<Scalar> {
        parts.pointer(as: Scalar.self) + part * parts.shape[1] + index(tile) * (queries?.shape[3] ?? 0)
    }

    /// Adds the parts up, each after the other.
    func add(_ parts: Tensor, _ count: Int) {
        guard let queries else { return }
        let size = 4096
        parallel(blocks(of: queries.elementCount, by: size)) { block in
            let elements = range(block, by: size, upTo: queries.elementCount)
            let out = queries.pointer(as: Scalar.self) + elements.lowerBound
            for part in 0..<count {
                Scalar.add(
                    out, UnsafePointer(out),
                    UnsafePointer(parts.pointer(as: Scalar.self)) + part * parts.shape[1] + elements.lowerBound,
                    elements.count)
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
        var factor = Scalar(form.scale)
        if case .squaredDistance = form.operation { factor *= 2 }
        var weights: UnsafePointer<Scalar>?
        if case .additive = form.operation { weights = UnsafePointer(operands.weights.pointer(as: Scalar.self)) }
        if weights == nil && factor == 1 { return }
        let width = features.shape[3]
        parallel(blocks(of: width == 0 ? 0 : features.elementCount / width, by: 64)) { block in
            let rows = range(block, by: 64, upTo: features.elementCount / width)
            let start = features.pointer(as: Scalar.self) + rows.lowerBound * width
            if let weights {
                for row in rows.indices.map({ ($0 - rows.lowerBound) * width }) {
                    for feature in 0..<width { start[row + feature] *= weights[feature] * factor }
                }
            } else {
                Scalar.scale(start, rows.count * width, by: factor)
            }
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
    /// `[queries, features]`: the sums of the queries over the tile's keys.
    let querySums: UnsafeMutablePointer<Scalar>
    /// `[keys, features]` and `[features]`: for sums of an additive form that nobody asks for.
    let keySums: UnsafeMutablePointer<Scalar>
    let weightSums: UnsafeMutablePointer<Scalar>
    /// `[queries]`: which keys of the tile a query sees, where those are neighbours.
    let begins: UnsafeMutablePointer<Int32>
    let ends: UnsafeMutablePointer<Int32>
    /// `[queries, BackwardTileSize.keys]`: which keys a query sees, where the tile has mask code.
    let visible: UnsafeMutablePointer<Bool>
    private let storage: TensorStorage

    init(featureCount: Int, isScaleWanted: Bool, isCapped: Bool) {
        let tile = BackwardTileSize.queries * BackwardTileSize.keys
        storage = TensorStorage(
            byteCount: Self.byteCount(featureCount: featureCount, isScaleWanted: isScaleWanted, isCapped: isCapped))
        weights = storage.base.assumingMemoryBound(to: Scalar.self)
        gradients = weights + tile
        var next = gradients + tile
        unscaled = isScaleWanted ? next : nil
        if isScaleWanted { next += tile }
        capDerivatives = isCapped ? next : nil
        if isCapped { next += tile }
        biases = next
        biasRow = biases + BackwardTileSize.keys
        querySums = biasRow + BackwardTileSize.keys
        keySums = querySums + featureCount * BackwardTileSize.queries
        weightSums = keySums + featureCount * BackwardTileSize.keys
        begins = UnsafeMutableRawPointer(weightSums + featureCount).assumingMemoryBound(to: Int32.self)
        ends = begins + BackwardTileSize.queries
        visible = UnsafeMutableRawPointer(ends + BackwardTileSize.queries).assumingMemoryBound(to: Bool.self)
    }

    static func byteCount(featureCount: Int, isScaleWanted: Bool, isCapped: Bool) -> Int {
        let tile = BackwardTileSize.queries * BackwardTileSize.keys
        let count =
            tile * (2 + (isScaleWanted ? 1 : 0) + (isCapped ? 1 : 0)) + 2 * BackwardTileSize.keys
            + featureCount * (BackwardTileSize.queries + BackwardTileSize.keys + 1)
        return count * Scalar.elementType.byteCount + 8 * BackwardTileSize.queries + tile
    }
}
