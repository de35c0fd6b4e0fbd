extension Tensor {
    /// Returns tensors one after the other along a dimension.
    ///
    /// - Parameters:
    ///   - tensors: At least one, of one type, with the same extents but along `axis`.
    ///   - axis: The dimension, counted from the end where negative.
    /// - Returns: A contiguous tensor whose extent along `axis` is the sum of theirs.
    public static func concatenated(_ tensors: [Tensor], axis: Int) -> Tensor {
        guard let first = tensors.first else { stop("There is no tensor to concatenate.") }
        let axis = first.resolved(axis)
        var shape = first.shape
        shape[axis] = 0
        for tensor in tensors {
            var wanted = first.shape
            if tensor.rank == wanted.count { wanted[axis] = tensor.shape[axis] }
            require(
                tensor.shape == wanted && tensor.elementType == first.elementType,
                "\(tensor.elementType) \(tensor.shape) and \(first.elementType) \(first.shape) cannot stand side by side "
                    + "along axis \(axis).")
            shape[axis] += tensor.shape[axis]
        }
        var result = Tensor(uninitialized: shape, elementType: first.elementType)
        var start = 0
        for tensor in tensors {
            result.write(tensor, axis: axis, at: start)
            start += tensor.shape[axis]
        }
        let extents = tensors.map { $0.shape[axis] }
        return result.recorded(from: tensors) { gradient, isWanted in
            var start = 0
            return extents.indices.map { index in
                defer { start += extents[index] }
                return isWanted[index] ? gradient.slice(axis: axis, range: start..<start + extents[index]) : nil
            }
        }
    }

    /// Returns tensors of one shape as the indices along a new dimension.
    ///
    /// - Parameters:
    ///   - tensors: At least one, of one shape and type.
    ///   - axis: Where the new dimension stands in the result.
    /// - Returns: A contiguous tensor with one dimension more.
    public static func stacked(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
        concatenated(
            tensors.map { tensor in
                var shape = tensor.shape
                shape.insert(1, at: axis)
                return tensor.reshaped(to: shape)
            }, axis: axis)
    }

    /// Writes a tensor of the same type over a part of one dimension.
    mutating func write(_ part: Tensor, axis: Int, at start: Int) {
        makeUnique()
        let source = part.detached.contiguous()
        let size = elementType.byteCount
        let inner = Tensor.elementCount(of: Array(shape[(axis + 1)...])) * size
        let (whole, taken) = (shape[axis] * inner, part.shape[axis] * inner)
        guard taken > 0 else { return }
        for outer in 0..<Tensor.elementCount(of: Array(shape[..<axis])) {
            (base + outer * whole + start * inner).copyMemory(from: source.base + outer * taken, byteCount: taken)
        }
        withExtendedLifetime(source) {}
    }
}
