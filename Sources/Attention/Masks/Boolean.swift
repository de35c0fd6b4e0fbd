/// A tensor that says for each pair whether the query may see the key.
struct BooleanMask: MaskRule {
    /// Readable by pair.
    let allowed: Tensor

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        let position = allowed.position(batch: batch, head: head, query: query, key: key)
        return allowed.pointer(as: UInt8.self)[position] != 0
    }

    func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        let position = self.allowed.position(batch: batch, head: head, query: query, key: keys.lowerBound)
        let row = self.allowed.pointer(as: UInt8.self) + position
        for index in 0..<keys.count { allowed[index] = row[index * self.allowed.strides[3]] != 0 }
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
        return AttentionMask(BooleanMask(allowed: allowed.readableByPair()))
    }
}
