internal import CAttentionKernels

/// The keys and values of what has been read so far, so that a next token costs one query.
///
/// Sequences of a batch may have different lengths. With a window, only the last `window` positions of each
/// sequence are kept: a query may then look no further back.
///
/// ```swift
/// var cache = KeyValueCache(batchCount: 1, headCount: 3, keyDimension: 64, valueDimension: 64)
/// cache.append(keys: keys, values: values)
/// let output = cache.attention(queries: queries)
/// ```
public struct KeyValueCache: Sendable {
    /// How many positions back a query may look, its own included; `nil` is all.
    public let window: Int?
    /// How many positions each sequence has kept.
    public private(set) var lengths: [Int]
    /// The position of the first kept key of each sequence, counted from the sequence's start.
    public private(set) var firstPositions: [Int]
    /// How many positions each sequence was given last: the queries of the next call belong to them.
    private var lastCounts: [Int]

    private var storedKeys: Tensor
    private var storedValues: Tensor

    /// Creates an empty cache.
    ///
    /// - Parameters:
    ///   - batchCount: `B`, sequences.
    ///   - headCount: `G`, key-value heads.
    ///   - keyDimension: `D_k`.
    ///   - valueDimension: `D_v`.
    ///   - window: How many positions back a query may look, its own included; at least 1, `nil` is all.
    ///   - capacity: For how many positions to take memory at once; more is taken when it is needed.
    ///   - elementType: float32, or float16, bfloat16 or float64.
    public init(
        batchCount: Int, headCount: Int, keyDimension: Int, valueDimension: Int, window: Int? = nil,
        capacity: Int = 64, elementType: ElementType = .float32
    ) {
        if let window { require(window > 0, "The window is \(window); it must hold at least the query itself.") }
        require(elementType.isFloatingPoint, "A cache holds numbers, not \(elementType).")
        self.window = window
        lengths = [Int](repeating: 0, count: batchCount)
        firstPositions = lengths
        lastCounts = lengths
        let extents = [batchCount, headCount, max(1, capacity)]
        storedKeys = Tensor(zeros: extents + [keyDimension], elementType: elementType)
        storedValues = Tensor(zeros: extents + [valueDimension], elementType: elementType)
    }

    /// How many positions there is memory for.
    public var capacity: Int { storedKeys.shape[2] }

    /// The kept keys, `[B, G, max(lengths), D_k]`, as a view; beyond a sequence's length there is no meaning.
    public var keys: Tensor { storedKeys.slice(axis: 2, range: 0..<(lengths.max() ?? 0)) }

    /// The kept values, `[B, G, max(lengths), D_v]`, as a view.
    public var values: Tensor { storedValues.slice(axis: 2, range: 0..<(lengths.max() ?? 0)) }

    /// The position of the next token of each sequence, counted from the sequence's start.
    public var nextPositions: [Int] { zip(firstPositions, lengths).map(+) }

    /// Appends keys and values to each sequence.
    ///
    /// - Parameters:
    ///   - keys: `[B, G, T, D_k]`.
    ///   - values: `[B, G, T, D_v]`.
    ///   - counts: How many of the `T` positions each sequence has; the rest is padding. `nil` means all.
    public mutating func append(keys: Tensor, values: Tensor, counts: [Int]? = nil) {
        for (name, given, stored) in [
            ("Keys", keys.shape, storedKeys.shape), ("Values", values.shape, storedValues.shape),
        ] {
            require(
                given.count == 4 && given[0] == stored[0] && given[1] == stored[1] && given[3] == stored[3],
                "\(name) are \(given), but the cache holds \(stored).")
        }
        require(
            keys.shape[2] == values.shape[2], "Keys \(keys.shape) and values \(values.shape) differ in length.")
        let counts = counts ?? [Int](repeating: keys.shape[2], count: lengths.count)
        require(
            counts.count == lengths.count && counts.allSatisfy { 0...keys.shape[2] ~= $0 },
            "The counts \(counts) are not \(lengths.count) numbers from 0 to \(keys.shape[2]).")
        makeRoom(for: counts)
        Self.write(keys, counts, to: &storedKeys, at: lengths)
        Self.write(values, counts, to: &storedValues, at: lengths)
        for batch in lengths.indices { lengths[batch] += counts[batch] }
        lastCounts = counts
    }

    /// Makes room for one more position of each sequence, and counts it as appended: the caller writes its key and value,
    /// and keeps the cache alive as long as it uses the addresses.
    mutating func placeForOneMore() -> CachePlace {
        require(
            window == nil && Float.reads(storedKeys.elementType),
            "Keys and values are written in place in a cache without a window, of float32 or halves, not of "
                + "\(storedKeys.elementType) with \(window.map { "a window of \($0)" } ?? "none").")
        let counts = [Int](repeating: 1, count: lengths.count)
        makeRoom(for: counts)
        storedKeys.makeUnique()
        storedValues.makeUnique()
        for batch in lengths.indices { lengths[batch] += 1 }
        lastCounts = counts
        return CachePlace(keys: storedKeys, values: storedValues)
    }

    /// Returns the attention of the tokens appended last to all that is kept.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T, D]`, those of the tokens appended last; `G` divides `H`.
    ///   - operation: Similarity, bias and the like. Its mask is combined with the cache's own: causal, the
    ///     sequences' lengths, the window. Its bias and its mask count keys from the first that is kept.
    /// - Returns: `[B, H, T, D_v]`; a sequence's padding yields zeros.
    public func attention(queries: Tensor, operation: AttentionOperation = AttentionOperation()) -> Tensor {
        attention(queries: queries, operation: operation, returning: AttentionRequest()).output
    }

    /// Returns the attention of the tokens appended last to all that is kept and, on request, what led to it.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T, D]`, those of the tokens appended last.
    ///   - operation: Similarity, bias and the like; its mask is combined with the cache's own.
    ///   - request: What to return beside the output.
    /// - Returns: The output and what was asked for.
    public func attention(
        queries: Tensor, operation: AttentionOperation, returning request: AttentionRequest
    ) -> AttentionResult {
        var operation = operation
        operation.mask = operation.mask & mask(queryCount: queries.shape[2])
        operation.queryCounts = lastCounts
        return operation(queries: queries, keys: keys, values: values, returning: request)
    }

    /// The mask of a call: query `i` of sequence `b` is at position `lengths[b] - lastCounts[b] + i` of what is kept.
    private func mask(queryCount: Int) -> AttentionMask {
        let longest = lastCounts.max() ?? 0
        require(
            queryCount >= longest,
            "There are \(queryCount) queries, but \(longest) tokens were appended last.")
        let offsets = zip(lengths, lastCounts).map(-)
        // A single new token is a sequence's last: it sees all that there is, and needs no mask code.
        let isStep = queryCount == 1 && lastCounts.allSatisfy { $0 == 1 }
        var mask = isStep ? AttentionMask.none : .causal(offsets: offsets)
        if let window { mask = mask & .slidingWindow(left: window - 1, right: 0, offsets: offsets) }
        // What all sequences have needs no mask code.
        if Set(lengths).count > 1 { mask = mask & .lengths(lengths) }
        if lastCounts.contains(where: { $0 < queryCount }) {
            mask = mask & AttentionMask(QueryLengths(counts: lastCounts))
        }
        return mask
    }

    /// Forgets what the window no longer reaches, and takes more memory if that is not enough.
    private mutating func makeRoom(for counts: [Int]) {
        let needed = zip(lengths, counts).map(+).max() ?? 0
        if needed <= capacity { return }
        if let window {
            // The oldest new query still sees window - 1 positions before itself.
            for batch in lengths.indices {
                let surplus = lengths[batch] - (window - 1)
                if surplus > 0 { forget(surplus, of: batch) }
            }
        }
        let stillNeeded = zip(lengths, counts).map(+).max() ?? 0
        // Twice the memory each time, and twice what a window needs, so that copying stays rare.
        let roomy = window.map { 2 * $0 } ?? 2 * capacity
        if stillNeeded > capacity || window != nil && capacity < roomy {
            storedKeys = grown(storedKeys, to: max(stillNeeded, roomy))
            storedValues = grown(storedValues, to: max(stillNeeded, roomy))
        }
    }

    private mutating func forget(_ count: Int, of batch: Int) {
        let kept = lengths[batch] - count
        func move(_ tensor: inout Tensor) {
            tensor.makeUnique()
            let rowBytes = tensor.shape[3] * tensor.elementType.byteCount
            for head in 0..<tensor.shape[1] {
                let start = tensor.base + (batch * tensor.shape[1] + head) * tensor.shape[2] * rowBytes
                // The ranges may overlap; copyMemory allows it.
                start.copyMemory(from: start + count * rowBytes, byteCount: kept * rowBytes)
            }
        }
        move(&storedKeys)
        move(&storedValues)
        lengths[batch] = kept
        firstPositions[batch] += count
    }

    private func grown(_ tensor: Tensor, to capacity: Int) -> Tensor {
        var result = Tensor(
            zeros: [tensor.shape[0], tensor.shape[1], capacity, tensor.shape[3]], elementType: tensor.elementType)
        Self.copyRows(of: tensor, counts: lengths, to: &result, at: [Int](repeating: 0, count: lengths.count))
        return result
    }

    // Static, as what follows: a method would be given a copy of the cache, which holds the tensor a second time, and
    // all of it would be copied before it is written.
    private static func write(_ tensor: Tensor, _ counts: [Int], to stored: inout Tensor, at starts: [Int]) {
        stored.makeUnique()
        copyRows(of: tensor.converted(to: stored.elementType), counts: counts, to: &stored, at: starts)
    }

    /// Copies the first `counts[b]` rows of each sequence behind row `starts[b]` of the target.
    private static func copyRows(of source: Tensor, counts: [Int], to target: inout Tensor, at starts: [Int]) {
        let (headCount, width) = (target.shape[1], target.shape[3])
        let source = source.strides[3] == 1 || width <= 1 ? source : source.contiguous()
        let size = target.elementType.byteCount
        for batch in counts.indices {
            for head in 0..<headCount {
                let row = (batch * headCount + head) * target.shape[2] + starts[batch]
                for token in 0..<counts[batch] {
                    let position =
                        batch * source.strides[0] + head * source.strides[1] + token * source.strides[2]
                    (target.base + (row + token) * width * size)
                        .copyMemory(from: source.base + position * size, byteCount: width * size)
                }
            }
        }
        withExtendedLifetime(source) {}
    }
}

/// Queries beyond a sequence's count are padding, and see nothing.
private struct QueryLengths: MaskRule {
    let counts: [Int]

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool { query < counts[batch] }

    func coverage(of tile: MaskTile) -> MaskCoverage {
        if tile.queries.upperBound <= counts[tile.batch] { return .full }
        return tile.queries.lowerBound >= counts[tile.batch] ? .empty : .partial
    }
}

/// Where a cache keeps keys and values: addresses alone, which threads share without counting who holds them.
struct CachePlace {
    private let type: ElementType
    private let headCount: Int
    private let capacity: Int
    private let keyWidth: Int
    private let valueWidth: Int
    private let keys: UnsafeMutableRawPointer
    private let values: UnsafeMutableRawPointer

    fileprivate init(keys: Tensor, values: Tensor) {
        type = keys.elementType
        (headCount, capacity) = (keys.shape[1], keys.shape[2])
        (keyWidth, valueWidth) = (keys.shape[3], values.shape[3])
        (self.keys, self.values) = (keys.base, values.base)
    }

    /// The keys of a sequence's head, from a position on.
    func keys(_ batch: Int, _ head: Int, from position: Int) -> StoredRows {
        StoredRows(start: keys + offset(batch, head, position, keyWidth), stride: keyWidth, type: type)
    }

    /// The values of a sequence's head, from a position on.
    func values(_ batch: Int, _ head: Int, from position: Int) -> StoredRows {
        StoredRows(start: values + offset(batch, head, position, valueWidth), stride: valueWidth, type: type)
    }

    /// Writes a key and a value.
    func store(key: UnsafePointer<Float>, value: UnsafePointer<Float>, _ batch: Int, _ head: Int, at position: Int) {
        store(key, keyWidth, at: keys + offset(batch, head, position, keyWidth))
        store(value, valueWidth, at: values + offset(batch, head, position, valueWidth))
    }

    private func offset(_ batch: Int, _ head: Int, _ position: Int, _ width: Int) -> Int {
        ((batch * headCount + head) * capacity + position) * width * type.byteCount
    }

    private func store(_ numbers: UnsafePointer<Float>, _ count: Int, at address: UnsafeMutableRawPointer) {
        switch type {
        case .float16: Kernels.current.encode_float16(address.assumingMemoryBound(to: UInt16.self), numbers, count)
        case .bfloat16: Kernels.current.encode_bfloat16(address.assumingMemoryBound(to: UInt16.self), numbers, count)
        default: address.copyMemory(from: numbers, byteCount: count * type.byteCount)
        }
    }
}
