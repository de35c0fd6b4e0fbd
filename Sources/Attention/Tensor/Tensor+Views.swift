extension Tensor {
    /// Elements of the same storage, without a past.
    ///
    /// Where the tensor has none either, they are the whole result: to prepare a way back takes longer than the view.
    private func view(shape: [Int], strides: [Int], offset: Int) -> Tensor {
        Tensor(shape: shape, strides: strides, elementType: elementType, storage: storage, offset: offset)
    }

    /// Elements of the same storage that lie side by side, without a past.
    func view(shape: [Int], offset: Int) -> Tensor {
        view(shape: shape, strides: Tensor.contiguousStrides(of: shape), offset: offset)
    }

    /// Returns the part of one dimension, as a view.
    ///
    /// - Parameters:
    ///   - axis: The dimension, counted from the end where negative.
    ///   - range: Which indices along it to keep.
    /// - Returns: The same tensor with `shape[axis] == range.count`.
    public func slice(axis: Int, range: Range<Int>) -> Tensor {
        let axis = resolved(axis)
        require(
            range.lowerBound >= 0 && range.upperBound <= shape[axis],
            "The range \(range) leaves axis \(axis) of \(shape).")
        var shape = shape
        let whole = self.shape
        shape[axis] = range.count
        let view = view(shape: shape, strides: strides, offset: offset + range.lowerBound * strides[axis])
        guard isTracked else { return view }
        return view.recorded(from: [self]) { gradient, _ in
            var result = Tensor(zeros: whole, elementType: gradient.elementType)
            result.write(gradient, axis: axis, at: range.lowerBound)
            return [result]
        }
    }

    /// Returns the tensor with two dimensions exchanged, as a view.
    ///
    /// - Parameters:
    ///   - first: One dimension, counted from the end where negative.
    ///   - second: The other.
    /// - Returns: A tensor with `shape[first]` and `shape[second]` exchanged.
    public func transposed(_ first: Int, _ second: Int) -> Tensor {
        var shape = shape
        var strides = strides
        shape.swapAt(resolved(first), resolved(second))
        strides.swapAt(resolved(first), resolved(second))
        let view = view(shape: shape, strides: strides, offset: offset)
        guard isTracked else { return view }
        return view.recorded(from: [self]) { gradient, _ in [gradient.transposed(first, second)] }
    }

    /// Returns the same elements under another shape: a view where the layout allows it, else a copy.
    ///
    /// - Parameter newShape: Has as many elements as the tensor.
    /// - Returns: The elements in row-major order, laid out as `newShape`.
    public func reshaped(to newShape: [Int]) -> Tensor {
        require(
            Tensor.elementCount(of: newShape) == elementCount,
            "\(shape) has \(elementCount) elements, \(newShape) has \(Tensor.elementCount(of: newShape)).")
        let view =
            isContiguous
            ? view(shape: newShape, offset: offset) : copied(to: elementType).view(shape: newShape, offset: 0)
        guard isTracked else { return view }
        let shape = shape
        return view.recorded(from: [self]) { gradient, _ in [gradient.reshaped(to: shape)] }
    }

    /// Returns the tensor repeated to a larger shape, as a view: extents of 1 stretch, and dimensions are
    /// added in front.
    ///
    /// - Parameter newShape: The shape to repeat to.
    /// - Returns: A view with stride 0 along what is repeated.
    public func expanded(to newShape: [Int]) -> Tensor {
        require(newShape.count >= rank, "\(shape) has more dimensions than \(newShape).")
        let added = newShape.count - rank
        var newStrides = [Int](repeating: 0, count: newShape.count)
        for axis in shape.indices {
            require(
                shape[axis] == newShape[axis + added] || shape[axis] == 1,
                "\(shape) cannot be broadcast to \(newShape).")
            newStrides[axis + added] = shape[axis] == newShape[axis + added] ? strides[axis] : 0
        }
        let shape = shape
        return Tensor(
            shape: newShape, strides: newStrides, elementType: elementType, storage: storage, offset: offset
        ).recorded(from: [self]) { gradient, _ in [gradient.summed(to: shape)] }
    }

    /// Returns the tensor in four dimensions, `[B, H, T_q, T_k]`, to be read by any index: dimensions are added in
    /// front, and an extent of 1 has stride 0.
    func readableByPair() -> Tensor {
        let shape = [Int](repeating: 1, count: 4 - rank) + shape
        let strides = [Int](repeating: 0, count: 4 - rank) + strides
        return Tensor(
            shape: shape, strides: zip(shape, strides).map { $0 == 1 ? 0 : $1 }, elementType: elementType,
            storage: storage, offset: offset)
    }

    /// The place of a pair's element in a tensor that is ``readableByPair()``.
    func position(batch: Int, head: Int, query: Int, key: Int) -> Int {
        batch * strides[0] + head * strides[1] + query * strides[2] + key * strides[3]
    }

    /// Returns `[B, T, H·D]` as `[B, H, T, D]`, as a view.
    ///
    /// - Parameter headCount: `H`, which divides the last extent.
    /// - Returns: One slice of the last dimension per head.
    public func splittingHeads(_ headCount: Int) -> Tensor {
        require(rank == 3, "Heads are split from [B, T, H·D], not from \(shape).")
        require(
            headCount > 0 && shape[2] % headCount == 0, "\(headCount) heads do not divide the width of \(shape).")
        let dimension = shape[2] / headCount
        return Tensor(
            shape: [shape[0], headCount, shape[1], dimension],
            strides: [strides[0], dimension * strides[2], strides[1], strides[2]], elementType: elementType,
            storage: storage, offset: offset
        ).recorded(from: [self]) { gradient, _ in [gradient.mergingHeads()] }
    }

    /// Returns `[B, H, T, D]` as `[B, T, H·D]`: a view where the heads lie side by side, else a copy.
    ///
    /// - Returns: The heads of each position side by side.
    public func mergingHeads() -> Tensor {
        require(rank == 4, "Heads are merged from [B, H, T, D], not from \(shape).")
        return transposed(1, 2).reshaped(to: [shape[0], shape[2], shape[1] * shape[3]])
    }

    /// Returns the indices along one dimension as tensors without it, as views.
    ///
    /// - Parameter axis: The dimension, counted from the end where negative.
    /// - Returns: As many tensors as the dimension has indices.
    public func unstacked(axis: Int = 0) -> [Tensor] {
        let axis = resolved(axis)
        return (0..<shape[axis]).map { slice(axis: axis, range: $0..<$0 + 1).removing(axis: axis) }
    }

    /// Returns the tensor without a dimension of extent 1, as a view.
    ///
    /// - Parameter axis: The dimension, counted from the end where negative.
    /// - Returns: The same elements with one dimension fewer.
    public func removing(axis: Int) -> Tensor {
        let axis = resolved(axis)
        require(shape[axis] == 1, "Axis \(axis) of \(shape) has not the extent 1.")
        let whole = shape
        var (shape, strides) = (shape, strides)
        shape.remove(at: axis)
        strides.remove(at: axis)
        let view = view(shape: shape, strides: strides, offset: offset)
        guard isTracked else { return view }
        return view.recorded(from: [self]) { gradient, _ in [gradient.reshaped(to: whole)] }
    }

    func resolved(_ axis: Int) -> Int {
        let index = axis < 0 ? axis + rank : axis
        require(shape.indices.contains(index), "Axis \(axis) does not exist in \(shape).")
        return index
    }
}
