/// The result of a layer normalisation, with the statistics that its gradient needs.
public struct LayerNormalization: Sendable {
    /// As `x`.
    public let output: Tensor
    /// The mean of each normalised row, with extents of 1 from `axis` on.
    public let mean: Tensor
    /// `1 / √(variance + epsilon)` of each normalised row.
    public let inverseDeviation: Tensor
}

/// Returns `(x - mean) / √(variance + epsilon) · weight + bias` over the dimensions from `axis` on.
///
/// Ba et al., "Layer Normalization", 2016 (arXiv:1607.06450), equation 4. Mean and variance are summed in `Double`.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - bias: Broadcasts to the normalised dimensions, or none.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the variance; above 0.
/// - Returns: The output and the statistics, float32.
public func layerNormWithStatistics(
    _ x: Tensor, weight: Tensor, bias: Tensor?, axis: Int = -1, epsilon: Double = 1e-5
) -> LayerNormalization {
    let axis = x.resolved(axis)
    let rows = NormalizedRows(x, weight: weight, bias: bias, axis: axis)
    let statistics = Array(x.shape[..<axis]) + [Int](repeating: 1, count: x.rank - axis)
    let mean = Tensor(uninitialized: statistics, elementType: .float32)
    let inverse = Tensor(uninitialized: statistics, elementType: .float32)
    let output = rows.map { row, index in
        var sum = 0.0
        for element in row { sum += Double(element) }
        let average = sum / Double(row.count)
        var squares = 0.0
        for element in row { squares += (Double(element) - average) * (Double(element) - average) }
        let factor = 1 / (squares / Double(row.count) + epsilon).squareRoot()
        mean.pointer(as: Float.self)[index] = Float(average)
        inverse.pointer(as: Float.self)[index] = Float(factor)
        return (average, factor)
    }
    return LayerNormalization(output: output, mean: mean, inverseDeviation: inverse)
}

/// Returns `(x - mean) / √(variance + epsilon) · weight + bias` over the dimensions from `axis` on.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - bias: Broadcasts to the normalised dimensions, or none.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the variance; above 0.
/// - Returns: A float32 tensor of the same shape.
public func layerNorm(
    _ x: Tensor, weight: Tensor, bias: Tensor? = nil, axis: Int = -1, epsilon: Double = 1e-5
) -> Tensor {
    layerNormWithStatistics(x, weight: weight, bias: bias, axis: axis, epsilon: epsilon).output
}

/// Returns `x / √(mean(x²) + epsilon) · weight` over the dimensions from `axis` on.
///
/// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019 (arXiv:1910.07467), equation 4. The mean is
/// summed in `Double`.
///
/// - Parameters:
///   - x: A floating-point tensor.
///   - weight: Broadcasts to the normalised dimensions.
///   - axis: The first normalised dimension, counted from the end where negative.
///   - epsilon: Added to the mean square; above 0.
/// - Returns: A float32 tensor of the same shape.
public func rmsNorm(_ x: Tensor, weight: Tensor, axis: Int = -1, epsilon: Double = 1e-5) -> Tensor {
    NormalizedRows(x, weight: weight, bias: nil, axis: x.resolved(axis)).map { row, _ in
        var squares = 0.0
        for element in row { squares += Double(element) * Double(element) }
        return (0, 1 / (squares / Double(row.count) + epsilon).squareRoot())
    }
}

/// The rows that a normalisation takes together, and what it multiplies and adds.
private struct NormalizedRows {
    let input: Tensor
    let weight: Tensor
    let bias: Tensor?
    let rowLength: Int

    init(_ x: Tensor, weight: Tensor, bias: Tensor?, axis: Int) {
        let normalized = Array(x.shape[axis...])
        input = x.converted(to: .float32).contiguous()
        self.weight = weight.converted(to: .float32).expanded(to: normalized).contiguous()
        self.bias = bias?.converted(to: .float32).expanded(to: normalized).contiguous()
        rowLength = Tensor.elementCount(of: normalized)
    }

    /// Returns `(x - center) · factor · weight + bias`, with center and factor of each row from `statistics`.
    func map(_ statistics: (UnsafeBufferPointer<Float>, Int) -> (center: Double, factor: Double)) -> Tensor {
        defer { withExtendedLifetime(self) {} }
        let result = Tensor(uninitialized: input.shape, elementType: .float32)
        let rowCount = rowLength == 0 ? 0 : input.elementCount / rowLength
        let scale = weight.pointer(as: Float.self)
        let shift = bias?.pointer(as: Float.self)
        parallel(rowCount) { index in
            let row = UnsafeBufferPointer(start: input.pointer(as: Float.self) + index * rowLength, count: rowLength)
            let (center, factor) = statistics(row, index)
            let out = result.pointer(as: Float.self) + index * rowLength
            for element in 0..<rowLength {
                let normalized = Float((Double(row[element]) - center) * factor)
                out[element] = normalized * scale[element] + (shift?[element] ?? 0)
            }
        }
        return result
    }
}
