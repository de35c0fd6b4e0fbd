/// Attention one tile of queries and keys at a time: memory linear in the length, threads over heads and blocks
/// of queries.
///
/// A tile's scores are computed, modified and turned into weights while they are in the cache; the softmax's
/// maximum and sum are carried from tile to tile and what was averaged so far is rescaled when the maximum
/// rises (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv:1805.02867).
///
/// Which tiles there are follows from the shape alone, and each block of queries is one thread's: no result
/// depends on the number of threads, and no sequence on the others in its batch.
struct TiledAttention<Scalar: KernelScalar> {
    let operation: AttentionOperation
    let shape: AttentionShape
    let queries: Tensor
    let keys: Tensor
    let values: Tensor
    let form: ScoreForm
    /// How the scores of each sequence come about.
    let paths: [ScorePath]
    /// The mask, where it shows each query a run of neighbouring keys.
    private let intervals: (any IntervalMaskRule)?
    /// Whether nothing but scale and mask comes between products, or distances, and softmax.
    private let isPlain: Bool
    /// How many queries of a head are one thread's at a time: fewer than the largest tile has where the threads would lack work.
    ///
    /// A query's result has the same bits whatever queries it is computed beside.
    private let queriesPerTile: Int
    /// Whether each key-value head is one thread's as a whole, its keys packed just before they are read: where they stay in
    /// the cache until then, and the heads occupy the threads.
    let packsByHead: Bool

    // The form is the similarity's, unless queries and keys are mapped to its features already.
    init(
        _ operation: AttentionOperation, _ shape: AttentionShape, _ queries: Tensor, _ keys: Tensor,
        _ values: Tensor, form: ScoreForm? = nil
    ) {
        self.operation = operation
        self.shape = shape
        self.queries = queries
        self.keys = keys
        self.values = values
        self.form = form ?? operation.similarity.form(queryDimension: shape.queryDimension)
        paths = (0..<shape.batchCount).map { [form = self.form] batch in
            ScorePath(form: form, shape: shape, queryCount: operation.queryCounts?[batch] ?? shape.queryCount)
        }
        intervals = operation.mask.rule?.intervals
        isPlain = self.form.panelOperation != nil && operation.softCap == nil && operation.bias.rules.isEmpty

        // Asked for once: it may change at any time.
        let threadCount = ComputeThreads.count
        let rowsPerItem = shape.batchCount * shape.headCount * shape.queryCount / (4 * threadCount)
        queriesPerTile = min(
            TileSize.queries, max(TileSize.fewestQueries, rowsPerItem / TileSize.queryStep * TileSize.queryStep))
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        packsByHead =
            self.form.panelOperation != nil && paths.allSatisfy { $0 == .packed }
            && shape.keyCount * shape.keyDimension <= TileSize.cachedPanelElements
            && (groupCount % threadCount == 0 || groupCount >= 8 * threadCount)
    }

    // MARK: - Output

    func run(_ request: AttentionRequest) -> AttentionResult {
        let (output, rows, operands) = run(
            layout: queries.strides, outputType: queries.elementType, keepsPanels: request.needsSecondPass)
        var result = AttentionResult(output: output)
        if request.logSumExp { result.logSumExp = rows.logSumExp(shape) }
        if request.needsSecondPass {
            AttentionDetails(self, operands ?? TileOperandBuffers(self), rows, request).fill(&result)
        }
        return result
    }

    /// Whether every tile is one of plain products, with what is seen as bounds of each query if not as a whole.
    var isInBounds: Bool {
        guard isPlain, case .product? = form.panelOperation else { return false }
        return paths.allSatisfy { $0 == .packed } && (operation.mask.rule == nil || intervals != nil)
    }

    /// Returns the output, laid out in the order of these strides, and what was computed on the way: the operands
    /// where any sequence has more than a few queries.
    ///
    /// The operands hold what a second pass over the scores reads if `keepsPanels` says so: packed keys, and float32.
    func run(
        layout: [Int], outputType: ElementType, keepsPanels: Bool
    ) -> (Tensor, RowStatistics<Scalar>, TileOperandBuffers<Scalar>?) {
        let output = emptyOutput(layout, outputType)
        let (rows, operands) = run(into: output, keepsPanels: keepsPanels)
        return (output, rows, operands)
    }

    /// Writes the output, `[B, H, T_q, D_v]` with rows of `D_v` side by side; the rest is as for
    /// ``run(layout:outputType:keepsPanels:)``.
    func run(
        into output: Tensor, keepsPanels: Bool = false
    ) -> (RowStatistics<Scalar>, TileOperandBuffers<Scalar>?) {
        let rows = RowStatistics<Scalar>(shape)
        let decoded = decodedBatches
        if !decoded.isEmpty {
            DecodeAttention(self, batches: decoded).run(into: output, rows)
            if decoded.count == shape.batchCount { return (rows, nil) }
        }
        let inBFloat16 = BFloat16Operands.serve(self)
        let packsByHead = self.packsByHead && (inBFloat16 || !keepsPanels)
        let operands = TileOperandBuffers(self, packsByHead: packsByHead, inBFloat16: inBFloat16)
        let blockCount = blocks(of: shape.queryCount, by: queriesPerTile)
        if packsByHead {
            parallel(shape.batchCount * shape.keyValueHeadCount) { group in
                let panels = operands.panels(ofGroup: group, shape)
                let scratch = self.scratch()
                for head in group * shape.groupSize..<(group + 1) * shape.groupSize {
                    for block in 0..<blockCount {
                        attend(tile(block, of: head), operands, panels, rows, scratch, output)
                    }
                }
            }
        } else {
            parallel(shape.batchCount * shape.headCount * blockCount) { item in
                // From the last block down: under a causal mask it is the heaviest.
                let tile = tile(blockCount - 1 - item % blockCount, of: item / blockCount)
                if paths[tile.batch] != .rows { attend(tile, operands, nil, rows, scratch(), output) }
            }
        }
        return (rows, inBFloat16 && keepsPanels ? TileOperandBuffers(self) : operands)
    }

    /// What one thread needs for a tile of any block of queries.
    private func scratch() -> TileScratch<Scalar> {
        TileScratch(rows: min(queriesPerTile, shape.queryCount), width: shape.valueDimension)
    }

    private func tile(_ block: Int, of head: Int) -> QueryTile {
        QueryTile(
            batch: head / shape.headCount, head: head % shape.headCount,
            queries: range(block, by: queriesPerTile, upTo: shape.queryCount))
    }

    /// The sequences with few queries, by their index in the batch.
    var decodedBatches: [Int] { paths.indices.filter { paths[$0] == .rows } }

    /// How many of a sequence's queries are no padding.
    func queryCount(_ batch: Int) -> Int {
        min(operation.queryCounts?[batch] ?? shape.queryCount, shape.queryCount)
    }

    /// The features of a key.
    var featureCount: Int {
        if case .linear(let weight, _) = form.keys { return weight.shape[0] }
        return shape.keyDimension
    }

    /// The features of a query, which are as many unless the measure takes queries and keys as they are.
    var queryFeatureCount: Int {
        if case .pairwise = form.operation { return shape.queryDimension }
        return featureCount
    }

    /// Averages the values for one block of queries of a head.
    private func attend(
        _ tile: QueryTile, _ operands: TileOperandBuffers<Scalar>, _ panels: TensorStorage?,
        _ rows: RowStatistics<Scalar>, _ scratch: TileScratch<Scalar>, _ output: Tensor
    ) {
        // The pointers taken from them do not keep them alive.
        defer { withExtendedLifetime((scratch, panels)) {} }
        begin(tile, rows, scratch)
        for block in 0..<blocks(of: shape.keyCount, by: TileSize.keys) {
            let keys = range(block, by: TileSize.keys, upTo: shape.keyCount)
            if isPlain, let visible = visibleRuns(of: tile, in: keys, scratch) {
                addPlain(keys, visible, to: tile, operands, panels, rows, scratch)
            } else {
                add(keys, to: tile, operands, panels, rows, scratch)
            }
        }
        finish(tile, rows, scratch, output)
    }

    /// Starts the averages at zero and the denominators with the sink.
    private func begin(_ tile: QueryTile, _ rows: RowStatistics<Scalar>, _ scratch: TileScratch<Scalar>) {
        let sink = operation.sinks.map { Scalar($0[tile.head]) } ?? -.infinity
        let first = rows.index(tile, shape)
        let count = tile.queries.count
        (rows.maximum + first).update(repeating: sink, count: count)
        (rows.sum + first).update(repeating: sink == -.infinity ? 0 : 1, count: count)
        (rows.seesAnything + first).update(repeating: false, count: count)
        scratch.average.update(repeating: 0, count: count * shape.valueDimension)
        guard let intervals else { return }
        for row in 0..<count {
            let visible = intervals.visibleKeys(batch: tile.batch, query: tile.queries.lowerBound + row)
                .clamped(to: 0..<shape.keyCount)
            scratch.firstKeys[row] = visible.lowerBound
            scratch.lastKeys[row] = visible.upperBound
        }
    }

    // MARK: - Plain products

    private enum VisibleRuns {
        case nothing
        case everything
        /// Of each query what stands in the scratch, counted from the block's first key.
        case runs
    }

    /// Returns what a tile of queries sees of a block of keys, or `nil` where that has to be asked pair by pair.
    private func visibleRuns(
        of tile: QueryTile, in keys: Range<Int>, _ scratch: TileScratch<Scalar>
    ) -> VisibleRuns? {
        guard intervals != nil else {
            switch coverage(of: tile, keys: keys) {
            case .empty: return .nothing
            case .full: return .everything
            case .partial: return nil
            }
        }
        var (seesAny, seesAll) = (false, true)
        for row in 0..<tile.queries.count {
            let begin = min(max(scratch.firstKeys[row], keys.lowerBound), keys.upperBound)
            let end = min(max(scratch.lastKeys[row], begin), keys.upperBound)
            scratch.begins[row] = UInt32(truncatingIfNeeded: begin - keys.lowerBound)
            scratch.ends[row] = UInt32(truncatingIfNeeded: end - keys.lowerBound)
            if begin < end { seesAny = true }
            if end - begin < keys.count { seesAll = false }
        }
        return seesAll ? .everything : seesAny ? .runs : .nothing
    }

    /// Takes a block of keys and values into the averages: scores, softmax and averages in one kernel.
    private func addPlain(
        _ keys: Range<Int>, _ visible: VisibleRuns, to tile: QueryTile, _ operands: TileOperandBuffers<Scalar>,
        _ panels: TensorStorage?, _ rows: RowStatistics<Scalar>, _ scratch: TileScratch<Scalar>
    ) {
        if visible == .nothing { return }
        let first = rows.index(tile, shape)
        let isCut = visible == .runs
        for row in 0..<tile.queries.count where !isCut || scratch.begins[row] < scratch.ends[row] {
            rows.seesAnything[first + row] = true
        }
        if let bfloat16 = operands.bfloat16 {
            bfloat16.attend(to: keys, tile, panels, rows, firstRow: first, scratch, isCut: isCut)
            return
        }
        attend(
            to: keys, tile, operands, rows, scratch, withValues: true,
            panels: operands.panels(tile, from: keys.lowerBound, panels, shape), isCut: isCut)
    }

    /// Carries the softmax and the averages on over a block of keys; without panels the scratch holds the scores.
    private func attend(
        to keys: Range<Int>, _ tile: QueryTile, _ operands: TileOperandBuffers<Scalar>, _ rows: RowStatistics<Scalar>,
        _ scratch: TileScratch<Scalar>, withValues: Bool, panels: UnsafePointer<Scalar>? = nil, isCut: Bool = false
    ) {
        let first = rows.index(tile, shape)
        let (queryRows, queryStride) = operands.queryRows(tile, shape)
        let (valueRows, valueStride) = operands.valueRows(tile, from: keys.lowerBound, shape)
        Scalar.attend(
            AttentionStep(
                rows: tile.queries.count, keys: keys.count, depth: operands.featureCount, width: shape.valueDimension,
                queries: queryRows, queryStride: queryStride, panels: panels,
                operation: form.panelOperation ?? .product, scale: Scalar(form.scale),
                begins: isCut ? UnsafePointer(scratch.begins) : nil, ends: isCut ? UnsafePointer(scratch.ends) : nil,
                values: withValues ? valueRows : nil, valueStride: valueStride, scores: scratch.scores,
                scoreStride: TileSize.keys, averages: scratch.average, maxima: rows.maximum + first,
                sums: rows.sum + first))
    }

    // MARK: - All others

    /// Takes a block of keys and values into the averages.
    private func add(
        _ blockKeys: Range<Int>, to tile: QueryTile, _ operands: TileOperandBuffers<Scalar>, _ panels: TensorStorage?,
        _ rows: RowStatistics<Scalar>, _ scratch: TileScratch<Scalar>
    ) {
        guard let keyTile = keyTile(of: tile, in: blockKeys) else { return }
        let first = rows.index(tile, shape)
        writeScores(tile, keyTile, operands, scratch, panels)
        for row in 0..<tile.queries.count where scratch.seesKey[row] { rows.seesAnything[first + row] = true }
        let hidesNonFinite = !keyTile.masked.isEmpty && hasNonFinite(tile, keyTile, operands, scratch)
        attend(to: keyTile.keys, tile, operands, rows, scratch, withValues: !hidesNonFinite)
        if hidesNonFinite { addVisibleValues(tile, keyTile, operands, scratch) }
    }

    /// Divides the averages by the denominators, and writes them to the output.
    private func finish(
        _ tile: QueryTile, _ rows: RowStatistics<Scalar>, _ scratch: TileScratch<Scalar>, _ output: Tensor
    ) {
        let width = shape.valueDimension
        let first = rows.index(tile, shape)
        // What sees nothing has averages of 0, to be divided by anything but 0.
        for row in first..<first + tile.queries.count where !rows.seesAnything[row] { rows.sum[row] = 1 }
        let position =
            tile.batch * output.strides[0] + tile.head * output.strides[1] + tile.queries.lowerBound * output.strides[2]
        if output.elementType == Scalar.elementType {
            Scalar.divideRows(
                output.pointer(as: Scalar.self) + position, output.strides[2], scratch.average, width,
                by: rows.sum + first, tile.queries.count, width)
            return
        }
        // In place: a kernel's output may be its input here.
        Scalar.divideRows(
            scratch.average, width, scratch.average, width, by: rows.sum + first, tile.queries.count, width)
        for row in 0..<tile.queries.count {
            write(scratch.average + row * width, width, to: output, at: position + row * output.strides[2])
        }
    }

    /// Adds the weighted values of the keys that are seen: a masked one has weight 0, and 0 · NaN is NaN.
    private func addVisibleValues(
        _ tile: QueryTile, _ keyTile: KeyTile, _ operands: TileOperandBuffers<Scalar>,
        _ scratch: TileScratch<Scalar>
    ) {
        let width = shape.valueDimension
        let keyCount = keyTile.keys.count
        let (rows, stride) = operands.valueRows(tile, from: keyTile.keys.lowerBound, shape)
        for row in 0..<tile.queries.count {
            let weights = scratch.scores + row * TileSize.keys
            let isVisible = scratch.visible + row * TileSize.keys
            var start = 0
            while start < keyCount {
                if !isVisible[start] {
                    start += 1
                    continue
                }
                var end = start + 1
                while end < keyCount && isVisible[end] { end += 1 }
                Scalar.productAdd(
                    TileOperands(
                        out: scratch.average + row * width, outStride: width, a: UnsafePointer(weights + start),
                        aStride: TileSize.keys, b: rows + start * stride, bStride: stride, rows: 1,
                        columns: width, depth: end - start))
                start = end
            }
        }
    }

    private func hasNonFinite(
        _ tile: QueryTile, _ keyTile: KeyTile, _ operands: TileOperandBuffers<Scalar>, _ scratch: TileScratch<Scalar>
    ) -> Bool {
        let count = keyTile.keys.count
        let (rows, stride) = operands.valueRows(tile, from: keyTile.keys.lowerBound, shape)
        // 0 · x is 0 for every finite x, and NaN for the others.
        Scalar.dotRows(
            TileOperands(
                out: scratch.keyFlags, outStride: TileSize.keys, a: UnsafePointer(scratch.zeros), aStride: 0,
                b: rows, bStride: stride, rows: 1, columns: count, depth: shape.valueDimension))
        for key in 0..<count where scratch.keyFlags[key].isNaN { return true }
        return false
    }

    // MARK: - Scores

    /// Returns the keys of a block that a tile of queries has to look at, or `nil` if there are none.
    func keyTile(of tile: QueryTile, in keys: Range<Int>) -> KeyTile? {
        switch coverage(of: tile, keys: keys) {
        case .empty: return nil
        case .full: return KeyTile(keys: keys, masked: [])
        case .partial: break
        }
        guard let rule = operation.mask.rule else { return KeyTile(keys: keys, masked: [keys]) }
        var visible: Range<Int>?
        var masked: [Range<Int>] = []
        for start in stride(from: keys.lowerBound, to: keys.upperBound, by: TileSize.keyStep) {
            let part = start..<min(start + TileSize.keyStep, keys.upperBound)
            let coverage = rule.coverage(
                of: MaskTile(batch: tile.batch, head: tile.head, queries: tile.queries, keys: part))
            if coverage != .empty { visible = (visible?.lowerBound ?? part.lowerBound)..<part.upperBound }
            if coverage == .full { continue }
            if let last = masked.last, last.upperBound == part.lowerBound {
                masked[masked.count - 1] = last.lowerBound..<part.upperBound
            } else {
                masked.append(part)
            }
        }
        guard let visible else { return nil }
        if !operation.bias.rules.isEmpty { return KeyTile(keys: visible, masked: [visible]) }
        return KeyTile(keys: visible, masked: masked.map { $0.clamped(to: visible) }.filter { !$0.isEmpty })
    }

    /// Returns how much of a tile can matter; `partial` wherever scores have to be looked at one by one.
    func coverage(of tile: QueryTile, keys: Range<Int>) -> MaskCoverage {
        let mask =
            operation.mask.rule?.coverage(
                of: MaskTile(batch: tile.batch, head: tile.head, queries: tile.queries, keys: keys)) ?? .full
        return mask == .full && !operation.bias.rules.isEmpty ? .partial : mask
    }

    /// Writes the scores of a tile, up to a stage on their way to the softmax, in rows of `TileSize.keys`.
    ///
    /// At the last stage it also notes which queries see any key and, where the tile has mask code, which keys.
    func writeScores(
        _ tile: QueryTile, _ keyTile: KeyTile, _ operands: TileOperandBuffers<Scalar>,
        _ scratch: TileScratch<Scalar>, _ panels: TensorStorage? = nil, upTo stage: ScoreStage = .biased
    ) {
        let keyRange = keyTile.keys
        writeSimilarities(tile, keyRange, operands, scratch, panels)
        let scale = Scalar(form.scale)
        for row in 0..<tile.queries.count {
            let scores = scratch.scores + row * TileSize.keys
            if scale != 1 { Scalar.scale(scores, keyRange.count, by: scale) }
            if stage == .similarity { continue }
            if let softCap = operation.softCap { Scalar.softCap(scores, keyRange.count, cap: Scalar(softCap)) }
            if stage == .softCapped { continue }
            let visible = scratch.visible + row * TileSize.keys
            if !keyTile.masked.isEmpty { visible.update(repeating: true, count: keyRange.count) }
            scratch.seesKey[row] = keyTile.masked.reduce(0) { $0 + $1.count } < keyRange.count
            for run in keyTile.masked {
                let start = run.lowerBound - keyRange.lowerBound
                let seesKey = mask(
                    scores + start, visible + start, tile, tile.queries.lowerBound + row, run, scratch.bias)
                if seesKey { scratch.seesKey[row] = true }
            }
        }
    }

    private func writeSimilarities(
        _ tile: QueryTile, _ keyRange: Range<Int>, _ operands: TileOperandBuffers<Scalar>,
        _ scratch: TileScratch<Scalar>, _ panels: TensorStorage?
    ) {
        let (queryRows, queryStride) = operands.queryRows(tile, shape)
        let path = paths[tile.batch]
        if path == .packed, let operation = form.panelOperation {
            let start = operands.panels(tile, from: keyRange.lowerBound, panels, shape)
            for key in stride(from: 0, to: keyRange.count, by: Scalar.tileColumns) {
                let panel = TileOperands(
                    out: scratch.scores + key, outStride: TileSize.keys, a: queryRows, aStride: queryStride,
                    b: start + key * operands.featureCount, bStride: Scalar.tileColumns, rows: tile.queries.count,
                    columns: min(Scalar.tileColumns, keyRange.count - key), depth: operands.featureCount)
                switch operation {
                case .product: Scalar.product(panel)
                case .squaredDistance: Scalar.squaredDistance(panel)
                case .absoluteDistance: Scalar.absoluteDistance(panel)
                }
            }
            return
        }
        let (keys, keyStride) =
            path == .packed
            ? operands.packedKeys(tile, from: keyRange.lowerBound, shape)
            : operands.keyRows(tile, from: keyRange.lowerBound, shape)
        let product = TileOperands(
            out: scratch.scores, outStride: TileSize.keys, a: queryRows, aStride: queryStride, b: keys,
            bStride: keyStride, rows: tile.queries.count, columns: keyRange.count, depth: operands.featureCount)
        switch form.operation {
        // Distances are in panels whatever their number.
        case .product, .squaredDistance, .absoluteDistance: Scalar.dotRows(product)
        case .additive: Scalar.additive(product, weights: operands.additiveWeights)
        case .pairwise:
            fill(
                ScoreTile(
                    queries: queryRows, queryStride: queryStride, queryDimension: shape.queryDimension, keys: keys,
                    keyStride: keyStride, keyDimension: shape.keyDimension, scores: scratch.scores,
                    scoreStride: TileSize.keys, rows: tile.queries.count, columns: keyRange.count))
        }
    }

    func fill(_ tile: ScoreTile<Scalar>) {
        if let tile = tile as? ScoreTile<Float> {
            operation.similarity.fillScores(tile)
        } else if let tile = tile as? ScoreTile<Double> {
            operation.similarity.fillScores(tile)
        }
    }

    func addGradients(_ tile: ScoreGradientTile<Scalar>) {
        if let tile = tile as? ScoreGradientTile<Float> {
            operation.similarity.addGradients(tile)
        } else if let tile = tile as? ScoreGradientTile<Double> {
            operation.similarity.addGradients(tile)
        }
    }

    /// Adds the biases, puts −∞ where a key is masked, and returns whether any is not.
    ///
    /// Selected, not added: NaN − ∞ would still be NaN.
    func mask(
        _ scores: UnsafeMutablePointer<Scalar>, _ visible: UnsafeMutablePointer<Bool>, _ tile: QueryTile,
        _ query: Int, _ keyRange: Range<Int>, _ bias: UnsafeMutablePointer<Scalar>
    ) -> Bool {
        operation.mask.rule?.fill(
            UnsafeMutableBufferPointer(start: visible, count: keyRange.count), batch: tile.batch, head: tile.head,
            query: query, keys: keyRange)
        for rule in operation.bias.rules {
            if let tensor = rule as? TensorBias {
                tensor.read(into: bias, batch: tile.batch, head: tile.head, query: query, keys: keyRange)
            } else {
                for (index, key) in keyRange.enumerated() {
                    bias[index] = Scalar(
                        rule.value(batch: tile.batch, head: tile.head, query: query, key: key))
                }
            }
            for index in 0..<keyRange.count {
                if bias[index] == -.infinity { visible[index] = false }
                scores[index] += bias[index]
            }
        }
        var seesKey = false
        for index in 0..<keyRange.count {
            if visible[index] {
                seesKey = true
            } else {
                scores[index] = -.infinity
            }
        }
        return seesKey
    }

    // MARK: - Result

    /// The output, with its rows of `D_v` side by side and the other dimensions in the order of these strides.
    private func emptyOutput(_ layout: [Int], _ type: ElementType) -> Tensor {
        let extents = [shape.batchCount, shape.headCount, shape.queryCount, shape.valueDimension]
        let order = [0, 1, 2].sorted { layout[$0] > layout[$1] }
        var strides = [0, 0, 0, 1]
        var next = max(1, shape.valueDimension)
        for axis in order.reversed() {
            strides[axis] = next
            next *= max(1, extents[axis])
        }
        let storage = TensorStorage(byteCount: Tensor.elementCount(of: extents) * type.byteCount)
        return Tensor(shape: extents, strides: strides, elementType: type, storage: storage, offset: 0)
    }

    func write(_ row: UnsafePointer<Scalar>, _ count: Int, to output: Tensor, at position: Int) {
        switch output.elementType {
        case Scalar.elementType:
            (output.pointer(as: Scalar.self) + position).update(from: row, count: count)
        case .float16:
            for index in 0..<count {
                (output.pointer(as: UInt16.self) + position)[index] = Float16(row[index]).bitPattern
            }
        case .bfloat16:
            Scalar.encodeBFloat16(output.pointer(as: UInt16.self) + position, row, count)
        default: stop("Attention has no output of type \(output.elementType).")
        }
    }
}

/// How the scores of a tile come about.
enum ScorePath: Sendable {
    /// Keys transposed once per key-value head, so that a vector holds many keys: for many queries.
    case packed
    /// Keys as they lie: for few queries, which would not pay for the transposition (``DecodeAttention``).
    case rows
    /// The measure's own function for each pair.
    case pairwise

    // The query count is the sequence's own, without padding: its results must not depend on the others'.
    init(form: ScoreForm, shape: AttentionShape, queryCount: Int) {
        switch form.operation {
        case .pairwise: self = .pairwise
        // Below this the transposition costs more than it saves.
        case .product where queryCount * shape.groupSize < 16: self = .rows
        default: self = .packed
        }
    }
}

/// The sizes of a tile.
enum TileSize {
    /// A multiple of the kernels' rows of registers; enough to read a block of keys and values from far away once for many.
    static let queries = 96
    /// The smallest tile that there is for the threads' sake.
    static let fewestQueries = 24
    /// Rows of registers.
    static let queryStep = 6
    /// Keys and values of 64 to 128 elements stay in a second-level cache of 512 KiB to 1 MiB while the queries pass by,
    /// six at a time, whose scores stay in the first-level cache.
    static let keys = 512
    /// The keys of a head that stay in a second-level cache from when they are packed to when they are read: 256 KiB.
    static let cachedPanelElements = 64 << 10
    /// A tile that a mask shows in part is narrowed to a multiple of this.
    ///
    /// It is a multiple of two vectors, so that an element keeps its lane in sums: what is cut away had weight 0, and
    /// leaves every bit as it was.
    static let keyStep = 64
}

/// The keys of a block that a tile of queries has to look at.
struct KeyTile: Equatable {
    /// From the first key that any of the queries may see to the last, in steps of `TileSize.keyStep`.
    let keys: Range<Int>
    /// Where scores are biased or masked one by one; elsewhere no mask code runs.
    let masked: [Range<Int>]
}

/// A block of queries of one head.
struct QueryTile {
    let batch: Int
    let head: Int
    let queries: Range<Int>
}

func blocks(of count: Int, by size: Int) -> Int {
    (count + size - 1) / size
}

func range(_ block: Int, by size: Int, upTo count: Int) -> Range<Int> {
    block * size..<min(count, (block + 1) * size)
}
