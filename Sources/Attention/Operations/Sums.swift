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
        var sum = 0.0
        let input = detached.converted(to: gradientType).contiguous()
        if elementType == .float64 {
            for element in UnsafeBufferPointer(start: input.pointer(as: Double.self), count: elementCount) {
                sum += element
            }
        } else {
            for element in UnsafeBufferPointer(start: input.pointer(as: Float.self), count: elementCount) {
                sum += Double(element)
            }
        }
        withExtendedLifetime(input) {}
        return sum
    }

    /// Returns the elements added up to a smaller shape that broadcasts to this one: what ``expanded(to:)`` undoes.
    func summed(to target: [Int]) -> Tensor {
        if shape == target { return self }
        return gradientType == .float64 ? summed(to: target, as: Double.self) : summed(to: target, as: Float.self)
    }

    private func summed<Scalar: KernelScalar>(to target: [Int], as type: Scalar.Type) -> Tensor {
        let result = Tensor(zeros: target, elementType: Scalar.elementType)
        let input = detached.converted(to: Scalar.elementType).contiguous()
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
