/// Returns the product of each matrix of a batch with its counterpart.
///
/// - Parameters:
///   - left: `[…, M, K]`, floating-point.
///   - right: `[…, K, N]`, with the same dimensions in front.
/// - Returns: `[…, M, N]`: float64 where both are, else float32.
/// - Precondition: The shapes agree.
public func batchedMatmul(_ left: Tensor, _ right: Tensor) -> Tensor {
    require(
        left.rank >= 2 && left.rank == right.rank && left.shape.dropLast(2).elementsEqual(right.shape.dropLast(2))
            && left.shape[left.rank - 1] == right.shape[right.rank - 2],
        "\(left.shape) cannot be multiplied by \(right.shape): batches must agree, and columns with rows.")
    return computedType(left, right) == .float64
        ? batchedMatmul(left, right, as: Double.self) : batchedMatmul(left, right, as: Float.self)
}

private func batchedMatmul<Scalar: KernelScalar>(_ left: Tensor, _ right: Tensor, as type: Scalar.Type) -> Tensor {
    let a = left.detached.converted(to: Scalar.elementType).contiguous()
    let b = right.detached.converted(to: Scalar.elementType).contiguous()
    let (rows, depth, columns) = (left.shape[left.rank - 2], left.shape[left.rank - 1], right.shape[right.rank - 1])
    let result = products(
        Factor(a), Factor(b), rows: rows, columns: columns, depth: depth,
        shape: left.shape.dropLast() + [columns], as: type)
    return result.recorded(from: [left, right]) { gradient, isWanted in
        let gradient = gradient.contiguous()
        return [
            // forward: result = left · right
            isWanted[0]
                ? products(
                    Factor(gradient), Factor(b, isTransposed: true), rows: rows, columns: depth, depth: columns,
                    shape: a.shape, as: type) : nil,
            isWanted[1]
                ? products(
                    Factor(a, isTransposed: true), Factor(gradient), rows: depth, columns: columns, depth: rows,
                    shape: b.shape, as: type) : nil,
        ]
    }
}

/// Matrices, or their transposes, one after the other.
private struct Factor {
    let matrices: Tensor
    let isTransposed: Bool

    init(_ matrices: Tensor, isTransposed: Bool = false) {
        self.matrices = matrices
        self.isTransposed = isTransposed
    }

    func operand<Scalar: KernelScalar>(_ index: Int, as type: Scalar.Type) -> MatrixOperand<Scalar> {
        let (rows, columns) = (matrices.shape[matrices.rank - 2], matrices.shape[matrices.rank - 1])
        let start = UnsafePointer(matrices.pointer(as: Scalar.self)) + index * rows * columns
        return isTransposed
            ? MatrixOperand(transposed: start, rowStride: columns) : MatrixOperand(rows: start, rowStride: columns)
    }
}

private func products<Scalar: KernelScalar>(
    _ left: Factor, _ right: Factor, rows: Int, columns: Int, depth: Int, shape: [Int], as type: Scalar.Type
) -> Tensor {
    let result = Tensor(uninitialized: shape, elementType: Scalar.elementType)
    let count = Tensor.elementCount(of: Array(shape.dropLast(2)))
    parallel(count) { index in
        multiply(
            left.operand(index, as: type), right.operand(index, as: type), rows: rows, columns: columns, depth: depth,
            into: result.pointer(as: Scalar.self) + index * rows * columns, outStride: columns)
    }
    withExtendedLifetime((left, right)) {}
    return result
}
