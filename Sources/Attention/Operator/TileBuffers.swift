/// Queries, keys and values in the form the kernels read: as they lie where that form is theirs, else copied once.
final class TileOperandBuffers<Scalar: KernelScalar>: Sendable {
    let featureCount: Int
    private let queryRows: Tensor
    private let keyRows: Tensor
    private let valueRows: Tensor
    /// For each key-value head and block of keys: `[featureCount, block]`; the keys where no path asks for it.
    private let packed: Tensor
    /// Where the form is a product or a distance: for each key-value head its keys in panels, unless a thread packs them for itself.
    private let panels: TensorStorage?
    /// Where the processor multiplies bfloat16 itself: all that is read.
    let bfloat16: BFloat16Operands?
    /// Those of an additive form, or none.
    private let weights: Tensor

    /// Prepares the operands of a call; where it packs by head, the panels are left to ``panels(ofGroup:_:)``.
    init(_ call: TiledAttention<Scalar>, packsByHead: Bool = false, inBFloat16: Bool = false) {
        let form = call.form
        if inBFloat16, let operands = BFloat16Operands(call, packsByHead: packsByHead) {
            bfloat16 = operands
            (queryRows, keyRows, valueRows, packed, panels) = (call.queries, call.keys, call.values, call.keys, nil)
            weights = Tensor(zeros: [0], elementType: Scalar.elementType)
            featureCount = call.shape.keyDimension
            return
        }
        bfloat16 = nil
        queryRows = readableRows(of: call.queries, mappedBy: form.queries, as: Scalar.self)
        let keys = readableRows(of: call.keys, mappedBy: form.keys, as: Scalar.self)
        valueRows = readableRows(of: call.values, mappedBy: .identity, as: Scalar.self)
        featureCount = keys.shape[3]
        require(
            !call.paths.contains(.packed) || queryRows.shape[3] == featureCount,
            "Queries have \(queryRows.shape[3]) features, but keys have \(featureCount).")
        let isPacked = call.paths.contains(.packed)
        packed =
            isPacked && form.panelOperation == nil ? transposed(keys, inBlocksOf: TileSize.keys, as: Scalar.self) : keys
        keyRows = keys
        if isPacked && form.panelOperation != nil && !packsByHead {
            let shape = call.shape
            let (length, width) = (Self.panelElementCount(shape.keyCount, featureCount), Scalar.tileColumns)
            let storage = TensorStorage(
                byteCount: shape.batchCount * shape.keyValueHeadCount * length * Scalar.elementType.byteCount)
            let start = storage.base.assumingMemoryBound(to: Scalar.self)
            let panelCount = blocks(of: shape.keyCount, by: width)
            parallel(shape.batchCount * shape.keyValueHeadCount * panelCount) { item in
                let (group, panel) = item.quotientAndRemainder(dividingBy: panelCount)
                pack(keys, group, range(panel, by: width, upTo: shape.keyCount), into: start + group * length)
            }
            panels = storage
        } else {
            panels = nil
        }
        if case .additive(let tensor) = form.operation {
            require(
                tensor.elementCount == featureCount,
                "There are \(tensor.elementCount) score weights for \(featureCount) features.")
            weights = tensor.converted(to: Scalar.elementType).contiguous()
        } else {
            weights = Tensor(zeros: [0], elementType: Scalar.elementType)
        }
    }

    /// Whether the kernels can read the tensor as it lies.
    static func isReadable(_ tensor: Tensor) -> Bool {
        tensor.elementType == Scalar.elementType && (tensor.strides[3] == 1 || tensor.shape[3] <= 1)
    }

    /// The query rows of a tile, and how far apart they are.
    func queryRows(_ tile: QueryTile, _ shape: AttentionShape) -> (UnsafePointer<Scalar>, Int) {
        row(of: queryRows, tile.batch, tile.head, tile.queries.lowerBound)
    }

    /// The key rows from `key` on for a tile's head.
    func keyRows(_ tile: QueryTile, from key: Int, _ shape: AttentionShape) -> (UnsafePointer<Scalar>, Int) {
        row(of: keyRows, tile.batch, tile.head / shape.groupSize, key)
    }

    /// The value rows from `key` on for a tile's head.
    func valueRows(_ tile: QueryTile, from key: Int, _ shape: AttentionShape) -> (UnsafePointer<Scalar>, Int) {
        row(of: valueRows, tile.batch, tile.head / shape.groupSize, key)
    }

    /// How many elements the panels of a head have: those of the last one are there, whether it is full or not.
    static func panelElementCount(_ keyCount: Int, _ featureCount: Int) -> Int {
        blocks(of: keyCount, by: Scalar.tileColumns) * Scalar.tileColumns * featureCount
    }

    /// Returns the keys of a key-value head in panels, in bfloat16 with their values.
    func panels(ofGroup group: Int, _ shape: AttentionShape) -> TensorStorage {
        if let bfloat16 { return bfloat16.packed(ofGroup: group) }
        let storage = TensorStorage(
            byteCount: Self.panelElementCount(shape.keyCount, featureCount) * Scalar.elementType.byteCount)
        pack(keyRows, group, 0..<shape.keyCount, into: storage.base.assumingMemoryBound(to: Scalar.self))
        return storage
    }

    /// The panels from `key` on, which begins one, for a tile's head: the head's own, or else those of all.
    func panels(
        _ tile: QueryTile, from key: Int, _ own: TensorStorage?, _ shape: AttentionShape
    ) -> UnsafePointer<Scalar> {
        var offset = key * featureCount
        if own == nil {
            let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
            offset += group * Self.panelElementCount(shape.keyCount, featureCount)
        }
        guard let storage = own ?? panels else { stop("The keys were not packed.") }
        return UnsafePointer(storage.base.assumingMemoryBound(to: Scalar.self) + offset)
    }

    /// The transposed keys from `key` on, up to the end of its block, and how far apart their features are.
    func packedKeys(_ tile: QueryTile, from key: Int, _ shape: AttentionShape) -> (UnsafePointer<Scalar>, Int) {
        let group = tile.batch * shape.keyValueHeadCount + tile.head / shape.groupSize
        let block = range(key / TileSize.keys, by: TileSize.keys, upTo: shape.keyCount)
        let start = packed.pointer(as: Scalar.self)
        let blockStart = start + (group * shape.keyCount + block.lowerBound) * featureCount
        return (UnsafePointer(blockStart + key - block.lowerBound), block.count)
    }

    var additiveWeights: UnsafePointer<Scalar> {
        UnsafePointer(weights.pointer(as: Scalar.self))
    }

    private func row(of tensor: Tensor, _ batch: Int, _ head: Int, _ index: Int) -> (UnsafePointer<Scalar>, Int) {
        let position = batch * tensor.strides[0] + head * tensor.strides[1] + index * tensor.strides[2]
        return (UnsafePointer(tensor.pointer(as: Scalar.self) + position), tensor.strides[2])
    }
}

/// Packs keys of a key-value head, from the beginning of a panel, into the head's panels.
private func pack<Scalar: KernelScalar>(
    _ keys: Tensor, _ group: Int, _ range: Range<Int>, into panels: UnsafeMutablePointer<Scalar>
) {
    let (batch, head) = group.quotientAndRemainder(dividingBy: keys.shape[1])
    let rows = keys.pointer(as: Scalar.self) + batch * keys.strides[0] + head * keys.strides[1]
    let (width, depth) = (Scalar.tileColumns, keys.shape[3])
    for key in stride(from: range.lowerBound, to: range.upperBound, by: width) {
        Scalar.transpose(
            panels + key * depth, width, rows + key * keys.strides[2], keys.strides[2],
            min(width, range.upperBound - key), depth)
    }
}

/// Returns φ(row) for each row: the tensor itself where that is what the kernels read.
func readableRows<Scalar: KernelScalar>(
    of tensor: Tensor, mappedBy map: ScoreForm.FeatureMap, as type: Scalar.Type
) -> Tensor {
    if case .identity = map, TileOperandBuffers<Scalar>.isReadable(tensor) { return tensor }
    return mapped(tensor, by: map, as: type)
}

/// Returns φ(row) for each row of `[B, H, T, D]`: `[B, H, T, F]`, contiguous.
func mapped<Scalar: KernelScalar>(
    _ tensor: Tensor, by map: ScoreForm.FeatureMap, as type: Scalar.Type
) -> Tensor {
    let (batchCount, headCount, length, dimension) = (
        tensor.shape[0], tensor.shape[1], tensor.shape[2], tensor.shape[3]
    )
    var featureCount = dimension
    var linear: (weight: PackedMatrix<Scalar>, bias: [Scalar]?)?
    if case .linear(let weight, let bias) = map {
        require(weight.shape[1] == dimension, "A weight of \(weight.shape) takes no rows of \(dimension).")
        featureCount = weight.shape[0]
        let rows = weight.converted(to: Scalar.elementType).contiguous()
        linear = (
            PackedMatrix(
                MatrixOperand(transposed: UnsafePointer(rows.pointer(as: Scalar.self)), rowStride: dimension),
                depth: dimension, columns: featureCount), bias?.doubles.map { Scalar($0) }
        )
        withExtendedLifetime(rows) {}
    }
    let isReadable = TileOperandBuffers<Scalar>.isReadable(tensor)
    let result = Tensor(uninitialized: [batchCount, headCount, length, featureCount], elementType: Scalar.elementType)
    let blockCount = blocks(of: length, by: TileSize.queries)
    parallel(batchCount * headCount * blockCount) { item in
        let (sequence, block) = item.quotientAndRemainder(dividingBy: blockCount)
        let (batch, head) = sequence.quotientAndRemainder(dividingBy: headCount)
        let rows = range(block, by: TileSize.queries, upTo: length)
        let out = result.pointer(as: Scalar.self) + (sequence * length + rows.lowerBound) * featureCount
        let start = batch * tensor.strides[0] + head * tensor.strides[1] + rows.lowerBound * tensor.strides[2]
        let rowsAsTheyLie =
            isReadable ? (UnsafePointer(tensor.pointer(as: Scalar.self)) + start, tensor.strides[2]) : nil
        func read(into target: UnsafeMutablePointer<Scalar>) {
            for (index, row) in rows.enumerated() {
                let position = batch * tensor.strides[0] + head * tensor.strides[1] + row * tensor.strides[2]
                tensor.read(
                    into: target + index * dimension, from: position, count: dimension, stride: tensor.strides[3])
            }
        }
        switch map {
        case .identity: read(into: out)
        case .normalized:
            let (source, stride) = rowsAsTheyLie ?? (UnsafePointer(out), dimension)
            if rowsAsTheyLie == nil { read(into: out) }
            for row in 0..<rows.count { Scalar.normalize(out + row * dimension, source + row * stride, dimension) }
        case .linear:
            guard let linear else { return }
            func project(_ source: UnsafePointer<Scalar>, _ stride: Int) {
                func project(startingWith bias: UnsafePointer<Scalar>?) {
                    multiply(
                        MatrixOperand(rows: source, rowStride: stride), linear.weight, rows: rows.count, into: out,
                        outStride: featureCount, bias: bias)
                }
                if let bias = linear.bias { project(startingWith: bias) } else { project(startingWith: nil) }
            }
            if let (source, stride) = rowsAsTheyLie { return project(source, stride) }
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: max(1, rows.count * dimension)) { buffer in
                guard let source = buffer.baseAddress else { return }
                read(into: source)
                project(UnsafePointer(source), dimension)
            }
        }
    }
    return result
}

/// Returns `[B, G, T, F]` with each block of so many rows transposed.
func transposed<Scalar: KernelScalar>(_ rows: Tensor, inBlocksOf size: Int, as type: Scalar.Type) -> Tensor {
    let (headCount, length, featureCount) = (rows.shape[1], rows.shape[2], rows.shape[3])
    let result = Tensor(uninitialized: rows.shape, elementType: Scalar.elementType)
    let blockCount = blocks(of: length, by: size)
    parallel(rows.shape[0] * headCount * blockCount) { item in
        let (sequence, block) = item.quotientAndRemainder(dividingBy: blockCount)
        let (batch, head) = sequence.quotientAndRemainder(dividingBy: headCount)
        let keys = range(block, by: size, upTo: length)
        let out = result.pointer(as: Scalar.self) + (sequence * length + keys.lowerBound) * featureCount
        let source =
            rows.pointer(as: Scalar.self) + batch * rows.strides[0] + head * rows.strides[1]
            + keys.lowerBound * rows.strides[2]
        Scalar.transpose(out, keys.count, source, rows.strides[2], keys.count, featureCount)
    }
    return result
}

/// What one thread needs for a tile: scores and averages, and rows for masks and biases.
final class TileScratch<Scalar: KernelScalar> {
    let scores: UnsafeMutablePointer<Scalar>
    let average: UnsafeMutablePointer<Scalar>
    let bias: UnsafeMutablePointer<Scalar>
    let keyFlags: UnsafeMutablePointer<Scalar>
    let zeros: UnsafeMutablePointer<Scalar>
    /// `[rows]`: which keys a query sees, where those are neighbours; from the first to before the last.
    let firstKeys: UnsafeMutablePointer<Int>
    let lastKeys: UnsafeMutablePointer<Int>
    /// `[rows]`: the same for a block of keys, counted from its first.
    let begins: UnsafeMutablePointer<UInt32>
    let ends: UnsafeMutablePointer<UInt32>
    /// `[rows, TileSize.keys]`: which keys a query sees, where the tile has mask code.
    let visible: UnsafeMutablePointer<Bool>
    /// `[rows]`: whether a query sees any key of the tile.
    let seesKey: UnsafeMutablePointer<Bool>
    private let storage: TensorStorage

    init(rows: Int, width: Int) {
        storage = TensorStorage(byteCount: TileScratch.byteCount(rows: rows, width: width))
        firstKeys = storage.base.assumingMemoryBound(to: Int.self)
        lastKeys = firstKeys + rows
        scores = UnsafeMutableRawPointer(lastKeys + rows).assumingMemoryBound(to: Scalar.self)
        average = scores + TileScratch.scoreRows(rows) * TileSize.keys
        bias = average + rows * width
        keyFlags = bias + TileSize.keys
        zeros = keyFlags + TileSize.keys
        zeros.update(repeating: 0, count: width)
        begins = UnsafeMutableRawPointer(zeros + width).assumingMemoryBound(to: UInt32.self)
        ends = begins + rows
        visible = UnsafeMutableRawPointer(ends + rows).assumingMemoryBound(to: Bool.self)
        seesKey = visible + rows * TileSize.keys
    }

    /// A group of queries takes eight rows in the kernel.
    private static func scoreRows(_ rows: Int) -> Int { max(8, rows) }

    static func byteCount(rows: Int, width: Int) -> Int {
        (scoreRows(rows) * TileSize.keys + rows * width + 2 * TileSize.keys + width) * Scalar.elementType.byteCount
            + rows * (TileSize.keys + 1) + rows * (2 * 8 + 2 * 4)
    }
}

/// The softmax's maximum and sum for every query of every head.
final class RowStatistics<Scalar: KernelScalar>: @unchecked Sendable {
    // Safe: each block of queries writes its own rows, and the storage outlives the loop.
    let maximum: UnsafeMutablePointer<Scalar>
    let sum: UnsafeMutablePointer<Scalar>
    let seesAnything: UnsafeMutablePointer<Bool>
    private let storage: TensorStorage

    init(_ shape: AttentionShape) {
        let count = shape.batchCount * shape.headCount * shape.queryCount
        storage = TensorStorage(byteCount: Self.byteCount(shape))
        maximum = storage.base.assumingMemoryBound(to: Scalar.self)
        sum = maximum + count
        seesAnything = UnsafeMutableRawPointer(sum + count).assumingMemoryBound(to: Bool.self)
    }

    static func byteCount(_ shape: AttentionShape) -> Int {
        shape.batchCount * shape.headCount * shape.queryCount * (2 * Scalar.elementType.byteCount + 1)
    }

    /// The index of a tile's first row.
    func index(_ tile: QueryTile, _ shape: AttentionShape) -> Int {
        (tile.batch * shape.headCount + tile.head) * shape.queryCount + tile.queries.lowerBound
    }

    func logSumExp(_ shape: AttentionShape) -> Tensor {
        let result = Tensor(
            uninitialized: [shape.batchCount, shape.headCount, shape.queryCount], elementType: Scalar.elementType)
        defer { withExtendedLifetime(self) {} }
        let out = result.pointer(as: Scalar.self)
        for row in 0..<result.elementCount {
            out[row] = seesAnything[row] ? maximum[row] + .log(sum[row]) : -.infinity
        }
        return result
    }
}
