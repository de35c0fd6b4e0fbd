/// A tensor of numbers to add.
struct TensorBias: BiasRule {
    let values: Tensor

    func value(batch: Int, head: Int, query: Int, key: Int) -> Double {
        var position = 0
        for (axis, index) in [batch, head, query, key].enumerated() where values.shape[axis] != 1 {
            position += index * values.strides[axis]
        }
        var value = 0.0
        values.read(into: &value, from: position, count: 1, stride: 1)
        return value
    }

    /// Writes the values for a row of keys.
    func read<Scalar: AttentionScalar>(
        into out: UnsafeMutablePointer<Scalar>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        var position = 0
        for (axis, index) in [batch, head, query, keys.lowerBound].enumerated() where values.shape[axis] != 1 {
            position += index * values.strides[axis]
        }
        let stride = values.shape[3] == 1 ? 0 : values.strides[3]
        values.read(into: out, from: position, count: keys.count, stride: stride)
    }

    func problem(for shape: AttentionShape) -> String? {
        let wanted = [shape.batchCount, shape.headCount, shape.queryCount, shape.keyCount]
        if zip(values.shape, wanted).allSatisfy({ $0 == $1 || $0 == 1 }) { return nil }
        return "A bias of shape \(values.shape) cannot be broadcast to \(wanted)."
    }
}

extension ScoreBias {
    /// Numbers to add to the scores.
    ///
    /// - Parameter values: Floating-point, of a shape that broadcasts to `[B, H, T_q, T_k]`.
    /// - Returns: The bias.
    public static func tensor(_ values: Tensor) -> ScoreBias {
        require(values.elementType.isFloatingPoint, "A bias holds numbers, not \(values.elementType).")
        require(values.rank <= 4, "A bias has at most 4 dimensions, not \(values.shape).")
        let leading = [Int](repeating: 1, count: 4 - values.rank)
        return ScoreBias(TensorBias(values: values.expanded(to: leading + values.shape)))
    }
}
