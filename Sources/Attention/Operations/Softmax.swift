/// Returns `exp(x) / Σ exp(x)` along one dimension.
///
/// A row of nothing but −∞ yields zeros, as a query that sees nothing does.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - axis: The dimension, counted from the end where negative.
/// - Returns: A tensor of the same shape: float64 for float64, else float32.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor {
    let axis = x.resolved(axis)
    let last = x.rank - 1
    if x.elementType == .float64 {
        return softmaxOfRows(x.transposed(axis, last), as: Double.self).transposed(axis, last).contiguous()
    }
    return softmaxOfRows(x.transposed(axis, last), as: Float.self).transposed(axis, last).contiguous()
}

private func softmaxOfRows<Scalar: KernelScalar>(_ x: Tensor, as type: Scalar.Type) -> Tensor {
    let result = x.copied(to: Scalar.elementType)
    let count = x.shape.last ?? 1
    let rows = count == 0 ? 0 : x.elementCount / count
    parallel(rows) { index in
        let row = result.pointer(as: Scalar.self) + index * count
        let maximum = Scalar.maximum(row, count)
        let sum = Scalar.expSum(row, count, shift: maximum == -.infinity ? 0 : maximum)
        if sum != 0 {
            for index in 0..<count { row[index] /= sum }
        }
    }
    return result
}
