internal import CAttentionKernels

/// Calls `body` with pieces of a contiguous float32 tensor and of a new one of its shape, in parallel.
func mapPieces(
    _ x: Tensor, _ body: (UnsafeMutablePointer<Float>, UnsafePointer<Float>, Int) -> Void
) -> Tensor {
    let input = x.converted(to: .float32).contiguous()
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

extension Tensor {
    /// Returns the sum of two tensors, element by element, in float32.
    ///
    /// - Parameters:
    ///   - left: A floating-point tensor.
    ///   - right: Another, whose shape broadcasts to `left`'s.
    /// - Returns: A float32 tensor of `left`'s shape.
    public static func + (left: Tensor, right: Tensor) -> Tensor {
        combined(left, right) { $0 + $1 }
    }

    /// Returns the product of two tensors, element by element, in float32.
    ///
    /// - Parameters:
    ///   - left: A floating-point tensor.
    ///   - right: Another, whose shape broadcasts to `left`'s.
    /// - Returns: A float32 tensor of `left`'s shape.
    public static func * (left: Tensor, right: Tensor) -> Tensor {
        combined(left, right) { $0 * $1 }
    }

    private static func combined(_ left: Tensor, _ right: Tensor, _ operation: (Float, Float) -> Float) -> Tensor {
        let other = right.converted(to: .float32).expanded(to: left.shape).contiguous()
        let addends = other.pointer(as: Float.self)
        let input = left.converted(to: .float32).contiguous()
        let result = Tensor(uninitialized: left.shape, elementType: .float32)
        let (out, source) = (result.pointer(as: Float.self), input.pointer(as: Float.self))
        for index in 0..<input.elementCount { out[index] = operation(source[index], addends[index]) }
        withExtendedLifetime((other, input)) {}
        return result
    }
}
