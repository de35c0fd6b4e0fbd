/// Calls `body` with pieces of `0..<count`, in parallel.
///
/// By default pieces are so long that a sum of two is worth a thread's while.
func forEachPiece(of count: Int, by pieceLength: Int = 16_384, _ body: (Range<Int>) -> Void) {
    parallel(blocks(of: count, by: pieceLength)) { piece in body(range(piece, by: pieceLength, upTo: count)) }
}

/// Returns a tensor of `x`'s shape that `kernel` makes of pieces of `x` and of `y`, whose shape broadcasts to `x`'s.
@inline(__always)
func mapPairs<Scalar: KernelScalar>(
    _ x: Tensor, _ y: Tensor, as type: Scalar.Type,
    _ kernel: (
        _ out: UnsafeMutablePointer<Scalar>, _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, _ count: Int
    ) -> Void
) -> Tensor {
    let left = x.detached.converted(to: Scalar.elementType).contiguous()
    let right = repeatedRow(of: y, for: x).converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (total, length) = (left.elementCount, right.elementCount)
    let (out, a, b) = (result.pointer(as: Scalar.self), left.pointer(as: Scalar.self), right.pointer(as: Scalar.self))
    if total == length {
        forEachPiece(of: total) { piece in
            kernel(out + piece.lowerBound, a + piece.lowerBound, b + piece.lowerBound, piece.count)
        }
    } else {
        let rowsOfPiece = max(1, 16_384 / max(1, length))
        forEachPiece(of: total, by: rowsOfPiece * max(1, length)) { piece in
            for start in stride(from: piece.lowerBound, to: piece.upperBound, by: max(1, length)) {
                kernel(out + start, a + start, b, min(length, piece.upperBound - start))
            }
        }
    }
    withExtendedLifetime((left, right)) {}
    return result
}

/// Returns `y` as a row that, repeated, is as `x`: `y` itself if its shape is the end of `x`'s, and repeated until it is
/// worth a loop where it is short; else spread out to `x`'s shape.
private func repeatedRow(of y: Tensor, for x: Tensor) -> Tensor {
    guard y.rank <= x.rank, x.shape.suffix(y.rank).elementsEqual(y.shape) else {
        return y.detached.expanded(to: x.shape)
    }
    let (count, total) = (y.elementCount, x.elementCount)
    guard count > 0, count < 128, count < total else { return y.detached }
    return y.detached.expanded(to: [min(total / count, 1024 / count)] + y.shape)
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
            ? mapPairs(left, right, as: Double.self, Double.add)
            : mapPairs(left, right, as: Float.self, Float.add)
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
            ? mapPairs(left, right, as: Double.self, Double.subtract)
            : mapPairs(left, right, as: Float.self, Float.subtract)
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
            ? mapPairs(left, right, as: Double.self, Double.multiply)
            : mapPairs(left, right, as: Float.self, Float.multiply)
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
            ? scaled(tensor, by: factor, as: Double.self) : scaled(tensor, by: Float(factor), as: Float.self)
        return product.recorded(from: [tensor]) { gradient, _ in [gradient * factor] }
    }

    /// Adds another tensor of the same shape and type in place; the sum has no past.
    package mutating func add(_ other: Tensor) {
        require(
            shape == other.shape && elementType == other.elementType,
            "\(other.elementType) \(other.shape) cannot be added to \(elementType) \(shape).")
        makeUnique()
        let addend = other.detached.contiguous()
        if elementType == .float64 { add(addend, as: Double.self) } else { add(addend, as: Float.self) }
        withExtendedLifetime(addend) {}
    }

    private func add<Scalar: KernelScalar>(_ addend: Tensor, as type: Scalar.Type) {
        let (sum, addends) = (pointer(as: Scalar.self), addend.pointer(as: Scalar.self))
        forEachPiece(of: elementCount) { piece in
            Scalar.add(
                sum + piece.lowerBound, UnsafePointer(sum + piece.lowerBound), addends + piece.lowerBound, piece.count)
        }
    }
}

private func scaled<Scalar: KernelScalar>(_ x: Tensor, by factor: Scalar, as type: Scalar.Type) -> Tensor {
    let input = x.detached.converted(to: Scalar.elementType).contiguous()
    let result = Tensor(uninitialized: x.shape, elementType: Scalar.elementType)
    let (out, source) = (result.pointer(as: Scalar.self), input.pointer(as: Scalar.self))
    // Copied and multiplied a piece at a time, while it is in the first-level cache.
    forEachPiece(of: input.elementCount, by: 4096) { piece in
        (out + piece.lowerBound).update(from: source + piece.lowerBound, count: piece.count)
        Scalar.scale(out + piece.lowerBound, piece.count, by: factor)
    }
    withExtendedLifetime(input) {}
    return result
}
