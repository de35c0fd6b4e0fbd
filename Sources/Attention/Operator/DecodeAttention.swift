/// Attention of few queries to many keys, as when a model generates token by token: what takes the time is reading keys
/// and values, so they are read once, as they are stored, for all heads that share them.
///
/// The keys are split into chunks, which the threads share. Each chunk yields, for each query, its scores' maximum, the
/// sum of their exponentials and the values weighted by these; the chunks' results are joined in ascending order. Where a
/// chunk begins follows from the key's index alone, so that no result depends on the number of threads, nor on the other
/// sequences of a batch.
///
/// Dao et al., "Flash-Decoding for long-context inference", 2023; ours splits at fixed places.
struct DecodeAttention<Scalar: KernelScalar> {
    /// A few kilobytes of scores for all queries, and small enough that two threads share 512 keys evenly.
    static var chunkLength: Int { 256 }

    private let call: TiledAttention<Scalar>
    private let shape: AttentionShape
    /// The sequences to attend for, by their index in the batch.
    private let batches: [Int]
    private let queries: Tensor
    private let keys: Rows
    private let values: Rows
    private let chunkCount: Int
    private let partials: Partials
    // Read once: each time that they are taken out of the call they are counted as held, by all threads in one place.
    private let scale: Scalar
    private let softCap: Scalar?
    private let seesAll: Bool
    private let groupSize: Int

    /// Prepares the sequences of a call that have few queries.
    init(_ call: TiledAttention<Scalar>, batches: [Int]) {
        self.call = call
        self.batches = batches
        shape = call.shape
        queries = readableRows(of: call.queries, mappedBy: call.form.queries, as: Scalar.self)
        keys = Rows(DecodeAttention.stored(call.keys, mappedBy: call.form.keys))
        values = Rows(DecodeAttention.stored(call.values, mappedBy: .identity))
        require(
            queries.shape[3] == keys.width, "Queries have \(queries.shape[3]) features, but keys have \(keys.width).")
        scale = Scalar(call.form.scale)
        softCap = call.operation.softCap.map { Scalar($0) }
        seesAll = call.operation.mask.rule == nil && call.operation.bias.rules.isEmpty
        groupSize = call.shape.groupSize
        chunkCount = blocks(of: shape.keyCount, by: DecodeAttention.chunkLength)
        partials = Partials(
            rowCount: batches.count * shape.headCount * (batches.map(call.queryCount).max() ?? 0),
            chunkCount: chunkCount, width: shape.valueDimension)
    }

    /// Returns φ(row) for each row: the tensor itself, of whatever type, where the kernels read it as it lies.
    private static func stored(_ tensor: Tensor, mappedBy map: ScoreForm.FeatureMap) -> Tensor {
        isReadInPlace(tensor, mappedBy: map) ? tensor : readableRows(of: tensor, mappedBy: map, as: Scalar.self)
    }

    /// Whether the kernels read a tensor as it lies, converting it in registers if need be.
    static func isReadInPlace(_ tensor: Tensor, mappedBy map: ScoreForm.FeatureMap = .identity) -> Bool {
        guard case .identity = map, tensor.strides[3] == 1 || tensor.shape[3] <= 1 else { return false }
        return Scalar.reads(tensor.elementType)
    }

    /// The bytes that a call takes beside its output and its copies of operands.
    static func byteCount(_ call: TiledAttention<Scalar>, batches: [Int]) -> Int {
        if batches.isEmpty { return 0 }
        let rowCount = batches.count * call.shape.headCount * (batches.map(call.queryCount).max() ?? 0)
        let chunkCount = blocks(of: call.shape.keyCount, by: chunkLength)
        let scratch = ChunkScratch<Scalar>.byteCount(
            rows: call.shape.groupSize * (batches.map(call.queryCount).max() ?? 0), depth: call.featureCount,
            width: call.shape.valueDimension)
        return Partials.byteCount(rowCount: rowCount, chunkCount: chunkCount, width: call.shape.valueDimension)
            + ComputeThreads.count * scratch
    }

    // MARK: - Output

    /// Writes the output of the sequences, and each query's maximum and sum.
    func run(into output: Tensor, _ rows: RowStatistics<Scalar>) {
        let sequenceCount = batches.count * shape.keyValueHeadCount
        // A few items for each thread, of neighbouring chunks, which are read in one go. What is computed for a chunk
        // does not depend on it.
        let wanted = blocks(of: 8 * ComputeThreads.count, by: max(1, sequenceCount))
        let itemLength = max(1, chunkCount / wanted)
        let itemCount = blocks(of: chunkCount, by: itemLength)
        parallel(sequenceCount * itemCount) { item in
            let (sequence, part) = item.quotientAndRemainder(dividingBy: itemCount)
            attend(sequence, range(part, by: itemLength, upTo: chunkCount))
        }
        let joinedElementCount = partials.rowCount * chunkCount * shape.valueDimension
        if joinedElementCount < 1 << 17 {
            for sequence in 0..<sequenceCount { join(sequence, into: output, rows) }
        } else {
            parallel(sequenceCount) { join($0, into: output, rows) }
        }
        withExtendedLifetime((queries, keys.tensor, values.tensor, partials)) {}
    }

    /// The first row of a sequence's partial results: all queries of a head, head by head.
    private func firstRow(_ sequence: Int) -> Int {
        sequence * groupSize * (partials.rowCount / max(1, batches.count * shape.headCount))
    }

    /// Computes the partial results of some chunks for all queries that share a key-value head.
    private func attend(_ sequence: Int, _ chunks: Range<Int>) {
        let (place, group) = sequence.quotientAndRemainder(dividingBy: shape.keyValueHeadCount)
        let batch = batches[place]
        let queryCount = call.queryCount(batch)
        let rowCount = groupSize * queryCount
        guard rowCount > 0 else { return }
        // The features are counted here: in a call that is recorded, the shape is that of what they were made from.
        ChunkScratch<Scalar>.with(rows: rowCount, depth: keys.width, width: shape.valueDimension) { scratch in
            for row in 0..<rowCount {
                let (head, query) = row.quotientAndRemainder(dividingBy: queryCount)
                let position =
                    batch * queries.strides[0] + (group * groupSize + head) * queries.strides[1]
                    + query * queries.strides[2]
                queries.read(
                    into: scratch.queries + row * scratch.depth, from: position, count: scratch.depth,
                    stride: queries.strides[3])
            }
            for chunk in chunks {
                attend(batch, group, queryCount, chunk, firstRow(sequence), scratch)
            }
        }
    }

    /// Computes the partial results of one chunk.
    private func attend(
        _ batch: Int, _ group: Int, _ queryCount: Int, _ chunk: Int, _ firstRow: Int, _ scratch: ChunkScratch<Scalar>
    ) {
        let chunkKeys = range(chunk, by: DecodeAttention.chunkLength, upTo: shape.keyCount)
        func tile(_ head: Int) -> QueryTile {
            QueryTile(batch: batch, head: group * groupSize + head, queries: 0..<queryCount)
        }
        for row in firstRow..<firstRow + groupSize * queryCount { partials.clear(row, chunk) }
        if seesAll {
            add(KeyTile(keys: chunkKeys, masked: []), tile(0), groupSize, 0, chunk, firstRow, scratch)
            return
        }
        // Heads that look at the same keys are taken together.
        var head = 0
        while head < groupSize {
            let first = head
            let keyTile = call.keyTile(of: tile(first), in: chunkKeys)
            head += 1
            while head < groupSize, call.keyTile(of: tile(head), in: chunkKeys) == keyTile { head += 1 }
            guard let keyTile else { continue }
            add(keyTile, tile(first), head - first, first, chunk, firstRow, scratch)
        }
    }

    /// Computes the partial results of some heads, from one on, for the keys of a chunk that they look at.
    private func add(
        _ keyTile: KeyTile, _ tile: QueryTile, _ headCount: Int, _ head: Int, _ chunk: Int, _ firstRow: Int,
        _ scratch: ChunkScratch<Scalar>
    ) {
        let queryCount = tile.queries.count
        let keyCount = keyTile.keys.count
        let rows = head * queryCount..<(head + headCount) * queryCount
        let length = DecodeAttention.chunkLength
        let storedKeys = keys.rows(tile.batch, tile.head / groupSize, from: keyTile.keys.lowerBound)
        Scalar.dotStored(
            scratch.scores + rows.lowerBound * length, length, scratch.queries + rows.lowerBound * scratch.depth,
            scratch.depth, storedKeys, rows.count, keyCount, scratch.depth)
        for row in rows {
            let scores = scratch.scores + row * length
            let partial = partials.index(firstRow + row, chunk)
            if scale != 1 { Scalar.scale(scores, keyCount, by: scale) }
            if let softCap { Scalar.softCap(scores, keyCount, cap: softCap) }
            var seesKey = true
            if !keyTile.masked.isEmpty {
                seesKey = mask(scores, row, queryCount, keyTile, tile, head, scratch)
            }
            let maximum = Scalar.maximum(scores, keyCount)
            partials.maximum[partial] = maximum
            // A row with every key masked has maximum -∞, and -∞ - (-∞) is NaN: start such rows at 0.
            partials.sum[partial] = Scalar.expSum(scores, keyCount, shift: maximum == -.infinity ? 0 : maximum)
            partials.seesAnything[partial] = seesKey
        }
        addValues(keyTile, tile, rows, chunk, firstRow, scratch)
    }

    /// Biases and masks a row's scores, notes which keys it sees, and returns whether it sees any.
    private func mask(
        _ scores: UnsafeMutablePointer<Scalar>, _ row: Int, _ queryCount: Int, _ keyTile: KeyTile, _ tile: QueryTile,
        _ firstHead: Int, _ scratch: ChunkScratch<Scalar>
    ) -> Bool {
        let (head, query) = row.quotientAndRemainder(dividingBy: queryCount)
        let own = QueryTile(batch: tile.batch, head: tile.head + head - firstHead, queries: tile.queries)
        let visible = scratch.visible + row * DecodeAttention.chunkLength
        visible.update(repeating: true, count: keyTile.keys.count)
        var seesKey = keyTile.masked.reduce(0) { $0 + $1.count } < keyTile.keys.count
        for run in keyTile.masked {
            let start = run.lowerBound - keyTile.keys.lowerBound
            if call.mask(scores + start, visible + start, own, query, run, scratch.bias) { seesKey = true }
        }
        return seesKey
    }

    /// Adds the weighted values of a chunk to the partial averages.
    private func addValues(
        _ keyTile: KeyTile, _ tile: QueryTile, _ rows: Range<Int>, _ chunk: Int, _ firstRow: Int,
        _ scratch: ChunkScratch<Scalar>
    ) {
        let (width, length) = (shape.valueDimension, DecodeAttention.chunkLength)
        let keyCount = keyTile.keys.count
        let storedValues = values.rows(tile.batch, tile.head / groupSize, from: keyTile.keys.lowerBound)
        if keyTile.masked.isEmpty || !hasNonFinite(storedValues, keyCount, scratch) {
            Scalar.productAddStored(
                partials.average(firstRow + rows.lowerBound, chunk), chunkCount * width,
                scratch.scores + rows.lowerBound * length, length, storedValues, rows.count, width, keyCount)
            return
        }
        // A masked key has weight 0, and 0 · NaN is NaN: add only the runs of keys that are seen.
        for row in rows {
            let visible = UnsafeBufferPointer(start: scratch.visible + row * length, count: keyCount)
            var start = 0
            while let first = visible[start...].firstIndex(of: true) {
                let end = visible[first...].firstIndex(of: false) ?? keyCount
                Scalar.productAddStored(
                    partials.average(firstRow + row, chunk), width, scratch.scores + row * length + first, length,
                    storedValues.dropFirst(first), 1, width, end - first)
                start = end
            }
        }
    }

    private func hasNonFinite(_ values: StoredRows, _ count: Int, _ scratch: ChunkScratch<Scalar>) -> Bool {
        // 0 · x is 0 for every finite x, and NaN for the others. The biases are in the scores by now.
        let width = shape.valueDimension
        scratch.zeros.update(repeating: 0, count: width)
        Scalar.dotStored(scratch.bias, DecodeAttention.chunkLength, scratch.zeros, width, values, 1, count, width)
        return UnsafeBufferPointer(start: scratch.bias, count: count).contains { $0.isNaN }
    }

    // MARK: - Join

    /// Joins the chunks' results for all queries that share a key-value head, and writes the output.
    private func join(_ sequence: Int, into output: Tensor, _ rows: RowStatistics<Scalar>) {
        let (place, group) = sequence.quotientAndRemainder(dividingBy: shape.keyValueHeadCount)
        let batch = batches[place]
        let queryCount = call.queryCount(batch)
        for head in 0..<groupSize {
            let tile = QueryTile(batch: batch, head: group * groupSize + head, queries: 0..<shape.queryCount)
            let firstStatistic = rows.index(tile, shape)
            let sink = call.operation.sinks.map { Scalar($0[tile.head]) } ?? -.infinity
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: max(1, shape.valueDimension)) { buffer in
                guard let average = buffer.baseAddress else { return }
                for query in 0..<shape.queryCount {
                    let statistic = firstStatistic + query
                    average.update(repeating: 0, count: shape.valueDimension)
                    rows.maximum[statistic] = sink
                    rows.sum[statistic] = sink == -.infinity ? 0 : 1
                    rows.seesAnything[statistic] = false
                    // Those beyond the sequence's own are padding.
                    if query < queryCount {
                        join(firstRow(sequence) + head * queryCount + query, statistic, average, rows)
                    }
                    let position =
                        tile.batch * output.strides[0] + tile.head * output.strides[1] + query * output.strides[2]
                    call.write(average, shape.valueDimension, to: output, at: position)
                }
            }
        }
    }

    private func join(
        _ row: Int, _ statistic: Int, _ average: UnsafeMutablePointer<Scalar>, _ rows: RowStatistics<Scalar>
    ) {
        guard chunkCount > 0 else { return }
        let first = partials.index(row, 0)
        let found = joinChunks(
            chunkCount, partials.maximum + first, partials.sum + first, partials.average(row, 0),
            width: shape.valueDimension, from: (rows.maximum[statistic], rows.sum[statistic]), into: average)
        (rows.maximum[statistic], rows.sum[statistic]) = found
        rows.seesAnything[statistic] = (first..<first + chunkCount).contains { partials.seesAnything[$0] }
        if rows.seesAnything[statistic] {
            for index in 0..<shape.valueDimension { average[index] /= found.sum }
        }
    }

    /// Keys or values, `[B, G, T, width]`.
    private struct Rows {
        /// Keeps the numbers alive.
        let tensor: Tensor
        let width: Int
        private let base: UnsafeMutableRawPointer
        private let strides: (batch: Int, head: Int, row: Int)
        private let type: ElementType

        init(_ tensor: Tensor) {
            self.tensor = tensor
            (width, base, type) = (tensor.shape[3], tensor.base, tensor.elementType)
            strides = (tensor.strides[0], tensor.strides[1], tensor.strides[2])
        }

        func rows(_ batch: Int, _ head: Int, from row: Int) -> StoredRows {
            let position = batch * strides.batch + head * strides.head + row * strides.row
            return StoredRows(start: base + position * type.byteCount, stride: strides.row, type: type)
        }
    }

    /// What each chunk yields for each query.
    private final class Partials: @unchecked Sendable {
        // Safe: each chunk of a row is one work item's, and they are joined after all have ended.
        let rowCount: Int
        let chunkCount: Int
        let width: Int
        let maximum: UnsafeMutablePointer<Scalar>
        let sum: UnsafeMutablePointer<Scalar>
        private let averages: UnsafeMutablePointer<Scalar>
        let seesAnything: UnsafeMutablePointer<Bool>
        private let storage: TensorStorage

        init(rowCount: Int, chunkCount: Int, width: Int) {
            (self.rowCount, self.chunkCount, self.width) = (rowCount, chunkCount, width)
            storage = TensorStorage(
                byteCount: Partials.byteCount(rowCount: rowCount, chunkCount: chunkCount, width: width))
            averages = storage.base.assumingMemoryBound(to: Scalar.self)
            maximum = averages + rowCount * chunkCount * width
            sum = maximum + rowCount * chunkCount
            seesAnything = UnsafeMutableRawPointer(sum + rowCount * chunkCount).assumingMemoryBound(to: Bool.self)
        }

        static func byteCount(rowCount: Int, chunkCount: Int, width: Int) -> Int {
            rowCount * chunkCount * ((width + 2) * Scalar.elementType.byteCount + 1)
        }

        func index(_ row: Int, _ chunk: Int) -> Int { row * chunkCount + chunk }

        func average(_ row: Int, _ chunk: Int) -> UnsafeMutablePointer<Scalar> {
            averages + index(row, chunk) * width
        }

        /// Sets the result of a chunk of which nothing is seen.
        func clear(_ row: Int, _ chunk: Int) {
            maximum[index(row, chunk)] = -.infinity
            sum[index(row, chunk)] = 0
            seesAnything[index(row, chunk)] = false
            average(row, chunk).update(repeating: 0, count: width)
        }
    }
}

/// Adds what the chunks of one query yield to an average of weighted values that is not yet divided by its weights' sum.
///
/// - Parameters:
///   - count: How many chunks there are, at least 1.
///   - maxima: The maximum of each chunk's scores; replaced by what its result is multiplied by.
///   - sums: The sum of each chunk's exponentials.
///   - averages: Each chunk's weighted values, `[count, width]`.
///   - width: The elements of a value.
///   - start: Maximum and sum of what is there before: a sink, or -∞ and 0.
///   - average: Is added to, `[width]`.
/// - Returns: The maximum and the sum of all.
func joinChunks<Scalar: KernelScalar>(
    _ count: Int, _ maxima: UnsafeMutablePointer<Scalar>, _ sums: UnsafePointer<Scalar>,
    _ averages: UnsafePointer<Scalar>, width: Int, from start: (maximum: Scalar, sum: Scalar),
    into average: UnsafeMutablePointer<Scalar>
) -> (maximum: Scalar, sum: Scalar) {
    let maximum = max(start.maximum, Scalar.maximum(maxima, count))
    let shift = maximum == -.infinity ? 0 : maximum
    _ = Scalar.expSum(maxima, count, shift: shift)
    var sum = start.sum * Scalar.exp(start.maximum - shift)
    for chunk in 0..<count { sum += maxima[chunk] * sums[chunk] }
    let rows = StoredRows(start: UnsafeRawPointer(averages), stride: width, type: Scalar.elementType)
    Scalar.productAddStored(average, width, maxima, count, rows, 1, width, count)
    return (maximum, sum)
}

/// What one thread needs for a chunk of keys.
private struct ChunkScratch<Scalar: KernelScalar> {
    /// The elements of a query.
    let depth: Int
    /// The queries, `[rows, depth]`.
    let queries: UnsafeMutablePointer<Scalar>
    /// Scores, then weights, `[rows, chunkLength]`.
    let scores: UnsafeMutablePointer<Scalar>
    /// Biases of a row, `[chunkLength]`.
    let bias: UnsafeMutablePointer<Scalar>
    /// As many as a value has elements.
    let zeros: UnsafeMutablePointer<Scalar>
    /// Which keys a query sees, where the chunk has mask code, `[rows, chunkLength]`.
    let visible: UnsafeMutablePointer<Bool>

    static func byteCount(rows: Int, depth: Int, width: Int) -> Int {
        let length = DecodeAttention<Scalar>.chunkLength
        return (rows * (depth + length) + length + width) * Scalar.elementType.byteCount + rows * length
    }

    static func with(rows: Int, depth: Int, width: Int, _ body: (ChunkScratch) -> Void) {
        let length = DecodeAttention<Scalar>.chunkLength
        withUnsafeTemporaryAllocation(
            byteCount: byteCount(rows: rows, depth: depth, width: width), alignment: MemoryLayout<Scalar>.alignment
        ) { buffer in
            guard let base = buffer.baseAddress else { return }
            let queries = base.assumingMemoryBound(to: Scalar.self)
            let scores = queries + rows * depth
            let bias = scores + rows * length
            let zeros = bias + length
            body(
                ChunkScratch(
                    depth: depth, queries: queries, scores: scores, bias: bias, zeros: zeros,
                    visible: UnsafeMutableRawPointer(zeros + width).assumingMemoryBound(to: Bool.self)))
        }
    }
}
