/// A tensor of numbers to add.
struct TensorBias: BiasRule {
    /// What the bias was made from, tracked or not.
    let source: Tensor
    /// Readable by pair.
    let values: Tensor

    init(_ source: Tensor) {
        self.source = source
        values = source.readableByPair()
    }

    func value(batch: Int, head: Int, query: Int, key: Int) -> Double {
        var value = 0.0
        values.read(
            into: &value, from: values.position(batch: batch, head: head, query: query, key: key), count: 1, stride: 1)
        return value
    }

    /// Writes the values for a row of keys.
    func read<Scalar: AttentionScalar>(
        into out: UnsafeMutablePointer<Scalar>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        let position = values.position(batch: batch, head: head, query: query, key: keys.lowerBound)
        values.read(into: out, from: position, count: keys.count, stride: values.strides[3])
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
    /// - Parameter values: Floating-point, of a shape that broadcasts to `[B, H, T_q, T_k]`; may be tracked.
    /// - Returns: The bias.
    public static func tensor(_ values: Tensor) -> ScoreBias {
        require(values.elementType.isFloatingPoint, "A bias holds numbers, not \(values.elementType).")
        require(values.rank <= 4, "A bias has at most 4 dimensions, not \(values.shape).")
        return ScoreBias(TensorBias(values))
    }
}
