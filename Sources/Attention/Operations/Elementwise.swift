internal import CAttentionKernels

/// Calls `body` with pieces of a contiguous float32 tensor and of a new one of its shape, in parallel.
func mapPieces(
    _ x: Tensor, _ body: (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void
) -> Tensor {
    let input = x.detached.converted(to: .float32).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: .float32)
    let pieceLength = 4096
    parallel(blocks(of: input.elementCount, by: pieceLength)) { piece in
        let range = range(piece, by: pieceLength, upTo: input.elementCount)
        body(
            result.pointer(as: Float.self) + range.lowerBound,
            UnsafePointer(input.pointer(as: Float.self) + range.lowerBound), range.count)
    }
    return result
}

/// Returns `operation(x)` for each element: float64 for float64, else float32.
@inline(__always)
func mapElements<Scalar: KernelScalar>(_ x: Tensor, as type: Scalar.Type, _ operation: (Scalar) -> Scalar) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
    for index in 0..<input.elementCount { out[index] = operation(source[index]) }
    withExtendedLifetime(input) {}
    return result
}

/// Returns `operation(x, y)` for each pair of elements of two tensors of one shape, or where `y`'s shape is the end
/// of `x`'s.
@inline(__always)
func mapElements<Scalar: KernelScalar>(
    _ x: Tensor, _ y: Tensor, as type: Scalar.Type, _ operation: (Scalar, Scalar) -> Scalar
) -> Tensor {
    let left = x.detached.converted(to: Scalar.elementType).contiguous()
    // A row added to every row is not written out first.
    let repeats = y.rank <= x.rank && x.shape.suffix(y.rank).elementsEqual(y.shape)
    let right = (repeats ? y.detached : y.detached.expanded(to: x.shape))
        .converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let count = right.elementCount
    let (out, a, b) = (result.pointer(as: Scalar.self), left.pointer(as: Scalar.self), right.pointer(as: Scalar.self))
    for start in stride(from: 0, to: left.elementCount, by: max(1, count)) {
        for index in 0..<count { out[start + index] = operation(a[start + index], b[index]) }
    }
    withExtendedLifetime((left, right)) {}
    return result
}

/// The type that an operation on these tensors computes in: float64 if all are float64, else float32.
func computedType(_ tensors: Tensor...) -> ElementType {
    tensors.allSatisfy { $0.elementType == .float64 } ? .float64 : .float32
}

extension Tensor {
    /// Returns the sum of two tensors, element by element.
    ///
    /// - Parameters:
    ///   - left: A floating-point tensor.
    ///   - right: Another, whose shape broadcasts to `left`'s.
    /// - Returns: A tensor of `left`'s shape: float64 where both are, else float32.
    public static func + (left: Tensor, right: Tensor) -> Tensor {
        let sum =
            computedType(left, right) == .float64
            ? mapElements(left, right, as: Double.self) { $0 + $1 }
            : mapElements(left, right, as: Float.self) { $0 + $1 }
        let rightShape = right.shape
        return sum.recorded(from: [left, right]) { gradient, isWanted in
            [gradient, isWanted[1] ? gradient.summed(to: rightShape) : nil]
        }
    }

    /// Returns the difference of two tensors, element by element.
    ///
    /// - Parameters:
    ///   - left: A floating-point tensor.
    ///   - right: Another, whose shape broadcasts to `left`'s.
    /// - Returns: A tensor of `left`'s shape: float64 where both are, else float32.
    public static func - (left: Tensor, right: Tensor) -> Tensor {
        let difference =
            computedType(left, right) == .float64
            ? mapElements(left, right, as: Double.self) { $0 - $1 }
            : mapElements(left, right, as: Float.self) { $0 - $1 }
        let rightShape = right.shape
        return difference.recorded(from: [left, right]) { gradient, isWanted in
            [gradient, isWanted[1] ? (gradient * -1).summed(to: rightShape) : nil]
        }
    }

    /// Returns the product of two tensors, element by element.
    ///
    /// - Parameters:
    ///   - left: A floating-point tensor.
    ///   - right: Another, whose shape broadcasts to `left`'s.
    /// - Returns: A tensor of `left`'s shape: float64 where both are, else float32.
    public static func * (left: Tensor, right: Tensor) -> Tensor {
        let product =
            computedType(left, right) == .float64
            ? mapElements(left, right, as: Double.self) { $0 * $1 }
            : mapElements(left, right, as: Float.self) { $0 * $1 }
        let (first, second) = (left.detached, right.detached)
        return product.recorded(from: [left, right]) { gradient, isWanted in
            [
                isWanted[0] ? gradient * second : nil,
                isWanted[1] ? (gradient * first).summed(to: second.shape) : nil,
            ]
        }
    }

    /// Returns each element times a number.
    ///
    /// - Parameters:
    ///   - tensor: A floating-point tensor.
    ///   - factor: Any number.
    /// - Returns: A tensor of the same shape: float64 for float64, else float32.
    public static func * (tensor: Tensor, factor: Double) -> Tensor {
        let product =
            tensor.elementType == .float64
            ? mapElements(tensor, as: Double.self) { $0 * factor }
            : mapElements(tensor, as: Float.self) { [factor = Float(factor)] in $0 * factor }
        return product.recorded(from: [tensor]) { gradient, _ in [gradient * factor] }
    }

    /// Adds another tensor of the same shape and type in place; the sum has no past.
    package mutating func add(_ other: Tensor) {
        require(
            shape == other.shape && elementType == other.elementType,
            "\(other.elementType) \(other.shape) cannot be added to \(elementType) \(shape).")
        makeUnique()
        let addend = other.contiguous()
        let count = elementCount
        if elementType == .float64 {
            let (sum, addends) = (pointer(as: Double.self), addend.pointer(as: Double.self))
            for index in 0..<count { sum[index] += addends[index] }
        } else {
            let (sum, addends) = (pointer(as: Float.self), addend.pointer(as: Float.self))
            for index in 0..<count { sum[index] += addends[index] }
        }
        withExtendedLifetime(addend) {}
    }
}
