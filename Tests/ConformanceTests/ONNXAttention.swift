import Attention

extension ONNXOperator {
    /// ONNX's `Attention`, opsets 23 to 25, as onnx 1.22 and later define it: soft-cap before bias and mask.
    static let attention = ONNXOperator(
        since: 23,
        attributes: [
            "is_causal", "kv_num_heads", "left_window_size", "q_num_heads", "qk_matmul_output_mode",
            "right_window_size", "scale", "softcap", "softmax_precision",
        ],
        inputCount: 7, outputCount: 4
    ) { node in
        var (queries, keys, values) = (
            try node.requiredInput(0), try node.requiredInput(1), try node.requiredInput(2)
        )
        let isFlat = queries.rank == 3
        queries = try heads(of: queries, count: node.integer("q_num_heads"))
        keys = try heads(of: keys, count: node.integer("kv_num_heads"))
        values = try heads(of: values, count: node.integer("kv_num_heads"))

        let (batch, newCount) = (queries.shape[0], keys.shape[2])
        guard keys.shape == [batch, keys.shape[1], newCount, queries.shape[3]], keys.shape[1] > 0,
            values.shape == [batch, keys.shape[1], newCount, values.shape[3]],
            queries.shape[1] % keys.shape[1] == 0
        else {
            throw ConformanceProblem(
                "Queries \(queries.shape), keys \(keys.shape) and values \(values.shape) do not fit together."
            )
        }
        (keys, values) = try append(keys, values, to: node)
        let lengths = node.input(6)?.integers
        if let lengths {
            guard node.input(4) == nil, lengths.count == batch, lengths.allSatisfy({ 0...newCount ~= $0 })
            else {
                throw ConformanceProblem(
                    "The lengths \(lengths) do not fit \(keys.shape), or there is a past too.")
            }
        }

        // The position of the first query less that of the first key.
        let offsets =
            lengths.map { $0.map { $0 - queries.shape[2] } }
            ?? [Int](repeating: keys.shape[2] - newCount, count: batch)
        var operation = AttentionOperation(similarity: Dot(scale: try node.number("scale")))
        if try node.flag("is_causal") { operation.mask = operation.mask & .causal(offsets: offsets) }
        let left = try windowSize("left_window_size", of: node)
        let right = try windowSize("right_window_size", of: node)
        if left != nil || right != nil {
            operation.mask = operation.mask & .slidingWindow(left: left, right: right, offsets: offsets)
        }
        if let lengths { operation.mask = operation.mask & .lengths(lengths) }
        if let given = node.input(3) {
            let scores = [batch, queries.shape[1], queries.shape[2], keys.shape[2]]
            let mask = try padded(given, toFit: scores)
            if mask.elementType == .bool {
                operation.mask = operation.mask & .boolean(mask)
            } else {
                operation.bias = .tensor(mask)
            }
        }
        let softCap = try node.number("softcap") ?? 0
        guard softCap >= 0 else { throw ConformanceProblem("The soft-cap is \(softCap).") }
        operation.softCap = softCap == 0 ? nil : softCap

        let mode = try node.integer("qk_matmul_output_mode") ?? 0
        guard (0...3).contains(mode) else { throw ConformanceProblem("There is no output mode \(mode).") }
        var request = AttentionRequest()
        if node.outputs.count == 4 {
            request.weights = mode == 3 ? 0..<queries.shape[2] : nil
            request.scores = ScoreStage(rawValue: mode)
        }
        // Less than float32 is never computed in, whatever the precision asked for.
        if try node.elementType("softmax_precision") == .float64 { queries = queries.converted(to: .float64) }
        let result = operation(queries: queries, keys: keys, values: values, returning: request)
        return [
            isFlat ? result.output.mergingHeads() : result.output, keys, values,
            result.scores ?? result.weights,
        ]
    }

    /// Returns `[B, T, H·D]` as `[B, H, T, D]`, which it may be already.
    private static func heads(of tensor: Tensor, count: Int?) throws -> Tensor {
        switch (tensor.rank, count) {
        case (3, let count?) where count > 0 && tensor.shape[2] % count == 0: tensor.splittingHeads(count)
        case (4, nil): tensor
        case (4, let count?) where count == tensor.shape[1]: tensor
        default:
            throw ConformanceProblem(
                "\(tensor.shape) is not [B, H, T, D], and has no \(count ?? 0) heads to split.")
        }
    }

    /// Returns the keys and values behind those of the past, if there is one.
    private static func append(_ keys: Tensor, _ values: Tensor, to node: ONNXNode) throws -> (
        Tensor, Tensor
    ) {
        switch (node.input(4), node.input(5)) {
        case (nil, nil): return (keys, values)
        case (let pastKeys?, let pastValues?):
            guard pastKeys.elementType == keys.elementType, pastValues.elementType == values.elementType,
                keys.elementType == values.elementType, pastKeys.rank == 4,
                pastKeys.shape == [keys.shape[0], keys.shape[1], pastKeys.shape[2], keys.shape[3]],
                pastValues.shape == [keys.shape[0], keys.shape[1], pastKeys.shape[2], values.shape[3]]
            else {
                throw ConformanceProblem(
                    "The past \(pastKeys.shape) and \(pastValues.shape) does not go before \(keys.shape).")
            }
            var cache = KeyValueCache(
                batchCount: keys.shape[0], headCount: keys.shape[1], keyDimension: keys.shape[3],
                valueDimension: values.shape[3], elementType: keys.elementType)
            cache.append(keys: pastKeys, values: pastValues)
            cache.append(keys: keys, values: values)
            return (cache.keys, cache.values)
        default: throw ConformanceProblem("Of past keys and values, one is missing.")
        }
    }

    /// Returns how far a window reaches to one side; `nil` if it is open.
    private static func windowSize(_ name: String, of node: ONNXNode) throws -> Int? {
        let size = try node.integer(name) ?? -1
        guard size >= -1 else { throw ConformanceProblem("'\(name)' is \(size).") }
        return size == -1 ? nil : size
    }

    /// Returns a mask as long as there are keys; those that it does not reach are masked.
    private static func padded(_ mask: Tensor, toFit scores: [Int]) throws -> Tensor {
        let (length, keyCount) = (mask.shape.last ?? 0, scores[3])
        let shape = Array(mask.shape.dropLast()) + [keyCount]
        guard mask.elementType == .bool || mask.elementType.isFloatingPoint, mask.rank > 0,
            length <= keyCount,
            Tensor(zeros: shape).canBroadcast(to: scores)
        else {
            throw ConformanceProblem(
                "A mask of \(mask.elementType) \(mask.shape) cannot be broadcast to \(scores).")
        }
        if length == keyCount { return mask }
        func rows<Element>(_ elements: [Element], _ padding: Element) -> [Element] {
            var rows: [Element] = []
            for row in 0..<shape.dropLast().reduce(1, *) {
                rows += elements[row * length..<(row + 1) * length]
                rows += [Element](repeating: padding, count: keyCount - length)
            }
            return rows
        }
        if mask.elementType == .bool {
            return Tensor(rows(mask.integers.map { $0 != 0 }, false), shape: shape)
        }
        return Tensor(rows(mask.doubles, -.infinity), shape: shape)
    }
}
