/// A tensor that says for each pair whether the query may see the key.
struct BooleanMask: MaskRule {
    let allowed: Tensor

    private func position(batch: Int, head: Int, query: Int) -> Int {
        // The tensor was expanded to four dimensions, its strides 0 where it repeats.
        batch * allowed.strides[0] + head * allowed.strides[1] + query * allowed.strides[2]
    }

    private func index(_ value: Int, axis: Int) -> Int {
        allowed.shape[axis] == 1 ? 0 : value
    }

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        let start = position(batch: index(batch, axis: 0), head: index(head, axis: 1), query: index(query, axis: 2))
        return allowed.pointer(as: UInt8.self)[start + index(key, axis: 3) * allowed.strides[3]] != 0
    }

    func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        let start = position(batch: index(batch, axis: 0), head: index(head, axis: 1), query: index(query, axis: 2))
        let stride = self.allowed.shape[3] == 1 ? 0 : self.allowed.strides[3]
        let source = self.allowed.pointer(as: UInt8.self) + start
        for (index, key) in keys.enumerated() {
            allowed[index] = source[key * stride] != 0
        }
    }

    func problem(for shape: AttentionShape) -> String? {
        let wanted = [shape.batchCount, shape.headCount, shape.queryCount, shape.keyCount]
        if zip(allowed.shape, wanted).allSatisfy({ $0 == $1 || $0 == 1 }) { return nil }
        return "A mask of shape \(allowed.shape) cannot be broadcast to \(wanted)."
    }
}

extension AttentionMask {
    /// A boolean tensor: true where the query may see the key.
    ///
    /// (This is the sense of ONNX and of PyTorch's `scaled_dot_product_attention`; that of PyTorch's
    /// `MultiheadAttention` is the opposite.)
    ///
    /// - Parameter allowed: Booleans of a shape that broadcasts to `[B, H, T_q, T_k]`.
    /// - Returns: The mask.
    public static func boolean(_ allowed: Tensor) -> AttentionMask {
        require(allowed.elementType == .bool, "A boolean mask holds bool, not \(allowed.elementType).")
        require(allowed.rank <= 4, "A mask has at most 4 dimensions, not \(allowed.shape).")
        let leading = [Int](repeating: 1, count: 4 - allowed.rank)
        return AttentionMask(BooleanMask(allowed: allowed.expanded(to: leading + allowed.shape)))
    }
}
