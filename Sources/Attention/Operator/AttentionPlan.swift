/// What a call of the operator will do, and why: nothing slower or larger is ever taken silently.
public struct AttentionPlan: Sendable, CustomStringConvertible {
    /// The instruction set of the kernels.
    public let kernels: String
    /// How the scores come about: `packed`, `rows` or `pairwise`.
    public let path: String
    /// Why it is that path, and what is converted or copied.
    public let reasons: [String]
    /// Queries and keys of a tile, which has fewer queries where threads would lack work.
    public let tileSize: (queries: Int, keys: Int)
    /// Tiles that a mask hides and that are skipped.
    public let emptyTileCount: Int
    /// Tiles that need no mask code.
    public let fullTileCount: Int
    /// Tiles whose scores are masked or biased one by one.
    public let partialTileCount: Int
    /// Floating-point operations of the products and averages in the tiles that are not skipped, and of the passes over
    /// the scores that a request adds.
    public let operationCount: Int
    /// Bytes beyond operands and output: what was asked for, copies of the operands, row sums, and a tile per thread.
    public let extraByteCount: Int
    /// Bytes that the way back to what is tracked takes at its peak beyond operands, output and gradients: what it keeps
    /// from the way there, copies, sums, and a tile per thread; 0 where nothing is tracked.
    ///
    /// As many if the gradients of all that is tracked are asked for, else fewer.
    public let backwardByteCount: Int
    /// Threads that take part.
    public let threadCount: Int

    /// The plan in a few lines.
    public var description: String {
        let tiles = emptyTileCount + fullTileCount + partialTileCount
        return """
            kernels      \(kernels), \(path) scores, \(threadCount) thread\(threadCount == 1 ? "" : "s")
            tiles        \(tileSize.queries) × \(tileSize.keys): \(tiles), of them \(emptyTileCount) skipped, \
            \(fullTileCount) full, \(partialTileCount) partial
            operations   \(operationCount)
            extra bytes  \(extraByteCount)\
            \(backwardByteCount == 0 ? "" : ", on the way back \(backwardByteCount)")
            \(reasons.map { "because      \($0)" }.joined(separator: "\n"))
            """
    }
}

extension AttentionOperation {
    /// Returns what a call with these operands will do, without doing it.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T_q, D]`.
    ///   - keys: `[B, G, T_k, D_k]`.
    ///   - values: `[B, G, T_k, D_v]`.
    ///   - request: What the call is to return beside the output.
    /// - Returns: The kernels, the tiles, the bytes and the operations, with reasons.
    public func plan(
        queries: Tensor, keys: Tensor, values: Tensor, returning request: AttentionRequest = AttentionRequest()
    ) -> AttentionPlan {
        let shape = validated(queries: queries, keys: keys, values: values)
        if queries.elementType == .float64 {
            return plan(TiledAttention<Double>(self, shape, queries, keys, values), request)
        }
        return plan(TiledAttention<Float>(self, shape, queries, keys, values), request)
    }

    private func plan<Scalar: KernelScalar>(
        _ call: TiledAttention<Scalar>, _ request: AttentionRequest
    ) -> AttentionPlan {
        let shape = call.shape
        let size = Scalar.elementType.byteCount
        var reasons: [String] = []
        let featureCount = call.featureCount
        let decoded = call.decodedBatches
        // Whether keys and values are read as they are stored, whatever their type.
        let isDecoded = decoded.count == shape.batchCount && !request.needsSecondPass
        for path in Set(call.paths).sorted(by: { "\($0)" < "\($1)" }) {
            switch path {
            case .packed:
                reasons.append(
                    "keys are transposed once per key-value head and serve every query"
                        + (call.packsByHead && !request.needsSecondPass ? ", each head by its own thread" : ""))
            case .rows:
                reasons.append(
                    "\(shape.queryCount) quer\(shape.queryCount == 1 ? "y" : "ies") times \(shape.groupSize) heads "
                        + "per key-value head are too few to pay for transposing the keys: all threads share them, "
                        + "\(DecodeAttention<Scalar>.chunkLength) keys at a time")
            case .pairwise: reasons.append("\(type(of: similarity)) gives its score pair by pair")
            }
        }
        if Scalar.self == Double.self { reasons.append("queries are float64: plain float64 kernels") }
        let inBFloat16 = BFloat16Operands.serve(call)
        let groupCount = shape.batchCount * shape.keyValueHeadCount
        let keepsPanels = request.needsSecondPass
        var extra = 0
        if call.paths.contains(.packed) && (!inBFloat16 || keepsPanels) {
            let headCount = call.packsByHead && !keepsPanels ? ComputeThreads.count : groupCount
            extra = headCount * shape.keyCount * featureCount
        }
        if inBFloat16 {
            reasons.append(
                "operands are bfloat16, which the processor multiplies: weights are rounded to it, sums are float32")
            let headCount = call.packsByHead ? ComputeThreads.count : groupCount
            extra += headCount * BFloat16Operands.byteCount(shape) / size
        }
        for (name, tensor, map) in [
            ("queries", call.queries, call.form.queries), ("keys", call.keys, call.form.keys),
            ("values", call.values, .identity),
        ] {
            var width = tensor.shape[3]
            switch map {
            case .identity:
                if TileOperandBuffers<Scalar>.isReadable(tensor) || inBFloat16 && !request.needsSecondPass { continue }
                if isDecoded, name != "queries", DecodeAttention<Scalar>.isReadInPlace(tensor) {
                    reasons.append("\(name) are \(tensor.elementType): converted in registers")
                    continue
                }
                let why = tensor.elementType == Scalar.elementType ? "not side by side" : "\(tensor.elementType)"
                reasons.append("\(name) are \(why): copied once as \(Scalar.elementType)")
            case .normalized: reasons.append("\(name) are normalised once")
            case .linear(let weight, _):
                width = weight.shape[0]
                reasons.append("\(name) are projected once to \(width) features")
            }
            extra += tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * width
        }
        if request.needsSecondPass {
            reasons.append("a second pass over the scores yields what was asked for beside the output")
        }

        let keyLength = decoded.count == shape.batchCount ? DecodeAttention<Scalar>.chunkLength : TileSize.keys
        var counts: [MaskCoverage: Int] = [:]
        var pairs = 0
        for batch in 0..<shape.batchCount {
            for head in 0..<shape.headCount {
                for queryBlock in 0..<blocks(of: shape.queryCount, by: TileSize.queries) {
                    let queries = range(queryBlock, by: TileSize.queries, upTo: shape.queryCount)
                    for keyBlock in 0..<blocks(of: shape.keyCount, by: keyLength) {
                        let keys = range(keyBlock, by: keyLength, upTo: shape.keyCount)
                        let tile = QueryTile(batch: batch, head: head, queries: queries)
                        let keyTile = call.keyTile(of: tile, in: keys)
                        let coverage = keyTile.map { $0.masked.isEmpty ? MaskCoverage.full : .partial } ?? .empty
                        counts[coverage, default: 0] += 1
                        pairs += queries.count * (keyTile?.keys.count ?? 0)
                    }
                }
            }
        }
        let queryRows = shape.batchCount * shape.headCount * shape.queryCount
        let sequences = shape.batchCount * shape.headCount
        let requested =
            sequences * (request.weights?.count ?? 0) * shape.keyCount
            + (request.scores == nil ? 0 : queryRows * shape.keyCount)
            + (request.keyWeightSums ? sequences * shape.keyCount : 0)
            + (request.rowEntropy ? queryRows : 0) + (request.logSumExp ? queryRows : 0)
        let topKeyBytes = queryRows * (request.topKeyCount ?? 0) * (size + 4)
        var scorePasses = pairs
        if request.needsSecondPass { scorePasses += pairs }
        if request.scores != nil { scorePasses += queryRows * shape.keyCount }
        let tileBytes = TileScratch<Scalar>.byteCount(
            rows: min(TileSize.queries, shape.queryCount), width: shape.valueDimension)
        let scratchBytes =
            (isDecoded ? 0 : ComputeThreads.count * tileBytes)
            + DecodeAttention<Scalar>.byteCount(call, batches: decoded)
        return AttentionPlan(
            kernels: Scalar.self == Double.self ? "float64" : KernelInfo.name + (inBFloat16 ? " bfloat16" : ""),
            path: Set(call.paths.map { "\($0)" }).sorted().joined(separator: " and "), reasons: reasons,
            tileSize: (TileSize.queries, keyLength), emptyTileCount: counts[.empty] ?? 0,
            fullTileCount: counts[.full] ?? 0, partialTileCount: counts[.partial] ?? 0,
            operationCount: 2 * (scorePasses * featureCount + pairs * shape.valueDimension),
            extraByteCount: (extra + requested) * size + topKeyBytes + RowStatistics<Scalar>.byteCount(shape)
                + scratchBytes,
            backwardByteCount: AttentionGradients.Wanted(trackedIn: call)
                .map { AttentionBackward.byteCount(call, $0) } ?? 0,
            threadCount: ComputeThreads.count)
    }
}
