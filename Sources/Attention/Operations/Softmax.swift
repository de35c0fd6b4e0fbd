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
    return x.elementType == .float64 ? softmax(x, axis, as: Double.self) : softmax(x, axis, as: Float.self)
}

private func softmax<Scalar: KernelScalar>(_ x: Tensor, _ axis: Int, as type: Scalar.Type) -> Tensor {
    let last = x.rank - 1
    // The rows along the dimension lie side by side here, in the result only where it is the last.
    let rows = softmaxOfRows(x.detached.transposed(axis, last), as: type)
    return rows.transposed(axis, last).contiguous().recorded(from: [x]) { gradient, _ in
        let gradientRows = gradient.transposed(axis, last).contiguous()
        return [softmaxGradient(gradientRows, rows, as: type).transposed(axis, last)]
    }
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

private func softmaxGradient<Scalar: KernelScalar>(
    _ gradient: Tensor, _ weights: Tensor, as type: Scalar.Type
) -> Tensor {
    let result = Tensor(uninitialized: weights.shape, elementType: Scalar.elementType)
    let count = weights.shape.last ?? 1
    let rows = count == 0 ? 0 : weights.elementCount / count
    parallel(rows) { index in
        let out = result.pointer(as: Scalar.self) + index * count
        let gradients = gradient.pointer(as: Scalar.self) + index * count
        let weights = weights.pointer(as: Scalar.self) + index * count
        // forward: wᵢ = exp(xᵢ) / Σ exp(x), of derivative wᵢ (δᵢⱼ - wⱼ)
        var sum = 0.0
        for index in 0..<count { sum += Double(gradients[index]) * Double(weights[index]) }
        let mean = Scalar(sum)
        for index in 0..<count { out[index] = weights[index] * (gradients[index] - mean) }
    }
    withExtendedLifetime((gradient, weights)) {}
    return result
}
