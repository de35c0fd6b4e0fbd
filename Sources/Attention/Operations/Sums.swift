extension Tensor {
    /// Returns the sum of all elements, accumulated in `Double`.
    ///
    /// - Returns: A tensor without dimensions: float64 for float64, else float32.
    public func sum() -> Tensor {
        let total = sumOfElements()
        let result = Tensor(filledWith: total, shape: [], elementType: gradientType)
        let shape = shape
        return result.recorded(from: [self]) { gradient, _ in
            [Tensor(filledWith: gradient.doubles[0], shape: shape, elementType: gradient.elementType)]
        }
    }

    /// Returns the mean of all elements; 0 where there are none.
    ///
    /// - Returns: A tensor without dimensions: float64 for float64, else float32.
    public func mean() -> Tensor {
        sum() * (1 / Double(max(1, elementCount)))
    }

    /// Returns the sums along one dimension, in ascending order of its indices.
    ///
    /// - Parameter axis: The dimension, counted from the end where negative.
    /// - Returns: A tensor without that dimension: float64 for float64, else float32.
    public func sum(axis: Int) -> Tensor {
        let axis = resolved(axis)
        let shape = shape
        let extents = shape.indices.map { $0 == axis ? 1 : shape[$0] }
        let reduced = shape.indices.filter { $0 != axis }.map { shape[$0] }
        return detached.summed(to: extents).reshaped(to: reduced).recorded(from: [self]) { gradient, _ in
            [gradient.reshaped(to: extents).expanded(to: shape)]
        }
    }

    private func sumOfElements() -> Double {
        elementType == .float64
            ? sumOfPieces(as: Double.self) { UnsafeBufferPointer(start: $0, count: $1).reduce(0, +) }
            : sumOfPieces(as: Float.self) { UnsafeBufferPointer(start: $0, count: $1).reduce(0) { $0 + Double($1) } }
    }

    /// Returns the sum, in order, of what `body` makes of pieces of 4,096 elements, in parallel.
    func sumOfPieces<Scalar: KernelScalar>(
        as type: Scalar.Type, _ body: (_ start: UnsafePointer<Scalar>, _ count: Int) -> Double
    ) -> Double {
        let input = detached.converted(to: Scalar.elementType).contiguous()
        defer { withExtendedLifetime(input) {} }
        let source = input.pointer(as: Scalar.self)
        let pieceLength = 4096
        let pieceCount = blocks(of: elementCount, by: pieceLength)
        return withUnsafeTemporaryAllocation(of: Double.self, capacity: max(1, pieceCount)) { sums in
            guard let sums = sums.baseAddress else { return 0 }
            // Safe: each piece writes its own sum.
            parallel(pieceCount) { piece in
                let range = range(piece, by: pieceLength, upTo: elementCount)
                sums[piece] = body(source + range.lowerBound, range.count)
            }
            return (0..<pieceCount).reduce(0) { $0 + sums[$1] }
        }
    }

    /// Returns the elements added up to a smaller shape that broadcasts to this one: what ``expanded(to:)`` undoes.
    func summed(to target: [Int]) -> Tensor {
        if shape == target { return self }
        return gradientType == .float64 ? summed(to: target, as: Double.self) : summed(to: target, as: Float.self)
    }

    private func summed<Scalar: KernelScalar>(to target: [Int], as type: Scalar.Type) -> Tensor {
        let result = Tensor(zeros: target, elementType: Scalar.elementType)
        let input = detached.converted(to: Scalar.elementType).contiguous()
        let columns = result.elementCount
        if columns > 0, shape.suffix(target.count).elementsEqual(target) {
            // Rows that are added up: a few columns at a time, each with its sums in registers.
            let (sum, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
            forEachPiece(of: columns, by: 128) { piece in
                Scalar.columnSums(
                    sum + piece.lowerBound, source + piece.lowerBound, columns, elementCount / columns, piece.count)
            }
            withExtendedLifetime(input) {}
            return result
        }
        let padded = [Int](repeating: 1, count: rank - target.count) + target
        let targetStrides = Tensor.contiguousStrides(of: padded)
        // Runs of dimensions that are kept, or added up, are gone through as one.
        var runs: [(count: Int, stride: Int)] = []
        for axis in shape.indices where shape[axis] != 1 {
            require(padded[axis] == shape[axis] || padded[axis] == 1, "\(shape) is no broadcast of \(target).")
            let stride = padded[axis] == 1 ? 0 : targetStrides[axis]
            if let last = runs.last, last.stride == stride * shape[axis] {
                runs[runs.count - 1] = (last.count * shape[axis], stride)
            } else {
                runs.append((shape[axis], stride))
            }
        }
        let (out, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
        var position = 0
        func add(_ runs: ArraySlice<(count: Int, stride: Int)>, at place: Int) {
            guard let run = runs.first else {
                out[place] += source[position]
                position += 1
                return
            }
            if runs.count > 1 {
                for index in 0..<run.count { add(runs.dropFirst(), at: place + index * run.stride) }
            } else if run.stride == 0 {
                var sum = out[place]
                for index in 0..<run.count { sum += source[position + index] }
                out[place] = sum
                position += run.count
            } else {
                for index in 0..<run.count { out[place + index * run.stride] += source[position + index] }
                position += run.count
            }
        }
        if elementCount > 0 { add(runs[...], at: 0) }
        withExtendedLifetime(input) {}
        return result
    }
}
